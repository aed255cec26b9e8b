"""Fields of a renderer: their making, their checks, and the sets for camera and light."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import taichi as ti

from taichi_softras.errors import ArgumentError, ShapeError

Field = Any
"""A `ti.field` or `ti.Vector.field`."""

_AXES = (ti.i, ti.ij, ti.ijk)


class Fields:
    """Makes fields with gradients, all of one dtype, inside a `with`; they exist after it.

    No kernel may run inside.

    Fields of one shape share a node of Taichi's tree, and their gradients another: a tape clears
    gradients with one kernel for each node.
    """

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        self._nodes: dict[tuple[tuple[int, ...], bool], Any] = {}

    def scalar(self, shape: tuple[int, ...]) -> Field:
        """Return a field of numbers."""
        return self._place(ti.field(self.dtype, needs_grad=True), shape)

    def vector(self, n: int, shape: tuple[int, ...]) -> Field:
        """Return a field of vectors of n components."""
        return self._place(ti.Vector.field(n, self.dtype, needs_grad=True), shape)

    def __enter__(self) -> "Fields":
        """Begin; fields are zeros."""
        self._builder = ti.FieldsBuilder()
        return self

    def __exit__(self, *_: object) -> None:
        """Allocate all fields, after an error too: Taichi refuses to go on with unfinished ones."""
        self._builder.finalize()

    def _place(self, field: Field, shape: tuple[int, ...]) -> Field:
        for part, is_gradient in ((field, False), (field.grad, True)):
            if not shape:
                self._builder.place(part)
                continue
            if (shape, is_gradient) not in self._nodes:
                node = self._builder.dense(_AXES[len(shape) - 1], shape)
                self._nodes[shape, is_gradient] = node
            self._nodes[shape, is_gradient].place(part)
        return field


@dataclass(frozen=True, eq=False)
class CameraFields:
    """Perspective cameras as `Camera.look_at` takes them; all fields have gradients."""

    eye: Field
    """World coordinates. [B] vectors of 3"""
    at: Field
    """Point in the image's centre, in world coordinates. [B] vectors of 3"""
    up: Field
    """World direction that points up in the image. [B] vectors of 3"""
    fov: Field
    """Full vertical field of view, in degrees. [B]"""

    def look_at(
        self,
        view: int,
        eye: Sequence[float],
        at: Sequence[float] = (0.0, 0.0, 0.0),
        up: Sequence[float] = (0.0, 1.0, 0.0),
        fov: float = 60.0,
    ) -> None:
        """Set one view's camera; not to be differentiated through."""
        self.eye[view], self.at[view], self.up[view] = list(eye), list(at), list(up)
        self.fov[view] = fov


@dataclass(frozen=True, eq=False)
class LightFields:
    """Ambient light and one directional light, as `Light`; 0-d fields with gradients."""

    ambient_intensity: Field
    ambient_color: Field
    """Red, green, blue."""
    directional_intensity: Field
    directional_color: Field
    """Red, green, blue."""
    direction: Field
    """World direction *towards* the light, of any length above zero."""

    @classmethod
    def make(cls, fields: Fields) -> "LightFields":
        """Make the fields of one light."""
        number, color = fields.scalar, fields.vector
        return cls(number(()), color(3, ()), number(()), color(3, ()), color(3, ()))

    def set(
        self,
        ambient_intensity: float = 0.5,
        ambient_color: Sequence[float] = (1.0, 1.0, 1.0),
        directional_intensity: float = 0.5,
        directional_color: Sequence[float] = (1.0, 1.0, 1.0),
        direction: Sequence[float] = (0.3, 1.0, 0.6),
    ) -> None:
        """Set the light, by default as `Light()`; not to be differentiated through."""
        self.ambient_intensity[None] = ambient_intensity
        self.ambient_color[None] = list(ambient_color)
        self.directional_intensity[None] = directional_intensity
        self.directional_color[None] = list(directional_color)
        self.direction[None] = list(direction)

    def all(self) -> tuple[Field, ...]:
        """Return the fields in the order of kernels."""
        return (
            self.ambient_intensity,
            self.ambient_color,
            self.directional_intensity,
            self.directional_color,
            self.direction,
        )


def check_vectors(name: str, field: Field, n: int | None, axes: str) -> None:
    """Refuse what is not a field of float vectors over one or two axes.

    Args:
        name: The argument's name, as the caller wrote it.
        field: What was given.
        n: Components of a vector; None accepts 1 to 8.
        axes: Accepted shapes, for the message.

    Raises:
        ArgumentError: Not a field, a scalar field, or the wrong dtype.
        ShapeError: The wrong number of components or axes.
    """
    want = f"a ti.Vector.field({n or 'channels'}, ti.f32 or ti.f64, shape={axes})"
    if not isinstance(field, ti.Field):
        kind = type(field).__name__
        remedy = (
            "; copy it into one with from_numpy or from_torch" if hasattr(field, "shape") else ""
        )
        raise ArgumentError(f"`{name}` must be {want}, got {kind}{remedy}.")
    if not isinstance(field, ti.MatrixField) or field.ndim != 1:
        kind = (
            f"a matrix field of {field.n} x {field.m}" if hasattr(field, "m") else "a scalar field"
        )
        raise ArgumentError(f"`{name}` must be {want}, got {kind}.")
    if field.snode.ptr is None:
        raise ArgumentError(f"`{name}` must be {want}, got a field that is not placed yet.")
    if field.dtype not in (ti.f32, ti.f64):
        raise ArgumentError(f"`{name}` must be {want}, got dtype {field.dtype.to_string()}.")
    if field.n != n and not (n is None and 1 <= field.n <= 8):
        raise ShapeError(f"`{name}` must be {want}, got vectors of {field.n}.")
    if len(field.shape) not in (1, 2) or 0 in field.shape:
        raise ShapeError(f"`{name}` must be {want}, got shape {tuple(field.shape)}.")


def float_type(field: Field) -> Any:
    """Return ti.f32 or ti.f64, themselves: kernels take no equal objects."""
    return ti.f64 if field.dtype == ti.f64 else ti.f32


def has_gradient(field: Field) -> bool:
    """Tell whether a placed field was made with needs_grad=True."""
    return bool(field.snode.ptr.has_adjoint())

"""What a renderer is made for: checked once, with a sentence for each mistake."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import taichi as ti

from taichi_softras.errors import ArgumentError, ShapeError, check_choice, check_shape
from taichi_softras.settings import RasterSettings
from taichi_softras.tape.fields import Field, check_vectors, float_type

MAX_CHANNELS = 8
"""Channels of one rasterizer kernel."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How many of everything, and what does not change."""

    views: int  # B
    vertices: int  # V
    faces: int  # F
    channels: int  # C; 0 without colour
    vertex_sets: int  # S: 1, or B
    color_sets: int  # 1, or B
    shown_sets: int  # A, sets of colours after lighting: 1, or B
    lit: bool
    size: tuple[int, int]
    dtype: Any
    triangles: Any  # [F, 3] NumPy int32
    background: Any  # [1, C] NumPy

    @property
    def points(self) -> int:
        """Vertices of all sets."""
        return self.vertex_sets * self.vertices

    @property
    def dtype_name(self) -> str:
        """The dtype as `runtime.taichi_dtype` takes it."""
        return "float64" if self.dtype == ti.f64 else "float32"

    @property
    def view_table(self) -> Any:
        """First corner record, first attribute record and faces of each view. [B, 3]."""
        first = np.arange(self.views, dtype=np.int32) * self.faces
        attributes = first if self.shown_sets > 1 else np.zeros_like(first)
        return np.stack([first, attributes, np.full_like(first, self.faces)], 1)


def layout_of(
    *,
    faces: Any,
    n_vertices: int | None,
    vertices: Field | None,
    colors: Field | None,
    size: int | tuple[int, int],
    views: int,
    channels: int,
    settings: RasterSettings,
    background: float | Sequence[float],
    lit: bool,
    dtype: str,
) -> Layout:
    """Check the arguments of `Renderer`."""
    views = _count("views", views)
    ti_dtype = _dtype(dtype, vertices=vertices, colors=colors)
    n_vertices = _vertex_count(n_vertices, vertices)
    if settings.color == "none":
        if colors is not None or lit:
            given = "`colors`" if colors is not None else "`lit`"
            raise ArgumentError(f"{given} cannot be given with color='none', which draws none.")
        channels = 0
    elif colors is not None:
        check_vectors("colors", colors, None, "V or (B, V)")
        channels = colors.n
    elif not 1 <= _count("channels", channels) <= MAX_CHANNELS:
        raise ArgumentError(f"`channels` must be 1 to {MAX_CHANNELS}, got {channels}.")
    if lit and channels not in (3, 4):
        raise ArgumentError(f"`lit` needs 3 or 4 channels of colour, got {channels}.")
    vertex_sets = _sets("vertices", vertices, views, n_vertices)
    color_sets = _sets("colors", colors, views, n_vertices)
    triangles = _triangles(faces, n_vertices)
    return Layout(
        views=views,
        vertices=n_vertices,
        faces=len(triangles),
        channels=channels,
        vertex_sets=vertex_sets,
        color_sets=color_sets,
        shown_sets=max(vertex_sets, color_sets) if lit else color_sets,
        lit=lit,
        size=_size(size),
        dtype=ti_dtype,
        triangles=triangles,
        background=_background(background, channels, ti_dtype),
    )


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ArgumentError(f"`{name}` must be a positive integer, got {value!r}.")
    return int(value)


def _size(size: Any) -> tuple[int, int]:
    if isinstance(size, tuple | list) and len(size) == 2:
        return _count("size[0]", size[0]), _count("size[1]", size[1])
    side = _count("size", size)
    return side, side


def _dtype(name: str, **fields: Field | None) -> Any:
    """Return the dtype of the fields that were given, else the named one."""
    check_choice("dtype", name, ("float32", "float64"))
    given: dict[str, Any] = {}
    for argument, field in fields.items():
        if field is not None:
            check_vectors(argument, field, 3 if argument == "vertices" else None, "V or (B, V)")
            given[argument] = float_type(field)
    if len(set(given.values())) > 1:
        said = ", ".join(f"`{k}` {v.to_string()}" for k, v in given.items())
        raise ArgumentError(f"Fields must have one dtype, got {said}.")
    return next(iter(given.values()), ti.f64 if name == "float64" else ti.f32)


def _vertex_count(n_vertices: int | None, vertices: Field | None) -> int:
    if vertices is None:
        if n_vertices is None:
            raise ArgumentError("`n_vertices` must be given where `vertices` is not.")
        return _count("n_vertices", n_vertices)
    count = int(vertices.shape[-1])
    if n_vertices is not None and n_vertices != count:
        raise ShapeError(
            f"`n_vertices` must be that of `vertices` {tuple(vertices.shape)}, got {n_vertices}."
        )
    return count


def _sets(name: str, field: Field | None, views: int, n_vertices: int) -> int:
    """Return how many sets of vertices or colours a field holds: 1, or one for each view."""
    if field is None:
        return 1
    shape = tuple(field.shape)
    if shape not in ((n_vertices,), (views, n_vertices)):
        raise ShapeError(
            f"`{name}` must have shape ({n_vertices},) or ({views}, {n_vertices}): vertices, or "
            f"views and vertices; got {shape}."
        )
    return shape[0] if len(shape) == 2 else 1


def _triangles(faces: Any, n_vertices: int) -> Any:
    array = np.asarray(faces)
    if array.dtype.kind not in "iu":
        raise ArgumentError(f"`faces` must be integers, got {array.dtype}.")
    check_shape("faces", array.shape, "F 3")
    if not len(array):
        raise ShapeError("`faces` must hold at least one face, got none.")
    if array.min() < 0 or array.max() >= n_vertices:
        raise ArgumentError(
            f"`faces` must name vertices 0 to {n_vertices - 1}, got {array.min()} to {array.max()}."
        )
    return np.ascontiguousarray(array, np.int32)


def _background(background: Any, channels: int, dtype: Any) -> Any:
    """Return one row [1, C], or [1, 1] where there is no colour to put it behind."""
    row = np.asarray(background, np.float64 if dtype == ti.f64 else np.float32)
    if row.ndim > 1 or (row.ndim == 1 and row.shape[0] != channels):
        raise ShapeError(
            f"`background` must be a number or have shape [{channels}], got {list(row.shape)}."
        )
    if not np.isfinite(row).all():
        raise ArgumentError("`background` must be finite, got NaN or infinite values.")
    return np.ascontiguousarray(np.broadcast_to(row, (1, max(channels, 1))))

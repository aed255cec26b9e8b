"""From the world into the image: poses and lenses, batched, indexed and applied to points."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from taichi_softras.distortion import COEFFICIENTS, distort
from taichi_softras.errors import ArgumentError, ShapeError, check_shape
from taichi_softras.intrinsics import Size, check_size, pixels_from_half_heights
from taichi_softras.transforms import check_finite, rigid_inverse, transform_points

# Depth at which points in the eye's own plane are projected, so that no 1/0 reaches a gradient.
_SMALLEST_DEPTH = 1e-12

Self = TypeVar("Self", bound="Projection")


@dataclass(frozen=True, kw_only=True, eq=False)
class Projection:
    """What a `Camera` is and does; only how one is built is not here.

    World: right-handed, y up. View: OpenCV's axes, x right, y down, z forward (the depth).
    Half image heights as the unit keep the vertical field of view whatever the aspect ratio.
    """

    view_from_world: Tensor
    """Rigid transforms. [B, 4, 4]"""
    focal: Tensor
    """Focal lengths (x, y) in half image heights; orthographic: half image heights per world
    unit. [B, 2]"""
    center: Tensor
    """Principal point in half image heights from the image's centre, x right, y up. [B, 2]"""
    orthographic: bool = False
    """Project along parallel rays instead of towards the eye."""
    image_size: tuple[int, int] | None = None
    """Height and width that the intrinsics came from: what `render` uses by default."""
    distortion: Tensor | None = None
    """How the lens bends rays, by OpenCV's k1, k2, p1, p2, k3, k4, k5, k6; straight if None.
    Vertices are moved, and edges between them stay straight. [B, 8]"""

    def __post_init__(self) -> None:
        """Refuse what is not a camera, naming the field."""
        check_shape("view_from_world", self.view_from_world.shape, "B 4 4")
        axes = {"view_from_world": 0, "focal": 2, "center": 2, "distortion": COEFFICIENTS}
        for name, length in axes.items():
            value: Tensor | None = getattr(self, name)
            if value is None:
                continue
            if length:
                check_shape(name, value.shape, f"{len(self)} {length}")
            if value.dtype != self.view_from_world.dtype or not value.is_floating_point():
                raise ArgumentError(
                    f"`{name}` must be floating point like `view_from_world` "
                    f"({self.view_from_world.dtype}), got {value.dtype}."
                )
            check_finite(name, value)
        if not bool((self.focal > 0.0).all()):
            raise ArgumentError(f"`focal` must be positive, got {self.focal.detach().tolist()}.")
        if self.distortion is not None and self.orthographic:
            raise ArgumentError("`distortion` bends rays through an eye; orthographic has none.")
        if self.image_size is not None:
            object.__setattr__(self, "image_size", check_size("image_size", self.image_size))

    def __len__(self) -> int:
        return self.view_from_world.shape[0]

    def __getitem__(self: Self, index: int | slice | Sequence[int] | Tensor) -> Self:
        """Select cameras; an integer keeps the batch axis, with one camera on it."""
        if isinstance(index, int):
            if not -len(self) <= index < len(self):
                raise IndexError(f"Camera {index} of {len(self)}.")
            index = [index % len(self)]
        elif not isinstance(index, slice | Tensor):
            index = list(index)
        if isinstance(index, Tensor) and index.ndim == 0:
            index = index[None]
        return self._each(lambda value: value[index])

    def __iter__(self: Self) -> Iterator[Self]:
        return (self[i] for i in range(len(self)))

    def _each(self: Self, change: Callable[[Tensor], Tensor]) -> Self:
        """Change every field that has a batch axis."""
        return replace(
            self,
            view_from_world=change(self.view_from_world),
            focal=change(self.focal),
            center=change(self.center),
            distortion=None if self.distortion is None else change(self.distortion),
        )

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of all fields."""
        return self.view_from_world.dtype

    @property
    def device(self) -> torch.device:
        """Device of all fields."""
        return self.view_from_world.device

    @property
    def eye(self) -> Tensor:
        """Eyes in world coordinates. [B, 3]."""
        return rigid_inverse(self.view_from_world)[:, :3, 3]

    @property
    def world_from_camera_opengl(self) -> Tensor:
        """Camera-to-world matrices with OpenGL's axes, the inverse of `from_opengl`. [B, 4, 4]."""
        pose = rigid_inverse(self.view_from_world)
        return pose @ opengl_from_opencv(pose)

    def to(self: Self, *args: Any, **kwargs: Any) -> Self:
        """Move to a device or floating-point dtype: the arguments of `torch.Tensor.to`."""
        return self._each(lambda value: value.to(*args, **kwargs))

    def to_matrices(self, image_size: Size | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return OpenCV's matrices K, R, t, as `from_matrices` takes them beside `distortion`.

        Args:
            image_size: (height, width) in pixels; by default the camera's own.

        Returns:
            K [B, 3, 3] in pixels, R [B, 3, 3] and t [B, 3] into view coordinates.
        """
        height, width = self._size("image_size", image_size)
        K = pixels_from_half_heights(self.focal, self.center, (height, width))
        return K, self.view_from_world[:, :3, :3], self.view_from_world[:, :3, 3]

    def view_from_points(self, points_world: Tensor) -> Tensor:
        """Bring world points into view space.

        Args:
            points_world: World coordinates, shared by all views or one set for each; a single
                camera sees every set. [V, 3] or [B, V, 3]

        Returns:
            x right, y down, z forward from the eye; the wider dtype of both. [B, V, 3]
        """
        shape = list(points_world.shape)
        fits = points_world.ndim == 2 or (
            points_world.ndim == 3 and (len(self) == 1 or shape[0] in (1, len(self)))
        )
        if not fits or shape[-1] != 3:
            raise ShapeError(
                f"`points_world` must have shape [V, 3] or [{len(self)}, V, 3], got {shape}."
            )
        if points_world.device != self.device:
            raise ArgumentError(
                f"`points_world` is on {points_world.device} but the camera on {self.device}; "
                "move one of them with .to(device)."
            )
        dtype = torch.promote_types(points_world.dtype, self.dtype)
        return transform_points(self.view_from_world.to(dtype), points_world.to(dtype))

    def ndc_from_view(self, points_view: Tensor, size: Size | None = None) -> Tensor:
        """Project view points to normalised device coordinates.

        Args:
            points_view: x right, y down, z forward from the eye. [B, ..., 3]
            size: (height, width) of the image, or the side of a square one.

        Returns:
            (x right, y up, view depth), x and y in [-1, 1] over the shorter image side. Points
            in the plane of a perspective eye go very far away, without NaN. [B, ..., 3]
        """
        height, width = self._size("size", size)
        scaled = self._half_heights_from_view(points_view) * (height / min(height, width))
        return torch.cat([scaled, points_view[..., 2:]], dim=-1)

    def pixels_from_points(self, points_world: Tensor, size: Size | None = None) -> Tensor:
        """Project world points to pixels (u right, v down) from the image's top left corner.

        Args:
            points_world: World coordinates. [V, 3] or [B, V, 3]
            size: (height, width) of the image, or the side of a square one.

        Returns:
            The centre of the pixel in row r and column c is (c + 0.5, r + 0.5). [B, V, 2]
        """
        height, width = self._size("size", size)
        x, y = self._half_heights_from_view(self.view_from_points(points_world)).unbind(dim=-1)
        return torch.stack([0.5 * (width + x * height), 0.5 * (height - y * height)], dim=-1)

    def _half_heights_from_view(self, points_view: Tensor) -> Tensor:
        x, y, z = points_view.unbind(dim=-1)
        if not self.orthographic:
            z = torch.where(z.abs() < _SMALLEST_DEPTH, torch.full_like(z, _SMALLEST_DEPTH), z)
            x, y = x / z, y / z
        if self.distortion is not None:
            x, y = distort(torch.stack([x, y], dim=-1), self.distortion.to(x)).unbind(dim=-1)
        spread = (-1,) + (1,) * (x.ndim - 1)
        fx, fy = (f.reshape(spread) for f in self.focal.unbind(dim=-1))
        cx, cy = (c.reshape(spread) for c in self.center.unbind(dim=-1))
        return torch.stack([fx * x + cx, cy - fy * y], dim=-1)

    def _size(self, name: str, size: Size | None) -> tuple[int, int]:
        if size is not None:
            return check_size(name, size)
        if self.image_size is None:
            raise ArgumentError(f"`{name}` must be given: this camera has no `image_size`.")
        return self.image_size


def opengl_from_opencv(like: Tensor) -> Tensor:
    """Flip y and z: between OpenGL's view axes and OpenCV's, either way. [4, 4]."""
    return torch.diag(like.new_tensor([1.0, -1.0, -1.0, 1.0]))

"""Cameras: where the eye is, and how view space becomes the image. Nothing mirrors."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from taichi_softras.errors import ArgumentError, ShapeError, check_shape
from taichi_softras.intrinsics import (
    Size,
    check_size,
    half_heights_from_pixels,
    pixels_from_half_heights,
)
from taichi_softras.transforms import (
    check_finite,
    check_rotation,
    normalize,
    promote_batch,
    rigid,
    rigid_inverse,
    rotation_looking_along,
    transform_points,
)

Numbers = float | Sequence[float] | Tensor

# Depth at which points in the eye's own plane are projected, so that no 1/0 reaches a gradient.
_SMALLEST_DEPTH = 1e-12


@dataclass(frozen=True, kw_only=True, eq=False)
class Camera:
    """A batch of B cameras; everything is differentiable in every tensor.

    World: right-handed, y up. View: OpenCV's axes, x right, y down, z forward (the depth).
    Half image heights as the unit keep the vertical field of view whatever the aspect ratio.
    Build one with `orbit`, `look_at`, `look`, `from_matrices` or `from_opengl`; the module
    `camera_conventions` reads and writes those of other libraries.
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

    def __post_init__(self) -> None:
        """Refuse what is not a camera, naming the field."""
        check_shape("view_from_world", self.view_from_world.shape, "B 4 4")
        views = len(self)
        for name in ("view_from_world", "focal", "center"):
            value: Tensor = getattr(self, name)
            if name != "view_from_world":
                check_shape(name, value.shape, f"{views} 2")
            if value.dtype != self.view_from_world.dtype or not value.is_floating_point():
                raise ArgumentError(
                    f"`{name}` must be floating point like `view_from_world` "
                    f"({self.view_from_world.dtype}), got {value.dtype}."
                )
            check_finite(name, value)
        if not bool((self.focal > 0.0).all()):
            raise ArgumentError(f"`focal` must be positive, got {self.focal.detach().tolist()}.")
        if self.image_size is not None:
            object.__setattr__(self, "image_size", check_size("image_size", self.image_size))

    @staticmethod
    def orbit(
        distance: Numbers,
        elevation: Numbers,
        azimuth: Numbers,
        fov: Numbers = 60.0,
        *,
        at: Sequence[float] | Tensor = (0.0, 0.0, 0.0),
        orthographic_height: Numbers | None = None,
        image_size: Size | None = None,
    ) -> "Camera":
        """Look at a point from a sphere round it; any elevation works, the poles included.

        The eye is at + distance (cos e sin a, sin e, cos e cos a): azimuth 0 looks from +z
        towards -z, azimuth 90 from +x, and a larger elevation is higher.

        Args:
            distance: World units from `at`. [] or [B]
            elevation: Degrees above the horizon. [] or [B]
            azimuth: Degrees about the y axis. [] or [B]
            fov: Full vertical field of view, in degrees. [] or [B]
            at: Point in the image's centre, in world coordinates. [3] or [B, 3]
            orthographic_height: World units that the image is high; replaces `fov`. [] or [B]
            image_size: Default size of renders, (height, width) or the side of a square.
        """
        distance, elevation, azimuth, at, scale = promote_batch(
            distance=(distance, ""),
            elevation=(elevation, ""),
            azimuth=(azimuth, ""),
            at=(at, "3"),
            **_scale_argument(fov, orthographic_height),
        )
        if bool((distance < 0.0).any()):
            raise ArgumentError(f"`distance` must not be negative, got {float(distance.min())}.")
        e, a = elevation * (math.pi / 180.0), azimuth * (math.pi / 180.0)
        back = torch.stack([e.cos() * a.sin(), e.sin(), e.cos() * a.cos()], dim=-1)
        down = torch.stack([e.sin() * a.sin(), -e.cos(), e.sin() * a.cos()], dim=-1)
        right = torch.stack([a.cos(), torch.zeros_like(a), -a.sin()], dim=-1)
        rotation = torch.stack([right, down, -back], dim=-2)
        eye = at + distance[:, None] * back
        return _posed(rotation, eye, scale, orthographic_height is not None, image_size)

    @staticmethod
    def look_at(
        eye: Sequence[float] | Tensor,
        at: Sequence[float] | Tensor = (0.0, 0.0, 0.0),
        up: Sequence[float] | Tensor = (0.0, 1.0, 0.0),
        fov: Numbers = 60.0,
        *,
        orthographic_height: Numbers | None = None,
        image_size: Size | None = None,
    ) -> "Camera":
        """Look from `eye` to `at`.

        Args:
            eye: World coordinates. [3] or [B, 3]
            at: Point in the image's centre, in world coordinates. [3] or [B, 3]
            up: World direction that points up in the image. [3] or [B, 3]
            fov: Full vertical field of view, in degrees. [] or [B]
            orthographic_height: World units that the image is high; replaces `fov`. [] or [B]
            image_size: Default size of renders, (height, width) or the side of a square.

        Raises:
            ArgumentError: `eye` equals `at`, or `up` is parallel to the line of sight.
        """
        eye, at, up, scale = promote_batch(
            eye=(eye, "3"), at=(at, "3"), up=(up, "3"), **_scale_argument(fov, orthographic_height)
        )
        forward = at - eye
        if bool((forward == 0.0).all(dim=-1).any()):
            raise ArgumentError("`eye` and `at` must differ: there is no direction to look in.")
        rotation = _looking_along("at - eye", forward, up)
        return _posed(rotation, eye, scale, orthographic_height is not None, image_size)

    @staticmethod
    def look(
        eye: Sequence[float] | Tensor,
        direction: Sequence[float] | Tensor = (0.0, 0.0, -1.0),
        up: Sequence[float] | Tensor = (0.0, 1.0, 0.0),
        fov: Numbers = 60.0,
        *,
        orthographic_height: Numbers | None = None,
        image_size: Size | None = None,
    ) -> "Camera":
        """Look from `eye` along `direction`, of any length above zero. [3] or [B, 3].

        The other arguments and the errors are those of `look_at`.
        """
        eye, forward, up, scale = promote_batch(
            eye=(eye, "3"), direction=(direction, "3"), up=(up, "3"),
            **_scale_argument(fov, orthographic_height),
        )  # fmt: skip
        if bool((forward == 0.0).all(dim=-1).any()):
            raise ArgumentError("`direction` must not be zero.")
        rotation = _looking_along("direction", forward, up)
        return _posed(rotation, eye, scale, orthographic_height is not None, image_size)

    @staticmethod
    def from_matrices(
        *,
        K: Any,
        R: Any,
        t: Any,
        image_size: Size,
        orthographic: bool = False,
    ) -> "Camera":
        """Take OpenCV's matrices: x_view = R x_world + t, u = fx x/z + cx, v = fy y/z + cy.

        Pixels are measured from the image's top left *corner*: the pixel in row r and column c
        has its centre at (u, v) = (c + 0.5, r + 0.5), as in COLMAP and NeRF. OpenCV's own
        calibration puts it at (c, r): add 0.5 to such a cx and cy.

        Args:
            K: Intrinsics in pixels, without skew. [3, 3] or [B, 3, 3]
            R: Rotation `view_from_world`, into x right, y down, z forward. [3, 3] or [B, 3, 3]
            t: World origin in view coordinates, in world units. [3] or [B, 3]
            image_size: (height, width) in pixels that K belongs to.
            orthographic: Read u = fx x + cx instead, fx in pixels per world unit.

        Raises:
            ArgumentError: K has skew or R is not a rotation.
        """
        intrinsics, rotation, translation = promote_batch(K=(K, "3 3"), R=(R, "3 3"), t=(t, "3"))
        check_rotation("R", rotation)
        size = check_size("image_size", image_size)
        focal, center = half_heights_from_pixels(intrinsics, size)
        return Camera(
            view_from_world=rigid(rotation, translation),
            focal=focal,
            center=center,
            orthographic=orthographic,
            image_size=size,
        )

    @staticmethod
    def from_opengl(
        camera_to_world: Any,
        *,
        fov: Numbers | None = None,
        K: Any = None,
        image_size: Size | None = None,
    ) -> "Camera":
        """Take camera-to-world matrices with OpenGL's axes, as in NeRF's `transforms.json`.

        Args:
            camera_to_world: Rigid; camera axes x right, y up, z backward. [4, 4] or [B, 4, 4]
            fov: Full *vertical* field of view, in degrees (`camera_angle_x` there is horizontal
                and in radians). [] or [B]
            K: Intrinsics in pixels, as for `from_matrices`; instead of `fov`.
            image_size: (height, width) in pixels; K needs it.
        """
        if (fov is None) == (K is None):
            raise ArgumentError("Give either `fov` or `K` (with `image_size`), not both.")
        if fov is None and image_size is None:
            raise ArgumentError("`image_size` must be given with `K`, whose unit is the pixel.")
        lens = {"K": (K, "3 3")} if fov is None else {"fov": (fov, "")}
        pose, lens_values = promote_batch(camera_to_world=(camera_to_world, "4 4"), **lens)
        check_rotation("camera_to_world[:3, :3]", pose[:, :3, :3])
        view_from_world = rigid_inverse(pose @ _opengl_from_opencv(pose))
        if image_size is None or fov is not None:
            rotation, eye = view_from_world[:, :3, :3], pose[:, :3, 3]
            return _posed(rotation, eye, lens_values, False, image_size)
        size = check_size("image_size", image_size)
        focal, center = half_heights_from_pixels(lens_values, size)
        return Camera(view_from_world=view_from_world, focal=focal, center=center, image_size=size)

    @staticmethod
    def concatenate(cameras: Sequence["Camera"]) -> "Camera":
        """Join batches into one; `image_size` is kept where all agree and dropped otherwise."""
        if not cameras:
            raise ArgumentError("`cameras` must hold at least one camera.")
        if len({camera.orthographic for camera in cameras}) > 1:
            raise ArgumentError("`cameras` must be all perspective or all orthographic.")
        sizes = {camera.image_size for camera in cameras}
        return Camera(
            view_from_world=torch.cat([camera.view_from_world for camera in cameras]),
            focal=torch.cat([camera.focal for camera in cameras]),
            center=torch.cat([camera.center for camera in cameras]),
            orthographic=cameras[0].orthographic,
            image_size=sizes.pop() if len(sizes) == 1 else None,
        )

    def __len__(self) -> int:
        return self.view_from_world.shape[0]

    def __getitem__(self, index: int | slice | Sequence[int] | Tensor) -> "Camera":
        """Select cameras; an integer keeps the batch axis, with one camera on it."""
        if isinstance(index, int):
            if not -len(self) <= index < len(self):
                raise IndexError(f"Camera {index} of {len(self)}.")
            index = [index % len(self)]
        elif not isinstance(index, slice | Tensor):
            index = list(index)
        if isinstance(index, Tensor) and index.ndim == 0:
            index = index[None]
        return Camera(
            view_from_world=self.view_from_world[index],
            focal=self.focal[index],
            center=self.center[index],
            orthographic=self.orthographic,
            image_size=self.image_size,
        )

    def __iter__(self) -> Iterator["Camera"]:
        return (self[i] for i in range(len(self)))

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
        return pose @ _opengl_from_opencv(pose)

    def to(self, *args: Any, **kwargs: Any) -> "Camera":
        """Move to a device or floating-point dtype: the arguments of `torch.Tensor.to`."""
        return Camera(
            view_from_world=self.view_from_world.to(*args, **kwargs),
            focal=self.focal.to(*args, **kwargs),
            center=self.center.to(*args, **kwargs),
            orthographic=self.orthographic,
            image_size=self.image_size,
        )

    def to_matrices(self, image_size: Size | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return OpenCV's matrices K, R, t, as `from_matrices` takes them.

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


def _scale_argument(fov: Any, orthographic_height: Any) -> dict[str, tuple[Any, str]]:
    """Name the one of the two that sets the image's scale, as an argument of `promote_batch`."""
    if orthographic_height is None:
        return {"fov": (fov, "")}
    return {"orthographic_height": (orthographic_height, "")}


def _looking_along(name: str, forward: Tensor, up: Tensor) -> Tensor:
    """Build `view_from_world` rotations, or say that `up` fits no line of sight. [B, 3, 3]."""
    lean = torch.linalg.cross(normalize(forward), normalize(up), dim=-1)
    if bool((lean.detach().norm(dim=-1) < 1e-5).any()):
        raise ArgumentError(
            f"`up` must not be zero or parallel to the line of sight `{name}`; give another "
            "`up`, or use Camera.orbit, which works at the poles."
        )
    return rotation_looking_along(forward, up)


def _posed(
    rotation: Tensor, eye: Tensor, scale: Tensor, orthographic: bool, image_size: Size | None
) -> Camera:
    """Build a camera from a rotation, an eye and a field of view or an orthographic height."""
    if orthographic:
        if not bool((scale > 0.0).all()):
            raise ArgumentError(f"`orthographic_height` must be positive, got {scale.tolist()}.")
        focal = 2.0 / scale
    else:
        if not bool(((scale > 0.0) & (scale < 180.0)).all()):
            raise ArgumentError(f"`fov` must lie between 0 and 180 degrees, got {scale.tolist()}.")
        focal = 1.0 / (scale * (math.pi / 360.0)).tan()
    return Camera(
        view_from_world=rigid(rotation, -(rotation @ eye[..., None])[..., 0]),
        focal=torch.stack([focal, focal], dim=-1),
        center=torch.zeros_like(eye[:, :2]),
        orthographic=orthographic,
        image_size=None if image_size is None else check_size("image_size", image_size),
    )


def _opengl_from_opencv(like: Tensor) -> Tensor:
    """Flip y and z: the map between OpenGL's and OpenCV's camera axes, its own inverse. [4, 4]."""
    return torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=like.dtype, device=like.device))

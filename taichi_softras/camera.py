"""Cameras: where the eye is, and how view space becomes the image. Nothing mirrors."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from taichi_softras.distortion import COEFFICIENTS, pad_coefficients
from taichi_softras.errors import ArgumentError
from taichi_softras.intrinsics import Size, check_size, half_heights_from_pixels
from taichi_softras.projection import Projection, opengl_from_opencv
from taichi_softras.transforms import (
    check_rotation,
    normalize,
    promote,
    promote_batch,
    rigid,
    rigid_inverse,
    rotation_looking_along,
)

Numbers = float | Sequence[float] | Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Camera(Projection):
    """A batch of B cameras; everything is differentiable in every tensor.

    Build one with `orbit`, `look_at`, `look`, `from_matrices`, `from_opengl` or
    `weak_perspective`; the module `camera_conventions` reads and writes those of other libraries.
    The fields, the frames and what a camera does with points are those of `Projection`.
    """

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
        distortion: Any = None,
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
            distortion: OpenCV's coefficients k1, k2, p1, p2 (, k3 (, k4, k5, k6)) of the lens.
                [4], [5] or [8], or one row a camera

        Raises:
            ArgumentError: K has skew or R is not a rotation, or orthographic with distortion.
        """
        intrinsics, rotation, translation, *bend = promote_batch(
            K=(K, "3 3"), R=(R, "3 3"), t=(t, "3"), **_distortion_argument(distortion)
        )
        check_rotation("R", rotation)
        size = check_size("image_size", image_size)
        focal, center = half_heights_from_pixels(intrinsics, size)
        return Camera(
            view_from_world=rigid(rotation, translation),
            focal=focal,
            center=center,
            orthographic=orthographic,
            image_size=size,
            distortion=pad_coefficients("distortion", bend[0]) if bend else None,
        )

    @staticmethod
    def weak_perspective(
        scale: Numbers,
        translation: Sequence[float] | Tensor = (0.0, 0.0),
        *,
        R: Any = ((1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, -1.0)),
        depth: Numbers = 10.0,
        image_size: Size | None = None,
    ) -> "Camera":
        """Take a scaled orthographic camera: x_image = scale * (R x_world)[:2] + translation.

        x_image counts from the image's centre, x right, y *down*, in half image heights. The
        camera [s, tx, ty] of s (x + t), as body models have it, has the translation s * t.

        Args:
            scale: Half image heights per world unit; focal length over mean depth. [] or [B]
            translation: Where the world's origin is seen. [2] or [B, 2]
            R: Rotation `view_from_world`, into x right, y down, z forward; by default the eye
                looks along -z, with y up, as that of `orbit(azimuth=0)`. [3, 3] or [B, 3, 3]
            depth: View depth of the world's origin, to be chosen between `near` and `far`; it
                moves nothing in the image. [] or [B]
            image_size: Default size of renders, (height, width) or the side of a square.
        """
        scale, offset, rotation, depth = promote_batch(
            scale=(scale, ""), translation=(translation, "2"), R=(R, "3 3"), depth=(depth, "")
        )
        check_rotation("R", rotation)
        if not bool((scale > 0.0).all()):
            raise ArgumentError(f"`scale` must be positive, got {scale.detach().tolist()}.")
        zero = torch.zeros_like(depth)
        return Camera(
            view_from_world=rigid(rotation, torch.stack([zero, zero, depth], dim=-1)),
            focal=torch.stack([scale, scale], dim=-1),
            center=offset * offset.new_tensor([1.0, -1.0]),
            orthographic=True,
            image_size=None if image_size is None else check_size("image_size", image_size),
        )

    @staticmethod
    def from_opengl(
        camera_to_world: Any,
        *,
        fov: Numbers | None = None,
        K: Any = None,
        image_size: Size | None = None,
        distortion: Any = None,
    ) -> "Camera":
        """Take camera-to-world matrices with OpenGL's axes, as in NeRF's `transforms.json`.

        Args:
            camera_to_world: Rigid; camera axes x right, y up, z backward. [4, 4] or [B, 4, 4]
            fov: Full *vertical* field of view, in degrees (`camera_angle_x` there is horizontal
                and in radians). [] or [B]
            K: Intrinsics in pixels, as for `from_matrices`; instead of `fov`.
            image_size: (height, width) in pixels; K needs it.
            distortion: Coefficients of the lens, as for `from_matrices`.
        """
        if (fov is None) == (K is None):
            raise ArgumentError("Give either `fov` or `K` (with `image_size`), not both.")
        if fov is None and image_size is None:
            raise ArgumentError("`image_size` must be given with `K`, whose unit is the pixel.")
        lens = {"K": (K, "3 3")} if fov is None else {"fov": (fov, "")}
        pose, lens_values, *bend = promote_batch(
            camera_to_world=(camera_to_world, "4 4"), **lens, **_distortion_argument(distortion)
        )
        check_rotation("camera_to_world[:3, :3]", pose[:, :3, :3])
        view_from_world = rigid_inverse(pose @ opengl_from_opencv(pose))
        if image_size is None or fov is not None:
            rotation, eye = view_from_world[:, :3, :3], pose[:, :3, 3]
            camera = _posed(rotation, eye, lens_values, False, image_size)
        else:
            size = check_size("image_size", image_size)
            focal, center = half_heights_from_pixels(lens_values, size)
            camera = Camera(
                view_from_world=view_from_world, focal=focal, center=center, image_size=size
            )
        if not bend:
            return camera
        return replace(camera, distortion=pad_coefficients("distortion", bend[0]))

    @staticmethod
    def concatenate(cameras: Sequence["Camera"]) -> "Camera":
        """Join batches into one; `image_size` is kept where all agree and dropped otherwise."""
        if not cameras:
            raise ArgumentError("`cameras` must hold at least one camera.")
        if len({camera.orthographic for camera in cameras}) > 1:
            raise ArgumentError("`cameras` must be all perspective or all orthographic.")
        sizes = {camera.image_size for camera in cameras}
        bent = any(camera.distortion is not None for camera in cameras)
        return Camera(
            view_from_world=torch.cat([camera.view_from_world for camera in cameras]),
            focal=torch.cat([camera.focal for camera in cameras]),
            center=torch.cat([camera.center for camera in cameras]),
            orthographic=cameras[0].orthographic,
            image_size=sizes.pop() if len(sizes) == 1 else None,
            distortion=torch.cat([_or_straight(camera) for camera in cameras]) if bent else None,
        )


def _or_straight(camera: Camera) -> Tensor:
    """Coefficients of a lens, zero where it bends nothing. [B, 8]."""
    straight = camera.focal.new_zeros((len(camera), COEFFICIENTS))
    return straight if camera.distortion is None else camera.distortion


def _distortion_argument(distortion: Any) -> dict[str, tuple[Any, str]]:
    """Name the coefficients, where there are any, as an argument of `promote_batch`."""
    if distortion is None:
        return {}
    (given,) = promote(distortion=distortion)
    pad_coefficients("distortion", given)  # refuses what has another length
    return {"distortion": (distortion, str(given.shape[-1]))}


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

"""Cameras as other libraries write them: PyTorch3D's R and T, OpenGL's matrices, and back.

OpenCV's K, R, t and OpenGL's poses are methods of `Camera` itself.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from taichi_softras.camera import Camera, Numbers
from taichi_softras.errors import ArgumentError
from taichi_softras.intrinsics import (
    Size,
    check_size,
    half_heights_from_pixels,
    pixels_from_half_heights,
)
from taichi_softras.projection import opengl_from_opencv
from taichi_softras.transforms import check_rotation, promote, promote_batch, rigid


class PyTorch3DCamera(NamedTuple):
    """Arguments of `PerspectiveCameras` or `OrthographicCameras`: pass `**camera._asdict()`."""

    R: Tensor  # [B, 3, 3] for row vectors: x_view = x_world R + T; x left, y up, z forward
    T: Tensor  # [B, 3]
    focal_length: Tensor  # [B, 2] x, y, in half the shorter image side, or in pixels
    principal_point: Tensor  # [B, 2] from the centre, x left, y up; or pixels from the top left
    image_size: Tensor  # [B, 2] height, width; int64
    in_ndc: bool


class OpenGLMatrices(NamedTuple):
    """What a vertex shader multiplies column vectors with."""

    view: Tensor  # [B, 4, 4] world to eye: x right, y up, z backward
    projection: Tensor  # [B, 4, 4] eye to clip; after division x right, y up, z from -1 to 1


def from_pytorch3d(
    *,
    R: Any,
    T: Any,
    image_size: Size,
    focal_length: Numbers = 1.0,
    principal_point: Any = (0.0, 0.0),
    in_ndc: bool = True,
    orthographic: bool = False,
) -> Camera:
    """Take the arguments of PyTorch3D's `PerspectiveCameras`, under the same names.

    `FoVPerspectiveCameras(fov=a)` of a square image has the focal length 1 / tan(a / 2).

    Args:
        R: Rotation for *row* vectors, x_view = x_world R + T, into x left, y up, z forward.
            [3, 3] or [B, 3, 3]
        T: World origin in view coordinates. [3] or [B, 3]
        image_size: (height, width) in pixels.
        focal_length: In half the shorter image side, or in pixels; orthographic: the same per
            world unit. One for both axes [] or [B], or (x, y) [B, 2]
        principal_point: From the image's centre, x left, y up, in half the shorter image side; or
            from its top left corner, x right, y down, in pixels. [2] or [B, 2]
        in_ndc: Whether focal length and principal point are the former or, if not, the latter.
        orthographic: Read them as those of `OrthographicCameras`.

    Raises:
        ArgumentError: R is not a rotation, or a focal length is not positive.
    """
    axes = "2" if promote(focal_length=focal_length)[0].ndim == 2 else ""
    rotation, translation, focal, center = promote_batch(
        R=(R, "3 3"), T=(T, "3"), focal_length=(focal_length, axes),
        principal_point=(principal_point, "2"),
    )  # fmt: skip
    check_rotation("R", rotation)
    height, width = size = check_size("image_size", image_size)
    focal = focal if axes else torch.stack([focal, focal], dim=-1)
    if not bool((focal > 0.0).all()):
        raise ArgumentError(f"`focal_length` must be positive, got {focal.detach().tolist()}.")
    if in_ndc:
        unit = min(height, width) / height
        focal, center = focal * unit, center * center.new_tensor([-unit, unit])
    else:
        focal, center = half_heights_from_pixels(_intrinsics(focal, center), size)
    turn = _half_turn(rotation)
    return Camera(
        view_from_world=rigid(turn @ rotation.mT, translation @ turn),
        focal=focal,
        center=center,
        orthographic=orthographic,
        image_size=size,
    )


def to_pytorch3d(
    camera: Camera, image_size: Size | None = None, *, in_ndc: bool = True
) -> PyTorch3DCamera:
    """Return the arguments of PyTorch3D's `PerspectiveCameras`, or `OrthographicCameras`.

    Args:
        camera: B cameras; `camera.orthographic` says which of the two classes they belong to.
        image_size: (height, width) in pixels; by default the camera's own.
        in_ndc: Whether focal length and principal point are in PyTorch3D's NDC or in pixels.

    Raises:
        ArgumentError: The camera has lens distortion, which these classes cannot express.
    """
    _check_straight(camera, "PyTorch3D's cameras")
    height, width = size = _size(camera, image_size)
    turn = _half_turn(camera.view_from_world)
    if in_ndc:
        unit = height / min(height, width)
        focal, center = camera.focal * unit, camera.center * camera.center.new_tensor([-unit, unit])
    else:
        intrinsics = pixels_from_half_heights(camera.focal, camera.center, size)
        focal, center = intrinsics.diagonal(dim1=-2, dim2=-1)[:, :2], intrinsics[:, :2, 2]
    return PyTorch3DCamera(
        R=(turn @ camera.view_from_world[:, :3, :3]).mT,
        T=camera.view_from_world[:, :3, 3] @ turn,
        focal_length=focal,
        principal_point=center,
        image_size=torch.tensor([size], device=camera.device).expand(len(camera), 2),
        in_ndc=in_ndc,
    )


def from_opengl_matrices(*, view: Any, projection: Any, image_size: Size) -> Camera:
    """Take a view and a projection matrix for column vectors, as `to_opengl_matrices` gives them.

    Near and far planes are not part of a camera here; give them to `render`.

    Args:
        view: World to eye, rigid; x right, y up, z backward. [4, 4] or [B, 4, 4]
        projection: Eye to clip, perspective or orthographic, without skew. [4, 4] or [B, 4, 4]
        image_size: (height, width) in pixels of the viewport.

    Raises:
        ArgumentError: `view` is not rigid, or `projection` not of these kinds.
    """
    pose, lens = promote_batch(view=(view, "4 4"), projection=(projection, "4 4"))
    check_rotation("view[:3, :3]", pose[:, :3, :3])
    height, width = check_size("image_size", image_size)
    last = lens.detach()[:, 3]
    orthographic = bool((last == last.new_tensor([0.0, 0.0, 0.0, 1.0])).all())
    if not orthographic and not bool((last == last.new_tensor([0.0, 0.0, -1.0, 0.0])).all()):
        raise ArgumentError(
            "`projection` must end in the row [0, 0, -1, 0] (perspective) or [0, 0, 0, 1] "
            f"(orthographic), got {last.tolist()}; transpose it if it is for row vectors."
        )
    centre_column, unused = (3, 2) if orthographic else (2, 3)
    shear = torch.stack([lens[:, 0, 1], lens[:, 1, 0], lens[:, 0, unused], lens[:, 1, unused]])
    if bool((shear != 0.0).any()):
        raise ArgumentError(f"`projection` must have no skew, got {lens.detach().tolist()}.")
    # clip x spans the width, and a perspective w is minus the eye's z
    unit = lens.new_tensor([width / height, 1.0])
    center = lens[:, :2, centre_column] * unit * (1.0 if orthographic else -1.0)
    return Camera(
        view_from_world=opengl_from_opencv(pose) @ pose,
        focal=torch.stack([lens[:, 0, 0], lens[:, 1, 1]], dim=-1) * unit,
        center=center,
        orthographic=orthographic,
        image_size=(height, width),
    )


def to_opengl_matrices(
    camera: Camera, near: float, far: float, image_size: Size | None = None
) -> OpenGLMatrices:
    """Return the view and the projection matrix for OpenGL, whose viewport is the whole image.

    Args:
        camera: B cameras.
        near: View depth that becomes z = -1, in world units.
        far: View depth that becomes z = 1, in world units.
        image_size: (height, width) in pixels; by default the camera's own.

    Raises:
        ArgumentError: The camera has lens distortion, which no matrix can express.
    """
    _check_straight(camera, "OpenGL's matrices")
    height, width = _size(camera, image_size)
    if not near < far or not (near > 0.0 or camera.orthographic):
        raise ArgumentError(f"`near` and `far` must be 0 < near < far, got {near} and {far}.")
    unit = camera.focal.new_tensor([height / width, 1.0])
    focal, center = camera.focal * unit, camera.center * unit
    span = far - near
    projection = torch.zeros_like(camera.view_from_world)
    projection[:, 0, 0], projection[:, 1, 1] = focal.unbind(dim=-1)
    if camera.orthographic:
        projection[:, :2, 3] = center
        projection[:, 2, 2], projection[:, 2, 3] = -2.0 / span, -(far + near) / span
        projection[:, 3, 3] = 1.0
    else:
        projection[:, :2, 2] = -center
        projection[:, 2, 2], projection[:, 2, 3] = -(far + near) / span, -2.0 * far * near / span
        projection[:, 3, 2] = -1.0
    view = opengl_from_opencv(projection) @ camera.view_from_world
    return OpenGLMatrices(view=view, projection=projection)


def _half_turn(like: Tensor) -> Tensor:
    """Turn x and y round: between PyTorch3D's view axes and OpenCV's, either way. [3, 3]."""
    return torch.diag(like.new_tensor([-1.0, -1.0, 1.0]))


def _intrinsics(focal: Tensor, center: Tensor) -> Tensor:
    """Join focal lengths and principal points in pixels. [B, 2], [B, 2] -> [B, 3, 3]."""
    row = focal.new_tensor([0.0, 0.0, 1.0]).expand(len(focal), 1, 3)
    top = torch.cat([torch.diag_embed(focal), center[..., None]], dim=-1)
    return torch.cat([top, row], dim=-2)


def _check_straight(camera: Camera, convention: str) -> None:
    if camera.distortion is not None:
        raise ArgumentError(
            f"`camera` has lens distortion, which {convention} cannot express; leave it out with "
            "dataclasses.replace(camera, distortion=None) if it is negligible."
        )


def _size(camera: Camera, image_size: Size | None) -> tuple[int, int]:
    if image_size is not None:
        return check_size("image_size", image_size)
    if camera.image_size is None:
        raise ArgumentError("`image_size` must be given: this camera has no `image_size`.")
    return camera.image_size

"""Where the object is and how large, from silhouettes and poses alone."""

from dataclasses import dataclass

import torch
from torch import Tensor

from taichi_softras.errors import ArgumentError
from taichi_softras.io import PosedImages


@dataclass(frozen=True)
class Frame:
    """A ball round the object and the depths that enclose it."""

    center: Tensor
    """World coordinates. [3]"""
    radius: float
    """World units."""
    near: float
    """Depth in front of the object in every view, in world units."""
    far: float
    """Depth behind the object in every view, in world units."""


def frame_object(posed: PosedImages) -> Frame:
    """Find the point nearest to the rays through the silhouettes' centroids, and a radius.

    Raises:
        ArgumentError: No view shows the object, or the rays do not meet in front of the cameras.
    """
    mask = (posed.alpha > 0.5).double()
    area = mask.sum((1, 2))
    seen = area > 0.0
    if not bool(seen.any()):
        raise ArgumentError("`posed` must show the object: every silhouette is empty.")
    cameras, mask, area = posed.cameras[seen].to(torch.float64), mask[seen], area[seen]
    height, width = posed.size
    rows = torch.arange(height, dtype=torch.float64) + 0.5
    columns = torch.arange(width, dtype=torch.float64) + 0.5
    u = (mask.sum(1) * columns).sum(1) / area
    v = (mask.sum(2) * rows).sum(1) / area
    intrinsics, rotation, translation = cameras.to_matrices()
    directions_view = torch.stack(
        [
            (u - intrinsics[:, 0, 2]) / intrinsics[:, 0, 0],
            (v - intrinsics[:, 1, 2]) / intrinsics[:, 1, 1],
            torch.ones_like(u),
        ],
        1,
    )
    directions = torch.nn.functional.normalize(
        (rotation.mT @ directions_view[..., None])[..., 0], dim=1
    )
    center = _nearest_to_rays(cameras.eye, directions)
    depth = (rotation @ center + translation)[:, 2]
    if bool((depth <= 0.0).any()):
        raise ArgumentError(
            "`posed` has cameras that look away from the object; are the poses camera-to-world "
            "with OpenGL axes (x right, y up, looking along -z)?"
        )
    # Of a ball, the silhouette's radius times depth / focal length.
    radius = float(((area / torch.pi).sqrt() * depth / intrinsics[:, 0, 0]).mean())
    # The furthest silhouette pixel bounds how far the object reaches from its centre.
    across, down = columns - u[:, None], rows - v[:, None]
    from_center = torch.hypot(across[:, None, :], down[:, :, None])
    reach = float(((from_center * mask).amax((1, 2)) * depth / intrinsics[:, 0, 0]).amax())
    near = max(float(depth.min()) - 1.5 * reach, 0.05 * float(depth.min()))
    return Frame(center.float(), radius, near, float(depth.max()) + 1.5 * reach)


def _nearest_to_rays(origins: Tensor, directions: Tensor) -> Tensor:
    """Least-squares meeting point of rays; a little pull to their mean keeps one ray solvable."""
    identity = torch.eye(3, dtype=torch.float64)
    across = identity - directions[:, :, None] * directions[:, None, :]
    matrix = across.sum(0) + 1e-6 * len(origins) * identity
    right = (across @ origins[..., None])[..., 0].sum(0) + 1e-6 * origins.sum(0)
    center: Tensor = torch.linalg.solve(matrix, right)
    return center

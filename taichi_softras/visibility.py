"""What is hard: the face that each pixel's centre shows, and where on that face it lies."""

from typing import NamedTuple

import torch
from torch import Tensor

from taichi_softras.settings import RasterSettings
from taichi_softras.torch_bridge.nearest import nearest_faces
from taichi_softras.triangles import Triangles


class Visible(NamedTuple):
    """The nearest surface at each pixel's centre."""

    face_index: Tensor  # [B, H, W] int64, row of the view's mesh.faces, -1 where there is none
    barycentric: Tensor  # [B, H, W, 3] of the corners of that face; 0 where there is none


def visible(
    triangles: Triangles,
    *,
    size: tuple[int, int],
    settings: RasterSettings,
    orthographic: bool,
) -> Visible:
    """Find the nearest face at each pixel, without any softness.

    Attributes at the corners weighed with the barycentric coordinates are those that hard colour
    shows. The coordinates are differentiable in the corners; which face it is, is not.
    """
    corners_ndc = triangles.corners_ndc
    nearest = nearest_faces(
        corners_ndc,
        size=size,
        settings=settings,
        face_counts=triangles.face_counts,
        orthographic=orthographic,
    )
    corners = corners_ndc.reshape(-1, 3, 3)
    hit = nearest >= 0
    rows = nearest[hit]  # [Q]
    if triangles.owner is not None:
        face = triangles.owner[rows]
    else:
        face = rows % max(corners_ndc.shape[1], 1)
    weights = _barycentric(
        corners[rows], _centers(hit, corners), settings.perspective_correct and not orthographic
    )
    if triangles.corner_weights is not None:
        weights = (weights[..., None] * triangles.corner_weights[rows]).sum(-2)
    return Visible(
        nearest.new_full(nearest.shape, -1).masked_scatter(hit, face),
        corners.new_zeros((*nearest.shape, 3)).masked_scatter(hit[..., None], weights),
    )


def _centers(hit: Tensor, like: Tensor) -> Tensor:
    """NDC of the centres of those pixels of [B, H, W] that are hit. [Q, 2]."""
    height, width = hit.shape[1:]
    _, row, column = hit.nonzero(as_tuple=True)
    x, y = 2 * column + 1 - width, height - 1 - 2 * row
    return torch.stack([x, y], -1).to(like.dtype) / min(height, width)


def _barycentric(corners: Tensor, points: Tensor, perspective: bool) -> Tensor:
    """Weights of the corners [Q, 3, 3] at points [Q, 2]. [Q, 3]."""
    ahead, behind = corners.roll(-1, 1)[..., :2], corners.roll(-2, 1)[..., :2]
    # Twice the areas of the triangles that the point makes with the opposite edges.
    areas = _cross(ahead - points[:, None], behind - points[:, None])
    if perspective:
        areas = areas / corners[..., 2]
    return areas / areas.sum(-1, keepdim=True)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]

"""What a rendering can hold beside image, alpha and depth, as further channels at the corners."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from taichi_softras.errors import ArgumentError, ShapeError, check_choice
from taichi_softras.mesh import Mesh
from taichi_softras.textures import UVTexture

Output = Literal["normal", "position", "uv", "face_index", "barycentric"]
HARD_OUTPUTS = ("face_index", "barycentric")
"""Those of the nearest face alone."""


def check_outputs(outputs: Sequence[Output]) -> tuple[str, ...]:
    """Return the names, or say which is none."""
    if isinstance(outputs, str):
        raise ArgumentError(
            f'`outputs` must be a sequence of names such as ("{outputs}",), got a string.'
        )
    for name in outputs:
        check_choice("outputs", name, get_args(Output))
    return tuple(outputs)


def corner_values(
    mesh: Mesh, names: Sequence[str], features: Any, *, views: int, flat: bool
) -> dict[str, Tensor]:
    """Return what is to be blended beside colours, at the corners of the mesh's faces.

    Args:
        mesh: B or one set of vertices.
        names: Soft ones of `Output`, and "coverage", which is 1 everywhere.
        features: Any values of the vertices. [V, K] or [B, V, K]
        views: Number B of views.
        flat: Whether normals are the faces' own, instead of smooth.

    Returns:
        World coordinates, normals and so on, under their names. [1 or B, F, 3, K] each
    """
    found: dict[str, Tensor] = {}
    if "normal" in names and flat:
        normals = mesh.face_normals[..., None, :]
        found["normal"] = normals.expand(*normals.shape[:-2], 3, 3)
    elif "normal" in names:
        found["normal"] = mesh.at_corners(mesh.vertex_normals)
    if "position" in names:
        found["position"] = mesh.corners
    if "uv" in names:
        found["uv"] = _corner_uvs(mesh)
    if "coverage" in names:
        found["coverage"] = mesh.vertices.new_ones((mesh.n_faces, 3, 1))
    if features is not None:
        found["features"] = mesh.at_corners(_checked_features(features, mesh, views))
    return {name: v if v.ndim == 4 else v[None] for name, v in found.items()}


def _corner_uvs(mesh: Mesh) -> Tensor:
    """Texture coordinates, u right and v up. [F, 3, 2]."""
    if not isinstance(mesh.texture, UVTexture):
        kind = "no texture" if mesh.texture is None else type(mesh.texture).__name__
        raise ArgumentError(f'`outputs` has "uv", which only a UVTexture has; `mesh` has {kind}.')
    return mesh.texture.at_corners(mesh.faces, mesh.vertices)


def _checked_features(features: Any, mesh: Mesh, views: int) -> Tensor:
    fits = isinstance(features, Tensor) and features.ndim in (2, 3) and features.shape[-1] > 0
    if fits:
        fits = features.shape[-2] == mesh.n_vertices and (
            features.ndim == 2 or features.shape[0] in (1, views)
        )
    if not fits:
        given = list(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise ShapeError(
            f"`features` must have shape [{mesh.n_vertices}, K] or [{views}, {mesh.n_vertices}, "
            f"K], got {given}."
        )
    if not features.is_floating_point() or features.device != mesh.vertices.device:
        raise ArgumentError(
            f"`features` must be floating point on {mesh.vertices.device}, "
            f"got {features.dtype} on {features.device}."
        )
    checked: Tensor = features.to(mesh.vertices.dtype)
    return checked


def joined(values: Mapping[str, Tensor]) -> Tensor | None:
    """Lay channels side by side; None without any. [1 or B, F, 3, K]."""
    if not values:
        return None
    views = max(value.shape[0] for value in values.values())
    return torch.cat([v.expand(views, -1, -1, -1) for v in values.values()], dim=-1)


def parted(
    image: Tensor, channels: int, widths: Mapping[str, int]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Take an image apart: its first channels, and those that `joined` laid beside them."""
    if not widths:
        return image, {}
    first, *others = torch.split(image, [channels, *widths.values()], dim=-1)
    return first, dict(zip(widths, others, strict=True))


def averaged(samples: Tensor, count: int) -> Tensor:
    """Average blocks of count x count samples. [B, n H, n W, ...] -> [B, H, W, ...]."""
    if count == 1:
        return samples
    views, height, width, *rest = samples.shape
    blocks = samples.reshape(views, height // count, count, width // count, count, *rest)
    return blocks.mean(dim=(2, 4))


def repeated(pixels: Tensor, count: int) -> Tensor:
    """Give each sample of a block its pixel's value. [B, H, W, C] -> [B, n H, n W, C]."""
    if count == 1:
        return pixels
    return pixels.repeat_interleave(count, 1).repeat_interleave(count, 2)

"""From vertices to faces: corners and normals, for batches whose faces may differ."""

import torch
from torch import Tensor

from taichi_softras.errors import ShapeError, check_shape
from taichi_softras.transforms import normalize


def face_vertices(vertices: Tensor, faces: Tensor) -> Tensor:
    """Copy vertices, or any values at vertices, to the faces' corners.

    Args:
        vertices: Values of each mesh's vertices. [B, V, C]
        faces: Vertex indices, of any integer type. [B, F, 3]

    Returns:
        Values at the corners. [B, F, 3, C]
    """
    values = check_shape("vertices", vertices.shape, "B V C")
    index = check_shape("faces", faces.shape, "B F 3")
    if index["B"] != values["B"]:
        raise ShapeError(
            f"`faces` must be of the {values['B']} meshes of `vertices`, got {index['B']}."
        )
    # The gradient of gather has one order of summing, that of indexing has not.
    where = faces.long().flatten(1)[..., None].expand(-1, -1, values["C"])
    return vertices.gather(1, where).reshape(*faces.shape, values["C"])


def surface_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Unit normals, from where the corners run counter-clockwise; zero for degenerate faces.

    Shapes are [B, V, 3] and [B, F, 3] -> [B, F, 3].
    """
    return normalize(_doubled_areas(vertices, faces))


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Unit normals, averaged over the faces by area; zero at vertices without a face.

    Shapes are [B, V, 3] and [B, F, 3] -> [B, V, 3].
    """
    at_corners = _doubled_areas(vertices, faces).repeat_interleave(3, dim=1)
    where = faces.long().flatten(1)[..., None].expand_as(at_corners)
    return normalize(torch.zeros_like(vertices).scatter_add(1, where, at_corners))


def _doubled_areas(vertices: Tensor, faces: Tensor) -> Tensor:
    """Normals as long as twice the area; zero, with zero gradient, if not finite. [B, F, 3]."""
    corners = face_vertices(vertices, faces)
    finite = torch.isfinite(corners.detach()).all(dim=-1).all(dim=-1)[..., None, None]
    a, b, c = torch.where(finite, corners, torch.zeros_like(corners)).unbind(dim=2)
    doubled: Tensor = torch.linalg.cross(b - a, c - a, dim=-1)
    return doubled

"""What a fit minimises: image losses, and regularisers of the mesh.

All are scalars, averaged over views or meshes where there are several. `laplacian` and `flatten`
sum over the mesh, like the original, so that its weights carry over; `edge_length` and
`normal_consistency` are means, and do not grow with the number of faces.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

from taichi_softras import topology
from taichi_softras.errors import ShapeError, check_choice
from taichi_softras.mesh import Mesh
from taichi_softras.transforms import normalize

Norm = Literal["l1", "l2"]

# Faces lower than this many rounding errors of their longest side have no normal worth the name.
_SLIVER = 16.0


def silhouette_iou(alpha: Tensor, target: Tensor) -> Tensor:
    """Measure 1 - intersection / union of soft silhouettes: 0 same, 1 disjoint.

    Two empty silhouettes are the same.

    Args:
        alpha: Rendered silhouettes in [0, 1]. [H, W] or [B, H, W]
        target: Wanted silhouettes in [0, 1], of the same shape.
    """
    if alpha.shape != target.shape or alpha.ndim not in (2, 3):
        raise ShapeError(
            "`alpha` and `target` must have one shape, [H, W] or [B, H, W], got "
            f"{list(alpha.shape)} and {list(target.shape)}."
        )
    target = target.to(alpha.dtype)
    both = (alpha * target).sum(dim=(-2, -1))
    either = (alpha + target - alpha * target).sum(dim=(-2, -1))
    # A silhouette empty by rounding, on both sides, counts as empty.
    something = either > torch.finfo(either.dtype).tiny
    share = both / torch.where(something, either, torch.ones_like(either))
    return _mean(torch.where(something, 1.0 - share, torch.zeros_like(share)))


def photometric(
    image: Tensor, target: Tensor, mask: Tensor | None = None, *, norm: Norm = "l1"
) -> Tensor:
    """Average the difference of colours over views, pixels and channels.

    Args:
        image: Rendered colours. [..., H, W, C]
        target: Wanted colours, of the same shape or broadcast to it. [..., H, W, C]
        mask: Weight of each pixel; the average is over the weights, 0 if all are 0. [..., H, W]
        norm: Mean absolute ("l1") or mean squared ("l2") difference.
    """
    check_choice("norm", norm, get_args(Norm))
    if image.ndim < 3 or not _fits(target.shape, image.shape):
        raise ShapeError(
            f"`target` must have the shape of `image` [..., H, W, C], {list(image.shape)}, got "
            f"{list(target.shape)}."
        )
    difference = image - target.to(image.dtype)
    if mask is None:
        return _mean(_penalty(difference, norm))
    if not _fits(mask.shape, image.shape[:-1]):
        raise ShapeError(
            f"`mask` must have shape {list(image.shape[:-1])} like the image, got "
            f"{list(mask.shape)}."
        )
    weight = mask.to(image.dtype).expand(image.shape[:-1])
    # where, not times: what is masked may be NaN
    seen = torch.where((weight != 0.0)[..., None], difference, torch.zeros_like(difference))
    total = weight.sum()
    kept = (_penalty(seen, norm) * weight).sum()
    return kept / torch.where(total > 0.0, total, torch.ones_like(total))


def laplacian(mesh: Mesh) -> Tensor:
    """Sum |x_v - mean of its neighbours|² over vertices; isolated ones add nothing.

    Squared world units: the *sum* over vertices, then the mean over meshes.
    """
    vertices = mesh.vertices
    matrix = topology.uniform_laplacian(mesh.faces, mesh.n_vertices, vertices.dtype)
    # [V, B 3]: one sparse product serves the whole batch
    columns = vertices if vertices.ndim == 2 else vertices.permute(1, 0, 2).flatten(1)
    views = 1 if vertices.ndim == 2 else max(vertices.shape[0], 1)
    squared: Tensor = torch.sparse.mm(matrix, columns).square()
    return squared.sum() / views


def flatten(mesh: Mesh) -> Tensor:
    """Sum (cos θ + 1)² over edges, θ being the dihedral angle between the two faces there.

    Flat surfaces give 0 and folded ones up to 4 an edge, whichever way the faces are turned. An
    edge of k faces counts k (k - 1) / 2 times, a boundary edge not at all; degenerate faces add
    nothing. The *sum* over edges, then the mean over meshes.
    """
    cosines, valid = dihedral_cosines(mesh)
    bend = torch.where(valid, cosines + 1.0, torch.zeros_like(cosines))
    return _mean(bend.square().sum(dim=-1))


def normal_consistency(mesh: Mesh) -> Tensor:
    """Average 1 - cos of the angle between neighbouring faces' normals: 0 flat, 2 folded.

    Pairs of faces as in `flatten`; it does not matter which way the faces are turned. The *mean*
    over pairs without a degenerate face.
    """
    cosines, valid = dihedral_cosines(mesh)
    bend = torch.where(valid, cosines + 1.0, torch.zeros_like(cosines))
    return _mean(bend.sum(dim=-1) / valid.sum(dim=-1).clamp_min(1))


def edge_length(mesh: Mesh, target: float | Tensor = 0.0) -> Tensor:
    """Average (length - target)² over edges: squared world units, 0 without edges.

    Args:
        mesh: The mesh or batch of meshes.
        target: Wanted length of edges in world units.
    """
    start, end = mesh.edges.unbind(dim=-1)
    sides = mesh.vertices.index_select(-2, end) - mesh.vertices.index_select(-2, start)
    squared = sides.square().sum(dim=-1)
    if isinstance(target, Tensor) or target != 0.0:
        proper = squared > 0.0
        lengths = torch.where(proper, squared, torch.ones_like(squared)).sqrt()
        squared = (torch.where(proper, lengths, torch.zeros_like(lengths)) - target).square()
    return _mean(squared)


def dihedral_cosines(mesh: Mesh) -> tuple[Tensor, Tensor]:
    """Cosines of the dihedral angles at all edges, -1 if flat, and where they are defined.

    Returns:
        Cosines [..., N] and a mask [..., N] without degenerate and non-finite faces, for the N
        pairs of faces of `topology.face_pairs`.
    """
    pairs = topology.face_pairs(mesh.faces)

    def take(vertex: Tensor) -> Tensor:
        return mesh.vertices.index_select(-2, vertex)

    corner = take(pairs.edges[:, 0])
    others = (pairs.edges[:, 1], pairs.opposite[:, 0], pairs.opposite[:, 1])
    sides = torch.stack([take(other) - corner for other in others])
    finite = torch.isfinite(sides.detach()).all(dim=-1).all(dim=0)
    sides = torch.where(finite[..., None], sides, torch.zeros_like(sides))
    areas = torch.linalg.cross(sides[:1], sides[1:], dim=-1)
    with torch.no_grad():
        lengths = sides.abs().amax(dim=-1)
        least = (
            _SLIVER * torch.finfo(areas.dtype).eps * torch.maximum(lengths[:1], lengths[1:]) ** 2
        )
        valid = (areas.abs().amax(dim=-1) > least).all(dim=0)
    units = normalize(areas)
    return (units[0] * units[1]).sum(dim=-1), valid


def _penalty(difference: Tensor, norm: Norm) -> Tensor:
    """Average over channels. [..., C] -> [...]."""
    return (difference.abs() if norm == "l1" else difference.square()).mean(dim=-1)


def _fits(shape: torch.Size, whole: torch.Size) -> bool:
    """Tell whether a shape broadcasts to `whole` without enlarging it."""
    try:
        torch.empty(shape, device="meta").expand(whole)
    except RuntimeError:
        return False
    return True


def _mean(values: Tensor) -> Tensor:
    """Average, 0 of nothing."""
    return values.sum() / max(values.numel(), 1)

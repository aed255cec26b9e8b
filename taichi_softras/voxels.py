"""Solid voxels of meshes: exact crossings of rays through voxel centres, and their overlap.

Why closed meshes cannot leak: whether a ray meets a face is a sum over the face's edges, and an
edge adds the same number with opposite signs to its two faces, however it was rounded. Over a
closed mesh all sums cancel, so what goes in comes out: through edges, vertices and slivers too.
"""

import math
import warnings
from collections.abc import Iterator
from numbers import Integral
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from taichi_softras import topology
from taichi_softras.errors import ArgumentError, ShapeError, check_choice, check_shape
from taichi_softras.mesh import Mesh
from taichi_softras.transforms import promote_batch

Fill = Literal["nonzero", "parity"]

# (face, ray) pairs looked at together: some 100 MB.
_PAIRS = 1 << 19

_OPEN = {
    "nonzero": "`mesh` is not closed, or its faces do not agree on what is outside (try "
    "fill='parity'): only voxels between two of its surfaces along z are filled.",
    "parity": "`mesh` is not closed: only voxels between two of its surfaces along z are filled.",
}


def voxelize(
    mesh: Mesh, resolution: int = 32, bounds: Any = None, *, fill: Fill = "nonzero"
) -> Tensor:
    """Tell which voxel centres lie inside a mesh, exactly, without a gradient.

    Voxel [d, h, w] has its centre at `low + (index + 0.5) * (high - low) / resolution`, with
    w along the world's x, h along y and d along z. A centre on the surface counts as if it were
    moved ahead by almost nothing, along z, x and y: a box has its low sides and not its high
    ones, and solids that touch share no voxel.

    A mesh that is not closed is warned about. Its voxels are those that lie inside as seen from
    both ends of their line along z: an open surface alone encloses none, a cup open along x or y
    is filled within its own shadow, and one open along z is empty where a line leaves by it.

    Args:
        mesh: One mesh or a batch. Faces with corners that are not finite are left out.
        resolution: Number N of voxels along each axis.
        bounds: Low and high corner of the grid in world coordinates, which may cut through the
            mesh, [2, 3] or [B, 2, 3]; "softras" for the grid of the original's `Mesh.voxelize`,
            (N - 1) / N wide round the origin (its axes are x, y, z, and it also fills what the
            surface only touches). By default `bounding_cube(mesh)`, which differs
            from mesh to mesh: give `bounds` to compare.
        fill: "nonzero" fills all that the surface winds round, so that parts may overlap, and
            a shell within a shell is a hole only if it faces inwards; "parity" what an odd
            number of crossings leads to, so that every second shell is a hole and faces need no
            common orientation.

    Returns:
        bool, on the mesh's device. [N, N, N], or [B, N, N, N] for a batch

    Raises:
        ArgumentError: `resolution`, `bounds` or `fill` cannot be used.
        ShapeError: `bounds` has another shape.
    """
    if isinstance(resolution, bool) or not isinstance(resolution, Integral) or resolution < 1:
        raise ArgumentError(f"`resolution` must be a positive integer, got {resolution!r}.")
    check_choice("fill", fill, get_args(Fill))
    vertices = mesh.vertices.detach().double()
    vertices = vertices if mesh.vertices.ndim == 3 else vertices[None]
    boxes = _boxes(mesh, resolution, bounds)
    grids, closed = [], True
    for everything, box in zip(vertices, boxes, strict=True):
        points, faces = _weld(everything, mesh.faces)
        closed = closed and _is_closed(faces, fill)
        grids.append(_solid(points, faces, _centres(box, resolution), fill))
    if not closed:
        warnings.warn(_OPEN[fill], stacklevel=2)
    return torch.stack(grids) if mesh.vertices.ndim == 3 else grids[0]


def voxel_iou(a: Tensor, b: Tensor) -> Tensor:
    """Divide the voxels in both by those in either; 1 where both are empty.

    Args:
        a: Occupied voxels, bool. [..., D, H, W]
        b: The same, in the same grid. [..., D, H, W]

    Returns:
        Intersection over union of each grid, float32. [...]
    """
    for name, voxels in (("a", a), ("b", b)):
        if not isinstance(voxels, Tensor) or voxels.dtype != torch.bool:
            got = voxels.dtype if isinstance(voxels, Tensor) else type(voxels).__name__
            raise ArgumentError(
                f"`{name}` must be a bool tensor, got {got}; compare with a threshold first, as in "
                f"`{name} > 0.5`."
            )
    if a.shape != b.shape or a.ndim < 3:
        raise ShapeError(
            f"`a` and `b` must have one shape [..., D, H, W], got {list(a.shape)} and "
            f"{list(b.shape)}."
        )
    if a.device != b.device:
        raise ArgumentError(f"`a` and `b` must be on one device, got {a.device} and {b.device}.")
    both = (a & b).flatten(-3).sum(dim=-1)
    either = (a | b).flatten(-3).sum(dim=-1)
    return torch.where(either > 0, both / either.clamp(min=1), 1.0).float()


def bounding_cube(mesh: Mesh) -> Tensor:
    """Centre a cube on the bounding box, as wide as its longest side.

    Returns:
        Low and high corner in world coordinates; a cube of side 1 where the mesh has no extent.
        float64. [2, 3], or [B, 2, 3] for a batch
    """
    box = mesh.bounds.detach().double()
    if not bool(torch.isfinite(box).all()):
        raise ArgumentError("`mesh` has no finite vertices, and so no bounds; give `bounds`.")
    middle = box.mean(dim=-2, keepdim=True)
    side = (box[..., 1:, :] - box[..., :1, :]).amax(dim=-1, keepdim=True)
    half = 0.5 * torch.where(side > 0.0, side, 1.0)
    return torch.cat([middle - half, middle + half], dim=-2)


def _boxes(mesh: Mesh, resolution: int, bounds: Any) -> Tensor:
    """Read the argument `bounds`. [B, 2, 3]."""
    views = mesh.vertices.shape[0] if mesh.vertices.ndim == 3 else 1
    if bounds is None:
        boxes = bounding_cube(mesh).reshape(-1, 2, 3)
    elif isinstance(bounds, str):
        check_choice("bounds", bounds, ("softras",))
        half = 0.5 * (resolution - 1) / resolution
        if half == 0.0:
            raise ArgumentError("`resolution` must be at least 2 with bounds='softras'.")
        boxes = torch.tensor([[[-half] * 3, [half] * 3]], dtype=torch.float64)
    else:
        boxes = promote_batch(bounds=(bounds, "2 3"))[0].detach().double()
    boxes = boxes.to(mesh.vertices.device)
    if len(boxes) == 1:
        boxes = boxes.expand(views, 2, 3)
    check_shape("bounds", boxes.shape, f"{views} 2 3")
    if not bool((boxes[:, 0] < boxes[:, 1]).all()):
        raise ArgumentError(f"`bounds` must be (low, high) corners, got {boxes.tolist()}.")
    return boxes


def _centres(box: Tensor, resolution: int) -> list[Tensor]:
    """Place voxel centres along x, y and z, ascending. Three of [N]."""
    steps = (torch.arange(resolution, dtype=box.dtype, device=box.device) + 0.5) / resolution
    return [(low + steps * (high - low)).contiguous() for low, high in box.T]


def _weld(points: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """Join vertices at one place, sort them by it, and drop faces that are not finite."""
    finite = torch.isfinite(points).all(dim=-1)
    faces = faces[finite[faces].all(dim=-1)]
    if len(faces) == 0:
        return points, faces
    points = torch.where(finite[:, None], points, 0.0) + 0.0  # -0.0 + 0.0 is 0.0
    points, place = torch.unique(points, dim=0, return_inverse=True)
    return points, place[faces]


def _is_closed(faces: Tensor, fill: Fill) -> bool:
    """Tell whether the edges of all faces cancel, or for "parity" come in pairs."""
    start, end = faces.flatten(), faces.roll(-1, dims=1).flatten()
    radix = topology.index_range(faces)[1] + 1
    keys = torch.minimum(start, end) * radix + torch.maximum(start, end)
    edges, place = torch.unique(keys, return_inverse=True)
    direction = torch.sign(end - start)  # an edge from a vertex to itself is none
    total = torch.zeros_like(edges).index_add_(0, place, direction)
    return not bool((total % 2 if fill == "parity" else total).any())


def _solid(points: Tensor, faces: Tensor, centres: list[Tensor], fill: Fill) -> Tensor:
    """Fill along z. [V, 3], [F, 3], three of [N] -> [N, N, N]."""
    size = len(centres[2])
    # layer k holds the crossings between centres k - 1 and k, the last one those above all
    turns = torch.zeros(size + 1, size * size, dtype=torch.int32, device=points.device)
    for face, column, row in _candidates(points[faces], centres):
        ray = torch.stack([centres[0][column], centres[1][row]], dim=-1)
        turn = _turn(points[faces[face]][..., :2] - ray[:, None])
        hit = turn.nonzero()[:, 0]
        height = _height(points, faces[face[hit]], ray[hit])
        level = torch.searchsorted(centres[2], height)
        place = level * size * size + row[hit] * size + column[hit]
        turns.view(-1).index_add_(0, place, turn[hit])
    solid = torch.zeros(size, size * size, dtype=torch.bool, device=points.device)
    total = turns.sum(dim=0, dtype=turns.dtype)  # zero, unless the mesh is open
    carry = torch.zeros_like(total)
    slab = max(1, 4 * _PAIRS // (size * size))  # layers summed together
    for start in range(0, size, slab):
        layers = slice(start, min(start + slab, size))
        below = carry + turns[layers].cumsum(dim=0, dtype=turns.dtype)
        above, carry = below - total, below[-1]
        if fill == "parity":
            solid[layers] = (below % 2 != 0) & (above % 2 != 0)
        else:
            solid[layers] = (below != 0) & (above != 0)
    return solid.reshape(size, size, size)


def _candidates(corners: Tensor, centres: list[Tensor]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Pair faces with the rays in their boxes: face, column and row, some pairs at a time."""
    low, high = corners.amin(dim=1).T.contiguous(), corners.amax(dim=1).T.contiguous()
    first, count = [], []
    for axis in (0, 1):
        first.append(torch.searchsorted(centres[axis], low[axis]))
        end = torch.searchsorted(centres[axis], high[axis], right=True)
        count.append(end - first[axis])
    pairs = count[0] * count[1]
    used = pairs.nonzero()[:, 0]
    ends = pairs[used].cumsum(0)
    n_chunks = math.ceil(int(ends[-1]) / _PAIRS) if len(used) else 0
    for chunk in range(n_chunks):
        # pairs of one chunk may belong to parts of faces, so a large face costs no more memory
        start = chunk * _PAIRS
        pair = torch.arange(start, min(start + _PAIRS, int(ends[-1])), device=ends.device)
        slot = torch.searchsorted(ends, pair, right=True)
        face = used[slot]
        place = pair - (ends[slot] - pairs[face])
        width = count[0][face]
        yield face, first[0][face] + place % width, first[1][face] + place // width


def _turn(corners: Tensor) -> Tensor:
    """Count how often a triangle winds round the origin, moved to the right by almost nothing.

    Half a line, from the origin to the right and a little upwards, meets an edge upwards or
    downwards; both neighbours of an edge see the same numbers, and so decide alike.

    Args:
        corners: Corners seen from above, relative to the ray. [N, 3, 2]

    Returns:
        1 counter-clockwise, -1 clockwise, 0 outside; int32. [N]
    """
    start, end = corners, corners.roll(-1, dims=1)
    up = (start[..., 1] <= 0.0) & (end[..., 1] > 0.0)
    down = (end[..., 1] <= 0.0) & (start[..., 1] > 0.0)
    lower = torch.where(down[..., None], end, start)
    upper = torch.where(down[..., None], start, end)
    right = lower[..., 0] * upper[..., 1] - lower[..., 1] * upper[..., 0] > 0.0
    return (right & up).sum(dim=1, dtype=torch.int32) - (right & down).sum(dim=1, dtype=torch.int32)


def _height(points: Tensor, faces: Tensor, rays: Tensor) -> Tensor:
    """Find where rays along z meet faces. [V, 3], [N, 3], [N, 2] -> [N].

    Corners are taken in the order of their places, so that touching faces have the same height,
    and solids that touch share no voxel.
    """
    a, b, c = points[faces.sort(dim=1).values].unbind(dim=1)
    normal = torch.linalg.cross(b - a, c - a, dim=-1)
    rise = (normal[:, :2] * (a[:, :2] - rays)).sum(dim=-1)
    steep = normal[:, 2] == 0.0
    height = a[:, 2] + torch.where(steep, 0.0, rise / torch.where(steep, 1.0, normal[:, 2]))
    z = torch.stack([a[:, 2], b[:, 2], c[:, 2]])
    # the plane of a face that is seen edge-on passes any height
    return height.clamp(min=z.amin(dim=0), max=z.amax(dim=0))

"""Who touches whom in an array of faces: sorted, never looped over, and remembered.

All functions take `faces` [F, 3] (int64) and read nothing else. Their results are remembered as
long as the faces tensor lives unchanged, so that a fitting loop sorts edges once: treat them as
read-only. Faces that name a vertex twice have no place on a surface and are left out.
"""

import functools
import weakref
from collections.abc import Callable
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar, cast

import torch
from torch import Tensor

P = ParamSpec("P")
T = TypeVar("T")

# id(faces) -> the faces, while they live, their version, and results by function and arguments
_remembered: dict[int, tuple[weakref.ref[Tensor], int, dict[Any, Any]]] = {}


def _results_of(faces: Tensor) -> dict[Any, Any]:
    """Return the store for one faces tensor; an in-place change of the faces empties it."""
    if faces.is_inference():
        return {}  # such tensors do not count their changes
    key = id(faces)
    entry = _remembered.get(key)
    if entry is None or entry[0]() is not faces or entry[1] != faces._version:
        # bound here, as the module is empty when tensors die with the interpreter
        def forget(dead: weakref.ref[Tensor], store: dict[int, Any] = _remembered) -> None:
            # by then the id may already name another tensor
            if key in store and store[key][0] is dead:
                del store[key]

        entry = (weakref.ref(faces, forget), faces._version, {})
        _remembered[key] = entry
    return entry[2]


def _remember(
    function: Callable[Concatenate[Tensor, P], T],
) -> Callable[Concatenate[Tensor, P], T]:
    """Run a function of faces once for each faces tensor and further arguments."""

    @functools.wraps(function)
    def wrapper(faces: Tensor, *args: P.args, **kwargs: P.kwargs) -> T:
        results = _results_of(faces)
        # Sorting takes a microsecond, and few give arguments by name.
        key = (function.__name__, args, tuple(sorted(kwargs.items())) if kwargs else ())
        if key not in results:
            with torch.no_grad():
                results[key] = function(faces, *args, **kwargs)
        result: T = results[key]
        return result

    return cast(Callable[Concatenate[Tensor, P], T], wrapper)


class FacePairs(NamedTuple):
    """Every two faces that share an edge; N such pairs."""

    edges: Tensor  # [N, 2] the shared edge's vertices, the smaller index first
    faces: Tensor  # [N, 2] the two faces, the smaller index first
    opposite: Tensor  # [N, 2] the vertex of each face that is not on the edge


@_remember
def index_range(faces: Tensor) -> tuple[int, int]:
    """Return the smallest and the largest vertex index; (0, -1) without faces."""
    if faces.numel() == 0:
        return 0, -1
    low, high = torch.aminmax(faces)
    return int(low), int(high)


class KernelFaces:
    """Faces as kernels read them; `kernel_faces` returns those of a tensor."""

    def __init__(self, faces: Tensor) -> None:
        self.lowest, self.highest = index_range(faces)
        """The vertices that they name, as of `index_range`."""
        self.rows = faces.to(torch.int32, copy=True, memory_format=torch.contiguous_format)
        """int32, never the caller's own. [F, 3]"""
        self._by_vertex: dict[int, tuple[Tensor, Tensor]] = {}

    def corners_by_vertex(self, n_vertices: int) -> tuple[Tensor, Tensor]:
        """List the corners 3 f + k that each vertex is, in ascending order, vertex after vertex.

        Returns:
            Where each vertex's list begins [V + 1], and the lists [3 F]; int32.
        """
        found = self._by_vertex.get(n_vertices)
        if found is None:
            owners = self.rows.flatten()
            counts = torch.bincount(owners, minlength=n_vertices)
            start = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
            found = start.to(torch.int32), owners.argsort(stable=True).to(torch.int32)
            self._by_vertex[n_vertices] = found
        return found


@_remember
def kernel_faces(faces: Tensor) -> KernelFaces:
    """Return what kernels and their callers want to know of faces."""
    return KernelFaces(faces)


@_remember
def unique_edges(faces: Tensor) -> Tensor:
    """List each undirected edge once, in ascending order. [F, 3] -> [E, 2]."""
    keys = _half_edge_keys(_proper(faces)[0], _radix(faces))
    return _split(torch.unique(keys), _radix(faces))


@_remember
def boundary_edges(faces: Tensor) -> Tensor:
    """List the edges that belong to one face only. [F, 3] -> [E, 2]."""
    keys = _half_edge_keys(_proper(faces)[0], _radix(faces))
    keys, counts = torch.unique(keys, return_counts=True)
    return _split(keys[counts == 1], _radix(faces))


@_remember
def is_closed(faces: Tensor) -> bool:
    """Tell whether each edge is shared by two faces that run along it in opposite directions."""
    ahead = _half_edges(faces)
    radix = _radix(faces)
    forth = ahead[:, 0] * radix + ahead[:, 1]
    back = ahead[:, 1] * radix + ahead[:, 0]
    forth, back = forth.sort().values, back.sort().values
    once = not bool((forth[1:] == forth[:-1]).any())
    return once and torch.equal(forth, back)


@_remember
def face_pairs(faces: Tensor) -> FacePairs:
    """Pair up all faces that share an edge.

    A boundary edge gives no pair, a manifold edge one, and an edge of k faces k (k - 1) / 2.
    """
    proper, index = _proper(faces)
    keys, order = _half_edge_keys(proper, _radix(faces)).sort(stable=True)
    counts = torch.unique_consecutive(keys, return_counts=True)[1]
    end = counts.cumsum(0).repeat_interleave(counts)  # where each half-edge's group ends
    place = torch.arange(len(keys), device=faces.device)
    partners = end - 1 - place  # half-edges after this one on the same edge
    first = place.repeat_interleave(partners)
    start = (partners.cumsum(0) - partners).repeat_interleave(partners)
    second = first + 1 + torch.arange(len(first), device=faces.device) - start
    halves = order[torch.stack([first, second], dim=-1)]
    corner, face = halves % 3, halves // 3  # the order of _half_edges
    return FacePairs(
        edges=_split(keys[first], _radix(faces)), faces=index[face], opposite=proper[face, corner]
    )


@_remember
def vertex_degree(faces: Tensor, n_vertices: int) -> Tensor:
    """Count each vertex's neighbours along edges. [F, 3] -> [V], int64."""
    return torch.bincount(unique_edges(faces).flatten(), minlength=n_vertices)


@_remember
def uniform_laplacian(faces: Tensor, n_vertices: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Build L with (L x)_v = x_v - mean of the neighbours' x; zero for isolated vertices.

    Returns:
        A coalesced sparse COO matrix. [V, V]
    """
    edges = unique_edges(faces)
    degree = vertex_degree(faces, n_vertices)
    row, column = torch.cat([edges, edges.flip(-1)]).unbind(dim=-1)
    used = degree.nonzero()[:, 0]
    indices = torch.stack([torch.cat([row, used]), torch.cat([column, used])])
    values = torch.cat([-1.0 / degree[row].to(dtype), torch.ones_like(used, dtype=dtype)])
    return torch.sparse_coo_tensor(
        indices, values, (n_vertices, n_vertices), check_invariants=False
    ).coalesce()


def subdivide(faces: Tensor, n_vertices: int) -> tuple[Tensor, Tensor]:
    """Split each face into four at its edges' midpoints, keeping the orientation.

    Args:
        faces: Each must name three different vertices. [F, 3]
        n_vertices: Number V of vertices that the faces refer to.

    Returns:
        The new faces [4 F, 3], and the edges [E, 2] whose midpoints are vertices V to V + E - 1:
        `torch.cat([x, x[edges].mean(dim=1)])` carries any vertex attribute `x` over.
    """
    edges, place = torch.unique(_half_edge_keys(faces, n_vertices), return_inverse=True)
    a, b, c = faces.unbind(dim=-1)
    opposite_a, opposite_b, opposite_c = (n_vertices + place).reshape(-1, 3).unbind(dim=-1)
    children = [
        [a, opposite_c, opposite_b],
        [b, opposite_a, opposite_c],
        [c, opposite_b, opposite_a],
        [opposite_a, opposite_b, opposite_c],
    ]
    split = torch.stack([torch.stack(child, dim=-1) for child in children], dim=1)
    return split.flatten(0, 1), _split(edges, n_vertices)


def _proper(faces: Tensor) -> tuple[Tensor, Tensor]:
    """Drop faces that name a vertex twice; also return the indices of those kept."""
    a, b, c = faces.unbind(dim=-1)
    kept = ((a != b) & (b != c) & (c != a)).nonzero()[:, 0]
    return faces[kept], kept


def _half_edges(faces: Tensor) -> Tensor:
    """List directed edges: half-edge 3 f + k lies opposite corner k of face f. [3 F, 2]."""
    return faces[:, [[1, 2], [2, 0], [0, 1]]].flatten(0, 1)


def _radix(faces: Tensor) -> int:
    return index_range(faces)[1] + 1


def _half_edge_keys(faces: Tensor, radix: int) -> Tensor:
    """Pack each half-edge's vertices, the smaller first, into one sortable number. [3 F]."""
    start, end = _half_edges(faces).unbind(dim=-1)
    return torch.minimum(start, end) * radix + torch.maximum(start, end)


def _split(keys: Tensor, radix: int) -> Tensor:
    """Undo the packing of vertex pairs into single numbers. [E] -> [E, 2]."""
    return torch.stack([keys // max(radix, 1), keys % max(radix, 1)], dim=-1)

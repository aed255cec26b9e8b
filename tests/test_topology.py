import gc
from itertools import combinations

import pytest
import torch

from taichi_softras import topology
from taichi_softras.topology import (
    boundary_edges,
    face_pairs,
    index_range,
    is_closed,
    subdivide,
    uniform_laplacian,
    unique_edges,
    vertex_degree,
)

TETRAHEDRON = [[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]]
BOOK = [[0, 1, 2], [1, 0, 3], [0, 1, 4], [1, 0, 5]]  # four pages at the edge 0-1


def faces_of(rows):
    return torch.tensor(rows, dtype=torch.int64).reshape(-1, 3)


def random_faces(seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 8, (30, 3), generator=generator)  # degenerate and doubled ones too


def plain_edges(faces):
    """Map each edge to the faces at it, by a loop."""
    edges = {}
    for f, corners in enumerate(faces.tolist()):
        if len(set(corners)) == 3:
            for pair in combinations(sorted(corners), 2):
                edges.setdefault(pair, []).append(f)
    return edges


def test_an_open_square_has_five_edges_four_of_them_boundary():
    faces = faces_of([[0, 1, 2], [0, 2, 3]])
    assert unique_edges(faces).tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [2, 3]]
    assert boundary_edges(faces).tolist() == [[0, 1], [0, 3], [1, 2], [2, 3]]
    pairs = face_pairs(faces)
    assert pairs.edges.tolist() == [[0, 2]]
    assert pairs.faces.tolist() == [[0, 1]]
    assert pairs.opposite.tolist() == [[1, 3]]


@pytest.mark.parametrize("rows", [[], TETRAHEDRON, BOOK, [[0, 0, 1], [2, 2, 2]]])
def test_edges_and_pairs_match_a_loop(rows):
    check_against_loop(faces_of(rows))


@pytest.mark.parametrize("seed", range(5))
def test_edges_and_pairs_match_a_loop_on_random_soups(seed):
    check_against_loop(random_faces(seed))


def check_against_loop(faces):
    edges = plain_edges(faces)
    assert unique_edges(faces).tolist() == [list(edge) for edge in sorted(edges)]
    open_edges = [list(edge) for edge in sorted(edges) if len(edges[edge]) == 1]
    assert boundary_edges(faces).tolist() == open_edges
    pairs = face_pairs(faces)
    expected = {(e, p) for e, at in edges.items() for p in combinations(at, 2)}
    rows = list(zip(pairs.edges.tolist(), pairs.faces.tolist(), strict=True))
    assert len(rows) == len(expected)
    assert {(tuple(e), tuple(p)) for e, p in rows} == expected
    for (edge, two), opposite in zip(rows, pairs.opposite.tolist(), strict=True):
        for face, vertex in zip(two, opposite, strict=True):
            assert {*edge, vertex} == set(faces[face].tolist())


def test_four_faces_at_one_edge_make_six_pairs():
    assert face_pairs(faces_of(BOOK)).edges.tolist() == [[0, 1]] * 6


def test_closed_means_two_faces_in_opposite_directions_at_each_edge():
    closed = faces_of(TETRAHEDRON)
    assert is_closed(closed)
    assert not is_closed(closed[1:])
    flipped = closed.clone()
    flipped[0] = flipped[0].flip(0)
    assert not is_closed(flipped)
    assert not is_closed(torch.cat([closed, closed]))


def test_laplacian_subtracts_the_mean_of_the_neighbours():
    faces = faces_of([[0, 1, 2], [0, 2, 3]])
    x = torch.tensor([[1.0], [2.0], [4.0], [8.0], [16.0]])  # the last vertex is isolated
    expected = torch.tensor([[1 - 14 / 3], [2 - 5 / 2], [4 - 11 / 3], [8 - 5 / 2], [0.0]])
    torch.testing.assert_close(uniform_laplacian(faces, 5) @ x, expected)
    assert vertex_degree(faces, 5).tolist() == [3, 2, 3, 2, 0]


def test_laplacian_of_nothing_is_zero():
    assert uniform_laplacian(faces_of([]), 4).to_dense().abs().sum() == 0
    assert uniform_laplacian(faces_of([]), 0).shape == (0, 0)


def test_subdivision_quadruples_faces_and_keeps_them_closed():
    faces, edges = subdivide(faces_of(TETRAHEDRON), 4)
    assert faces.shape == (16, 3)
    assert edges.shape == (6, 2)
    assert is_closed(faces)
    assert index_range(faces) == (0, 9)


def test_subdivision_of_a_triangle_joins_the_midpoints_of_its_edges():
    x = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
    faces, edges = subdivide(faces_of([[0, 1, 2]]), 3)
    corners = torch.cat([x, x[edges].mean(dim=1)])[faces]
    sides = corners[:, 1:] - corners[:, :1]
    doubled = sides[:, 0, 0] * sides[:, 1, 1] - sides[:, 0, 1] * sides[:, 1, 0]
    assert doubled.tolist() == [1.0] * 4  # a quarter of the area each, same orientation


def test_results_are_remembered_until_the_faces_change_or_die():
    faces = faces_of(TETRAHEDRON)
    first = unique_edges(faces)
    assert unique_edges(faces) is first
    faces[0] = torch.tensor([0, 1, 4])
    assert [1, 4] in unique_edges(faces).tolist()
    key = id(faces)
    assert key in topology._remembered
    del faces
    gc.collect()
    assert key not in topology._remembered


def test_faces_made_under_inference_mode_work():
    with torch.inference_mode():
        faces = faces_of(TETRAHEDRON)
        assert unique_edges(faces).shape == (6, 2)


@pytest.mark.parametrize("seed", range(3))
def test_each_vertex_has_the_list_of_its_corners(seed):
    faces = random_faces(seed)
    start, corners = topology.kernel_faces(faces).corners_by_vertex(10)
    assert start.dtype == corners.dtype == torch.int32
    for v in range(10):
        wanted = [n for n, owner in enumerate(faces.flatten().tolist()) if owner == v]
        assert corners[start[v] : start[v + 1]].tolist() == wanted


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_kernels_read_faces_of_their_own(dtype):
    faces = faces_of(TETRAHEDRON).to(dtype).T.contiguous().T  # not contiguous
    known = topology.kernel_faces(faces)
    assert topology.kernel_faces(faces) is known
    assert (known.lowest, known.highest) == (0, 3)
    assert known.rows.dtype == torch.int32
    assert known.rows.is_contiguous()
    assert known.rows.tolist() == TETRAHEDRON
    faces[0, 0] = 5
    assert known.rows.tolist() == TETRAHEDRON
    assert topology.kernel_faces(faces).highest == 5


def test_index_range_names_the_extremes():
    assert index_range(faces_of([[3, -1, 7]])) == (-1, 7)
    assert index_range(faces_of([])) == (0, -1)


def test_faces_that_die_after_the_module_raise_nothing(monkeypatch):
    """At the interpreter's end modules are emptied before the last tensors die."""
    raised = []
    monkeypatch.setattr("sys.unraisablehook", raised.append)
    faces = torch.tensor([[0, 1, 2]])
    topology.index_range(faces)
    monkeypatch.setattr(topology, "_remembered", None)
    del faces
    gc.collect()
    assert not raised

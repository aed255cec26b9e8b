import math

import numpy as np
import pytest
import torch

from taichi_softras.errors import ArgumentError, ShapeError
from taichi_softras.mesh import Mesh

TRIANGLE = ((0.0, 0.0, 0.0), (2.0, 0.0, 0.0), (0.0, 3.0, 0.0))


def tetrahedron(dtype=torch.float64):
    corners = torch.tensor([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=dtype)
    return Mesh(vertices=corners, faces=[[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]])


def test_lists_and_arrays_become_float32_and_int64():
    mesh = Mesh(
        vertices=np.array(TRIANGLE),
        faces=np.array([[0, 1, 2]], dtype=np.int32),
        vertex_colors=[[1, 0, 0]] * 3,
    )
    assert mesh.vertices.dtype == mesh.vertex_colors.dtype == torch.float32
    assert mesh.faces.dtype == torch.int64
    assert (mesh.n_vertices, mesh.n_faces) == (3, 1)


def test_tensors_are_kept_as_they_are():
    vertices = torch.tensor(TRIANGLE, dtype=torch.float64, requires_grad=True)
    faces = torch.tensor([[0, 1, 2]])
    mesh = Mesh(vertices=vertices, faces=faces, face_colors=[[0.5, 0.25]])
    assert mesh.vertices is vertices
    assert mesh.faces is faces
    assert mesh.face_colors.dtype == torch.float64
    assert mesh.replace(vertices=vertices + 1).faces is faces


def test_triangle_has_the_normal_and_area_of_a_counter_clockwise_one():
    mesh = Mesh(vertices=TRIANGLE, faces=[[0, 1, 2], [0, 2, 1]])
    assert mesh.face_normals.tolist() == [[0, 0, 1], [0, 0, -1]]
    assert mesh.face_areas.tolist() == [3, 3]
    assert mesh.surface_area == 6


def test_vertex_normals_weigh_faces_by_area():
    vertices = [*TRIANGLE, (0.0, 0.0, 1.0)]
    mesh = Mesh(vertices=vertices, faces=[[0, 1, 2], [0, 2, 3]])  # areas 3 along z, 1.5 along x
    expected = torch.tensor([1.5, 0.0, 3.0]) / math.hypot(1.5, 3.0)
    torch.testing.assert_close(mesh.vertex_normals[0], expected)
    assert mesh.vertex_normals[3].tolist() == [1, 0, 0]


def test_vertex_normals_of_a_regular_tetrahedron_point_away_from_its_centre():
    mesh = tetrahedron()
    torch.testing.assert_close(mesh.vertex_normals, mesh.vertices / math.sqrt(3))


def test_a_batch_of_three_equals_three_meshes():
    mesh = tetrahedron()
    scales = torch.tensor([[1.0, 2.0, 3.0], [0.5, 1.0, 1.0], [2.0, 0.1, 1.0]]).double()
    batch = mesh.replace(vertices=mesh.vertices * scales[:, None])
    names = ("face_normals", "vertex_normals", "face_areas", "surface_area", "bounds", "corners")
    for i in range(3):
        alone = mesh.replace(vertices=batch.vertices[i])
        for name in names:
            torch.testing.assert_close(getattr(batch, name)[i], getattr(alone, name))
        torch.testing.assert_close(batch.normalized().vertices[i], alone.normalized().vertices)


def test_degenerate_and_non_finite_faces_are_zero_without_nan_gradients():
    vertices = torch.tensor([*TRIANGLE, (4.0, 0.0, 0.0), (math.nan, 0.0, math.inf)])
    vertices.requires_grad_()
    mesh = Mesh(vertices=vertices, faces=[[0, 1, 2], [0, 1, 3], [1, 1, 2], [0, 1, 4]])
    assert mesh.face_normals.tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert mesh.face_areas.tolist() == [3, 0, 0, 0]
    assert mesh.vertex_normals[4].tolist() == [0, 0, 0]
    total = mesh.vertex_normals.sum() + mesh.face_normals.sum() + mesh.face_areas.sum()
    total.backward()
    assert torch.isfinite(vertices.grad).all()
    assert vertices.grad[4].tolist() == [0, 0, 0]


def test_normals_survive_tiny_float32_meshes():
    mesh = tetrahedron(torch.float32)
    tiny = mesh.replace(vertices=mesh.vertices * 1e-12)
    torch.testing.assert_close(tiny.vertex_normals, mesh.vertex_normals)


@pytest.mark.parametrize("name", ["face_normals", "vertex_normals", "face_areas"])
def test_gradients_match_finite_differences(name):
    mesh = tetrahedron()
    vertices = mesh.vertices.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: getattr(mesh.replace(vertices=v), name), vertices)


def test_normalized_fits_the_unit_sphere_round_the_box():
    mesh = Mesh(vertices=[[1.0, 1, 1], [3, 1, 1], [1, 5, 1], [1, 1, 7]], faces=[[0, 1, 2]])
    fitted = mesh.normalized()
    torch.testing.assert_close(fitted.bounds.sum(0), torch.zeros(3))
    torch.testing.assert_close(fitted.vertices.norm(dim=-1).max(), torch.tensor(1.0))
    point = Mesh(vertices=[[1.0, 2.0, 3.0]], faces=[])
    assert point.normalized().vertices.tolist() == [[0, 0, 0]]


def test_bounds_and_normalized_ignore_non_finite_vertices():
    mesh = Mesh(vertices=[*TRIANGLE, (math.nan, 9.0, 9.0)], faces=[[0, 1, 2]])
    assert mesh.bounds.tolist() == [[0, 0, 0], [2, 3, 0]]
    fitted = mesh.normalized().vertices
    torch.testing.assert_close(fitted[:3].norm(dim=-1).max(), torch.tensor(1.0))
    assert fitted[3].isnan().any()


def test_samples_lie_on_the_surface_in_proportion_to_area():
    vertices = [*TRIANGLE, (5.0, 0.0, 0.0), (6.0, 0.0, 0.0), (5.0, 2.0, 0.0)]  # areas 3 and 1
    mesh = Mesh(vertices=vertices, faces=[[0, 1, 2], [3, 4, 5]])
    points = mesh.sample_surface(20_000, torch.Generator().manual_seed(0))
    left = points[points[:, 0] < 3]
    assert abs(len(left) / 20_000 - 0.75) < 0.015
    assert (left[:, 0] / 2 + left[:, 1] / 3 <= 1 + 1e-6).all()
    torch.testing.assert_close(left.mean(0), torch.tensor([2 / 3, 1.0, 0.0]), atol=0.02, rtol=0)


def test_samples_come_for_each_mesh_of_a_batch_and_carry_gradients():
    vertices = (torch.tensor(TRIANGLE) * torch.tensor([1.0, 2, 3])[:, None, None]).requires_grad_()
    mesh = Mesh(vertices=vertices, faces=[[0, 1, 2]])
    points = mesh.sample_surface(5, torch.Generator().manual_seed(0))
    assert points.shape == (3, 5, 3)
    points.sum().backward()
    torch.testing.assert_close(vertices.grad.sum(1), torch.full((3, 3), 5.0))


def test_an_empty_mesh_is_a_mesh():
    mesh = Mesh(vertices=np.zeros((0, 3)), faces=[])
    assert mesh.faces.shape == (0, 3)
    assert mesh.face_normals.shape == mesh.vertex_normals.shape == (0, 3)
    assert mesh.surface_area == 0
    assert mesh.normalized() is mesh
    with pytest.raises(ArgumentError, match="no vertices"):
        _ = mesh.bounds
    with pytest.raises(ArgumentError, match="no area"):
        mesh.sample_surface(1)
    assert Mesh(vertices=TRIANGLE, faces=[]).face_areas.shape == (0,)


def test_to_and_detach_keep_the_rest():
    vertices = torch.tensor(TRIANGLE, requires_grad=True)
    mesh = Mesh(vertices=vertices, faces=[[0, 1, 2]], vertex_colors=vertices * 0.1)
    wide = mesh.to(torch.float64)
    assert wide.vertices.dtype == wide.vertex_colors.dtype == torch.float64
    assert wide.faces is mesh.faces
    cut = mesh.detach()
    assert not cut.vertices.requires_grad
    assert not cut.vertex_colors.requires_grad


def test_wrong_meshes_are_refused_by_name():
    colors = [[1.0]] * 3
    wrong = [
        ({"vertices": [[0.0, 0.0]]}, "`vertices`"),
        ({"vertices": torch.zeros(3, 3, dtype=torch.int64)}, "`vertices`.*int64"),
        ({"vertices": torch.zeros(3, 3, dtype=torch.float16)}, "`vertices`.*float16"),
        ({"vertices": "cow"}, "`vertices`"),
        ({"faces": [[0, 1]]}, "`faces`"),
        ({"faces": [[0, 1, 2, 0]]}, "`faces`"),
        ({"faces": [[0.0, 1.0, 2.0]]}, "`faces` must be integers, got torch.float32"),
        ({"faces": [[0, 1, 2], [1]]}, "`faces`"),
        ({"faces": [[0, 1, 7], [0, 5, 1]]}, "`faces` must index the 3 vertices.*got index 7"),
        ({"faces": [[0, 1, -2]]}, "`faces`.*got index -2"),
        ({"faces": torch.zeros(1, 3, dtype=torch.int64, device="meta")}, "one device"),
        ({"vertex_colors": [[1.0]] * 2}, "`vertex_colors`"),
        ({"vertex_colors": torch.zeros(3)}, "`vertex_colors`"),
        ({"vertex_colors": np.zeros((3, 3), np.uint8)}, "`vertex_colors`.*divide it by 255"),
        ({"face_colors": [[1.0]] * 2}, "`face_colors`"),
        ({"face_colors": [[1.0]], "vertex_colors": colors}, "must not be given both"),
        ({"vertices": torch.zeros(2, 3, 3), "vertex_colors": torch.zeros(4, 3, 1)}, "colors`"),
    ]
    for changes, message in wrong:
        given = {"vertices": TRIANGLE, "faces": [[0, 1, 2]], **changes}
        with pytest.raises((ArgumentError, ShapeError), match=message):
            Mesh(**given)


def test_colours_may_be_batched_while_vertices_are_shared():
    mesh = Mesh(vertices=TRIANGLE, faces=[[0, 1, 2]], face_colors=torch.zeros(4, 1, 7))
    assert mesh.face_colors.shape == (4, 1, 7)


def test_a_mesh_without_values_is_refused():
    with pytest.raises(ArgumentError, match="tensors on `meta` have only shapes"):
        Mesh(vertices=torch.eye(3), faces=[[0, 1, 2]]).to("meta")

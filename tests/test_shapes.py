import math

import pytest
import torch
from scipy.optimize import linprog

from taichi_softras import shapes
from taichi_softras.errors import ArgumentError
from taichi_softras.topology import boundary_edges, is_closed


def euler_characteristic(mesh):
    return mesh.n_vertices - len(mesh.edges) + mesh.n_faces


def volume(mesh):
    a, b, c = mesh.corners.double().unbind(-2)
    return float((a * torch.linalg.cross(b, c, dim=-1)).sum() / 6.0)


CLOSED = {
    "icosphere": (lambda: shapes.icosphere(2), 2),
    "cube": (shapes.cube, 2),
    "torus": (shapes.torus, 0),
    "duck": (lambda: shapes.duck(4), 2),
}


@pytest.mark.parametrize("name", CLOSED)
def test_closed_shapes_are_closed_outward_and_share_their_vertices(name):
    build, euler = CLOSED[name]
    mesh = build()
    assert is_closed(mesh.faces)
    assert euler_characteristic(mesh) == euler
    assert volume(mesh) > 0
    assert len(mesh.vertices.unique(dim=0)) == mesh.n_vertices
    assert mesh.face_areas.min() > 0
    assert mesh.vertices.dtype == torch.float32


@pytest.mark.parametrize("level", [0, 1, 3])
def test_icosphere_has_the_known_counts_and_radius(level):
    mesh = shapes.icosphere(level, radius=2.5)
    assert mesh.n_vertices == 10 * 4**level + 2
    assert mesh.n_faces == 20 * 4**level
    torch.testing.assert_close(mesh.vertices.norm(dim=-1), torch.full((mesh.n_vertices,), 2.5))


def test_fine_icosphere_has_the_volume_and_area_of_the_sphere():
    mesh = shapes.icosphere(4)
    assert volume(mesh) == pytest.approx(4 / 3 * math.pi, rel=0.005)
    assert float(mesh.surface_area) == pytest.approx(4 * math.pi, rel=0.005)


def test_cube_has_eight_corners_and_its_volume():
    mesh = shapes.cube(3.0)
    assert (mesh.n_vertices, mesh.n_faces) == (8, 12)
    assert volume(mesh) == pytest.approx(27.0)
    assert mesh.bounds.tolist() == [[-1.5] * 3, [1.5] * 3]


def test_torus_has_pappus_volume_about_the_y_axis():
    mesh = shapes.torus(1.0, 0.25, 96, 64)
    assert volume(mesh) == pytest.approx(2 * math.pi**2 * 0.25**2, rel=0.01)
    torch.testing.assert_close(mesh.bounds[1], torch.tensor([1.25, 0.25, 1.25]))


def test_plane_is_open_and_faces_plus_z():
    mesh = shapes.plane(2.0, cells=3)
    assert (mesh.n_vertices, mesh.n_faces) == (16, 18)
    torch.testing.assert_close(mesh.face_normals, torch.tensor([[0.0, 0.0, 1.0]]).expand(18, 3))
    assert float(mesh.surface_area) == pytest.approx(4.0)
    assert len(boundary_edges(mesh.faces)) == 12


def test_duck_fits_the_unit_sphere_and_stands_along_the_axes():
    mesh = shapes.duck(4)
    assert mesh.vertices.norm(dim=-1).max() == pytest.approx(1.0, abs=1e-5)
    torch.testing.assert_close(mesh.bounds.sum(0), torch.zeros(3), atol=1e-5, rtol=0)
    mirrored = mesh.vertices * torch.tensor([-1.0, 1.0, 1.0])
    assert torch.cdist(mirrored, mesh.vertices).amin(dim=-1).max() < 1e-3


def test_duck_does_not_fold_over_because_one_point_sees_every_face_from_behind():
    mesh = shapes.duck(4)
    normals = mesh.face_normals.double()
    heights = (normals * mesh.corners[:, 0].double()).sum(-1)
    # maximise m with n . x + m <= n . a for all faces: m > 0 means a kernel of the star
    bounds = [(None, None)] * 4
    rows = torch.cat([normals, torch.ones(len(normals), 1)], dim=1)
    found = linprog([0.0, 0.0, 0.0, -1.0], rows.numpy(), heights.numpy(), bounds=bounds)
    assert found.x[3] > 1e-3


def test_duck_wears_yellow_an_orange_beak_in_front_and_dark_eyes():
    mesh = shapes.duck(5)
    colors, points = mesh.vertex_colors, mesh.vertices
    assert colors.shape == points.shape
    assert colors.min() >= 0.0
    assert colors.max() <= 1.0
    red, green, blue = colors.unbind(-1)
    assert ((red > 0.9) & (green > 0.6) & (blue < 0.5)).float().mean() > 0.6
    orange = points[(red > 0.9) & (green < 0.45)]
    assert len(orange) > 100
    assert orange[:, 2].mean() > 0.6
    eyes = points[colors.amax(-1) < 0.2]
    assert len(eyes) > 40
    assert (eyes[:, 0] > 0).float().mean() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (lambda: shapes.icosphere(-1), "level"),
        (lambda: shapes.icosphere(1.5), "level"),
        (lambda: shapes.icosphere(1, radius=0.0), "radius"),
        (lambda: shapes.cube(math.nan), "side"),
        (lambda: shapes.torus(0.2, 0.3), "radius"),
        (lambda: shapes.torus(n_tube=2), "n_tube"),
        (lambda: shapes.plane(cells=0), "cells"),
    ],
)
def test_impossible_shapes_are_refused_by_name(build, name):
    with pytest.raises(ArgumentError, match=f"`{name}`"):
        build()

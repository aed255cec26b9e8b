"""Many meshes, many cameras, and both."""

import pytest
import torch
from colored_meshes import CAMERAS, SOFT, colored, double

import taichi_softras as tsr
from taichi_softras import Camera, Mesh

pytestmark = [
    pytest.mark.usefixtures("arch"),
    pytest.mark.xdist_group("renderer"),
    pytest.mark.filterwarnings("ignore:.*faces were skipped"),
]


def assert_same_bits(actual, expected):
    for a, b in zip(actual[:3], expected[:3], strict=True):
        assert torch.equal(a, b)


def views(*renderings):
    return tuple(torch.cat(values) for values in zip(*(r[:3] for r in renderings), strict=True))


def test_one_mesh_seen_by_many_cameras():
    mesh = colored(tsr.shapes.torus(n_around=9, n_tube=5))
    together = tsr.render(mesh, CAMERAS, (12, 19), settings=SOFT)
    assert together.image.shape == (3, 12, 19, 3)
    alone = [tsr.render(mesh, camera, (12, 19), settings=SOFT) for camera in CAMERAS]
    assert_same_bits(together, views(*alone))


def test_many_shapes_seen_by_one_camera_or_by_one_each():
    mesh = colored(tsr.shapes.icosphere(1))
    rng = torch.Generator().manual_seed(2)
    moved = mesh.vertices + 0.1 * torch.randn(3, 42, 3, dtype=torch.float64, generator=rng)
    for cameras in (CAMERAS[0], CAMERAS):
        together = tsr.render(mesh.replace(vertices=moved), cameras, 12, settings=SOFT)
        alone = [
            tsr.render(mesh.replace(vertices=v), cameras[i % len(cameras)], 12, settings=SOFT)
            for i, v in enumerate(moved)
        ]
        assert_same_bits(together, views(*alone))


def test_different_meshes_one_a_view():
    meshes = [
        colored(tsr.shapes.icosphere(1)),
        colored(tsr.shapes.cube(1.5)),
        colored(tsr.shapes.plane()),
    ]
    for cameras in (CAMERAS[0], CAMERAS):
        together = tsr.render(meshes, cameras, 12, settings=SOFT)
        alone = [
            tsr.render(mesh, cameras[i % len(cameras)], 12, settings=SOFT)
            for i, mesh in enumerate(meshes)
        ]
        assert_same_bits(together, views(*alone))


def test_views_that_clip_and_views_that_do_not_share_a_batch():
    mesh = colored(tsr.shapes.cube())
    cameras = double(Camera.orbit(torch.tensor([4.0, 1.2, 0.0]), 10.0, 30.0))
    together = tsr.render(mesh, cameras, 12, settings=SOFT)
    alone = [tsr.render(mesh, camera, 12, settings=SOFT) for camera in cameras]
    for a, b in zip(together[:3], views(*alone), strict=True):
        torch.testing.assert_close(a, b, rtol=0.0, atol=1e-12)


def test_gradients_of_a_batch_are_those_of_its_views():
    mesh = colored(tsr.shapes.icosphere(0))

    def gradient(cameras):
        vertices = mesh.vertices.clone().requires_grad_()
        out = tsr.render(mesh.replace(vertices=vertices), cameras, 12, settings=SOFT)
        return torch.autograd.grad(out.image.square().sum() + out.alpha.sum(), vertices)[0]

    torch.testing.assert_close(gradient(CAMERAS), sum(map(gradient, CAMERAS)), rtol=1e-9, atol=1e-9)


def test_an_empty_mesh_is_the_background():
    empty = Mesh(vertices=torch.zeros(0, 3), faces=torch.zeros(0, 3, dtype=torch.int64))
    out = tsr.render(empty, Camera.orbit(3.0, 0.0, 0.0), 5, background=[0.1, 0.2, 0.3])
    assert out.image.shape == (1, 5, 5, 3)
    assert not out.alpha.any()
    assert torch.equal(out.image, torch.tensor([0.1, 0.2, 0.3]).expand(1, 5, 5, 3))
    mixed = tsr.render([empty, tsr.shapes.cube().to(torch.float32)], Camera.orbit(3.0, 0.0, 0.0), 5)
    assert not mixed.alpha[0].any()
    assert mixed.alpha[1].any()

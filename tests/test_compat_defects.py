"""What users of the original reported, one test each: none of it may be here."""

import numpy as np
import pytest
import torch

import taichi_softras as tsr
import taichi_softras.compat.soft_renderer as sr


def scene(level=1, **options):
    """A small ball, and a renderer that looks at it."""
    ball = tsr.shapes.icosphere(level, radius=0.7)
    renderer = sr.SoftRenderer(
        **{"image_size": 24, "camera_mode": "look_at", "sigma_val": 1e-4, **options}
    )
    renderer.transform.set_eyes_from_angles(2.5, 20.0, 30.0)
    return ball.vertices.clone(), ball.faces, renderer


def gradient(renderer, vertices, faces, **options):
    vertices = vertices.clone().requires_grad_()
    images = renderer(vertices, faces, **options)
    images.square().sum().backward()
    return images.detach(), vertices.grad


def test_no_gpu_is_asked_for(arch, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a GPU was asked for")

    monkeypatch.setattr(torch.Tensor, "cuda", refuse)
    monkeypatch.setattr(torch.nn.Module, "cuda", refuse)
    vertices, faces, renderer = scene()
    images, grad = gradient(renderer, vertices, faces)
    assert images.device == vertices.device
    assert float(grad.abs().sum()) > 0.0


def test_images_need_not_be_square(arch):
    vertices, faces, renderer = scene()
    square = renderer(vertices, faces)
    renderer.rasterizer.image_size = (24, 40)
    wide = renderer(vertices, faces)
    assert wide.shape == (1, 4, 24, 40)
    torch.testing.assert_close(wide[..., 8:32], square)


@pytest.mark.parametrize("gamma", [1e-5, 1e-7])
def test_small_gammas_give_no_nan(arch, gamma):
    vertices, faces, renderer = scene(gamma_val=gamma, background_color=[0.2, 0.4, 0.6])
    images, grad = gradient(renderer, vertices, faces)
    assert images.isfinite().all()
    assert grad.isfinite().all()
    torch.testing.assert_close(images[0, :3, 0, 0], torch.tensor([0.2, 0.4, 0.6]))


@pytest.mark.parametrize("texture_type", ["surface", "vertex"])
def test_degenerate_faces_change_nothing(arch, texture_type):
    vertices, faces, renderer = scene()
    point = torch.tensor([[0, 0, 0], [1, 1, 2], [3, 4, 3]])
    want, want_grad = gradient(renderer, vertices, faces, texture_type=texture_type)
    got, grad = gradient(renderer, vertices, torch.cat([faces, point]), texture_type=texture_type)
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(grad, want_grad)


def test_saturated_coverage_has_its_gradient(arch):
    # D = 1 - 2e-9 of both faces: 1 - D is 0 in float32, and what divides by it is NaN.
    corners = torch.tensor([[[-1.0, -1.0, 2.0], [0.0, 2.0, 2.0], [1.0, -1.0, 2.0]]] * 2)[None]
    sigma = torch.tensor(1.0, requires_grad=True)
    options = {"image_size": 1, "dist_func": "barycentric", "texture_type": "vertex"}
    for divisor in (1.0, 5e-3, 1e-6):
        alpha = sr.functional.soft_rasterize(
            corners, torch.ones_like(corners), sigma_val=sigma * divisor, **options
        )[0, 3, 0, 0]
        (got,) = torch.autograd.grad(alpha, sigma)
        x = (1.0 / 3.0) ** 2 / divisor  # the pixel is at the centroid
        d = 1.0 / (1.0 + np.exp(-x))
        assert float(got) == pytest.approx(-2.0 * np.exp(-x) ** 2 * d**3 * x, rel=1e-3, abs=1e-30)


def test_tensors_need_not_be_contiguous(arch):
    vertices, faces, renderer = scene()
    colors = torch.rand(1, len(vertices), 3)
    want = renderer(vertices, faces, colors, texture_type="vertex")
    strided = renderer(
        vertices.T.contiguous().T[None],
        faces.T.contiguous().T,
        colors.permute(2, 0, 1).contiguous().permute(1, 2, 0),
        texture_type="vertex",
    )
    assert torch.equal(want, strided)


@pytest.mark.parametrize("batch", [1, 2, 3, 4])
def test_batches_of_any_size_are_views_of_one(arch, batch):
    vertices, faces, renderer = scene()
    eyes = [sr.functional.get_points_from_angles(2.5, 15.0 * i, 50.0 * i) for i in range(batch)]
    renderer.transform.set_eyes(eyes)
    together = renderer(vertices, faces)
    for eye, image in zip(eyes, together, strict=True):
        renderer.transform.set_eyes(eye)
        torch.testing.assert_close(renderer(vertices, faces)[0], image)


def test_flatten_loss_takes_open_meshes():
    fold = torch.tensor([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    faces = torch.tensor([[0, 1, 2], [1, 0, 3]])
    loss = sr.FlattenLoss(faces)
    assert float(loss(fold[None])) == pytest.approx(1.0)  # a right angle: cos θ = 0
    flat = fold.clone()
    flat[3] = torch.tensor([-1.0, 0.0, 0.0])
    assert float(loss(flat[None])) == pytest.approx(0.0, abs=1e-12)


def test_flatten_loss_sees_every_edge():
    cube = tsr.shapes.cube()
    total = sr.FlattenLoss(cube.faces)(cube.vertices[None])
    assert float(total) == pytest.approx(12.0)  # twelve right angles; diagonals are flat


def test_the_laplacian_is_sparse():
    ball = tsr.shapes.icosphere(6)  # dense, 40,962² numbers would take 6.7 GB
    loss = sr.LaplacianLoss(ball.vertices, ball.faces)
    assert loss.laplacian.is_sparse
    assert loss.laplacian.values().numel() == 7 * ball.n_vertices - 12
    assert float(loss(ball.vertices[None])) > 0.0


def test_a_vertex_at_the_eyes_depth_gives_no_nan(arch):
    vertices, faces, renderer = scene()
    renderer.transform.set_eyes([0.0, 0.0, -2.0])
    with_it = torch.cat([vertices, torch.tensor([[0.3, 0.2, -2.0]])])
    more = torch.cat([faces, torch.tensor([[0, 1, len(vertices)]])])
    want = renderer(vertices, faces)
    images, grad = gradient(renderer, with_it, more)
    assert grad.isfinite().all()
    torch.testing.assert_close(images, want)


def test_a_vertex_that_is_no_number_spoils_no_gradient(arch):
    vertices, faces, renderer = scene()
    broken = torch.cat([vertices, torch.full((1, 3), torch.nan)]).requires_grad_()
    more = torch.cat([faces, torch.tensor([[0, 1, len(vertices)]])])
    eye = torch.tensor([0.3, 0.4, -2.0], requires_grad=True)
    renderer.transform.set_eyes(eye)
    images = renderer(broken, more)
    images.square().sum().backward()
    assert eye.grad.isfinite().all()
    assert eye.grad.abs().max() > 0.0
    assert broken.grad.isfinite().all()
    torch.testing.assert_close(images, renderer(vertices, faces))


def test_rendering_twice_is_rendering_once(arch):
    vertices, faces, renderer = scene()
    mesh = sr.Mesh(vertices, faces)
    assert torch.equal(renderer.render_mesh(mesh), renderer.render_mesh(mesh))

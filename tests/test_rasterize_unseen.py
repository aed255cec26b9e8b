"""unseen="alpha": what colour leaves out still counts in alpha."""

import pytest
import torch
from soups import soup

from taichi_softras import Camera, RasterSettings, rasterize, reference, render, shapes

pytestmark = [pytest.mark.usefixtures("arch"), pytest.mark.xdist_group("variants")]


def rendered(rasterizer, corners, attributes, settings):
    leaves = [t.detach().clone().requires_grad_() for t in (corners, attributes)]
    out = rasterizer(*leaves, size=(9, 17), settings=settings, background=0.25)
    rng = torch.Generator().manual_seed(5)
    loss = sum(
        (t * torch.randn(t.shape, dtype=torch.float64, generator=rng).to(t)).sum() for t in out[:3]
    )
    return out, torch.autograd.grad(loss, leaves)


@pytest.mark.parametrize(
    "choices",
    [
        {"cull": "back"},
        {"cull": "front", "color": "hard"},
        {"cull": "none", "distance": "barycentric", "clip": "clamp", "perspective_correct": False},
    ],
    ids=lambda choices: choices["cull"],
)
def test_equals_the_reference_in_float64(choices):
    """Depths from behind the eye to beyond far."""
    triangles = soup(3, 40, views=2)
    corners = triangles.corners.clone()
    depth = corners[..., 2]
    low, high = depth.min(), depth.max()
    corners[..., 2] = (depth - low) / (high - low) * 5.0 - 1.0
    settings = RasterSettings(sigma=1e-2, gamma=1e-1, near=0.5, far=3.0, unseen="alpha", **choices)
    ours, gradients = rendered(rasterize, corners, triangles.attributes, settings)
    theirs, wanted = rendered(reference.rasterize, corners, triangles.attributes, settings)
    for mine, right in zip(ours[:3], theirs[:3], strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-9, atol=1e-9)
    for mine, right in zip(gradients, wanted, strict=True):
        size = right.abs().max().item()
        torch.testing.assert_close(mine, right, rtol=0.0, atol=1e-7 * size)


def one_face(depth, turned=False):
    corners = torch.tensor([[-2.0, -2.0, depth], [2.0, -2.0, depth], [0.0, 6.0, depth]])
    return (corners.flip(0) if turned else corners)[None, None]


@pytest.mark.parametrize(
    ("corners", "cull"),
    [
        (one_face(-2.0), "none"),
        (one_face(0.5), "none"),
        (one_face(200.0), "none"),
        (one_face(2.0, turned=True), "back"),
        (one_face(2.0), "front"),
    ],
    ids=["behind the eye", "too near", "too far", "back face", "front face"],
)
def test_alpha_alone(corners, cull):
    colors = torch.ones(1, 3, 3)
    settings = RasterSettings(cull=cull, unseen="alpha")
    out = rasterize(corners, colors, size=8, settings=settings, background=0.25)
    assert out.alpha.min() == 1.0
    assert bool((out.image == 0.25).all())
    assert bool((out.depth == settings.far).all())


def test_what_is_seen_looks_the_same():
    mesh = shapes.icosphere(2)
    mesh = mesh.replace(vertex_colors=mesh.vertices * 0.5 + 0.5)
    camera = Camera.orbit(distance=2.7, elevation=20.0, azimuth=30.0, fov=50.0)
    dropped, kept = (
        render(mesh, camera, size=24, settings=RasterSettings(cull="back", unseen=unseen))
        for unseen in ("drop", "alpha")
    )
    torch.testing.assert_close(dropped.image, kept.image, rtol=0.0, atol=2e-6)
    # The far side's outline covers the same pixels a second time.
    assert kept.alpha.sum() > dropped.alpha.sum()


def test_render_clips_nothing():
    """A face that the near plane cuts counts with all of its outline."""
    mesh = shapes.icosphere(1)
    camera = Camera.orbit(distance=1.5, elevation=0.0, azimuth=0.0, fov=60.0)
    out = render(mesh, camera, size=16, settings=RasterSettings(near=1.0, unseen="alpha"))
    assert out.skipped.total == 0
    assert render(mesh, camera, size=16, settings=RasterSettings(near=1.0)).skipped.behind > 0

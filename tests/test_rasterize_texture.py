"""Textures in the kernels: against the reference, finite differences, and by hand."""

import pytest
import torch
from soups import soup

from taichi_softras import FaceTexture, RasterSettings, rasterize, reference
from taichi_softras.torch_bridge import rasterizer

pytestmark = [pytest.mark.usefixtures("arch"), pytest.mark.xdist_group("variants")]

LOOKUPS = ["nearest", "bilinear", "mipmap", "triangles"]
SIZE = (9, 17)


def texture(lookup, seed=0, dtype=torch.float64, channels=3, faces=12, wrap=0):
    """Three maps of odd sizes, a face on each in turn; mipmaps have two levels."""
    rng = torch.Generator().manual_seed(seed)
    sides = [(3, 3), (1, 1), (4, 4)] if lookup == "triangles" else [(3, 5), (1, 1), (4, 2)]
    rows, first = [], 0
    for height, width in sides:
        levels = [(height, width), (max(height // 2, 1), max(width // 2, 1))]
        levels = levels if lookup == "mipmap" else levels[:1]
        for left, (h, w) in zip(range(len(levels), 0, -1), levels, strict=True):
            rows.append([first, h, w, wrap, left])
            first += h * w
    maps = torch.tensor(rows)
    starts = torch.tensor([0, 2, 4] if lookup == "mipmap" else [0, 1, 2])
    return FaceTexture(
        texels=torch.rand(first, channels, dtype=dtype, generator=rng),
        maps=maps,
        face_maps=starts[torch.arange(faces) % 3],
        lookup=lookup,
    )


def scene(lookup, seed=0, dtype=torch.float64, views=2, faces=12, channels=4, wrap=0):
    """Triangles, attributes with coordinates in and beyond [0, 1], a texture of 3 channels."""
    triangles = soup(seed, faces, views=views, channels=channels, spread=0.6)
    rng = torch.Generator().manual_seed(seed + 1)
    low, high = (0.05, 0.45) if lookup == "triangles" else (-1.3, 2.2)
    coordinates = torch.rand(faces, 3, 2, dtype=torch.float64, generator=rng) * (high - low) + low
    if lookup == "mipmap":
        level = torch.rand(faces, 3, 1, dtype=torch.float64, generator=rng) * 3.0 - 1.0
        coordinates = torch.cat([coordinates, level], -1)
    attributes = torch.rand(faces, 3, channels, dtype=torch.float64, generator=rng)
    attributes = torch.cat([attributes, coordinates], -1).to(dtype)
    return triangles.corners.to(dtype), attributes, texture(lookup, seed, dtype, 3, faces, wrap)


def with_texels(given, texels):
    return FaceTexture(
        texels=texels, maps=given.maps, face_maps=given.face_maps, lookup=given.lookup
    )


def rendered(rasterizer, corners, attributes, given, upstream_seed=5, **settings):
    leaves = [t.detach().clone().requires_grad_() for t in (corners, attributes, given.texels)]
    out = rasterizer(
        leaves[0],
        leaves[1],
        size=SIZE,
        settings=RasterSettings(**{"sigma": 3e-3, "gamma": 0.1, **settings}),
        background=0.25,
        texture=with_texels(given, leaves[2]),
    )
    rng = torch.Generator().manual_seed(upstream_seed)
    loss = sum(
        (t * torch.randn(t.shape, dtype=torch.float64, generator=rng).to(t)).sum() for t in out[:3]
    )
    return out, torch.autograd.grad(loss, leaves)


def assert_equal_to_the_reference(given, forward, backward, **settings):
    ours, gradients = rendered(rasterize, *given, **settings)
    theirs, wanted = rendered(reference.rasterize, *given, **settings)
    for mine, right in zip(ours[:3], theirs[:3], strict=True):
        torch.testing.assert_close(mine.double(), right, rtol=forward, atol=forward)
    for mine, right in zip(gradients, wanted, strict=True):
        size = right.abs().max().item()
        torch.testing.assert_close(mine.double(), right.double(), rtol=0.0, atol=backward * size)


@pytest.mark.parametrize("lookup", LOOKUPS)
@pytest.mark.parametrize("wrap", [0, 1, 2])
def test_equals_the_reference_in_float64(lookup, wrap):
    assert_equal_to_the_reference(scene(lookup, wrap=wrap), 1e-9, 1e-7)


OTHERS = {
    "bilinear": {"color": "hard", "clip": "clamp", "perspective_correct": False},
    "triangles": {"distance": "barycentric", "sigma": 1e-2, "perspective_correct": False},
    "mipmap": {"color": "hard", "distance": "hard", "alpha": "sum"},
}


@pytest.mark.parametrize(("lookup", "settings"), OTHERS.items(), ids=OTHERS)
def test_equals_the_reference_with_other_settings(lookup, settings):
    assert_equal_to_the_reference(scene(lookup, 3), 1e-9, 1e-7, **settings)


def test_equals_the_reference_in_float32():
    assert_equal_to_the_reference(scene("mipmap", 4, torch.float32), 1e-4, 1e-3)


@pytest.mark.parametrize("lookup", LOOKUPS)
def test_gradient_matches_finite_differences(lookup):
    corners, attributes, given = scene(lookup, 6, views=1, faces=4)
    settings = RasterSettings(sigma=3e-2, gamma=0.2, dist_eps=1e-13)

    def render(corners, attributes, texels):
        out = rasterize(
            corners,
            attributes,
            size=8,
            settings=settings,
            background=0.25,
            texture=with_texels(given, texels),
        )
        return out[:3]

    leaves = tuple(t.requires_grad_() for t in (corners, attributes, given.texels))
    # Nearest texels jump: only what does not move them is compared.
    if lookup in ("nearest", "triangles"):
        leaves = (corners.detach(), attributes.detach(), given.texels)
    assert torch.autograd.gradcheck(render, leaves, fast_mode=True, eps=1e-6, atol=1e-6)


def test_the_texels_gradient_is_the_same_in_every_order():
    corners, attributes, given = scene("bilinear", 7, torch.float32, faces=60)
    same, first = with_texels(given, given.texels), None
    for order in (torch.arange(60), torch.randperm(60, generator=torch.Generator().manual_seed(1))):
        # gamma is so small that the order of blending changes no weight.
        shuffled = FaceTexture(
            texels=same.texels,
            maps=same.maps,
            face_maps=same.face_maps[order],
            lookup="bilinear",
        )
        _, (_, _, gradient) = rendered(
            rasterize, corners[:, order], attributes[order], shuffled, color="hard"
        )
        first = gradient if first is None else first
        assert torch.equal(gradient, first)


def test_two_runs_have_the_same_bits():
    given = scene("bilinear", 8, torch.float32, faces=60)
    (first, gradients), (second, again) = (rendered(rasterize, *given) for _ in range(2))
    assert torch.equal(first.image, second.image)
    assert all(torch.equal(a, b) for a, b in zip(gradients, again, strict=True))


def quad(coordinates, dtype=torch.float32):
    """Two triangles that fill the view, with (s, t) at their corners."""
    place = {"a": (-2.0, 2.0), "b": (2.0, 2.0), "c": (-2.0, -2.0), "d": (2.0, -2.0)}
    corners = [[[*place[name], 2.0] for name in face] for face in ("cba", "bcd")]
    attributes = [[[1.0, *coordinates(*place[name])] for name in face] for face in ("cba", "bcd")]
    return torch.tensor([corners], dtype=dtype), torch.tensor(attributes, dtype=dtype)


def one_image(image, lookup, wrap=0):
    height, width = image.shape
    return FaceTexture(
        texels=image.reshape(-1, 1),
        maps=torch.tensor([[0, height, width, wrap, 1]]),
        face_maps=torch.zeros(2, dtype=torch.int64),
        lookup=lookup,
    )


@pytest.mark.parametrize("lookup", ["nearest", "bilinear"])
def test_an_image_on_a_quad_is_the_image(lookup):
    """Texel centres meet pixel centres, row 0 on top."""
    image = torch.rand(8, 8, generator=torch.Generator().manual_seed(0))
    corners, attributes = quad(lambda x, y: (x / 2 + 0.5, 0.5 - y / 2))
    settings = RasterSettings(color="hard", distance="hard")
    out = rasterize(
        corners, attributes, size=8, settings=settings, texture=one_image(image, lookup)
    )
    torch.testing.assert_close(out.image[0, ..., 0], image, atol=1e-5, rtol=0.0)


@pytest.mark.parametrize(
    ("wrap", "wanted"),
    [
        (0, [0.0, 1.0, 2.0, 3.0] * 3),
        (1, [0.0] * 4 + [0.0, 1.0, 2.0, 3.0] + [3.0] * 4),
        (2, [3.0, 2.0, 1.0, 0.0, 0.0, 1.0, 2.0, 3.0, 3.0, 2.0, 1.0, 0.0]),
    ],
    ids=["wrap", "clamp", "mirror"],
)
@pytest.mark.parametrize("lookup", ["nearest", "bilinear"])
def test_beyond_the_border(lookup, wrap, wanted):
    """Twelve pixels side by side read three repetitions of four texels."""
    corners, attributes = quad(lambda x, y: (x * 1.5 + 0.5, 0.5))
    settings = RasterSettings(color="hard", distance="hard")
    image = torch.tensor([[0.0, 1.0, 2.0, 3.0]])
    out = rasterize(
        corners, attributes, size=12, settings=settings, texture=one_image(image, lookup, wrap)
    )
    torch.testing.assert_close(out.image[0, 5, :, 0], torch.tensor(wanted), atol=1e-4, rtol=0.0)


def test_more_channels_than_a_kernel_has_are_drawn_in_groups(monkeypatch):
    """Two textured ones, one textured and one plain one, one plain one."""
    monkeypatch.setattr(rasterizer, "MAX_CHANNELS", 2)
    assert_equal_to_the_reference(scene("nearest", 9, channels=5), 1e-9, 1e-7)


def test_texels_of_each_view():
    """Maps that differ from view to view, on shared attributes."""
    corners, attributes, given = scene("bilinear", 10)
    rows = torch.stack([given.face_maps, given.face_maps.flip(0)])
    both = FaceTexture(texels=given.texels, maps=given.maps, face_maps=rows, lookup="bilinear")
    out, _ = rendered(rasterize, corners, attributes, both)
    for view in range(2):
        alone = FaceTexture(
            texels=given.texels, maps=given.maps, face_maps=rows[view], lookup="bilinear"
        )
        single, _ = rendered(rasterize, corners[view : view + 1], attributes, alone)
        assert torch.equal(single.image[0], out.image[view])

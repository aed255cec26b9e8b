"""What is checked and planned once is so again where it has to be."""

import pytest
import torch
from soups import Options, soup

from taichi_softras import ArgumentError, RasterSettings, ShapeError, rasterize
from taichi_softras.torch_bridge import frames

pytestmark = [pytest.mark.usefixtures("arch"), pytest.mark.xdist_group("float32")]

SETTINGS = Options().settings(sigma=1e-2, gamma=0.1)


@pytest.fixture(autouse=True)
def kept(monkeypatch):
    """Frames that are remembered: none at first."""
    found = {}
    monkeypatch.setattr(frames, "_kept", found)
    return found


def triangles(seed=1, faces=6, views=1, dtype=torch.float32):
    return [t.requires_grad_() for t in soup(seed, faces, views=views, dtype=dtype)]


def results(given, settings=SETTINGS, **options):
    out = rasterize(*given, size=17, settings=settings, **options)
    loss = out.image.square().sum() + out.alpha.sum() + out.depth.sum()
    return [*out[:3], *torch.autograd.grad(loss, given)]


@pytest.mark.parametrize("layout", ["shared", "one", "each"])
def test_other_values_are_drawn_as_if_they_were_the_first(kept, layout):
    wanted, scenes = [], []
    for seed in (1, 2):
        corners, attributes = triangles(seed, views=2)
        if layout != "each":
            attributes = attributes.detach()[:6] if attributes.ndim == 3 else attributes.detach()[0]
            attributes = attributes[None] if layout == "one" else attributes
            attributes = attributes.clone().requires_grad_()
        scenes.append((corners, attributes))
        kept.clear()
        wanted.append(results(scenes[-1]))
    for given, expected in zip(scenes, wanted, strict=True):
        for a, b in zip(results(given), expected, strict=True):
            assert a.shape == b.shape
            assert torch.equal(a, b)
    assert len(kept) == 1


def test_what_changes_a_rendering_is_told_apart(kept):
    corners, attributes = triangles()
    for options in (
        {},
        {"size": (9, 17)},
        {"settings": RasterSettings(sigma=1e-3)},
        {"settings": RasterSettings(sigma=1e-3, color="none")},
        {"orthographic": True},
    ):
        out = rasterize(corners, attributes, **{"size": 17, "settings": SETTINGS, **options})
        assert (out.image is None) == (out.depth is None) == (len(kept) == 4)
    rasterize(corners, size=17, settings=SETTINGS)
    rasterize(corners, attributes[..., :2], size=17, settings=SETTINGS)
    assert len(kept) == 7
    # These may have other values each time.
    rasterize(corners, attributes, size=17, settings=SETTINGS, background=0.5)
    rasterize(corners, attributes, size=17, settings=RasterSettings(sigma=torch.tensor(1e-3)))
    assert len(kept) == 7


def test_a_tensor_s_value_is_read_each_time():
    corners, attributes = triangles()
    sigma = torch.tensor(1e-3)
    settings = RasterSettings(sigma=sigma)
    before = rasterize(corners, attributes, size=17, settings=settings).alpha
    sigma.mul_(10.0)
    after = rasterize(corners, attributes, size=17, settings=settings).alpha
    assert not torch.equal(before, after)


def test_bad_arguments_are_refused_after_good_ones():
    corners, attributes = triangles()
    vertices = torch.rand(1, 4, 3) + 1.0
    faces = torch.tensor([[0, 1, 2], [1, 2, 3]])
    for _ in range(2):
        rasterize(corners, attributes, size=17, settings=SETTINGS)
        rasterize(vertices, size=17, settings=SETTINGS, faces=faces)
    for bad in (faces + 1, faces - 1):
        with pytest.raises(ArgumentError, match="`faces` must name vertices 0 to 3"):
            rasterize(vertices, size=17, settings=SETTINGS, faces=bad)
    with pytest.raises(ArgumentError, match="`faces` must be an integer tensor"):
        rasterize(vertices, size=17, settings=SETTINGS, faces=faces.float())
    with pytest.raises(ArgumentError, match="`faces` must be an integer tensor"):
        rasterize(vertices, size=17, settings=SETTINGS, faces=faces.tolist())
    with pytest.raises((ArgumentError, ShapeError), match="`size`"):
        rasterize(corners, attributes, size=17.0, settings=SETTINGS)
    with pytest.raises(ArgumentError, match="`corner_attributes` must have the dtype"):
        rasterize(corners, attributes.double(), size=17, settings=SETTINGS)
    with pytest.raises(ShapeError, match="`corner_attributes`"):
        rasterize(corners, attributes[..., :2, :], size=17, settings=SETTINGS)


def test_only_so_many_are_kept(kept, monkeypatch):
    monkeypatch.setattr(frames, "MOST_KEPT", 3)
    corners, attributes = triangles()
    for size in range(8, 15):
        rasterize(corners, attributes, size=size, settings=SETTINGS)
    assert 0 < len(kept) <= 3

"""Nothing that a caller passes may turn into NaN, or into a change elsewhere."""

import math
import warnings

import pytest
import torch
from soups import FLOAT32, Options, Soup, soup

from taichi_softras import SkippedFaces, rasterize, reference, skipped

pytestmark = [pytest.mark.usefixtures("arch"), pytest.mark.xdist_group("float32")]

NAN, INF = math.nan, math.inf
CORNERS = [[-0.5, -0.4, 2.0], [0.6, -0.3, 3.0], [0.1, 0.7, 2.5]]


def changed(corner, axis, value):
    corners = [list(row) for row in CORNERS]
    corners[corner][axis] = value
    return corners


BAD_FACES = {
    "NaN x": (changed(0, 0, NAN), "non_finite"),
    "NaN depth": (changed(2, 2, NAN), "non_finite"),
    "infinite y": (changed(1, 1, INF), "non_finite"),
    "infinite depth": (changed(1, 2, -INF), "non_finite"),
    "zero depth": (changed(1, 2, 0.0), "behind"),
    "negative depth": (changed(0, 2, -1.0), "behind"),
    "a point": ([CORNERS[0]] * 3, "degenerate"),
    "a line": ([CORNERS[0], CORNERS[1], CORNERS[0]], "degenerate"),
    "three in a row": ([[-0.5, -0.5, 2.0], [0.0, 0.0, 2.0], [0.5, 0.5, 2.0]], "degenerate"),
}


@pytest.fixture(autouse=True)
def fresh_warnings():
    skipped._warned_about.clear()


def spoil(triangles, bad, attributes=None, where=3):
    """Insert a face, and give all of them gradients."""
    dtype = triangles.corners.dtype
    corners = torch.cat(
        [
            triangles.corners[:, :where],
            torch.tensor([[bad]], dtype=dtype),
            triangles.corners[:, where:],
        ],
        1,
    )
    new = torch.full((1, 1, 3, 3), 0.5, dtype=dtype) if attributes is None else attributes
    colors = torch.cat([triangles.attributes[:, :where], new, triangles.attributes[:, where:]], 1)
    return Soup(corners.requires_grad_(), colors.requires_grad_())


def pull(triangles, settings, size=9):
    out = rasterize(*triangles, size=size, settings=settings, background=0.3)
    loss = out.alpha.square().sum() + out.image.square().sum() + out.depth.square().sum()
    return out, torch.autograd.grad(loss, list(triangles))


@pytest.mark.filterwarnings("ignore:.*faces were skipped")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("bad", BAD_FACES)
def test_an_unusable_face_is_counted_and_changes_no_bit(bad, dtype):
    face, reason = BAD_FACES[bad]
    good = Soup(*(t.requires_grad_() for t in soup(1, 8, dtype=dtype)))
    settings = Options().settings(sigma=1e-2, gamma=0.1)
    expected, wanted = pull(good, settings)
    spoiled = spoil(good, face)
    out, gradients = pull(spoiled, settings)
    assert out.skipped == SkippedFaces(**{reason: 1})
    assert expected.skipped == SkippedFaces()
    for a, b in zip(out[:3], expected[:3], strict=True):
        assert torch.equal(a, b)
    for gradient, clean in zip(gradients, wanted, strict=True):
        assert not gradient[:, 3].any()
        assert torch.equal(torch.cat([gradient[:, :3], gradient[:, 4:]], 1), clean)
    assert reference.rasterize(*spoiled, size=3, settings=settings).skipped == out.skipped


@pytest.mark.filterwarnings("ignore:.*faces were skipped")
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_a_face_with_unusable_attributes_is_skipped(value):
    good = soup(1, 8)
    settings = Options().settings(sigma=1e-2, gamma=0.1)
    expected = rasterize(*good, size=9, settings=settings, background=0.3)
    colors = torch.full((1, 1, 3, 3), 0.5, dtype=torch.float64)
    colors[0, 0, 1, 2] = value
    out, gradients = pull(spoil(good, CORNERS, colors), settings)
    assert out.skipped == SkippedFaces(non_finite=1)
    assert torch.equal(out.image, expected.image)
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_a_bad_value_in_a_late_channel_leaves_the_face_out_of_all_channels():
    # More channels than one kernel takes are rendered in groups.
    case = soup(5, 6, channels=12)
    attributes = case.attributes.clone()
    attributes[0, 2, 1, 11] = math.nan
    got = rasterize(case.corners, attributes, size=9)
    want = reference.rasterize(case.corners, attributes, size=9)
    assert got.skipped == want.skipped == SkippedFaces(non_finite=1)
    torch.testing.assert_close(got.image, want.image)
    torch.testing.assert_close(got.alpha, want.alpha)


def test_skipped_faces_are_warned_about_once_for_each_reason():
    settings = Options().settings(sigma=1e-2, gamma=0.1)
    flat = spoil(soup(1, 8), BAD_FACES["a line"][0])
    behind = spoil(soup(1, 8), BAD_FACES["zero depth"][0])
    with pytest.warns(UserWarning, match="1 faces were skipped because they are degenerate"):
        rasterize(*flat, size=3, settings=settings)
    with pytest.warns(UserWarning, match="behind the eye"):
        rasterize(*behind, size=3, settings=settings)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rasterize(*flat, size=3, settings=settings)
        rasterize(*soup(1, 8), size=3, settings=settings)


@pytest.mark.filterwarnings("ignore:.*faces were skipped")
def test_culled_faces_are_not_called_skipped():
    triangles = soup(1, 30)
    seen = [
        rasterize(*triangles, size=9, settings=Options(cull=cull).settings(sigma=1e-2))
        for cull in ("none", "back", "front")
    ]
    assert all(out.skipped == SkippedFaces() for out in seen)
    # What is not in the front is in the back: transparencies multiply.
    both, front, back = (1.0 - out.alpha for out in seen)
    torch.testing.assert_close(front * back, both)


@pytest.mark.filterwarnings("ignore:.*faces were skipped")
@pytest.mark.parametrize("gamma", [1e-12, 1e-4, 1e3])
@pytest.mark.parametrize("sigma", [1e-12, 1e-4, 1e3])
@pytest.mark.parametrize(
    ("options", "dtype"),
    [*((option, torch.float32) for option in FLOAT32), (Options(), torch.float64)],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_extreme_numbers_stay_finite(options, dtype, sigma, gamma):
    triangles = soup(3, 30, dtype=dtype)
    corners, attributes = triangles
    with torch.no_grad():
        corners[0, 0, 0, 0] = 1e20  # far away
        corners[0, 1, :, :2] *= 1e6  # all over the image
        corners[0, 2, 1, :2] = corners[0, 2, 0, :2] + 1e-6  # a needle
        corners[0, 3, :, 2] *= 1e6  # far behind
        corners[0, 4, :, 2] *= 1e-6  # on the eye
        corners[0, 5, :, :2] *= 1e-5  # smaller than a pixel
        attributes[0, 6] *= 1e6
    leaves = {
        "corners": corners.requires_grad_(),
        "attributes": attributes.requires_grad_(),
        "background": torch.full((3,), 0.3, dtype=dtype, requires_grad=True),
        "sigma": torch.tensor(sigma, dtype=dtype, requires_grad=True),
        "gamma": torch.tensor(gamma, dtype=dtype, requires_grad=True),
    }
    out = rasterize(
        corners,
        attributes,
        size=9,
        settings=options.settings(sigma=leaves["sigma"], gamma=leaves["gamma"]),
        background=leaves["background"],
        orthographic=options.orthographic,
    )
    values = [t for t in out[:3] if t is not None]
    for value in values:
        assert value.isfinite().all()
    loss = sum(value.sum() for value in values)
    gradients = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    for name, gradient in zip(leaves, gradients, strict=True):
        assert gradient is None or gradient.isfinite().all(), name


@pytest.mark.filterwarnings("ignore:.*faces were skipped")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("size", [1e3, 1e10, 1e20, 1e30])
def test_huge_faces_are_rendered_or_counted_as_the_reference_does(size, dtype):
    corners = torch.tensor([[CORNERS]], dtype=dtype)
    corners[..., :2] *= size
    settings = Options().settings(sigma=1e-2, gamma=0.1)
    ours = rasterize(corners, None, size=5, settings=settings)
    wanted = reference.rasterize(corners, None, size=5, settings=settings)
    assert ours.skipped == wanted.skipped
    torch.testing.assert_close(ours.alpha.double(), wanted.alpha, rtol=0.0, atol=2e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_saturated_silhouette_has_a_gradient_that_is_finite(dtype):
    """The original divides by 1 - D, which is 0 in the middle of a sharp face."""
    corners = torch.tensor([[CORNERS] * 2], dtype=dtype, requires_grad=True)
    settings = Options(color="none").settings(sigma=1e-5)
    alpha = rasterize(corners, None, size=16, settings=settings).alpha
    assert alpha.max() == 1.0
    alpha.sum().backward()
    assert corners.grad.isfinite().all()
    assert corners.grad[..., :2].any()

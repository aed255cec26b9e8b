"""What must hold whatever the triangles are."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from soups import Options, soup

from taichi_softras import RasterSettings, rasterize, reference

pytestmark = [pytest.mark.usefixtures("arch"), pytest.mark.xdist_group("float64")]

SOFT = Options().settings(sigma=1e-2, gamma=0.1)
seeds = st.integers(0, 2**31 - 1)
few = st.integers(1, 12)
sides = st.integers(1, 20)


def close(actual, expected, tolerance=1e-11):
    """Equal up to the rounding of a sum in another order."""
    torch.testing.assert_close(actual, expected, rtol=0.0, atol=tolerance)


def bits(rendering):
    return [t.detach() for t in rendering[:3] if t is not None]


def assert_same_bits(actual, expected):
    for a, b in zip(actual, expected, strict=True):
        assert torch.equal(a, b)


@settings(max_examples=25)
@given(seed=seeds, faces=few, side=sides)
def test_face_order_does_not_matter(seed, faces, side):
    corners, attributes = soup(seed, faces)
    order = torch.randperm(faces, generator=torch.Generator().manual_seed(seed))
    a = rasterize(corners, attributes, size=side, settings=SOFT)
    b = rasterize(corners[:, order], attributes[:, order], size=side, settings=SOFT)
    for x, y in zip(a[:3], b[:3], strict=True):
        close(x, y, 1e-10)


@settings(max_examples=25)
@given(seed=seeds, faces=few, right=st.integers(-5, 5), up=st.integers(-5, 5))
def test_moving_by_whole_pixels_shifts_the_image(seed, faces, right, up):
    height, width = 17, 20
    corners, attributes = soup(seed, faces)
    offset = torch.tensor([2.0 * right / height, 2.0 * up / height, 0.0], dtype=torch.float64)
    a = rasterize(corners, attributes, size=(height, width), settings=SOFT)
    b = rasterize(corners + offset, attributes, size=(height, width), settings=SOFT)
    rows, columns = (
        slice(max(up, 0), height + min(up, 0)),
        slice(max(-right, 0), width - max(right, 0)),
    )
    moved_rows = slice(max(-up, 0), height - max(up, 0))
    moved_columns = slice(max(right, 0), width + min(right, 0))
    for x, y in zip(a[:3], b[:3], strict=True):
        close(y[:, moved_rows, moved_columns], x[:, rows, columns], 1e-9)


@settings(max_examples=10)
@given(seed=seeds, faces=few)
def test_a_finer_image_averages_to_the_coarser(seed, faces):
    """The midpoint rule: halving the pixels quarters the error, for a smooth enough image."""
    corners, attributes = soup(seed, faces)
    smooth = RasterSettings(sigma=0.3, gamma=1.0, near=1.0, far=10.0, dist_eps=0.0)

    def alpha(side):
        return rasterize(corners, attributes, size=side, settings=smooth).alpha[0]

    def halved(image):
        return image.reshape(image.shape[0] // 2, 2, -1, 2).mean((1, 3))

    coarse, middle, fine = alpha(16), alpha(32), alpha(64)
    first = (halved(middle) - coarse).abs().mean()
    second = (halved(fine) - middle).abs().mean()
    assert first < 0.02
    # Exactly 4 in the limit; kinks of the distance field on single lines cost a little.
    assert second < first / 3.0 or first < 1e-6


@settings(max_examples=15)
@given(seed=seeds, faces=few, height=sides, width=sides)
def test_a_batch_is_its_views_bit_for_bit(seed, faces, height, width):
    corners, attributes = soup(seed, faces, views=3)
    together = bits(rasterize(corners, attributes, size=(height, width), settings=SOFT))
    for view in range(3):
        alone = rasterize(
            corners[view : view + 1],
            attributes[view : view + 1],
            size=(height, width),
            settings=SOFT,
        )
        assert_same_bits([t[view : view + 1] for t in together], bits(alone))


@settings(max_examples=15)
@given(seed=seeds, counts=st.lists(st.integers(0, 9), min_size=1, max_size=4))
def test_packed_views_equal_separate_ones_bit_for_bit(seed, counts):
    corners, attributes = (t[0].requires_grad_() for t in soup(seed, max(sum(counts), 1)))
    corners_used, attributes_used = corners[: sum(counts)], attributes[: sum(counts)]
    out = rasterize(corners_used, attributes_used, size=9, settings=SOFT, face_counts=counts)
    packed = torch.autograd.grad(out.image.sum() + out.alpha.sum(), [corners, attributes])
    first, grads = 0, [torch.zeros_like(corners), torch.zeros_like(attributes)]
    for view, count in enumerate(counts):
        own = slice(first, first + count)
        alone = rasterize(corners[None, own], attributes[None, own], size=9, settings=SOFT)
        assert_same_bits([t[view : view + 1] for t in bits(out)], bits(alone))
        loss = alone.image.sum() + alone.alpha.sum()
        parts = torch.autograd.grad(loss, [corners, attributes])
        grads = [total + part for total, part in zip(grads, parts, strict=True)]
        first += count
    assert_same_bits(packed, grads)


@settings(max_examples=15)
@given(seed=seeds, faces=few, views=st.integers(1, 4), batched=st.booleans())
def test_shared_attributes_equal_repeated_ones(seed, faces, views, batched):
    corners, _ = soup(seed, faces, views=views)
    shared = soup(seed + 1, faces).attributes if batched else soup(seed + 1, faces).attributes[0]
    shared = shared.requires_grad_()
    repeated = shared.detach().expand(views, faces, 3, 3).clone().requires_grad_()
    a = rasterize(corners, shared, size=9, settings=SOFT)
    b = rasterize(corners, repeated, size=9, settings=SOFT)
    assert_same_bits(bits(a), bits(b))
    a.image.square().sum().backward()
    b.image.square().sum().backward()
    close(shared.grad.reshape(faces, 3, 3), repeated.grad.sum(0))


@settings(max_examples=10)
@given(seed=seeds, faces=few)
def test_a_constant_background_equals_an_image_of_it(seed, faces):
    corners, attributes = soup(seed, faces, views=2)
    constant = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64, requires_grad=True)
    image = constant.detach().expand(2, 9, 11, 3).clone().requires_grad_()
    one_for_all = constant.detach().expand(9, 11, 3).clone().requires_grad_()
    renderings = [
        rasterize(corners, attributes, size=(9, 11), settings=SOFT, background=background)
        for background in (constant, image, one_for_all)
    ]
    for out in renderings:
        assert_same_bits(bits(out), bits(renderings[0]))
        out.image.square().sum().backward()
    close(constant.grad, image.grad.sum((0, 1, 2)))
    close(one_for_all.grad, image.grad.sum(0))


@pytest.mark.parametrize("size", [(3, 40), (40, 3), (1, 9), (9, 1)])
def test_the_longer_side_shows_more_of_the_plane(size):
    """NDC is [-1, 1] over the shorter side, so a square stays a square."""
    height, width = size
    corners, attributes = soup(3, 30, spread=4.0)
    wide = rasterize(corners, attributes, size=size, settings=SOFT)
    expected = reference.rasterize(corners, attributes, size=size, settings=SOFT)
    close(wide.image, expected.image, 1e-9)
    # The middle is the square image.
    side = min(size)
    square = rasterize(corners, attributes, size=side, settings=SOFT)
    top, left = (height - side) // 2, (width - side) // 2
    if (height - side) % 2 == 0 and (width - side) % 2 == 0:
        close(wide.image[:, top : top + side, left : left + side], square.image)


@pytest.mark.parametrize("color", ["softmax", "hard", "none"])
@pytest.mark.parametrize("views", [1, 3])
def test_an_empty_mesh_is_the_background(views, color):
    options = Options(color=color)
    corners = torch.zeros(views, 0, 3, 3, dtype=torch.float64, requires_grad=True)
    attributes = torch.zeros(views, 0, 3, 3, dtype=torch.float64, requires_grad=True)
    background = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64, requires_grad=True)
    sigma = torch.tensor(1e-2, dtype=torch.float64, requires_grad=True)
    gamma = torch.tensor(1e-2, dtype=torch.float64, requires_grad=True)
    out = rasterize(
        corners,
        attributes,
        size=(5, 9),
        settings=options.settings(sigma=sigma, gamma=gamma),
        background=background,
    )
    assert not out.alpha.any()
    assert out.skipped.total == 0
    loss = out.alpha.sum()
    if color != "none":
        assert torch.equal(out.image, background.expand(views, 5, 9, 3))
        assert (out.depth == 10.0).all()
        loss = loss + out.image.sum() + out.depth.sum()
    loss.backward()
    assert corners.grad is None or corners.grad.shape == corners.shape
    assert sigma.grad is None or sigma.grad == 0.0
    assert gamma.grad is None or gamma.grad == 0.0
    if color != "none":
        close(background.grad, torch.full_like(background, views * 5.0 * 9.0))


@settings(max_examples=15)
@given(seed=seeds, faces=few, sigma=st.floats(1e-6, 1e-1), gamma=st.floats(1e-6, 1.0))
def test_values_stay_within_what_they_blend(seed, faces, sigma, gamma):
    corners, attributes = soup(seed, faces)
    out = rasterize(
        corners, attributes, size=9, settings=Options().settings(sigma=sigma, gamma=gamma)
    )
    assert out.alpha.min() >= 0.0
    assert out.alpha.max() <= 1.0
    assert out.image.min() >= -1e-12
    assert out.image.max() <= 1.0 + 1e-12
    assert out.depth.min() >= 1.5 - 1e-9
    assert out.depth.max() <= 10.0 + 1e-9

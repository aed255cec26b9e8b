"""The oracle against formulas worked out by hand: one face, one pixel, one choice at a time."""

import math

import pytest
import torch
from soups import Options, soup

from taichi_softras import RasterSettings, reference

# Edges x = 0.5 (right), y = -0.5 (bottom) and the diagonal; the pixel is the image's centre.
CORNERS = torch.tensor([[[[0.5, -0.5, 2.0], [0.5, 1.5, 4.0], [-1.5, -0.5, 5.0]]]]).double()
# Barycentric coordinates of the origin.
WEIGHTS = (0.5, 0.25, 0.25)
COLORS = torch.tensor([[[[1.0], [2.0], [4.0]]]]).double()


def sigmoid(x):
    return 1.0 / (1.0 + math.exp(-x))


def render(corners=CORNERS, colors=COLORS, options=None, background=0.0, **numbers):
    options = options or Options()
    out = reference.rasterize(
        corners,
        colors,
        size=1,
        settings=options.settings(**numbers),
        background=background,
        orthographic=options.orthographic,
    )
    return tuple(None if t is None else t.item() for t in out[:3])


def test_pixels_are_centred_and_the_first_row_is_on_top():
    expected = [[-0.5, 0.5], [0.5, 0.5], [-0.5, -0.5], [0.5, -0.5]]
    torch.testing.assert_close(reference.pixel_centers(2, 2), torch.tensor(expected).double())
    wide = reference.pixel_centers(2, 4).reshape(2, 4, 2)
    assert wide[0, :, 0].tolist() == [-1.5, -0.5, 0.5, 1.5]
    assert wide[:, 0, 1].tolist() == [0.5, -0.5]


@pytest.mark.parametrize("sigma", [1e-2, 0.1, 1.0])
def test_coverage_is_the_sigmoid_of_the_squared_distance(sigma):
    # Inside, 0.5 from two edges and 1 / sqrt(2) from the diagonal y = x + 1.
    _, alpha, _ = render(sigma=sigma)
    assert alpha == pytest.approx(sigmoid(0.25 / sigma), abs=1e-12)
    # Outside, 0.5 right of the right edge.
    _, alpha, _ = render(CORNERS - torch.tensor([1.0, 0.0, 0.0]), sigma=sigma, dist_eps=0.0)
    assert alpha == pytest.approx(sigmoid(-0.25 / sigma), abs=1e-12)


def test_barycentric_coverage_is_the_sigmoid_of_the_smallest_coordinate():
    _, alpha, _ = render(options=Options("barycentric"), sigma=0.1)
    assert alpha == pytest.approx(sigmoid(0.25**2 / 0.1), abs=1e-12)
    moved = CORNERS - torch.tensor([0.75, 0.0, 0.0])
    # The pixel sits at x = 0.75 of the original triangle, where w = (0.875, 0.25, -0.125).
    _, alpha, _ = render(moved, options=Options("barycentric"), sigma=0.1)
    assert alpha == pytest.approx(sigmoid(-(0.125**2) / 0.1), abs=1e-12)


def test_coverage_on_an_edge_is_a_half():
    _, alpha, _ = render(CORNERS - torch.tensor([0.5, 0.0, 0.0]), sigma=1e-3)
    assert alpha == pytest.approx(0.5, abs=1e-12)


@pytest.mark.parametrize(("dist_eps", "kept"), [(0.08, False), (0.07, True), (0.0, True)])
def test_a_face_counts_from_its_cutoff_on(dist_eps, kept):
    outside = CORNERS - torch.tensor([1.0, 0.0, 0.0])
    _, alpha, _ = render(outside, sigma=0.1, dist_eps=dist_eps)
    expected = sigmoid(-2.5)  # 0.0759
    assert alpha == pytest.approx(expected if kept else 0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [("prod", lambda d: 1.0 - (1.0 - d) ** 3), ("sum", lambda d: 3.0 * d), ("hard", lambda d: 1.0)],
)
def test_alpha_of_three_equal_faces(alpha, expected):
    three = CORNERS.expand(1, 3, 3, 3)
    _, value, _ = render(three, COLORS.expand(1, 3, 3, 1), Options(alpha=alpha), sigma=0.4)
    assert value == pytest.approx(expected(sigmoid(0.25 / 0.4)), abs=1e-12)


def test_attributes_are_linear_in_space_and_so_is_inverse_depth_on_the_screen():
    depth = 1.0 / (0.5 / 2.0 + 0.25 / 4.0 + 0.25 / 5.0)
    color = depth * (0.5 / 2.0 * 1.0 + 0.25 / 4.0 * 2.0 + 0.25 / 5.0 * 4.0)
    hard = Options("hard", "hard", "hard")
    assert render(options=hard) == pytest.approx((color, 1.0, depth), abs=1e-12)
    affine = Options("hard", "hard", "hard", projection="affine")
    flat = 0.5 * 1.0 + 0.25 * 2.0 + 0.25 * 4.0
    assert render(options=affine) == pytest.approx((flat, 1.0, depth), abs=1e-12)
    straight = Options("hard", "hard", "hard", projection="orthographic")
    assert render(options=straight) == pytest.approx((flat, 1.0, 0.5 * 2 + 0.25 * 9), abs=1e-12)


@pytest.mark.parametrize(("clip", "weights"), [("nearest", (0.75, 0.25, 0.0)), ("clamp", None)])
def test_outside_a_face_attributes_are_read_at_its_nearest_point_or_clamped(clip, weights):
    moved = CORNERS - torch.tensor([0.75, 0.0, 0.0])
    # Raw coordinates (0.875, 0.25, -0.125); the nearest point is (0.5, 0) before the move.
    weights = weights or (0.875 / 1.125, 0.25 / 1.125, 0.0)
    options = Options(clip=clip, projection="affine")
    color, _, _ = render(moved, options=options, sigma=0.1, gamma=1e-3)
    expected = sum(w * c for w, c in zip(weights, (1.0, 2.0, 4.0), strict=True))
    assert color == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("gamma", [1e-4, 0.1, 1.0])
def test_colours_are_a_softmax_of_coverage_and_nearness(gamma):
    flat = CORNERS.clone()
    flat[..., 2] = 3.0
    near = flat.clone()
    near[..., 2] = 2.0
    colors = torch.tensor([0.3, 0.9], dtype=torch.float64).reshape(1, 2, 1, 1).expand(1, 2, 3, 1)
    color, _, depth = render(
        torch.cat([flat, near], 1), colors, sigma=0.4, gamma=gamma, background=0.1
    )
    coverage = sigmoid(0.25 / 0.4)
    # Relative to the nearest, so that no exponential overflows.
    logits = [(10.0 - z) / 9.0 / gamma for z in (3.0, 2.0)] + [1e-3 / gamma]
    weights = [math.exp(x - logits[1]) for x in logits]
    weights = [coverage * weights[0], coverage * weights[1], weights[2]]
    total = sum(weights)
    expected = (weights[0] * 0.3 + weights[1] * 0.9 + weights[2] * 0.1) / total
    assert color == pytest.approx(expected, abs=1e-12)
    expected = (weights[0] * 3.0 + weights[1] * 2.0 + weights[2] * 10.0) / total
    assert depth == pytest.approx(expected, abs=1e-11)


def test_hard_colour_takes_the_nearest_face_that_holds_the_pixel():
    moved = CORNERS - torch.tensor([0.75, 0.0, 1.0])  # nearer, but beside the pixel
    corners = torch.cat([moved, CORNERS + torch.tensor([0.0, 0.0, 1.0]), CORNERS], 1)
    colors = torch.tensor([1.0, 2.0, 3.0]).double().reshape(1, 3, 1, 1).expand(1, 3, 3, 1)
    assert render(corners, colors, Options(color="hard"), sigma=0.1)[0] == 3.0
    assert render(moved, colors[:, :1], Options(color="hard"), sigma=0.1, background=0.5) == (
        0.5,
        pytest.approx(sigmoid(-0.0625 / 0.1)),
        10.0,
    )


def test_without_colour_only_alpha_is_rendered():
    color, alpha, depth = render(options=Options(color="none"), sigma=0.1)
    assert color is None
    assert depth is None
    assert alpha == pytest.approx(sigmoid(2.5), abs=1e-12)


def test_counter_clockwise_is_the_front():
    assert render(options=Options(cull="back"), sigma=0.1)[1] > 0.9
    assert render(options=Options(cull="front"), sigma=0.1)[1] == 0.0
    turned = CORNERS[:, :, [0, 2, 1]]
    assert render(turned, options=Options(cull="back"), sigma=0.1)[1] == 0.0
    assert render(turned, options=Options(cull="front"), sigma=0.1)[1] > 0.9


def test_the_reference_is_differentiable_in_everything():
    corners, attributes = (t.requires_grad_() for t in soup(5, 4))
    background = torch.rand(1, 3, 3, 3, generator=torch.Generator().manual_seed(1)).double()
    given = [
        corners,
        attributes,
        background.requires_grad_(),
        torch.tensor(3e-2, dtype=torch.float64, requires_grad=True),
        torch.tensor(0.2, dtype=torch.float64, requires_grad=True),
    ]

    def run(corners, attributes, background, sigma, gamma):
        settings = RasterSettings(sigma=sigma, gamma=gamma, near=1.0, far=10.0, dist_eps=1e-13)
        return reference.rasterize(
            corners, attributes, size=3, settings=settings, background=background
        )[:3]

    assert torch.autograd.gradcheck(run, given)

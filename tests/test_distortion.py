import math

import pytest
import torch

from taichi_softras.distortion import distort, pad_coefficients, trusted_radius
from taichi_softras.errors import ShapeError

# k1, k2, p1, p2, k3, k4, k5, k6
LENSES = {
    "barrel": [-0.28, 0.07, 1e-3, -5e-4, 0.0, 0.0, 0.0, 0.0],
    "pincushion": [0.2, 0.05, -2e-3, 1e-3, 0.01, 0.0, 0.0, 0.0],
    "folding": [-0.3, 0.0, 2e-3, -1e-3, 0.0, 0.0, 0.0, 0.0],
    "rational": [0.4, -2.6, 6e-4, -3e-4, 1.5, 0.3, -2.4, 1.4],
    "pole": [0.0, 0.0, 2e-3, -1e-3, 0.0, 0.0, -0.25, 0.0],
}


def lens(*values):
    return torch.tensor([values], dtype=torch.float64)


def by_the_documentation(x, y, k1, k2, p1, p2, k3, k4, k5, k6):
    """docs.opencv.org, calib3d, Detailed Description."""
    r2 = x**2 + y**2
    f = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
    return (
        x * f + 2 * p1 * x * y + p2 * (r2 + 2 * x**2),
        y * f + p1 * (r2 + 2 * y**2) + 2 * p2 * x * y,
    )


def test_a_ray_computed_by_hand():
    # r² = 0.25, f = 1 + 0.1 * 0.25 + 0.2 * 0.0625 = 1.0375
    # x' = 0.3 f + 2 * 0.01 * 0.12 + 0.02 (0.25 + 0.18), y' = 0.4 f + 0.01 (0.25 + 0.32) + 0.0048
    bent = distort(torch.tensor([[[0.3, 0.4]]]).double(), lens(0.1, 0.2, 0.01, 0.02, 0, 0, 0, 0))
    torch.testing.assert_close(bent, torch.tensor([[[0.32225, 0.4255]]]).double())


@pytest.mark.parametrize("name", LENSES)
def test_rays_in_the_trusted_range_follow_the_documented_formula(name):
    coefficients = lens(*LENSES[name])
    reach = float(trusted_radius(coefficients)) * 0.999 / math.sqrt(2.0)
    rays = torch.rand(1, 50, 2, dtype=torch.float64, generator=torch.manual_seed(0))
    rays = (2.0 * rays - 1.0) * min(reach, 1.5)
    for (x, y), bent in zip(rays[0].tolist(), distort(rays, coefficients)[0].tolist(), strict=True):
        assert bent == pytest.approx(by_the_documentation(x, y, *LENSES[name]), rel=1e-12)


@pytest.mark.parametrize("name", LENSES)
def test_no_ray_turns_back_towards_the_centre(name):
    angle = torch.linspace(0.0, 2.0 * math.pi, 25, dtype=torch.float64)
    outward = torch.stack([angle.cos(), angle.sin()], -1)[:, None]
    radius = torch.linspace(0.0, 20.0, 4001, dtype=torch.float64)[:, None]
    bent = distort((outward * radius)[None], lens(*LENSES[name]))[0]
    distance = (bent * outward).sum(-1)
    assert (distance.diff(dim=1) > 0.0).all()
    limit = trusted_radius(lens(*LENSES[name]))
    either_side = distort(
        (outward * limit * lens(1 - 1e-7, 1 + 1e-7).mT)[None], lens(*LENSES[name])
    )
    torch.testing.assert_close(either_side[0, :, 0], either_side[0, :, 1], rtol=2e-4, atol=0.0)


def test_where_the_lens_stops_to_be_trusted():
    # d/dr (r - 0.3 r³) = 1 - 0.9 r²; 1 - 6 |p| r; 1 - 0.25 r⁴ = 0.01; never
    rows = [
        lens(-0.3, 0, 0, 0, 0, 0, 0, 0),
        lens(0, 0, 0.006, 0.008, 0, 0, 0, 0),
        lens(0, 0, 0, 0, 0, 0, -0.25, 0),
        lens(0, 0, 0, 0, 0, 0, 0, 0),
    ]
    expected = [0.9**-0.5, 1.0 / 0.06, 3.96**0.25, math.tan(math.radians(89.0))]
    expected = torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(trusted_radius(torch.cat(rows)), expected)
    single = trusted_radius(torch.cat(rows).float())
    torch.testing.assert_close(single, expected.float())


def test_beyond_the_trusted_range_the_picture_goes_on_in_proportion():
    coefficients = lens(-0.3, 0, 0, 0, 0, 0, 0, 0)
    limit = 0.9**-0.5
    edge = distort(torch.tensor([[[limit, 0.0]]]).double(), coefficients)
    torch.testing.assert_close(edge[0, 0, 0].item(), limit * 2 / 3)
    beyond = distort(torch.tensor([[[3.0 * limit, 0.0]]]).double(), coefficients)
    torch.testing.assert_close(beyond, 3.0 * edge)


@pytest.mark.parametrize("name", LENSES)
def test_gradients_match_finite_differences_on_both_sides_of_the_limit(name):
    rays = torch.randn(1, 12, 2, dtype=torch.float64, generator=torch.manual_seed(1))
    coefficients = lens(*LENSES[name])
    radius = rays.norm(dim=-1)
    if name != "pincushion":  # never ends
        assert (radius < trusted_radius(coefficients)).any()
    rays.requires_grad_()
    coefficients.requires_grad_()
    # near a pole of the lens second derivatives are huge
    assert torch.autograd.gradcheck(distort, (rays, coefficients), eps=1e-7, atol=1e-4, rtol=1e-3)


def test_equal_lenses_of_a_batch_have_gradients_of_their_own():
    coefficients = lens(*LENSES["folding"]).repeat(2, 1).requires_grad_()
    rays = torch.tensor([[[2.0, 1.0]], [[-1.5, 0.5]]]).double()
    (alone,) = torch.autograd.grad(distort(rays[:1], coefficients[:1]).sum(), coefficients)
    (both,) = torch.autograd.grad(distort(rays, coefficients)[0].sum(), coefficients)
    torch.testing.assert_close(both, alone)
    assert both[0].abs().sum() > 0.0
    assert not both[1].any()


def test_the_axis_and_far_rays_give_numbers_in_float32():
    rays = torch.tensor([[[0.0, 0.0], [1e12, -1e12], [0.0, 3e14]]]).repeat(len(LENSES), 1, 1)
    rays.requires_grad_()
    coefficients = torch.tensor(list(LENSES.values()), requires_grad=True)
    bent = distort(rays, coefficients)
    bent.sum().backward()
    assert bent.isfinite().all()
    assert not bent[:, 0].any()
    assert rays.grad.isfinite().all()
    assert coefficients.grad.isfinite().all()


def test_no_lens_at_all():
    assert distort(torch.zeros(0, 3, 2), torch.zeros(0, 8)).shape == (0, 3, 2)


def test_opencvs_shorter_vectors_are_filled_up():
    for count in (4, 5, 8):
        padded = pad_coefficients("distortion", torch.ones(2, count))
        assert padded.sum(-1).tolist() == [count, count]
    for wrong in (torch.ones(3), torch.ones(2, 6), torch.tensor(0.1)):
        with pytest.raises(ShapeError, match="`distortion` must have OpenCV's 4, 5 or 8"):
            pad_coefficients("distortion", wrong)

"""Gradients against finite differences in float64, over every option, at sides round a tile."""

import pytest
import torch
from soups import PAIRWISE, Options, soup

from taichi_softras import rasterize

pytestmark = [pytest.mark.usefixtures("arch"), pytest.mark.xdist_group("variants")]

# D = dist_eps is a jump of the formula; so small a one does not reach the finite differences.
CUTOFF = 1e-13


def rendering_of(options, size):
    def render(corners, attributes, background, sigma, gamma):
        out = rasterize(
            corners,
            attributes,
            size=size,
            settings=options.settings(sigma=sigma, gamma=gamma, dist_eps=CUTOFF),
            background=background,
            orthographic=options.orthographic,
        )
        return tuple(t for t in out[:3] if t is not None and t.requires_grad)

    return render


def leaves(seed, faces, size, *, views=1, sigma=3e-2, gamma=0.2):
    triangles = soup(seed, faces, views=views, channels=3, spread=0.6)
    rng = torch.Generator().manual_seed(seed)
    values = (
        triangles.corners,
        triangles.attributes,
        torch.rand(views, size, size, 3, dtype=torch.float64, generator=rng),
        torch.tensor(sigma, dtype=torch.float64),
        torch.tensor(gamma, dtype=torch.float64),
    )
    return tuple(value.requires_grad_() for value in values)


# No gradient at all: D is 0 or 1, or alpha is, and there is no colour.
PIECEWISE_CONSTANT = [
    option
    for option in PAIRWISE
    if option.color == "none" and "hard" in (option.distance, option.alpha)
]


@pytest.mark.parametrize("size", [1, 7, 8, 9, 17])
@pytest.mark.parametrize(
    "options",
    [option for option in PAIRWISE if option not in PIECEWISE_CONSTANT],
    ids=lambda option: option.name,
)
def test_gradient_matches_finite_differences(options, size):
    given = leaves(size, 4, size)
    # fast_mode compares one random projection of the Jacobian, which misses nothing by design;
    # all its entries would take 2,000 renders at a side of 17.
    render = rendering_of(options, size)
    assert torch.autograd.gradcheck(render, given, fast_mode=size > 1)


@pytest.mark.parametrize("options", PIECEWISE_CONSTANT, ids=lambda option: option.name)
def test_gradient_of_what_is_piecewise_constant_is_zero(options):
    given = leaves(3, 4, 9)
    (alpha,) = rendering_of(options, 9)(*given)
    for gradient in torch.autograd.grad(alpha.sum(), given, allow_unused=True):
        assert gradient is None or not gradient.any()


@pytest.mark.parametrize("options", [Options(), PAIRWISE[1]], ids=lambda option: option.name)
def test_every_entry_of_the_jacobian_matches(options):
    given = leaves(5, 3, 3, views=2)
    assert torch.autograd.gradcheck(rendering_of(options, 3), given)

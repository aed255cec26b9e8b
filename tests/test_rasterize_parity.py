"""The float64 kernels against the dense reference, forward and adjoint, over every option."""

import pytest
import torch
from parity import SHAPES, SOFTNESS, Case, assert_parity
from soups import CHOICES, FLOAT32, PAIRWISE, Options, every_option, pairs, soup

pytestmark = [pytest.mark.usefixtures("arch"), pytest.mark.xdist_group("variants")]


def test_every_two_choices_meet_in_some_variant():
    wanted = set().union(*map(pairs, every_option()))
    assert set().union(*map(pairs, PAIRWISE)) >= wanted
    assert {(i, choice) for option in FLOAT32 for i, choice in enumerate(option)} == {
        (i, choice) for i, choices in enumerate(CHOICES) for choice in choices
    }


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("options", PAIRWISE, ids=lambda option: option.name)
def test_equals_the_reference_in_float64(options, shape):
    faces, size, sigma, gamma = SHAPES[shape]
    assert_parity(Case(soup(faces, faces, views=2), size, options, sigma, gamma))


@pytest.mark.parametrize(("sigma", "gamma"), SOFTNESS)
def test_equals_the_reference_sharp_and_soft(sigma, gamma):
    assert_parity(Case(soup(7, 80), (9, 17), Options(), sigma, gamma))


def test_equals_the_reference_on_a_large_image():
    assert_parity(Case(soup(5, 300), (48, 64), Options(), 1e-3, 1e-2))


@pytest.mark.parametrize("options", PAIRWISE[:2], ids=lambda option: option.name)
def test_equals_the_reference_over_a_background_image(options):
    rng = torch.Generator().manual_seed(3)
    background = torch.rand(2, 9, 17, 3, dtype=torch.float64, generator=rng)
    assert_parity(Case(soup(4, 20, views=2), (9, 17), options, 1e-2, 1e-1, background))


# Culling is not part of the large kernels.
EVERY_VARIANT = [option for option in every_option() if option.cull == "none"]


@pytest.mark.exhaustive
@pytest.mark.parametrize("options", EVERY_VARIANT, ids=lambda option: option.name)
def test_every_variant_equals_the_reference(options):
    assert_parity(Case(soup(11, 12, views=2), (9, 17), options, 1e-2, 1e-2))

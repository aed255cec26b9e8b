"""The kernels against the dense reference, forward and adjoint, over every option."""

import pytest
import torch
from parity import Case, assert_parity
from soups import CHOICES, FLOAT32, PAIRWISE, Options, every_option, pairs, soup

pytestmark = [pytest.mark.usefixtures("arch"), pytest.mark.xdist_group("variants")]

# Faces, image size, sigma, gamma: sides that straddle a tile, one face to many, sharp to soft.
SHAPES = {
    "1-face": (1, 1, 1e-1, 1e-6),
    "below-a-tile": (5, 7, 1e-2, 1e-4),
    "a-tile": (20, 8, 1e-4, 1e-3),
    "above-a-tile": (60, 9, 1e-6, 1.0),
    "many-faces": (300, 17, 1e-3, 1e-2),
    "non-square": (30, (13, 22), 1e-5, 1e-5),
}
SOFTNESS = [(sigma, gamma) for sigma in (1e-6, 1e-4, 1e-1) for gamma in (1e-6, 1e-4, 1e-3, 1.0)]


def name_of(value):
    return value.name if isinstance(value, Options) else None


def test_every_two_choices_meet_in_some_variant():
    wanted = set().union(*map(pairs, every_option()))
    assert set().union(*map(pairs, PAIRWISE)) >= wanted
    assert {(i, choice) for option in FLOAT32 for i, choice in enumerate(option)} == {
        (i, choice) for i, choices in enumerate(CHOICES) for choice in choices
    }


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("options", PAIRWISE, ids=name_of)
def test_equals_the_reference_in_float64(options, shape):
    faces, size, sigma, gamma = SHAPES[shape]
    assert_parity(Case(soup(faces, faces, views=2), size, options, sigma, gamma))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("options", FLOAT32, ids=name_of)
def test_equals_the_reference_in_float32(options, shape):
    faces, size, sigma, gamma = SHAPES[shape]
    triangles = soup(faces, faces, views=2, dtype=torch.float32)
    assert_parity(Case(triangles, size, options, sigma, gamma))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(("sigma", "gamma"), SOFTNESS)
def test_equals_the_reference_sharp_and_soft(sigma, gamma, dtype):
    assert_parity(Case(soup(7, 80, dtype=dtype), (9, 17), Options(), sigma, gamma))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("sigma", [1e-6, 1e-3])
def test_equals_the_reference_on_a_large_image(sigma, dtype):
    assert_parity(Case(soup(5, 300, dtype=dtype), (48, 64), Options(), sigma, 1e-2))


@pytest.mark.parametrize("options", PAIRWISE[:2], ids=name_of)
def test_equals_the_reference_over_a_background_image(options):
    rng = torch.Generator().manual_seed(3)
    background = torch.rand(2, 9, 17, 3, dtype=torch.float64, generator=rng)
    assert_parity(Case(soup(4, 20, views=2), (9, 17), options, 1e-2, 1e-1, background))


@pytest.mark.parametrize("seed", range(3))
def test_float32_colour_of_coplanar_faces_is_as_good_as_their_depths(seed):
    """Nearly equal depths everywhere: where rounding shows most."""
    triangles = soup(seed, 4)
    xy = triangles.corners[..., :2] - triangles.corners[..., :2].mean(2, keepdim=True)
    depth = 1.0 / (0.4 + 0.07 * xy[..., :1] - 0.05 * xy[..., 1:])
    coplanar = torch.cat([2.5 * xy, depth], -1)
    case = Case(
        triangles._replace(corners=coplanar.float(), attributes=triangles.attributes.float()),
        9,
        Options(),
        1e-4,
        1e-5,
    )
    assert_parity(case)


@pytest.mark.slow
@pytest.mark.parametrize("options", every_option(), ids=name_of)
def test_every_variant_equals_the_reference(options):
    assert_parity(Case(soup(11, 12, views=2), (9, 17), options, 1e-2, 1e-2))

"""The float32 kernels against the dense float64 reference, forward and adjoint."""

import pytest
import torch
from parity import SHAPES, SOFTNESS, Case, assert_parity
from soups import FLOAT32, Options, soup

pytestmark = [pytest.mark.usefixtures("arch"), pytest.mark.xdist_group("float32")]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("options", FLOAT32, ids=lambda option: option.name)
def test_equals_the_reference(options, shape):
    faces, size, sigma, gamma = SHAPES[shape]
    triangles = soup(faces, faces, views=2, dtype=torch.float32)
    assert_parity(Case(triangles, size, options, sigma, gamma))


@pytest.mark.parametrize(("sigma", "gamma"), SOFTNESS)
def test_equals_the_reference_sharp_and_soft(sigma, gamma):
    triangles = soup(7, 80, dtype=torch.float32)
    assert_parity(Case(triangles, (9, 17), Options(), sigma, gamma))


@pytest.mark.parametrize("sigma", [1e-6, 1e-3])
def test_equals_the_reference_on_a_large_image(sigma):
    triangles = soup(5, 300, dtype=torch.float32)
    assert_parity(Case(triangles, (48, 64), Options(), sigma, 1e-2))


@pytest.mark.parametrize("seed", range(3))
def test_colour_of_coplanar_faces_is_as_good_as_their_depths(seed):
    """Nearly equal depths everywhere: where rounding shows most."""
    triangles = soup(seed, 4)
    xy = triangles.corners[..., :2] - triangles.corners[..., :2].mean(2, keepdim=True)
    depth = 1.0 / (0.4 + 0.07 * xy[..., :1] - 0.05 * xy[..., 1:])
    coplanar = torch.cat([2.5 * xy, depth], -1).float()
    triangles = triangles._replace(corners=coplanar, attributes=triangles.attributes.float())
    assert_parity(Case(triangles, 9, Options(), 1e-4, 1e-5))

import numpy as np
import pytest
import torch

from taichi_softras.errors import ArgumentError
from taichi_softras.intrinsics import check_size, half_heights_from_pixels, pixels_from_half_heights


def test_a_centred_lens_as_long_as_the_image_is_high_has_focal_two():
    K = torch.tensor([[[40.0, 0.0, 32.0], [0.0, 40.0, 20.0], [0.0, 0.0, 1.0]]])
    focal, center = half_heights_from_pixels(K, (40, 64))
    assert focal.tolist() == [[2.0, 2.0]]
    assert center.tolist() == [[0.0, 0.0]]


def test_a_principal_point_right_and_below_is_right_and_negative():
    K = torch.tensor([[[40.0, 0.0, 42.0], [0.0, 40.0, 30.0], [0.0, 0.0, 1.0]]])
    focal, center = half_heights_from_pixels(K, (40, 64))
    torch.testing.assert_close(center, torch.tensor([[0.5, -0.5]]))
    torch.testing.assert_close(pixels_from_half_heights(focal, center, (40, 64)), K)


def test_matrices_that_are_no_intrinsics_are_refused():
    K = torch.tensor([[[40.0, 0.0, 32.0], [0.0, 40.0, 20.0], [0.0, 1.0, 1.0]]])
    with pytest.raises(ArgumentError, match=r"`K` must end in the row \[0, 0, 1\]"):
        half_heights_from_pixels(K, (40, 64))


@pytest.mark.parametrize("size", [8, (8, 8), [8, 8], np.int64(8), np.array([8, 8]).tolist()])
def test_sizes_are_sides_or_pairs(size):
    assert check_size("size", size) == (8, 8)


@pytest.mark.parametrize("size", [0, (4, -1), 4.0, (4,), (4, 4, 3), "44"])
def test_other_sizes_are_refused_by_name(size):
    with pytest.raises(ArgumentError, match="`size`"):
        check_size("size", size)

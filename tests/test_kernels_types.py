import math

import numpy as np
import pytest
import taichi as ti
import torch

from taichi_softras.kernels.setup import is_finite
from taichi_softras.kernels.types import array, exp_negative

pytestmark = pytest.mark.usefixtures("arch")


def apply(function, values, dtype, out_dtype=None):
    """Run a scalar Taichi function over an array."""

    @ti.kernel
    def kernel(x: array(dtype, 1), y: array(out_dtype or dtype, 1)):
        for i in range(x.shape[0]):
            y[i] = function(x[i])

    out = torch.zeros(values.shape, dtype=torch.int32 if out_dtype else values.dtype)
    kernel(values, out)
    return out


def test_float32_exponential_is_right_to_2e_7_and_the_rounding_of_its_argument():
    y = torch.linspace(0.0, 79.99, 400_001, dtype=torch.float32)
    y = torch.cat([y, torch.logspace(-30, 1.9, 50_000, dtype=torch.float32)])
    got = apply(exp_negative(ti.f32), y, ti.f32).double()
    # The argument is y log2(e) in float32: its two roundings are 8e-8 y. That is the price of
    # float32 and is taken off; what is left is the polynomial's and the result's rounding.
    error = (got / torch.exp(-y.double()) - 1.0).abs()
    assert (error <= 2e-7 + 8e-8 * y.double()).all()
    assert error[y < 1.0].max() < 2e-7


def test_float32_exponential_ends_in_zero_and_begins_at_one():
    y = torch.tensor([0.0, 80.0, 1e3, 1e30, math.inf], dtype=torch.float32)
    got = apply(exp_negative(ti.f32), y, ti.f32)
    assert got.tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]


def test_float32_exponential_never_grows():
    """A weight that grew with distance would turn a gradient round: to one rounding, none does."""
    y = torch.linspace(0.0, 82.0, 1_000_001, dtype=torch.float32)
    got = apply(exp_negative(ti.f32), y, ti.f32).double()
    rising = got[1:] / got[:-1].clamp(min=1e-40) - 1.0
    assert rising.max() < 2.5e-7


def test_float64_exponential_is_right_to_the_rounding_of_its_argument():
    y = torch.linspace(0.0, 699.9, 100_001, dtype=torch.float64)
    y = torch.cat([y, torch.logspace(-30, 2, 50_000, dtype=torch.float64)])
    got = apply(exp_negative(ti.f64), y, ti.f64)
    error = (got / torch.exp(-y) - 1.0).abs()
    assert (error <= 4e-16 * (1.0 + y)).all()


def test_float64_exponential_ends_in_zero_and_begins_at_one():
    y = torch.tensor([0.0, 700.0, 1e3, 1e300, math.inf], dtype=torch.float64)
    assert apply(exp_negative(ti.f64), y, ti.f64).tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("dtype", "torch_dtype"), [(ti.f32, torch.float32), (ti.f64, torch.float64)]
)
def test_finiteness_survives_fast_math(dtype, torch_dtype):
    largest = torch.finfo(torch_dtype).max
    smallest = float(np.nextafter(0.0, 1.0)) if torch_dtype == torch.float64 else 1e-45
    finite = [0.0, -0.0, 1.0, largest, -largest, smallest]
    values = torch.tensor([*finite, math.inf, -math.inf, math.nan, -math.nan], dtype=torch_dtype)
    got = apply(is_finite(dtype), values, dtype, ti.i32)
    assert got.bool().tolist() == [True] * len(finite) + [False] * 4

"""Shared annotations, constants and the exponential that LLVM can vectorise."""

from functools import cache
from typing import Any

import taichi as ti

TILE = 8
"""Side of a square tile in pixels; one row is one AVX register of float32."""

TASK = 512
"""Iterations that Taichi gives a CPU thread at the least: a task is that many, all but one idle."""

RECORD = 16
"""Numbers in a face record, see `setup.write_record`."""


def array(dtype: Any, ndim: int) -> Any:
    """Annotate a kernel argument: an `ndim`-dimensional array of `dtype`."""
    return ti.types.ndarray(dtype=dtype, ndim=ndim)


@ti.func
def exp_negative_f32(y):
    """Return exp(-y) for y >= 0 to 2e-7 + 8e-8 y relative, 0 beyond y = 80 (2e-35).

    2**-n * 2**f with the power of two put together from its bits and a fitted polynomial:
    unlike ti.exp it is plain arithmetic, so loops over pixels become SIMD code.
    """
    power = ti.max(-y, -80.0) * 1.4426950408889634
    whole = ti.floor(power + 0.5)
    f = power - whole
    q = 0.05550733766436963 + f * (0.009671513139093452 + f * 0.001326472021496359)
    mantissa = 1.0 + f * (0.6931469775830684 + f * (0.24022242074485994 + f * q))
    scale = ti.bit_cast((ti.cast(whole, ti.i32) + 127) << 23, ti.f32)
    return ti.select(y < 80.0, scale * mantissa, 0.0)


@ti.func
def exp_negative_f64(y):
    """Return exp(-y) for y >= 0 in float64."""
    return ti.exp(-y)


@cache
def exp_negative(dtype: Any) -> Any:
    """Return the function exp(-y), y >= 0, that is right and fast for `dtype`."""
    return exp_negative_f32 if dtype == ti.f32 else exp_negative_f64

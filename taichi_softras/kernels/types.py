"""Shared annotations, constants and the exponential that LLVM can vectorise."""

from functools import cache
from typing import Any

import taichi as ti

from taichi_softras.fast_launch import UNUSED
from taichi_softras.kernels.fused import fma

CPU_TILE = 16
"""Side of a square tile in pixels on CPUs: large ones make few entries, and costs go by entries and
by blocks of eight pixels (`blocks`), which are small. A tile has as many as an int32 has bits."""

GPU_TILE = 8
"""Side of a tile on GPUs, where every pixel of a tile visits every face of its list."""

TASK = 512
"""Iterations that Taichi gives a CPU thread at the least: a task is that many, all but one idle."""

MOST_FACES = 2**25
"""Faces of a launch: places in records are int32, and some are added to."""

ENTRY = 3
"""Numbers of an entry of a tile's list on CPUs: the face's record, where its gradients go (slots
are face by face), and a bit for each block of the tile that may feel it."""

STATE = 3
"""Planes of what pixels keep for the adjoint: transparency or alpha, then, with softmax colour
only, reference depth and 1 / sum of weights. On GPUs pixel q has q, P + q and 2 P + q. On CPUs each
tile has its planes one after the other, in the order of `blocks.pixel_index`; of tiles without
faces only the first number is written, `EMPTY`."""

EMPTY = -1.0
"""No transparency and no alpha."""

MOST_NUMBERS = 2**30
"""Numbers of an image or of a state: places in them are int32, and some are added to."""

MOST_ACROSS = 2**24
"""Pixels of a side: records hold them as floats."""

WITHIN = MOST_NUMBERS - 1
"""Masks a place, so that LLVM knows that adding a few to it cannot wrap."""


def array(dtype: Any, ndim: int, *, used: bool = True) -> Any:
    """Annotate a kernel argument: an `ndim`-dimensional array of `dtype`, unless it is UNUSED."""
    return ti.types.ndarray(dtype=dtype, ndim=ndim) if used else UNUSED


@ti.func
def both(a, b):
    """a and b, without the branch that `and` would be; GLSL has no `&` of conditions."""
    return ti.lang.ops.logical_and(a, b)


@ti.func
def either(a, b):
    """a or b, without a branch."""
    return ti.lang.ops.logical_or(a, b)


@ti.func
def lesser(a, b):
    """Smaller of two numbers that are not NaN: one instruction, where ti.min takes three."""
    return ti.select(a < b, a, b)


@ti.func
def greater(a, b):
    """Larger of two numbers that are not NaN."""
    return ti.select(a > b, a, b)


@ti.func
def exp_negative_f32(y):
    """Return exp(-y) for y >= 0 to 2e-7 + 8e-8 y relative, 0 beyond y = 80 (2e-35).

    2**-n * 2**f with the power of two put together from its bits and a fitted polynomial:
    unlike ti.exp it is plain arithmetic, so loops over pixels become SIMD code.
    """
    exponent = greater(-y, -80.0)
    whole = ti.floor(fma(exponent, 1.4426950408889634, 0.5))
    f = fma(exponent, 1.4426950408889634, -whole)
    q = fma(f, fma(f, 0.001326472021496359, 0.009671513139093452), 0.05550733766436963)
    q = fma(f, fma(f, q, 0.24022242074485994), 0.6931469775830684)
    mantissa = fma(f, q, 1.0)
    scale = ti.bit_cast((ti.cast(whole, ti.i32) + 127) << 23, ti.f32)
    return ti.select(y < 80.0, scale * mantissa, 0.0)


@ti.func
def exp_negative_f64(y):
    """Return exp(-y) for y >= 0 to 4e-16 (1 + y) relative, 0 beyond y = 700 (1e-304).

    2**n * exp(f) with |f| <= ln(2) / 2 and Taylor's series: ti.exp of float64 is missing on Vulkan.
    Taichi's literals are float32, so ln(2) comes in three parts that float32 holds.
    """
    power = greater(-y, -700.0)
    whole = ti.floor(power * 1.4426950408889634 + 0.5)
    # The first part has 15 bits, so its product with `whole` is exact.
    f = power - whole * 0.693145751953125
    f = f - whole * 1.428606765330187e-06
    f = f - whole * 5.497923148104107e-14
    series = ti.cast(1.0, ti.f64)
    for k in ti.static(range(13, 0, -1)):
        series = 1.0 + f * series / float(k)
    scale = ti.bit_cast((ti.cast(whole, ti.i64) + 1023) << 52, ti.f64)
    return ti.select(y < 700.0, scale * series, 0.0)


def vanishing(dtype: Any) -> float:
    """Exponent from which on `exp_negative` is exactly 0."""
    return 80.0 if dtype == ti.f32 else 700.0


@cache
def exp_negative(dtype: Any) -> Any:
    """Return the function exp(-y), y >= 0, that is right and fast for `dtype`."""
    return exp_negative_f32 if dtype == ti.f32 else exp_negative_f64

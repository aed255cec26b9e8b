"""Storing several numbers side by side: on the CPU as one vector.

LLVM cannot know that an array does not overlap the launch's arguments, among them its own address:
it loads that again for each number, and stores them one by one. A real function has arguments of
its own, and once it is inlined nothing else can reach them. GPUs have no real functions, and no
need of them: their threads store side by side.
"""

from collections.abc import Callable
from functools import cache, wraps
from typing import Any

import taichi as ti
from taichi.lang import impl

from taichi_softras.kernels.types import array

AT_ONCE = 8
"""Numbers of a call: a register of float32. LLVM does not inline functions with many more."""


def _real_func(dtype: Any) -> Callable[[Callable[..., None]], Any]:
    """Do as `ti.real_func` with a function whose last parameter is a vector of `dtype`.

    Again after each `ti.reset`: Taichi keeps what it compiled for the last program, and crashes
    when the next one runs it. And with a cast, which Taichi leaves out for vectors: it ends the
    process where the host's default precision makes one of another type.
    """

    def decorated(function: Callable[..., None]) -> Any:
        made, compiled_in = ti.real_func(function), None

        @wraps(made)
        def called(*arguments: Any) -> Any:
            nonlocal compiled_in
            program = impl.get_runtime().prog
            if program is not compiled_in:
                made.func.compiled, compiled_in = None, program
            *others, numbers = arguments
            return made(*others, ti.cast(numbers, dtype))

        return called

    return decorated


@cache
def store_function(dtype: Any, count: int) -> Any:
    """Return the function that stores a vector of up to AT_ONCE numbers in a flat array, on CPUs.

    LLVM must know that places do not wrap, see `types.WITHIN`.
    """

    @_real_func(dtype)
    def store(out: array(dtype, 1), first: ti.i32, numbers: ti.types.vector(count, dtype)):
        for k in ti.static(range(count)):
            out[first + k] = numbers[k]

    return store


@cache
def copy_function(dtype: Any, count: int) -> Any:
    """Return the function that stores the first `count` numbers, AT_ONCE each time, of an array."""
    store = store_function(dtype, AT_ONCE)

    @ti.func
    def copy(out: ti.template(), first, values: ti.template()):
        for part in range(count // AT_ONCE):
            at = part * AT_ONCE
            here = ti.Vector([values[at + k] for k in ti.static(range(AT_ONCE))])
            store(out, first + at, here)

    return copy


@cache
def store_row_function(dtype: Any, count: int, on_cpu: bool) -> Any:
    """Return the function that stores a vector of `count` numbers in a row of an array."""

    @ti.func
    def store_row(out: ti.template(), row, numbers: ti.template()):
        for k in ti.static(range(count)):
            out[row, k] = numbers[k]

    @_real_func(dtype)
    def store_row_on_cpu(out: array(dtype, 2), row: ti.i32, numbers: ti.types.vector(count, dtype)):
        for k in ti.static(range(count)):
            out[row, k] = numbers[k]

    return store_row_on_cpu if on_cpu else store_row

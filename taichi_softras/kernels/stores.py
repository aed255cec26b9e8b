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
def store_function(dtype: Any) -> Any:
    """Return the function that stores a vector of AT_ONCE numbers in a flat array, on CPUs.

    LLVM must know that places do not wrap, see `types.WITHIN`. A kernel may have one real function,
    this one, for one type: Taichi names what it keeps of a kernel for later processes by its real
    functions in the order of their addresses, so with two every other process would compile anew.
    """

    @_real_func(dtype)
    def store(out: array(dtype, 1), first: ti.i32, numbers: ti.types.vector(AT_ONCE, dtype)):
        for k in ti.static(range(AT_ONCE)):
            out[first + k] = numbers[k]

    return store


@cache
def copy_function(dtype: Any, count: int) -> Any:
    """Return the function that stores the first `count` numbers, AT_ONCE each time, of an array."""
    store = store_function(dtype)

    @ti.func
    def copy(out: ti.template(), first, values: ti.template()):
        for part in range(count // AT_ONCE):
            at = part * AT_ONCE
            here = ti.Vector([values[at + k] for k in ti.static(range(AT_ONCE))])
            store(out, first + at, here)

    return copy

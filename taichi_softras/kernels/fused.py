"""a * b + c, which processors do in one instruction and with one rounding.

What Taichi compiles for CPUs never does: LLVM must be told that it may, and Taichi does not tell
it. So functions in LLVM's language, `fma_x86_64_linux.ll`, come as bitcode beside this file, are
linked into kernels and inlined. (`tests/test_kernels_fused.py` holds that one is the other, and
assembles it anew.) There is a file for where that was tried. Elsewhere, and on GPUs, whose
compilers are told, a * b + c is what it says.
"""

import platform
import sys
from functools import cache
from pathlib import Path
from typing import Any

import taichi as ti
from taichi.lang import impl
from taichi.lang.expr import Expr
from taichi.lang.source_builder import SourceBuilder

from taichi_softras.fast_launch import KNOWN_VERSIONS

BITCODE = Path(__file__).with_name(f"fma_{platform.machine()}_{sys.platform}.bc")
"""Taichi's offline cache knows a kernel by this name, not by what is in it."""


@cache
def _functions() -> Any:
    return SourceBuilder.from_file(str(BITCODE))


def fuses() -> bool:
    """Whether `fma` is one operation in kernels of the backend that runs."""
    known = ti.__version__ in KNOWN_VERSIONS and BITCODE.is_file()
    return known and impl.current_cfg().arch == ti.x64


def fma(a: Any, b: Any, c: Any) -> Any:
    """Return a * b + c, in kernels, of floats of which one is no literal, in the widest precision.

    Nobody sees through it: with a 0 in it, it is still computed.
    """
    types = [value.ptr.get_rvalue_type() for value in (a, b, c) if isinstance(value, Expr)]
    dtype = ti.f64 if ti.f64 in types else ti.f32
    factor, other, total = (ti.cast(value, dtype) for value in (a, b, c))
    if not fuses():
        return factor * other + total
    # Variables, as the function is given where they are; the last one takes the result.
    given = [impl.expr_init(value) for value in (factor, other, total)]
    getattr(_functions(), f"softras_fma_{dtype}")(*given)
    return given[2]


# Taichi warns of plain Python functions in kernels, but not of these.
fma._is_wrapped_kernel = True

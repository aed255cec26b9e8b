"""Arrays that belong to Taichi, kept and lent again: memory for backends that torch cannot share.

On Vulkan, OpenGL and Metal, Taichi copies every tensor that a kernel takes, whole and both ways.
Here tensors are copied once in and results once out, and everything between stays on the device.
"""

import math
import threading
from collections import defaultdict
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import taichi as ti

Array = Any

SMALLEST = 64
"""Length of the shortest arrays."""


class _Pool:
    """Arrays that nobody uses, by dtype and trailing shape."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._program: Any = None
        self._free: dict[tuple[Any, tuple[int, ...]], list[Array]] = defaultdict(list)
        self.n_arrays = 0
        """Arrays that exist, lent or free."""

    def lend(self, dtype: Any, shape: tuple[int, ...]) -> Array:
        """Return an array at least as long as asked for, and just as wide."""
        first, trailing = shape[0], shape[1:]
        with self._lock:
            program = ti.lang.impl.get_runtime().prog
            if program is not self._program:  # the host started Taichi anew: all arrays are gone
                self._program, self.n_arrays = program, 0
                self._free.clear()
            free = self._free[dtype, trailing]
            most = max(4 * first, SMALLEST)
            fitting = [i for i, array in enumerate(free) if first <= array.shape[0] <= most]
            if fitting:
                return free.pop(min(fitting, key=lambda i: free[i].shape[0]))
            self.n_arrays += 1
        # A power of two: sizes that change a little find what others left.
        length = 1 << max(first - 1, SMALLEST - 1).bit_length()
        return ti.ndarray(dtype, (length, *trailing))

    def take_back(self, arrays: list[Array], program: Any) -> None:
        """Keep arrays for the next rendering."""
        if program is not self._program:
            return
        for array in arrays:
            self._free[array.dtype, array.shape[1:]].append(array)


_pool = _Pool()


def n_arrays() -> int:
    """How many arrays the pool has made: it stays as it is once every size has been seen."""
    return _pool.n_arrays


class _Window(NamedTuple):
    """An int32 array of some memory, and how many of its numbers are read."""

    memory: "DeviceMemory"
    array: Array
    first: int

    def clear(self) -> None:
        """Fill it with zeros."""
        self.array.fill(0)

    def read(self) -> list[int]:
        """Return its first numbers, once everything that writes them has run."""
        target = np.empty(self.first, np.int32)
        numbers: list[int] = self.memory.download(self.array, target).tolist()
        return numbers


class DeviceMemory:
    """Memory of one rendering, see `pipeline.Memory`; returns to the pool with this object."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        self._lent: list[Array] = []
        self._program = ti.lang.impl.get_runtime().prog

    def __del__(self) -> None:
        """Give the arrays back; kernels run in order, so later ones may write them at once."""
        if _pool is not None:  # the interpreter is not ending
            _pool.take_back(self._lent, self._program)

    def reals(self, *shape: int) -> Array:
        """Return an uninitialised array of the rendering's dtype."""
        return self._lend(self.dtype, shape)

    def integers(self, *shape: int) -> Array:
        """Return an uninitialised int32 array."""
        return self._lend(ti.i32, shape)

    def zeros(self, n: int) -> Array:
        """Return n int32 zeros."""
        array = self.integers(n)
        array.fill(0)
        return array

    def results(self, *shape: int) -> Array:
        """Return an uninitialised array of reals for what is copied to the caller."""
        return self.reals(*shape)

    def gradients(self, points: Array) -> Array:
        """Return an uninitialised array for the gradients of points."""
        return self.reals(*points.shape)

    def pictures(self, *shape: int) -> Array:
        """Do so for what kernels take as one long row, which this is."""
        return self.reals(math.prod(shape))

    def nothing(self, ndim: int, *, integers: bool = False) -> Array:
        """Return an array that kernels take and do not touch."""
        return (self.integers if integers else self.reals)(*[1] * ndim)

    def scratch(self) -> "DeviceMemory":
        """Return memory for part of the work, which is lent again once that is gone."""
        return DeviceMemory(self.dtype)

    def lasting(self) -> "DeviceMemory":
        """Return memory for what stays when the rendering is done."""
        return DeviceMemory(self.dtype)

    def read_integer(self, array: Array, index: int) -> int:
        """Return one number of an int32 array, once everything that writes it has run."""
        return int(array[index])

    def window(self, array: Array, first: int) -> "_Window":
        """Return access to an int32 array."""
        return _Window(self, array, first)

    def upload(self, source: Any) -> Array:
        """Copy a contiguous torch tensor or NumPy array of one to three axes to the device."""
        is_integer = "int32" in str(source.dtype)
        target = (self.integers if is_integer else self.reals)(*source.shape)
        if 0 not in source.shape:
            copy_kernel(target.dtype, len(source.shape))(source, target, source.shape[0])
        return target

    def download(self, source: Array, target: Any) -> Any:
        """Fill a contiguous torch tensor or NumPy array from the device, and return it."""
        if 0 not in target.shape:
            copy_kernel(source.dtype, len(target.shape))(source, target, target.shape[0])
        return target

    def _lend(self, dtype: Any, shape: tuple[int, ...]) -> Array:
        array = _pool.lend(dtype, tuple(max(n, 1) for n in shape))
        self._lent.append(array)
        return array


@cache
def copy_kernel(dtype: Any, ndim: int) -> Any:
    """Return the kernel that copies rows to or from the device, every element of them."""
    array = ti.types.ndarray(dtype=dtype, ndim=ndim)

    @ti.kernel
    def copy(source: array, target: array, rows: ti.i32):
        for i in range(rows):
            if ti.static(ndim == 1):
                target[i] = source[i]
            elif ti.static(ndim == 2):
                for j in range(source.shape[1]):
                    target[i, j] = source[i, j]
            else:
                for j in range(source.shape[1]):
                    for k in range(source.shape[2]):
                        target[i, j, k] = source[i, j, k]

    return copy

"""A kernel with an adjoint that Taichi derives, as a function of arrays."""

from typing import Any

from taichi_softras.device_memory import DeviceMemory
from taichi_softras.kernels.rows import stage_kernels
from taichi_softras.tape.fields import Fields

Array = Any


class Stage:
    """Rows in, rows out; the fields in between, which autodiff needs, are the stage's own.

    Nothing is remembered from one call to the next: `pull` is given the inputs again. So one
    stage serves any number of renders on a tape.
    """

    def __init__(self, kernel: Any, fields: Fields, rows: int, wide: int, results: int) -> None:
        self._kernel = kernel
        self._copies = stage_kernels(fields.dtype)
        self._shape = (rows, results)
        self._inputs = fields.scalar((rows, wide))
        self._results = fields.scalar((rows, results))
        self._wide = wide

    def run(self, memory: DeviceMemory, rows: Array, *numbers: float) -> Array:
        """Return the results [n, results] of rows [n, wide]."""
        self._copies.load(rows, self._inputs)
        self._kernel(self._inputs, self._results, *numbers)
        results = memory.reals(*self._shape)
        self._copies.store(self._results, results)
        return results

    def pull(self, memory: DeviceMemory, rows: Array, d_results: Array, *numbers: float) -> Array:
        """Return the gradient [n, wide] of rows, from that of their results [n, >= results]."""
        self._copies.load(rows, self._inputs)
        self._copies.seed(d_results, self._results, self._inputs)
        self._kernel.grad(self._inputs, self._results, *numbers)
        d_rows = memory.reals(self._shape[0], self._wide)
        self._copies.store_gradient(self._inputs, d_rows)
        return d_rows

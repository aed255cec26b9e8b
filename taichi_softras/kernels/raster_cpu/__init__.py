"""The CPU driver: one tile at a time, faces inside, the tile's pixels innermost.

The tile's pixels live in local arrays and the innermost body is scalar code on them, with selects
instead of branches: the shape that LLVM turns into SIMD. Forward and adjoint are the same loops.
Threads draw tiles, from their own share first; a tile's result does not depend on who computes it.
"""

from taichi_softras.kernels.raster_cpu.adjoint import adjoint_kernel as adjoint_kernel
from taichi_softras.kernels.raster_cpu.forward import FORWARD_PHASES as FORWARD_PHASES
from taichi_softras.kernels.raster_cpu.forward import forward_kernel as forward_kernel
from taichi_softras.kernels.raster_cpu.sums import ADJOINT_PHASES as ADJOINT_PHASES

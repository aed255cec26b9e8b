"""What this machine could do at best, and how much of that the kernels reach."""

import os
import time
from collections.abc import Callable
from typing import NamedTuple

import torch

FLOPS = {("none", "forward"): 77, ("none", "adjoint"): 113,
         ("softmax", "forward"): 156, ("softmax", "adjoint"): 305}  # fmt: skip
"""Floating-point operations a pair, counted in the fragment functions: additions, multiplications,
comparisons, selections, conversions and divisions one each, `fma` two."""

BYTES_PER_ENTRY = {"none": 130, "softmax": 330}
"""Bytes that forward and adjoint together move for a (tile, face) entry: two reads of its record
and list entries, attributes, and one gradient slot. Pixels stay in the first cache."""


class Peaks(NamedTuple):
    """Measured limits of the machine."""

    flops: float
    """Operations a second of a float32 matrix product on torch's threads."""
    bandwidth: float
    """Bytes a second, read and written, of a large copy."""


def measure_peaks() -> Peaks:
    """Take the best of some products and copies, on all cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    try:
        return _peaks()
    finally:
        torch.set_num_threads(threads)


def _peaks() -> Peaks:
    n = 1024
    a, b = torch.rand(n, n), torch.rand(n, n)
    source = torch.rand(2**24)
    target = torch.empty_like(source)
    product = min(_seconds(lambda: torch.mm(a, b)) for _ in range(8))
    copy = min(_seconds(lambda: target.copy_(source)) for _ in range(8))
    return Peaks(2.0 * n**3 / product, 2.0 * source.nbytes / copy)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start

"""Data-parallel building blocks for GPUs: exclusive sums, and a stable sort by tile.

Both give the same bits on every run and backend: nothing is added or placed in racing order, and
neither needs shared memory, subgroups or 64-bit integers, which some backends lack.
"""

import taichi as ti

RUN = 64
"""Numbers that one thread sums, and entries that one thread sorts."""

DIGITS = 16
"""Bins of one pass of the radix sort."""

DIGIT_BITS = 4

LARGEST = 2**31 - 1
"""Sums end here instead of wrapping round; a total this large means "more than int32 counts"."""


def scan_scratch(n: int) -> int:
    """Integers that `scan_kernel` needs beside the n that it sums."""
    runs = -(-n // RUN)
    return runs + -(-runs // RUN) + 2


def sort_runs(n: int) -> int:
    """Threads that sort n entries."""
    return max(1, -(-n // RUN))


@ti.func
def add_saturating(a, b):
    """a + b for a, b >= 0, or LARGEST where that does not fit."""
    return ti.select(a > LARGEST - b, LARGEST, a + b)


@ti.func
def sum_runs(source: ti.template(), first, n, target: ti.template(), to):
    """Sum run r of source[first : first + n] into target[to + r]."""
    for r in range((n + RUN - 1) // RUN):
        s = 0
        for i in range(r * RUN, ti.min((r + 1) * RUN, n)):
            s = add_saturating(s, source[first + i])
        target[to + r] = s


@ti.func
def spread_runs(values: ti.template(), first, n, bases: ti.template(), at):
    """Make values[first : first + n] exclusive sums, run r beginning with bases[at + r]."""
    for r in range((n + RUN - 1) // RUN):
        s = bases[at + r]
        for i in range(r * RUN, ti.min((r + 1) * RUN, n)):
            value = values[first + i]
            values[first + i] = s
            s = add_saturating(s, value)


@ti.func
def scan(values: ti.template(), n, scratch: ti.template()):
    """Replace values[:n] by their exclusive sums and values[n] by the total."""
    runs = (n + RUN - 1) // RUN
    groups = (runs + RUN - 1) // RUN
    sum_runs(values, 0, n, scratch, 0)
    sum_runs(scratch, 0, runs, scratch, runs)
    for _ in range(1):
        s = 0
        for g in range(groups):
            value = scratch[runs + g]
            scratch[runs + g] = s
            s = add_saturating(s, value)
        values[n] = s
    spread_runs(scratch, 0, runs, scratch, runs)
    spread_runs(values, 0, n, scratch, 0)

"""Several parallel loops in one launch, one after the other: phases.

Every launch that runs in parallel on the CPU costs 30 to 60 microseconds for waking Taichi's
threads, as long as setting up a thousand faces takes. So one launch goes through all phases: its
workers draw the tasks of a phase, and wait until all of them are done before they draw from the
next. A worker waits for tasks that others have begun, never for workers, so it does not matter how
many threads there are, or when they wake.

A worker draws from its own share of the tasks first: consecutive ones, the same in every launch, so
that it mostly finds in its own core's cache what it wrote there the last time.
"""

from typing import Any

import taichi as ti

STRIDE = 16
"""int32 from one counter to the next: a cache line, so that threads do not share one."""


LINGER = 100
"""Atomic additions: half a microsecond, in which others leave a launch, but do not fall asleep."""


def counters(phases: int, n_workers: int) -> int:
    """Length of the array `progress` of a kernel with this many phases; it must hold zeros.

    The first STRIDE numbers are the kernel's own.
    """
    return (1 + phases * (1 + n_workers)) * STRIDE


@ti.func
def _place(phase, n_workers):
    """Where the counters of a phase begin: of what is done, then of each share."""
    return (1 + phase * (1 + n_workers)) * STRIDE


@ti.func
def next_task(progress: ti.template(), phase, worker, n_workers, tasks) -> Any:
    """Draw a task of a phase from the worker's share, else from others', else return `tasks`."""
    drawn, tried = tasks, 0
    while drawn == tasks and tried < n_workers:
        share = (worker + tried) % n_workers
        place = _place(phase, n_workers) + (1 + share) * STRIDE
        task = tasks * share // n_workers + ti.atomic_add(progress[place], 1)
        if task < tasks * (share + 1) // n_workers:
            drawn = task
        tried += 1
    return drawn


@ti.func
def end_phase(progress: ti.template(), phase, n_workers, count, tasks):
    """Say that so many tasks are done, all that a worker drew, and wait until all of them are.

    What others wrote in this phase is there then. The counter is everybody's, and goes from core to
    core each time: hence once, when nothing is left to draw.
    """
    place = _place(phase, n_workers)
    ti.atomic_add(progress[place], count)
    # Adding 0 is a read that neither Taichi nor LLVM moves out of the loop.
    while ti.atomic_add(progress[place], 0) < tasks:
        pass


@ti.func
def leave_last(progress: ti.template(), worker, n_workers):
    """Let worker 0 end a launch a moment after the others; all must have awaited the last phase.

    The last one wakes the thread that launched. Worker 0 came first, so it mostly is on the
    processor that this thread has just left, and there it goes on at once. Otherwise, or if another
    processor has nothing to do any more, that one is interrupted for it: 40 microseconds in a
    virtual machine.
    """
    if worker == 0 and n_workers > 1:
        for _ in range(LINGER):
            ti.atomic_add(progress[_place(0, n_workers)], 0)

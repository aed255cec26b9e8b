"""Several parallel loops in one launch, one after the other: phases.

Every launch that runs in parallel on the CPU costs 30 to 60 microseconds for waking Taichi's
threads, as long as setting up a thousand faces takes. So one launch goes through all phases: its
workers draw the tasks of a phase from a counter, and wait until all of them are done before they
draw from the next. A worker waits for tasks that others have begun, never for workers, so it does
not matter how many threads there are, or when they wake.
"""

from typing import Any

import taichi as ti

STRIDE = 16
"""int32 from one counter to the next: a cache line, so that threads do not share one."""


def counters(phases: int) -> int:
    """Length of the array `progress` of a kernel with this many phases; it must hold zeros."""
    return 2 * phases * STRIDE


@ti.func
def next_task(progress: ti.template(), phase) -> Any:
    """Draw a task of a phase: 0, 1, 2, ... in the order of asking, beyond its last one as well."""
    return ti.atomic_add(progress[2 * phase * STRIDE], 1)


@ti.func
def finish_task(progress: ti.template(), phase) -> Any:
    """Say that a task is done: what it wrote is there for whoever waits."""
    return ti.atomic_add(progress[(2 * phase + 1) * STRIDE], 1)


@ti.func
def await_tasks(progress: ti.template(), phase, tasks):
    """Wait until this many tasks of a phase are done."""
    # Adding 0 is a read that neither Taichi nor LLVM moves out of the loop.
    while ti.atomic_add(progress[(2 * phase + 1) * STRIDE], 0) < tasks:
        pass

"""A processor of its own for each of Taichi's worker threads.

Taichi wakes its workers for every parallel kernel. Linux often wakes two of them on one processor
and leaves another idle for milliseconds, which is longer than most kernels take: a pass of 1.6 ms
then takes 2.3. Which threads are the workers is not public, so only Taichi versions that were
looked at are touched, and only if everything is as it was there.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import taichi as ti

VARIABLE = "SOFTRAS_PIN_THREADS"
"""Environment variable; 0 leaves Taichi's threads to the operating system."""

KNOWN_VERSIONS = ((1, 7, 4),)
"""Taichi versions that start their compiler's threads first and their workers last."""

_TASKS = "/proc/self/task"


@contextmanager
def spread_workers() -> Iterator[None]:
    """Pin the workers of the Taichi that is started inside, if each can have a processor."""
    before = _threads()
    yield
    workers = _workers(_threads() - before)
    processors = sorted(os.sched_getaffinity(0)) if workers else []
    # Fewer workers than processors: the host wants room for others.
    if len(workers) == len(processors):
        for thread, processor in zip(workers, processors, strict=True):
            # A sandbox may forbid it; everything works without.
            with suppress(OSError):
                os.sched_setaffinity(thread, {processor})


def _threads() -> set[int]:
    """Threads of this process, where the system lists and pins them."""
    if not hasattr(os, "sched_setaffinity") or not os.path.isdir(_TASKS):
        return set()
    return {int(name) for name in os.listdir(_TASKS)}


def _workers(started: set[int]) -> list[int]:
    """Choose the workers among the threads that a start of Taichi on the CPU brought."""
    config = ti.lang.impl.current_cfg()
    if os.environ.get(VARIABLE, "").strip() == "0" or ti.__version__ not in KNOWN_VERSIONS:
        return []
    if config.arch not in (ti.x64, ti.arm64):
        return []
    expected = config.num_compile_threads + config.cpu_max_num_threads
    return sorted(started)[config.num_compile_threads :] if len(started) == expected else []

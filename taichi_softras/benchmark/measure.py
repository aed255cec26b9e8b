"""Times of several contenders, taken in turns, and memory."""

import contextlib
import re
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from taichi_softras.benchmark.contenders import Contender


class Times(NamedTuple):
    """Seconds of one contender."""

    median: float
    minimum: float
    spread: float
    """Difference of the quartiles."""
    samples: int


TURN = 0.02
"""Seconds of a turn, at least: after a slow contender the first pass finds caches full of its data
and threads asleep, and should not be the only one."""


def interleaved(contenders: Sequence[Contender], seconds: float) -> dict[str, Times]:
    """Time contenders in turns, so that all of them suffer alike from a busy machine.

    Args:
        contenders: Those without a `step` are left out.
        seconds: For how long, beside one warm-up pass each; all get three passes at least.
    """
    steps = {c.name: c.step for c in contenders if c.step is not None}
    for step in steps.values():
        step()
    samples: dict[str, list[float]] = {name: [] for name in steps}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or min(map(len, samples.values())) < 3:
        for name, step in steps.items():
            turn_ends = time.perf_counter() + TURN
            while True:
                start = time.perf_counter()
                step()
                samples[name].append(time.perf_counter() - start)
                if time.perf_counter() >= turn_ends:
                    break
    return {name: summary(values) for name, values in samples.items()}


def summary(values: list[float]) -> Times:
    """Reduce samples [s]."""
    quartiles = statistics.quantiles(values, n=4)
    return Times(statistics.median(values), min(values), quartiles[2] - quartiles[0], len(values))


_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def reset_peak_memory() -> None:
    """Let `peak_memory` begin anew, where the system can."""
    with contextlib.suppress(OSError):
        _CLEAR.write_text("5")


def resident_memory(peak: bool = False) -> int | None:
    """Bytes that the process holds, or held at most; None where the system does not tell."""
    try:
        text = _STATUS.read_text()
    except OSError:
        return None
    found = re.search(rf"{'VmHWM' if peak else 'VmRSS'}:\s+(\d+) kB", text)
    return int(found[1]) * 1024 if found else None

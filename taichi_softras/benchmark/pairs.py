"""How much work a case is, and how fast its kernels do it: per (pixel, face) pair."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from taichi_softras import fast_launch, pipeline
from taichi_softras.benchmark.contenders import Pass
from taichi_softras.pipeline import Rendered, binning, passes

BLOCK_PIXELS = 8


class Work(NamedTuple):
    """What one pass visits."""

    entries: int
    """(tile, face) pairs."""
    pairs: int
    """(pixel, face) pairs: eight for each block of pixels that a face may touch."""


class Profile(NamedTuple):
    """Where the time of a pass goes."""

    work: Work | None
    """None where the backend keeps no lists of blocks."""
    stages: dict[str, float]
    """Least seconds of each kernel, with its launch; `total` is the whole pass."""


def profile(step: Pass, repeats: int) -> Profile:
    """Run a pass of this package some times, watching its kernels."""
    rows: list[dict[str, float]] = []
    step()
    with _watched() as (seconds, rendered):
        for _ in range(repeats):
            seconds.clear()
            start = time.perf_counter()
            step()
            rows.append({**seconds, "total": time.perf_counter() - start})
    return Profile(_work(rendered[-1]), {k: min(row[k] for row in rows) for k in rows[0]})


@contextmanager
def _watched() -> Iterator[tuple[dict[str, float], list[Rendered]]]:
    """Time every launch and keep the last rendering, while the context lasts."""
    seconds: dict[str, float] = defaultdict(float)
    rendered: list[Rendered] = []
    launch, forward = fast_launch.launch, pipeline.forward

    def timed(kernel: Callable[..., None], *arguments: Any) -> None:
        start = time.perf_counter()
        launch(kernel, *arguments)
        seconds[kernel.__name__] += time.perf_counter() - start

    def kept(*arguments: Any) -> Rendered:
        rendered[:] = [forward(*arguments)]
        return rendered[0]

    _replace(timed, kept)
    try:
        yield seconds, rendered
    finally:
        _replace(launch, forward)


def _replace(launch: Callable[..., None], forward: Callable[..., Rendered]) -> None:
    for module in (binning, passes):
        module.launch = launch  # type: ignore[attr-defined]
    pipeline.forward = forward


def _work(rendered: Rendered) -> Work | None:
    tiles = rendered.tiles
    if tiles.entry_blocks is None or tiles.bands:
        return None
    bits = np.asarray(tiles.entry_blocks[: tiles.n_entries], dtype=np.int32).view(np.uint8)
    return Work(tiles.n_entries, int(np.unpackbits(bits).sum()) * BLOCK_PIXELS)

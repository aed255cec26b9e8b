"""How much work a case is, and how fast its kernels do it: per (pixel, face) pair."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from taichi_softras import fast_launch, pipeline, runtime
from taichi_softras.benchmark.contenders import Pass
from taichi_softras.fast_launch import Launch
from taichi_softras.kernels.gather import gather_kernels
from taichi_softras.kernels.tiles_cpu import COUNT
from taichi_softras.kernels.types import ENTRY
from taichi_softras.pipeline import (
    Array,
    Plan,
    Rendered,
    Scene,
    Workspace,
    adjoint_drivers,
    binning,
    passes,
)

BLOCK_PIXELS = 8

FEWEST = 5
"""Passes of which the fastest counts, at least."""

MANY = 40
"""Runs of a part of which the fastest counts; from one the others are told by subtraction."""


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
    """Least seconds of each kernel, with its launch; `total` is the whole pass. CPUs list faces and
    draw in one launch: there `bin_faces` is its first part in a launch of its own, `forward` the
    rest."""
    alone: dict[str, float]
    """Least seconds of other parts of the CPU's kernels: "setup" of faces, by which listing them is
    faster where that is done, and "gather" of gradients to corners (part of `adjoint`), in a launch
    of its own."""


def profile(step: Pass, seconds: float) -> Profile:
    """Run a pass of this package for so long, and at least five times, watching its kernels."""
    rows: list[dict[str, float]] = []
    step()
    end = time.perf_counter() + seconds
    with _watched() as (stages, drawn):
        while len(rows) < FEWEST or time.perf_counter() < end:
            stages.clear()
            start = time.perf_counter()
            step()
            rows.append({**stages, "total": time.perf_counter() - start})
    plan, _, scene, rendered = drawn
    least, alone = {k: min(row[k] for row in rows) for k in rows[0]}, {}
    space = rendered.lists
    if isinstance(space, Workspace) and not space.bands:
        with runtime.launching():
            binning = _least(lambda: space.list_faces(plan, scene))
            listing = _least(lambda: space.list_faces(plan, scene, COUNT))
            alone = {"setup": max(binning - listing, 0.0), "gather": _gather(plan, scene, space)}
        # It may have found a quieter moment.
        least["bin_faces"] = min(binning, least["forward"])
        least["forward"] -= least["bin_faces"]
    return Profile(_work(rendered), least, alone)


def _least(step: Callable[[], Any]) -> float:
    """Least seconds of a few runs, after one to compile."""
    step()
    times = []
    for _ in range(MANY):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return min(times)


def _gather(plan: Plan, scene: Scene, space: Workspace) -> float:
    """Time the sum of gradients to corners, with the kernel that GPUs have for it."""
    variant = plan.variant
    gather = gather_kernels(variant.dtype, variant.color != "none").corners
    slots = space.arguments["state"].new_zeros(max(space.n_entries, 1), variant.slot_width)
    d_corners = scene.points.new_empty(3 * plan.n_faces, 3)
    given = plan.n_faces, space.arguments["face_start"], slots, 0, d_corners
    return _least(partial(fast_launch.launch, gather, *given))


@contextmanager
def _watched() -> Iterator[tuple[dict[str, float], list[Any]]]:
    """Time every launch; keep arguments and result of the last `pipeline.forward`."""
    seconds: dict[str, float] = defaultdict(float)
    drawn: list[Any] = []
    launch, prepared, forward = fast_launch.launch, Launch.__call__, pipeline.forward

    def timed(kernel: Callable[..., None], *arguments: Any) -> None:
        start = time.perf_counter()
        launch(kernel, *arguments)
        seconds[kernel.__name__] += time.perf_counter() - start

    def timed_too(prepared_launch: Launch, **given: Any) -> None:
        start = time.perf_counter()
        prepared(prepared_launch, **given)
        seconds[prepared_launch.kernel.__name__] += time.perf_counter() - start

    def kept(*arguments: Any) -> tuple[Array, Rendered]:
        alpha, rendered = forward(*arguments)
        drawn[:] = [*arguments, rendered]
        return alpha, rendered

    _replace(timed, timed_too, kept)
    try:
        yield seconds, drawn
    finally:
        _replace(launch, prepared, forward)


def _replace(launch: Callable[..., None], prepared: Any, forward: Callable[..., Any]) -> None:
    for module in (adjoint_drivers, binning, passes):
        module.launch = launch  # type: ignore[attr-defined]
    Launch.__call__ = prepared  # type: ignore[method-assign]
    pipeline.forward = forward


def _work(rendered: Rendered) -> Work | None:
    space = rendered.lists
    if not isinstance(space, Workspace) or space.bands:
        return None
    entries = np.asarray(space.arguments["entries"])[: space.n_entries * ENTRY]
    bits = np.ascontiguousarray(entries[ENTRY - 1 :: ENTRY]).view(np.uint8)
    return Work(space.n_entries, int(np.unpackbits(bits).sum()) * BLOCK_PIXELS)

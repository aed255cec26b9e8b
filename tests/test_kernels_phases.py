"""Phases of one launch follow each other, however many workers there are."""

import pytest
import taichi as ti
import torch

from taichi_softras import runtime
from taichi_softras.kernels.phases import counters, end_phase, leave_last, next_task
from taichi_softras.kernels.types import TASK, array

pytestmark = pytest.mark.xdist_group("float32")

N = 64


@pytest.fixture(scope="module")
def three_phases():
    """Return a kernel whose phases read what others wrote in the phase before, in reverse."""

    @ti.kernel
    def run(
        first: array(ti.i32, 1),  # [N] out: 1
        second: array(ti.i32, 1),  # [N] out: how many ones there are from i to the end, doubled
        third: array(ti.i32, 1),  # [N] out: sum of `second`
        n_workers: ti.i32,
        progress: array(ti.i32, 1),
    ):
        for worker in range(n_workers * TASK):
            if worker % TASK == 0:
                i, done = next_task(progress, 0, worker // TASK, n_workers, N), 0
                while i < N:
                    first[i] = 1
                    done += 1
                    i = next_task(progress, 0, worker // TASK, n_workers, N)
                end_phase(progress, 0, n_workers, done, N)
                i, done = next_task(progress, 1, worker // TASK, n_workers, N), 0
                while i < N:
                    s = 0
                    for k in range(i, N):
                        s += first[k]
                    second[i] = 2 * s
                    done += 1
                    i = next_task(progress, 1, worker // TASK, n_workers, N)
                end_phase(progress, 1, n_workers, done, N)
                i, done = next_task(progress, 2, worker // TASK, n_workers, N), 0
                while i < N:
                    s = 0
                    for k in range(N):
                        s += second[N - 1 - k]
                    third[i] = s
                    done += 1
                    i = next_task(progress, 2, worker // TASK, n_workers, N)
                end_phase(progress, 2, n_workers, done, N)
                leave_last(progress, worker // TASK, n_workers)

    return run


@pytest.mark.parametrize("workers", [1, 2, 3, 16])
def test_a_phase_sees_all_of_the_one_before(arch, three_phases, workers):
    if arch != "cpu":
        pytest.skip("phases are for the CPU")
    wanted = torch.full((N,), N * (N + 1), dtype=torch.int32)
    with runtime.launching():
        for _ in range(300):
            arrays = [torch.full((N,), -1, dtype=torch.int32) for _ in range(3)]
            progress = torch.zeros(counters(3, workers), dtype=torch.int32)
            three_phases(*arrays, workers, progress)
            assert torch.equal(arrays[2], wanted)

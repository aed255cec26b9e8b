"""What every test runs under: one Taichi backend, poisoned memory, reproducible hypothesis."""

import math
import os
from functools import cache

import hypothesis
import pytest
import taichi as ti
import torch

from taichi_softras import device_memory, errors, runtime
from taichi_softras.pipeline import passes

hypothesis.settings.register_profile(
    "dev", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], print_blob=True
)
hypothesis.settings.register_profile(
    "ci", hypothesis.settings.get_profile("dev"), derandomize=True, database=None
)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "dev")

# Tests are many small tensors, and pytest-xdist already fills the cores.
torch.set_num_threads(1)

ARCHES = ("cpu", "cuda", "vulkan", "opengl", "metal")


def pytest_addoption(parser):
    parser.addoption(
        "--arch",
        default="cpu",
        choices=ARCHES,
        help="Taichi backend of the tests that render; one backend a process.",
    )


def pytest_collection_modifyitems(config, items):
    """Keep a file's tests in one pytest-xdist worker, whose kernels are compiled already.

    With another backend than the CPU, only tests that render with it are run.
    """
    if config.getoption("--arch") != "cpu":
        elsewhere = [item for item in items if "arch" not in item.fixturenames]
        items[:] = [item for item in items if "arch" in item.fixturenames]
        config.hook.pytest_deselected(items=elsewhere)
    for item in items:
        if not any(item.iter_markers("xdist_group")):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.fixture(scope="session")
def arch(request):
    """Start Taichi on the backend under test, or skip and say why it is not there."""
    name = request.config.getoption("--arch")
    try:
        return runtime.init(name)
    except errors.BackendError as error:
        pytest.skip(f"--arch {name}: {error}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Skip what needs float64 where the backend under test has none, and say so."""
    try:
        return (yield)
    except errors.BackendError as error:
        if item.config.getoption("--arch") == "cpu" or "needs float64" not in str(error):
            raise
        pytest.skip(str(error))


# What fresh memory may hold at worst: NaN spreads, and such an index or count is far out of range.
_POISON_INTEGER = {torch.int8: 0x5B, torch.uint8: 0xA5, torch.int16: 0x5BAD}
_POISON_LARGER = 0x5BADBAD


def _poison(tensor):
    with torch.no_grad():
        if tensor.is_floating_point() or tensor.is_complex():
            tensor.fill_(float("nan"))
        elif tensor.dtype != torch.bool:
            tensor.fill_(_POISON_INTEGER.get(tensor.dtype, _POISON_LARGER))
    return tensor


@cache
def _poison_kernel(dtype, ndim):
    @ti.kernel
    def fill(array: ti.types.ndarray(dtype=dtype, ndim=ndim), value: dtype):
        for i in ti.grouped(array):
            array[i] = value

    return fill


def _poison_array(array, dtype, ndim):
    _poison_kernel(dtype, ndim)(array, _POISON_LARGER if dtype == ti.i32 else math.nan)


@pytest.fixture(autouse=True)
def poisoned_memory(monkeypatch):
    """Fill `torch.empty` and its kin, so that nothing can rely on memory that happens to be 0."""
    for owner, name in (
        (torch, "empty"),
        (torch, "empty_like"),
        (torch.Tensor, "new_empty"),
    ):
        original = getattr(owner, name)

        def poisoned(*args, _original=original, **kwargs):
            return _poison(_original(*args, **kwargs))

        monkeypatch.setattr(owner, name, poisoned)

    lend = device_memory.DeviceMemory._lend

    def poisoned_lend(lender, dtype, shape):
        array = lend(lender, dtype, shape)
        _poison_array(array, dtype, len(shape))
        return array

    monkeypatch.setattr(device_memory.DeviceMemory, "_lend", poisoned_lend)
    borrow = passes.borrow

    def poisoned_borrow(plan, memory):
        lease = borrow(plan, memory)
        for array in working_arrays(lease.workspace):
            if isinstance(array, torch.Tensor):
                _poison(array)
            else:
                _poison_array(array, array.dtype, len(array.shape))
        return lease

    monkeypatch.setattr(passes, "borrow", poisoned_borrow)


WORKING = (
    "records", "face_start", "tile_start", "chunk_next", "progress", "state", "winner",
    "entries", "slots", "d_corners",
)  # fmt: skip


def working_arrays(workspace):
    """The arrays that a rendering on the CPU works in."""
    kept = workspace.arguments._kept
    return [kept[name] for name in WORKING if name in kept]

"""Several numbers stored at once lie where single ones would, and nothing else is touched."""

import subprocess
import sys

import pytest
import taichi as ti
import torch

from taichi_softras import runtime
from taichi_softras.kernels.stores import AT_ONCE, store_function, store_row_function
from taichi_softras.kernels.types import WITHIN, array

pytestmark = pytest.mark.xdist_group("float32")

DTYPES = {ti.f32: torch.float32, ti.f64: torch.float64, ti.i32: torch.int32}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [1, 3, 4, AT_ONCE])
def test_numbers_side_by_side(arch, dtype, count):
    if arch != "cpu":
        pytest.skip("GPUs have no real functions")
    runtime.init()
    store = store_function(dtype, count)

    @ti.kernel
    def copy(numbers: array(dtype, 1), first: ti.i32, out: array(dtype, 1)):
        for _ in range(1):
            values = ti.Vector([numbers[k] for k in ti.static(range(count))])
            store(out, first & WITHIN, values)

    numbers = torch.arange(1, count + 1).to(DTYPES[dtype])
    for first in (0, 1, 5):
        out = torch.full((16,), -1).to(DTYPES[dtype])
        copy(numbers, first, out)
        wanted = torch.full_like(out, -1)
        wanted[first : first + count] = numbers
        assert torch.equal(out, wanted)


@pytest.mark.parametrize("on_cpu", [False, True])
def test_a_row(arch, on_cpu):
    if on_cpu and arch != "cpu":
        pytest.skip("GPUs have no real functions")
    runtime.init()
    store_row = store_row_function(ti.f32, 19, on_cpu)

    @ti.kernel
    def copy(numbers: array(ti.f32, 2), out: array(ti.f32, 2)):
        for row in range(numbers.shape[0]):
            store_row(out, row, ti.Vector([numbers[row, k] for k in ti.static(range(19))]))

    numbers = torch.rand(5, 19)
    out = torch.full((5, 21), -1.0)
    copy(numbers, out)
    assert torch.equal(out[:, :19], numbers)
    assert (out[:, 19:] == -1.0).all()


AGAIN = """
import taichi as ti, torch
from taichi_softras.kernels.stores import store_function
from taichi_softras.kernels.types import array

store = store_function(ti.f32, 2)

@ti.kernel
def fill(out: array(ti.f32, 1)):
    for i in range(2):
        store(out, 2 * i, ti.Vector([3.0, 4.0]))

for precision in (ti.f32, ti.f64, ti.f32):
    ti.init(arch=ti.cpu, default_fp=precision, offline_cache=False, log_level=ti.ERROR)
    out = torch.zeros(4)
    fill(out)
    print(out.tolist())
    ti.reset()
"""


def test_they_outlive_taichi_and_do_not_depend_on_its_defaults(tmp_path):
    script = tmp_path / "again.py"  # a file, as Taichi reads the source of kernels
    script.write_text(AGAIN)
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.stdout.count("[3.0, 4.0, 3.0, 4.0]") == 3, done.stderr

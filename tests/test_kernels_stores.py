"""Several numbers stored at once lie where single ones would, and nothing else is touched."""

import subprocess
import sys

import pytest
import taichi as ti
import torch

from taichi_softras import runtime
from taichi_softras.kernels.stores import AT_ONCE, store_function
from taichi_softras.kernels.types import WITHIN, array

pytestmark = pytest.mark.xdist_group("float32")

DTYPES = {ti.f32: torch.float32, ti.f64: torch.float64}


@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_side_by_side(arch, dtype):
    if arch != "cpu":
        pytest.skip("GPUs have no real functions")
    runtime.init()
    store = store_function(dtype)

    @ti.kernel
    def copy(numbers: array(dtype, 1), first: ti.i32, out: array(dtype, 1)):
        for _ in range(1):
            values = ti.Vector([numbers[k] for k in ti.static(range(AT_ONCE))])
            store(out, first & WITHIN, values)

    numbers = torch.arange(1, AT_ONCE + 1).to(DTYPES[dtype])
    for first in (0, 1, 5):
        out = torch.full((16,), -1).to(DTYPES[dtype])
        copy(numbers, first, out)
        wanted = torch.full_like(out, -1)
        wanted[first : first + AT_ONCE] = numbers
        assert torch.equal(out, wanted)


AGAIN = """
import taichi as ti, torch
from taichi_softras.kernels.stores import AT_ONCE, store_function
from taichi_softras.kernels.types import array

store = store_function(ti.f32)

@ti.kernel
def fill(out: array(ti.f32, 1)):
    for i in range(2):
        store(out, AT_ONCE * i, ti.Vector([3.0, 4.0] * 4))

for precision in (ti.f32, ti.f64, ti.f32):
    ti.init(arch=ti.cpu, default_fp=precision, offline_cache=False, log_level=ti.ERROR)
    out = torch.zeros(16)
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
    assert done.stdout.count(str([3.0, 4.0] * 8)) == 3, done.stderr

"""`fma` is a * b + c, with one rounding where its bitcode is, and that is what its source says."""

import platform
import sys
from pathlib import Path

import pytest
import taichi as ti
import torch

from taichi_softras import runtime
from taichi_softras.kernels import fused
from taichi_softras.kernels.fused import fma
from taichi_softras.kernels.types import array

pytestmark = pytest.mark.xdist_group("float32")

DTYPES = {ti.f32: torch.float32, ti.f64: torch.float64}
SOURCES = sorted(Path(fused.__file__).parent.glob("fma_*.ll"))


def assemble(source):
    from llvmlite import binding

    module = binding.parse_assembly(source.read_text())
    module.verify()
    return module.as_bitcode()


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_bitcode_is_that_of_its_source(source):
    assert source.with_suffix(".bc").read_bytes() == assemble(source), f"run python {__file__}"


def of_arrays(dtype):
    runtime.init()

    @ti.kernel
    def compute(a: array(dtype, 1), b: array(dtype, 1), c: array(dtype, 1), out: array(dtype, 1)):
        for i in range(out.shape[0]):
            out[i] = fma(a[i], b[i], c[i])

    return compute


def run(dtype, a, b, c):
    a, b, c = (torch.as_tensor(x, dtype=DTYPES[dtype]) for x in (a, b, c))
    out = torch.empty_like(a)
    of_arrays(dtype)(a, b, c, out)
    return out


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_product_and_a_sum(arch, dtype):
    if dtype == ti.f64 and arch not in ("cpu", "cuda"):
        pytest.skip("no float64")
    rng = torch.Generator().manual_seed(0)
    a, b, c = torch.randn(3, 1000, generator=rng, dtype=DTYPES[dtype])
    eps = torch.finfo(DTYPES[dtype]).eps
    error = (run(dtype, a, b, c) - (a * b + c)).abs()
    assert (error <= 2 * eps * ((a * b).abs() + c.abs())).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_rounds_once(arch, dtype):
    if arch != "cpu" or not (runtime.init() and fused.fuses()):
        pytest.skip("not fused here")
    # (1 + e)^2 - 1 - 2 e is e^2, which the rounded product has lost.
    small = 2.0**-20 if dtype == ti.f32 else 2.0**-50
    found = run(dtype, [1.0 + small], [1.0 + small], [-1.0 - 2.0 * small])
    if "fma" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this processor has no such instruction")
    assert found.item() == small**2


def test_is_fused_on_linux(arch):
    if arch != "cpu" or sys.platform != "linux" or platform.machine() != "x86_64":
        pytest.skip("written for CPUs of x86-64 under Linux")
    runtime.init()
    assert fused.fuses()


def test_the_widest_precision(arch):
    if arch not in ("cpu", "cuda"):
        pytest.skip("no float64")
    runtime.init()

    @ti.kernel
    def compute(x: array(ti.f64, 1)):
        for i in range(1):
            side = ti.select(x[i] > 0.0, 1.0, -1.0)  # float32, as literals are
            x[i] = fma(side, x[i], fma(2, x[i], 1.0))

    x = torch.tensor([1.0 + 2.0**-40], dtype=torch.float64)
    wanted = 3.0 * x + 1.0
    compute(x)
    assert (x - wanted).abs() < 1e-15


def test_without_bitcode(arch, monkeypatch):
    monkeypatch.setattr(fused, "BITCODE", Path("nowhere.bc"))
    assert not fused.fuses()
    assert run(ti.f32, [2.0, 3.0], [5.0, 7.0], [1.0, -1.0]).tolist() == [11.0, 20.0]


if __name__ == "__main__":
    for each in SOURCES:
        each.with_suffix(".bc").write_bytes(assemble(each))

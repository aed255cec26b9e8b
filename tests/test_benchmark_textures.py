"""benchmarks/textures.py: nothing is timed before results agree."""

import importlib.util
from pathlib import Path

import pytest
import torch

import taichi_softras as tsr

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "textures.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("benchmark_textures", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kind", ["vertex colours", "UV bilinear"])
def test_what_is_right_is_timed(arch, bench, kind):
    bench.check_right(kind)


def test_what_is_wrong_is_not(arch, bench, monkeypatch):
    right = tsr.reference.rasterize

    def wrong(*args, **kwargs):
        out = right(*args, **kwargs)
        return out._replace(image=1.01 * out.image)

    monkeypatch.setattr(tsr.reference, "rasterize", wrong)
    with pytest.raises(SystemExit, match="nothing is timed"):
        bench.check_right("vertex colours")


@pytest.mark.parametrize("off", [0.0, 1e-3])
def test_checkouts_must_agree(bench, monkeypatch, tmp_path, off):
    def answer(process, case, path):
        torch.save([torch.ones(3) + off * process], path)

    monkeypatch.setattr(bench, "ask", answer)
    if off == 0.0:
        bench.check_same([0, 1], "case", tmp_path)
    else:
        with pytest.raises(SystemExit, match="nothing is timed"):
            bench.check_same([0, 1], "case", tmp_path)


def test_turns_alternate_and_ratios_are_medians(bench):
    order = []
    times = bench.rounds([lambda: order.append("a") or 2.0, lambda: order.append("b") or 1.0], 3)
    assert order == ["a", "b"] * 5  # two turns to warm up
    assert times == [[2.0] * 3, [1.0] * 3]
    assert bench.ratio([2.0, 3.0, 9.0], [1.0, 1.0, 1.0]) == 3.0

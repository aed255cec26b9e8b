import subprocess

import pytest

from taichi_softras.cli import machine, main, selfcheck


@pytest.fixture
def quick(monkeypatch):
    """Leave out the processes that try Taichi's other backends."""
    found = machine.Finding("vulkan", "yes", "works in Taichi")
    monkeypatch.setattr(machine, "probe_backend", lambda name: found._replace(name=name))


def test_doctor_returns_0_and_reports_everything(capsys, quick):
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    for word in ("torch", "taichi", "Python", "processor", "cores", "imageio-ffmpeg", "display"):
        assert word in text
    for word in (*machine.BACKENDS, "CPU only", "float32 gradient", "float64 picture", "All well"):
        assert word in text
    assert "FAIL" not in text


def test_doctor_returns_1_when_the_render_is_wrong(monkeypatch, capsys, quick):
    right = selfcheck.rasterize

    def wrong(*args, **kwargs):
        out = right(*args, **kwargs)
        return out._replace(alpha=out.alpha * 1.001)

    monkeypatch.setattr(selfcheck, "rasterize", wrong)
    assert main(["doctor"]) == 1
    assert "FAIL" in capsys.readouterr().out


def test_doctor_survives_a_render_that_breaks(monkeypatch, capsys, quick):
    def broken(*args, **kwargs):
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(selfcheck, "rasterize", broken)
    assert main(["doctor"]) == 1
    assert "RuntimeError: no compiler here" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("process", "status", "note"),
    [
        (subprocess.CompletedProcess([], 0, "found vulkan 8.0\n", ""), "yes", "not used by this"),
        (subprocess.CompletedProcess([], 0, "found x64 8.0\n", ""), "no", "apt install"),
        (subprocess.CompletedProcess([], 0, "found vulkan 0.0\n", ""), "no", "apt install"),
        (subprocess.CompletedProcess([], -11, "", ""), "no", "crashes"),
        (subprocess.TimeoutExpired([], 1.0), "no", "did not answer"),
    ],
)
def test_a_backend_counts_only_if_it_computes(monkeypatch, process, status, note):
    def run(*args, **kwargs):
        if isinstance(process, Exception):
            raise process
        return process

    monkeypatch.setattr(subprocess, "run", run)
    finding = machine.probe_backend("vulkan")
    assert finding.status == status
    assert note in finding.note


def test_metal_is_told_apart_from_the_cpu_that_taichi_falls_back_to():
    finding = machine.probe_backend("metal")
    assert finding.status == ("yes" if machine.platform.system() == "Darwin" else "no")

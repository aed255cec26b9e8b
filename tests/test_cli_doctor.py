import json
import subprocess

import numpy as np
import pytest

from taichi_softras.cli import backends, main, parity, parity_report, selfcheck

RIGHT = (
    selfcheck.Check("float32 picture", 1e-7, 2e-5),
    selfcheck.Check("float32 gradient", 2e-6, 1e-3),
    selfcheck.Check("float64 render", None, 1e-9, "not on this backend", True),
)


@pytest.fixture
def machine(monkeypatch):
    """A machine with a right CPU and a right Vulkan; a test may change what they report."""
    reports = {
        "cpu": backends.Report("cpu", "yes", "", 1.5, RIGHT),
        "vulkan": backends.Report("vulkan", "yes", "float64 render: nope", 2.5, RIGHT),
    }

    def check(name):
        return reports.get(name) or backends.Report(name, "no", "it needs a driver")

    monkeypatch.setattr(backends, "check", check)
    return reports


def test_doctor_returns_0_and_reports_everything(capsys, machine):
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    for word in ("torch", "taichi", "Python", "processor", "cores", "imageio-ffmpeg", "display"):
        assert word in text
    for word in (*backends.NAMES, "1e-07, 2e-06", "it needs a driver", "All well"):
        assert word in text


def test_doctor_returns_1_when_a_backend_renders_wrong(capsys, machine):
    machine["vulkan"] = backends.Report("vulkan", "wrong", "float32 picture: 0.1", 2.5, RIGHT)
    assert main(["doctor"]) == 1
    assert "not right" in capsys.readouterr().out


def test_the_cpu_passes_its_check_in_a_process_of_its_own():
    report = backends.check("cpu")
    assert report.status == "yes", report.note
    assert [c.name for c in report.checks] == [
        f"{precision} {what}"
        for precision in ("float32", "float64")
        for what in ("picture", "gradient")
    ]
    assert report.seconds > 0.0


def test_metal_is_told_apart_from_the_cpu():
    report = backends.check("metal")
    assert report.status == ("yes" if backends.sys.platform == "darwin" else "no")


def test_a_wrong_render_is_a_failed_check(monkeypatch, arch):
    right = selfcheck.rasterize

    def wrong(*args, **kwargs):
        out = right(*args, **kwargs)
        return out._replace(alpha=out.alpha * 1.001)

    monkeypatch.setattr(selfcheck, "rasterize", wrong)
    assert not all(check.passed for check in selfcheck.run())


def test_a_render_that_breaks_is_a_failed_check(monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(selfcheck, "rasterize", broken)
    checks = selfcheck.run()
    assert not any(check.passed for check in checks)
    assert checks[0].note == "RuntimeError: no compiler here"


@pytest.mark.parametrize(
    ("process", "status", "note"),
    [
        (subprocess.CompletedProcess([], -11, "", ""), "wrong", "crashed (signal 11)"),
        (subprocess.CompletedProcess([], 1, "", "Trace\nKeyError: 'x'"), "wrong", "KeyError"),
        (subprocess.TimeoutExpired([], 1.0), "wrong", "did not answer"),
        (subprocess.CompletedProcess([], 0, f'{backends._MARK}{{"missing": "a card"}}', ""), "no",
         "a card"),
    ],
)  # fmt: skip
def test_however_a_backend_s_process_ends_it_is_reported(monkeypatch, process, status, note):
    def run(*args, **kwargs):
        if isinstance(process, Exception):
            raise process
        return process

    monkeypatch.setattr(subprocess, "run", run)
    report = backends.check("vulkan")
    assert report.status == status
    assert note in report.note


def test_parity_measures_what_differs(monkeypatch, tmp_path):
    def ask(name, task, path):
        image = np.array([[0.0, 0.5], [0.5, 1.0]]) + (3e-4 if name == "vulkan" else 0.0)
        gradient = np.array([3.0, 4.0 + (0.0025 if name == "vulkan" else 0.0)])
        np.savez(path, **{"default/image": image, "default/corners": gradient})
        return {"missing": "a card"} if name == "cuda" else {}

    monkeypatch.setattr(backends, "ask", ask)
    (image, corners), missing = parity.compare(("vulkan", "cuda"))
    assert missing == {"cuda": "a card"}
    assert (image.worst, image.passed) == (pytest.approx(3e-4), False)
    assert (corners.worst, corners.passed) == (pytest.approx(5e-4), True)
    assert corners.median == pytest.approx(0.00125 / 4.0)
    parity_report.draw([image, corners], tmp_path / "parity.png")
    assert (tmp_path / "parity.png").stat().st_size > 5000


def test_doctor_writes_the_parity_of_backends(monkeypatch, capsys, machine, tmp_path):
    found = [
        parity.Difference("vulkan", "default", "image", 2e-6, 0.0, 1e-4),
        parity.Difference("vulkan", "default", "corners", 3e-2, 1e-9, 1e-3),
    ]
    monkeypatch.setattr(parity, "compare", lambda names: (found, {}))
    assert main(["doctor", "--parity", "-o", str(tmp_path)]) == 1
    text = capsys.readouterr().out
    assert "2e-06" in text
    assert "3e-02" in text
    entries = json.loads((tmp_path / "parity.json").read_text())
    assert [entry["passed"] for entry in entries] == [True, False]
    found.pop()
    assert main(["doctor", "--parity", "-o", str(tmp_path)]) == 0


def test_every_choice_of_the_settings_is_compared():
    from soups import CHOICES

    compared = {str(v) for options in parity.VARIANTS.values() for v in options.values()}
    default = parity.RasterSettings()
    for name, choices in zip(("distance", "alpha", "color", "clip"), CHOICES, strict=False):
        assert {c for c in choices if c != getattr(default, name)} <= compared

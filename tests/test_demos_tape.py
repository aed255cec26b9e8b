"""The demos of the tape, small: each must reach its number."""

import importlib
from pathlib import Path

import pytest

DEMOS = Path(__file__).parent.parent / "demos"

pytestmark = [pytest.mark.usefixtures("arch"), pytest.mark.xdist_group("tape-demos")]


def run(monkeypatch, tmp_path, name, **options):
    monkeypatch.syspath_prepend(str(DEMOS))
    demo = importlib.import_module(name)
    picture = tmp_path / "demo.gif"
    reached = demo.main(demo.Args(out=picture, **options))
    assert picture.stat().st_size > 1000
    return reached


def test_silhouettes_shape_a_sphere(monkeypatch, tmp_path):
    """Where it starts, the overlap is 0.7."""
    assert run(monkeypatch, tmp_path, "11_tape_silhouettes", steps=60, size=48) > 0.93


def test_velocity_and_stiffness_are_read_off_a_film(monkeypatch, tmp_path):
    """They start 62 % and 100 % off."""
    assert run(monkeypatch, tmp_path, "12_tape_simulation", size=48) < 0.05


def test_eye_and_light_are_found_from_one_picture(monkeypatch, tmp_path):
    """They start 42 and 91 degrees off."""
    assert run(monkeypatch, tmp_path, "13_tape_light_camera", size=64) < 3.0


@pytest.mark.parametrize("path", sorted(DEMOS.glob("1*_tape_*.py")), ids=lambda p: p.stem)
def test_demos_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 120

"""Every demo runs, small, and returns a number that says that it worked."""

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

DEMOS = sorted((Path(__file__).parent.parent / "demos").glob("[0-9][0-9]_*.py"))
NAMES = [path.stem for path in DEMOS]


def load(name):
    path = next(p for p in DEMOS if p.stem == name)
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # as when it is run as a script: demos share files
    spec = importlib.util.spec_from_file_location(f"demo_{name}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def run(name, out, **options):
    demo = load(name)
    return demo.main(demo.Args(out=out, headless=True, **options))


@pytest.mark.parametrize("name", NAMES)
def test_every_demo_is_short_and_has_a_page(name):
    source = next(p for p in DEMOS if p.stem == name).read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 120
    page = load(name).__doc__
    assert f"python demos/{name}.py" in page
    assert len(page.splitlines()) >= 5
    assert "headless: bool" in source or "show: bool" in source  # the tape's: files unless asked


def test_demo_numbers_are_unique():
    numbers = [name[:2] for name in NAMES]
    assert len(set(numbers)) == len(numbers)
    assert {"01", "02", "03", "04", "05", "06"} <= set(numbers)


def test_render_effects_blur(arch, tmp_path):
    ratio = run("01_render_effects", tmp_path / "a.png", size=64, level=2)
    assert ratio < 0.6
    assert (tmp_path / "a.png").is_file()


def test_live_sliders_move_sigma(arch, tmp_path):
    decades = run("02_live_sliders", tmp_path / "a.gif", mesh="cube", frames=4)
    assert decades == pytest.approx(1.5, abs=0.2)  # from 1e-4 to 10**-2.5
    assert (tmp_path / "a.gif").is_file()


def test_gradients_point_to_the_target(arch, tmp_path):
    cosine = run("03_gradient_view", tmp_path / "a.png", mesh="cube")
    assert cosine > 0.95
    assert (tmp_path / "a.png").is_file()


def test_a_sphere_takes_shape(arch, tmp_path):
    start = run("04_deform_sphere", tmp_path / "a.gif", shape="torus", steps=1, size=32, views=4)
    missing = run("04_deform_sphere", tmp_path / "b.gif", shape="torus", steps=60, size=32, views=4)
    assert missing < 0.5 * start
    assert (tmp_path / "b.gif").is_file()


def test_annealing_finds_more_poses(arch, tmp_path):
    more = run("05_cube_pose", tmp_path / "a.gif", starts=4, steps=120, size=48)
    assert more >= 0.5
    assert (tmp_path / "a.gif").is_file()


def test_colours_are_found(arch, tmp_path):
    options = {"views": 10, "size": 64}
    grey = run("06_texture_fit", tmp_path / "grey.png", steps=1, **options)
    psnr = run("06_texture_fit", tmp_path / "a.png", steps=90, **options)
    assert psnr > grey + 12.0
    assert (tmp_path / "a.png").is_file()


def test_it_turns_and_melts(arch, tmp_path):
    left = run("07_rotation_and_blur", tmp_path, mesh="cube", quick=True)
    assert 0.05 < left < 0.6
    with Image.open(tmp_path / "rotation.gif") as turn, Image.open(tmp_path / "blur.gif") as melt:
        assert turn.n_frames == 9
        assert melt.n_frames == 18  # ten powers, and back
        first = np.asarray(turn.convert("RGB"), float)
        turn.seek(4)
        assert np.abs(np.asarray(turn.convert("RGB"), float) - first).mean() > 5.0


def test_a_sphere_becomes_a_duck(arch, tmp_path):
    found = run("08_deform", tmp_path / "a.png", quick=True)
    assert found > 0.93
    assert (tmp_path / "a.png").is_file()
    assert (tmp_path / "a.obj").is_file()


@pytest.mark.exhaustive  # half a minute
def test_a_sphere_becomes_a_duck_as_published(arch, tmp_path):
    assert run("08_deform", tmp_path / "a.png") >= 0.97


def test_a_skin_is_found(arch, tmp_path):
    assert run("09_texture", tmp_path / "a.png", quick=True) > 28.0
    assert (tmp_path / "a.png").is_file()


def test_a_skin_and_a_pose_are_found(arch, tmp_path, capsys):
    psnr = run("09_texture", tmp_path / "a.png", quick=True, pose=True)
    off = float(re.search(r"pose ([\d.]+) degrees off", capsys.readouterr().out)[1])
    assert off < 2.0, "it began at 8"
    assert psnr > 22.0


def test_the_docs_name_every_demo():
    page = (Path(__file__).parent.parent / "docs" / "viewer.md").read_text(encoding="utf-8")
    named = set(re.findall(r"demos/(\d\d_\w+)\.py", page))
    assert {name for name in NAMES if int(name[:2]) <= 10} <= named

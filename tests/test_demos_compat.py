"""The original's two demos run through its own names, small."""

import pytest
from test_demos import run


def test_a_mesh_turns_and_blurs(arch, tmp_path):
    kept = run("21_compat_render", tmp_path, quick=True)
    assert kept < 0.9
    assert {"rotation.gif", "blur.gif"} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.slow
def test_silhouettes_deform_a_sphere(arch, tmp_path):
    start = run("22_compat_deform", tmp_path / "a.gif", steps=1, views=8, size=32)
    assert start < 0.75
    assert run("22_compat_deform", tmp_path / "b.gif", quick=True) > 0.95
    assert (tmp_path / "b.gif").is_file()

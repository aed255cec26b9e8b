import pytest

from taichi_softras.cli import main
from taichi_softras.viewer import loop, probe


def complaint(capsys, *argv):
    """Run a command that must fail; return the one line that it prints."""
    assert main(["view", *map(str, argv)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize(
    ("want", "words"),
    {
        "neither a mesh file nor a built-in shape": ("nosuch",),
        "does not exist": ("nosuch.obj",),
        "`sigma` must be positive": ("--sigma", "0"),
        "`gamma` must be positive": ("--gamma", "-1"),
        "nosuch.png` does not exist": ("--target", "nosuch.png"),
        "`--fit-steps` must not be negative": ("--fit-steps", "-1"),
    }.items(),
)
def test_what_cannot_be_viewed_is_told_in_one_line(want, words, capsys, arch):
    assert want in complaint(capsys, *words)


def test_a_window_that_was_asked_for_and_cannot_be_is_an_error(capsys, monkeypatch, arch):
    monkeypatch.setattr(probe, "has_display", lambda: False)
    assert "no window system" in complaint(capsys, "cube", "--window", "legacy")
    monkeypatch.setattr(probe, "has_display", lambda: True)
    monkeypatch.setattr(probe, "vulkan_device", lambda: "none")
    assert "mesa-vulkan-drivers" in complaint(capsys, "cube", "--window", "ggui")


def test_a_program_that_crashes_is_no_device():
    assert probe._said("import os; print('works', flush=True); os.abort()") == ""
    assert probe._said("print('works')") == "works\n"
    assert set(loop.Toolkit.__args__) == {"auto", "ggui", "legacy"}

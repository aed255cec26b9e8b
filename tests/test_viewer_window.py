"""Real windows on a virtual display: the mouse drags, keys are pressed, pictures are measured."""

import subprocess
import sys
import time

import numpy as np
import pytest
import windows

from taichi_softras.viewer import panel, probe

COMMAND = "import sys; from taichi_softras.cli import main; sys.exit(main(sys.argv[1:]))"
CRASH = """
import sys
import torch
torch.set_num_threads(1)
from pathlib import Path
from taichi_softras import viewer
def crash():
    raise RuntimeError("the fit fell over")
session = viewer.Session(viewer.open_scene("cube"), viewer.ViewState(view="fit"), Path("."))
session.fit.problems["pictures"] = crash
viewer.run(session, viewer.open_window(sys.argv[1]))
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def env():
    windows.need_programs()
    with windows.display() as environment:
        yield environment


@pytest.fixture(params=["legacy", "ggui"])
def toolkit(request):
    if request.param == "ggui" and not windows.LAVAPIPE.is_file():
        pytest.skip("needs lavapipe: apt install libvulkan1 mesa-vulkan-drivers")
    return request.param


def track_of(view, field):
    placed = panel.placed_controls(view)
    return next(p.track for p in placed if getattr(p.control, "field", "") == field)


def slide(viewer, field, start, end):
    """Drag a slider from one fraction of its way to another."""
    track = track_of("render", field)
    at = [(track.x + f * (track.width - 1), track.y + 3) for f in (start, end)]
    viewer.drag(*at)


def seen_through(viewer, white):
    """How much the torus changes when a black background comes behind it, and a white one again."""
    choice = next(
        p
        for p in panel.placed_controls("render")
        if getattr(p.control, "field", "") == "background"
    )
    torus = white.min(axis=-1) < 200

    def click(name):
        cell = choice.cells[choice.control.options.index(name)]
        viewer.move(cell.x + 9, cell.y + 9)
        time.sleep(0.3)
        viewer.xdotool("click", 1)

    click("black")
    black = viewer.settled(white)
    click("white")
    viewer.settled(black)
    return float((white - black)[torus].mean())


def test_sliders_mouse_and_keys_change_the_picture(env, toolkit, tmp_path):
    words = ("-c", COMMAND, "view", "torus", "--window", toolkit, "-o", str(tmp_path / "out"))
    viewer = windows.Viewer(env, tmp_path / "log", *words, "--sigma", "1e-6", "--gamma", "1e-3")
    try:
        first = viewer.settled()
        slide(viewer, "sigma", 1 / 6, 0.7)
        blurred = viewer.settled(first)
        assert windows.sharpness(blurred) < 0.5 * windows.sharpness(first)

        slide(viewer, "sigma", 0.7, 1 / 6)
        sharp = viewer.settled(blurred)
        assert seen_through(viewer, sharp) < 1.0
        slide(viewer, "gamma", 1 / 3, 0.97)
        transparent = viewer.settled(sharp)
        assert seen_through(viewer, transparent) > 40.0

        viewer.drag((800, 300), (800, 620))
        turned = viewer.settled(transparent)
        assert np.abs(turned - transparent).mean() > 3.0

        viewer.key("i")
        nearer = viewer.settled(turned)
        assert (nearer.min(axis=-1) < 250).mean() > 1.05 * (turned.min(axis=-1) < 250).mean()
        viewer.key("h")
        helped = viewer.settled(nearer)
        assert (helped.max(axis=-1) < 70).mean() > 0.2  # the dark box
        viewer.key("h")
        assert np.abs(viewer.settled(helped) - nearer).mean() < 0.5
        if toolkit == "legacy":  # GGUI tells nobody of the wheel
            viewer.move(800, 400)
            viewer.xdotool("click", 4)
            viewer.settled(nearer)
        viewer.key("s")
        end = time.monotonic() + windows.PATIENCE
        while not (tmp_path / "out" / "picture.png").is_file():
            assert time.monotonic() < end
            time.sleep(0.2)
        viewer.key("q")
        assert viewer.ended() == 0
    finally:
        viewer.stop()


def test_closing_the_window_ends_the_process(env, toolkit, tmp_path):
    words = ("-c", COMMAND, "view", "cube", "--window", toolkit, "-o", str(tmp_path))
    viewer = windows.Viewer(env, tmp_path / "log", *words)
    try:
        viewer.settled()
        # what a window manager's cross sends: xdotool's windowclose would cut the connection
        subprocess.run([sys.executable, "-c", CLOSE, viewer.window], env=env, check=True)
        assert viewer.ended() == 0
    finally:
        viewer.stop()


def test_a_crash_in_the_fit_is_shown(env, toolkit, tmp_path):
    viewer = windows.Viewer(env, tmp_path / "log", "-c", CRASH, toolkit)
    try:
        end = time.monotonic() + windows.PATIENCE
        while True:
            frame = viewer.grab()
            red = (frame[..., 0] > 180) & (frame[..., 1] < 70) & (frame[..., 2] < 70)
            if red.sum() > 5_000:
                break
            assert time.monotonic() < end
            time.sleep(0.2)
        viewer.key("q")
        assert viewer.ended() == 0
    finally:
        viewer.stop()


def test_without_a_display_a_sentence_and_files(tmp_path, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    if sys.platform != "linux":
        pytest.skip("only X11 can be missing")
    assert not probe.has_display()
    words = ["view", "cube", "--fit", "pose", "--fit-steps", "1", "-o", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *words],
        capture_output=True, text=True, timeout=windows.PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "No window: there is no window system here" in done.stderr
    assert (tmp_path / "out" / "view_render.png").is_file()


# WM_DELETE_WINDOW, by Xlib's own hand
CLOSE = """
import ctypes, sys
x11 = ctypes.CDLL("libX11.so.6")
x11.XOpenDisplay.restype = ctypes.c_void_p
x11.XInternAtom.restype = ctypes.c_ulong
x11.XInternAtom.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
x11.XSendEvent.argtypes = [ctypes.c_void_p, ctypes.c_ulong, ctypes.c_int, ctypes.c_long,
                           ctypes.c_void_p]
class Message(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int), ("serial", ctypes.c_ulong), ("sent", ctypes.c_int),
                ("display", ctypes.c_void_p), ("window", ctypes.c_ulong),
                ("kind", ctypes.c_ulong), ("format", ctypes.c_int), ("data", ctypes.c_long * 5),
                ("rest", ctypes.c_long * 24)]
display, window = x11.XOpenDisplay(None), int(sys.argv[1])
delete = x11.XInternAtom(display, b"WM_DELETE_WINDOW", 0)
message = Message(33, 0, 1, display, window, x11.XInternAtom(display, b"WM_PROTOCOLS", 0), 32)
message.data[0] = delete
x11.XSendEvent(display, window, 0, 0, ctypes.byref(message))
x11.XFlush.argtypes = x11.XCloseDisplay.argtypes = [ctypes.c_void_p]
x11.XFlush(display)
x11.XCloseDisplay(display)
"""

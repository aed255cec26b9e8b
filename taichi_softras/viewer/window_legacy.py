"""The viewer's frames in Taichi's older window: X11, Windows and macOS, without any GPU."""

import sys
import time
from collections.abc import Iterator

import numpy as np
import taichi as ti
from PIL import Image

from taichi_softras.viewer.events import Event, Key, Pointer

_BUTTONS = {"LMB": "left", "RMB": "right"}
_KEYS = {"Left": "left", "Right": "right", "Up": "up", "Down": "down", "Escape": "escape"}
# Taichi's own kernel for this buffer has red and blue the other way round there, with alpha.
_LAYOUT = "RGBX" if sys.platform == "darwin" else "BGRX"
_NOTCH = 120.0
_REST = 0.02


class LegacyWindow:
    """A `ti.GUI` that shows frames.

    Args:
        title: Of the window.
        size: Width and height in pixels; this window cannot be resized.
    """

    def __init__(self, title: str, size: tuple[int, int]) -> None:
        self._size = size
        # fast_gui shows a buffer of bytes as it is: 9 ms a frame of 1280 x 800, against 37
        self._gui = ti.GUI(title, size, fast_gui=True)
        self._gui.fps_limit = None

    @property
    def running(self) -> bool:
        """Whether nobody has closed the window."""
        return bool(self._gui.running)

    def show(self, frame: Image.Image) -> None:
        """Show an RGB frame of the window's size."""
        self._gui.img[:] = np.frombuffer(frame.tobytes("raw", _LAYOUT), np.uint32)
        if sys.platform == "darwin":
            self._gui.img |= 0xFF000000
        self._gui.show()

    def rest(self) -> None:
        """Wait for a moment with the last frame, as nothing changed."""
        self._gui.show()  # which is where this window learns of events
        time.sleep(_REST)

    def poll(self) -> Iterator[Event]:
        """Yield what happened since the last call."""
        gui = self._gui
        for event in gui.get_events():
            x, y = self._pixels(event.pos)
            if event.key == ti.GUI.EXIT:
                gui.running = False
            elif event.type == ti.GUI.MOTION:
                if event.key == ti.GUI.WHEEL:
                    yield Pointer("wheel", x, y, notches=event.delta[1] / _NOTCH)
                else:
                    yield Pointer("move", x, y)
            elif event.key in _BUTTONS:
                kind = "press" if event.type == ti.GUI.PRESS else "release"
                yield Pointer(kind, x, y, _BUTTONS[event.key])  # type: ignore[arg-type]
            elif event.type == ti.GUI.PRESS:
                yield Key(_KEYS.get(event.key, event.key.lower()))

    def close(self) -> None:
        """Close the window."""
        self._gui.close()

    def _pixels(self, position: tuple[float, float]) -> tuple[float, float]:
        width, height = self._size
        return position[0] * width, (1.0 - position[1]) * height

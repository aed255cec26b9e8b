"""The viewer's frames in Taichi's newer window, GGUI, which needs a Vulkan device."""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import taichi as ti
from PIL import Image

from taichi_softras.viewer.events import Event, Key, Pointer

_BUTTONS = {ti.ui.LMB: "left", ti.ui.RMB: "right"}
_KEYS = {
    ti.ui.LEFT: "left",
    ti.ui.RIGHT: "right",
    ti.ui.UP: "up",
    ti.ui.DOWN: "down",
    ti.ui.ESCAPE: "escape",
}

_REST = 0.02
# Seconds after which a frame is shown again, in case that another window had covered this one.
_EXPOSED = 0.5


class GguiWindow:
    """A `ti.ui.Window` that shows frames, stretched if the window is resized.

    GGUI reports no wheel: the right button and keys zoom there.

    Args:
        title: Of the window.
        size: Width and height of frames, and of the window at first, in pixels.
    """

    def __init__(self, title: str, size: tuple[int, int]) -> None:
        self._size = size
        self._window = ti.ui.Window(title, size, vsync=False)
        self._canvas = self._window.get_canvas()
        self._pointer = (-1.0, -1.0)
        self._last = np.zeros(size, np.uint32)
        self._shown_at = 0.0

    @property
    def running(self) -> bool:
        """Whether nobody has closed the window."""
        return bool(self._window.running)

    def show(self, frame: Image.Image) -> None:
        """Show an RGB frame."""
        # GGUI's first axis goes right and its second up: turned, not copied pixel by pixel
        turned = frame.transpose(Image.Transpose.ROTATE_270)
        width, height = self._size
        packed = np.frombuffer(turned.tobytes("raw", "RGBX"), np.uint32).reshape(width, height)
        self._last = packed
        _set_image(self._canvas, packed)
        self._window.show()
        self._shown_at = time.perf_counter()

    def rest(self) -> None:
        """Wait for a moment with the last frame, as nothing changed."""
        if time.perf_counter() - self._shown_at > _EXPOSED:
            _set_image(self._canvas, self._last)
            self._window.show()
            self._shown_at = time.perf_counter()
        time.sleep(_REST)

    def poll(self) -> Iterator[Event]:
        """Yield what happened since the last call."""
        width, height = self._size
        x, y = self._window.get_cursor_pos()
        pointer = (x * width, (1.0 - y) * height)
        if pointer != self._pointer:
            self._pointer = pointer
            yield Pointer("move", *pointer)
        # events do not say what they are, only the filter that they passed
        for event in self._window.get_events(ti.ui.PRESS):
            if event.key in _BUTTONS:
                yield Pointer("press", *pointer, _BUTTONS[event.key])  # type: ignore[arg-type]
            else:
                yield Key(_KEYS.get(event.key, event.key.lower()))
        for event in self._window.get_events(ti.ui.RELEASE):
            if event.key in _BUTTONS:
                yield Pointer("release", *pointer, _BUTTONS[event.key])  # type: ignore[arg-type]

    def close(self) -> None:
        """Close the window."""
        self._window.destroy()


def _set_image(canvas: Any, packed: np.ndarray[Any, Any]) -> None:
    """Hand over bytes as GGUI keeps them, red lowest. [W, H] uint32.

    The public `set_image` makes the same array with a kernel that takes 30 ms for 1280 x 800
    pixels on two cores; it serves where Taichi's inside is not as it was in 1.7.4.
    """
    try:
        from taichi.ui.utils import get_field_info

        canvas.canvas.set_image(get_field_info(packed))
    except (ImportError, AttributeError, TypeError):
        canvas.set_image(packed.view(np.uint8).reshape(*packed.shape, 4)[..., :3].copy())

"""Events to the session, frames to the window, until one of them ends."""

import time
from collections.abc import Iterator
from typing import Literal, Protocol

from PIL import Image

from taichi_softras import runtime
from taichi_softras.errors import BackendError
from taichi_softras.viewer import panel, probe
from taichi_softras.viewer.events import Event
from taichi_softras.viewer.session import Session

Toolkit = Literal["auto", "ggui", "legacy"]

_TITLE = "softras"


class Window(Protocol):
    """What a toolkit has to offer."""

    @property
    def running(self) -> bool:
        """Whether nobody has closed the window."""
        ...

    def show(self, frame: Image.Image) -> None:
        """Show an RGB frame of `panel.FRAME`."""
        ...

    def rest(self) -> None:
        """Wait for a moment with the last frame, as nothing changed."""
        ...

    def poll(self) -> Iterator[Event]:
        """Yield what happened since the last call."""
        ...

    def close(self) -> None:
        """Close the window."""
        ...


def open_window(toolkit: Toolkit = "auto") -> Window:
    """Open a window, having tried in another process that this does not crash.

    "auto" takes GGUI where a GPU draws it. Where Vulkan only has the processor, GGUI would take
    its time from the renderer, so the legacy window is opened there.

    Raises:
        BackendError: There is no window system, or no Vulkan for "ggui".
    """
    if not probe.has_display():
        raise BackendError("there is no window system here (on Linux, `DISPLAY` must name one)")
    vulkan = probe.vulkan_device() if toolkit != "legacy" else "none"
    if toolkit == "ggui" and vulkan == "none":
        raise BackendError(
            "`--window ggui` needs a Vulkan device; use `--window legacy`, or install a driver: "
            "`sudo apt install libvulkan1 mesa-vulkan-drivers`."
        )
    runtime.init()
    # either toolkit is imported only where it is used: importing GGUI looks for Vulkan
    if toolkit == "ggui" or vulkan == "gpu":
        from taichi_softras.viewer.window_ggui import GguiWindow

        return GguiWindow(_TITLE, panel.FRAME)
    from taichi_softras.viewer.window_legacy import LegacyWindow

    return LegacyWindow(_TITLE, panel.FRAME)


def run(session: Session, window: Window) -> None:
    """Show a session until the window is closed or the session quits."""
    window.show(session.image)
    try:
        while session.running and window.running:
            for event in window.poll():
                session.handle(event)
            if not session.running:
                break
            if session.advance():
                start = time.perf_counter()
                window.show(session.image)
                session.presented(time.perf_counter() - start)
            else:
                window.rest()
    finally:
        session.close()
        window.close()

"""A whole frame: the panel, the view's picture, and what lies over both."""

from collections.abc import Sequence

from PIL import Image, ImageDraw

from taichi_softras.viewer import painting, panel
from taichi_softras.viewer.content import Content
from taichi_softras.viewer.panel_image import PanelImage
from taichi_softras.viewer.state import ViewState

_KEY_NAMES = {" ": "space", "escape": "esc"}
_MOUSE = (("left drag", "turn the mesh"), ("right drag, wheel", "nearer or farther away"))


class Frame:
    """The picture that every window shows, kept from frame to frame."""

    def __init__(self) -> None:
        self.image = Image.new("RGB", panel.FRAME, painting.GROUND)
        self._panel = PanelImage()

    def paint(self, content: Content, state: ViewState, lines: Sequence[str], alert: str) -> None:
        """Paint everything.

        Args:
            content: The view that is shown.
            state: What the controls show.
            lines: The status; the last one is broken if it is long.
            alert: A message in red over the picture, or "".
        """
        pen = ImageDraw.Draw(self.image)
        if state.view != "render":  # whose picture leaves no gaps
            x, y, width, height = panel.PICTURE
            pen.rectangle((x, y, x + width, y + height), painting.GROUND)
        content.paint(self.image, pen, state)
        broken = painting.wrapped(lines[-1], panel.STATUS.width, 12)
        self._panel.update(state, [*lines[:-1], *broken][: panel.STATUS_LINES])
        self.image.paste(self._panel.image, (panel.PANEL.x, panel.PANEL.y))
        if state.help:
            keys = [(_KEY_NAMES.get(key, key), line) for key, (_, line) in panel.KEYS.items()]
            painting.paint_help(pen, panel.PICTURE, [*_MOUSE, *keys])
        if alert:
            painting.paint_alert(pen, panel.PICTURE, alert)

"""The panel as a picture of its own, in which only what changed is drawn anew."""

from collections.abc import Sequence

from PIL import Image, ImageDraw

from taichi_softras.viewer import painting, panel
from taichi_softras.viewer.controls import Box, Buttons, Heading
from taichi_softras.viewer.state import ViewState

_MARGIN = 2


class PanelImage:
    """Controls and status lines; text is the slow part of a frame, so it is kept."""

    def __init__(self) -> None:
        self.image = Image.new("RGB", (panel.PANEL.width, panel.PANEL.height), painting.GROUND)
        self._pen = ImageDraw.Draw(self.image)
        self._shown: dict[object, object] = {}
        self._view = ""

    def update(self, state: ViewState, lines: Sequence[str]) -> None:
        """Bring the picture up to date.

        Args:
            state: What the controls show.
            lines: What is written below them.
        """
        if self._view != state.view:
            self._view, self._shown = state.view, {}
            self._clear(panel.PANEL)
        for placed in panel.placed_controls(state.view):
            control = placed.control
            value = "" if isinstance(control, Heading | Buttons) else getattr(state, control.field)
            if self._shown.get(placed) != value:
                self._shown[placed] = value
                self._clear(placed.box)
                painting.paint_control(self._pen, placed, state)
        for i, line in enumerate(lines):
            self._write(i, line)
        for i in range(len(lines), panel.STATUS_LINES):
            self._write(i, "")

    def _write(self, i: int, line: str) -> None:
        if self._shown.get(i) == line:
            return
        self._shown[i] = line
        x, y, width, _ = panel.STATUS
        self._clear(Box(x, y + 17 * i, width, 17), margin=0)
        self._pen.text((x, y + 17 * i + 2), line, painting.DIM, painting.font(12), "lt")

    def _clear(self, box: Box, margin: int = _MARGIN) -> None:
        x, y, width, height = box
        area = (x - 8, y - margin, x + width + 7, y + height - 1 + margin)
        self._pen.rectangle(area, painting.GROUND)

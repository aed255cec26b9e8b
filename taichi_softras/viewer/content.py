"""What a view has to offer to the session."""

from typing import Protocol

from PIL import Image, ImageDraw

from taichi_softras.viewer.state import ViewState


class Content(Protocol):
    """One of the views: render, gradient, fit."""

    @property
    def resting(self) -> bool:
        """Whether nothing more is to be drawn until the state changes."""
        ...

    def update(self, state: ViewState, *, moving: bool, fixed: float) -> bool:
        """Work for about one frame, and say whether the picture changed."""
        ...

    def paint(self, image: Image.Image, pen: ImageDraw.ImageDraw, state: ViewState) -> None:
        """Draw into the frame, right of the panel."""
        ...

    def status(self, state: ViewState) -> list[str]:
        """Lines about the last picture."""
        ...

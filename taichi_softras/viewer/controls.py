"""Widgets as plain values: what there is, where it lies, and what is under the pointer."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from taichi_softras.viewer.scales import Scale


class Box(NamedTuple):
    """A rectangle of the frame, in pixels from its top left corner."""

    x: int
    y: int
    width: int
    height: int

    def holds(self, x: float, y: float) -> bool:
        """Whether a point lies inside."""
        return self.x <= x < self.x + self.width and self.y <= y < self.y + self.height

    def inset(self, by: int) -> "Box":
        """Return the box without a border `by` pixels wide."""
        return Box(self.x + by, self.y + by, self.width - 2 * by, self.height - 2 * by)

    def columns(self, count: int, gap: int = 4) -> list["Box"]:
        """Cut into boxes of equal width, side by side."""
        edges = [self.x + round(i * (self.width + gap) / count) for i in range(count + 1)]
        return [Box(a, self.y, b - a - gap, self.height) for a, b in pairwise(edges)]


@dataclass(frozen=True)
class Heading:
    """A line of text above what belongs together."""

    text: str


@dataclass(frozen=True)
class Slider:
    """Sets a number of the state."""

    field: str
    label: str
    scale: Scale


@dataclass(frozen=True)
class Choice:
    """Sets a field of the state to one of some words, all of which are shown."""

    field: str
    label: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class Buttons:
    """Actions side by side: what each does, and what is written on it."""

    actions: tuple[tuple[str, str], ...]


Control = Heading | Slider | Choice | Buttons

_HEIGHTS = {Heading: 24, Slider: 36, Choice: 26, Buttons: 28}
_GAP = 4
_LABEL = 76


class Placed(NamedTuple):
    """A control, and where it lies."""

    control: Control
    box: Box

    @property
    def track(self) -> Box:
        """Where a slider's knob moves."""
        x, y, width, height = self.box
        return Box(x, y + height - 13, width, 8)

    @property
    def cells(self) -> list[Box]:
        """The box of each option of a choice, or of each button."""
        if isinstance(self.control, Choice):
            x, y, width, height = self.box
            shift = _LABEL if self.control.label else 0
            row = Box(x + shift, y, width - shift, height)
            return row.columns(len(self.control.options), gap=2)
        if isinstance(self.control, Buttons):
            return self.box.columns(len(self.control.actions))
        return []


def lay_out(controls: Sequence[Control], area: Box) -> list[Placed]:
    """Stack controls from the top of an area downwards."""
    placed, y = [], area.y
    for control in controls:
        height = _HEIGHTS[type(control)]
        placed.append(Placed(control, Box(area.x, y, area.width, height)))
        y += height + _GAP
    return placed


class Hit(NamedTuple):
    """What is under the pointer."""

    placed: Placed
    value: str
    """The option or action; "" for sliders."""


def hit(placed: Sequence[Placed], x: float, y: float) -> Hit | None:
    """Find the slider, option or button at a point."""
    for item in placed:
        control = item.control
        if not item.box.holds(x, y):
            continue
        if isinstance(control, Slider):
            return Hit(item, "")
        names: tuple[str, ...] = ()
        if isinstance(control, Choice):
            names = control.options
        elif isinstance(control, Buttons):
            names = tuple(name for name, _ in control.actions)
        for name, cell in zip(names, item.cells, strict=False):
            if cell.holds(x, y):
                return Hit(item, name)
    return None


def slid(placed: Placed, x: float) -> float:
    """Return the value of a slider whose knob is held at a point."""
    if not isinstance(placed.control, Slider):
        raise TypeError(f"`placed` must hold a slider, got {placed.control!r}.")
    track = placed.track
    return placed.control.scale.value((x - track.x) / max(track.width - 1, 1))

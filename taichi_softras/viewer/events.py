"""What a window tells: the pointer and keys, whatever toolkit drew the window."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Pointer:
    """Something the pointer did."""

    kind: Literal["press", "move", "release", "wheel"]
    x: float
    """Pixels from the left of the frame."""
    y: float
    """Pixels from the top of the frame."""
    button: Literal["left", "right"] = "left"
    notches: float = 0.0
    """Of the wheel, positive away from the user."""


@dataclass(frozen=True)
class Key:
    """A key went down: a lower-case character, or "left", "right", "up", "down", "escape" ..."""

    name: str


Event = Pointer | Key

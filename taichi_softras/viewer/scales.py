"""What a slider's knob means: a number between two ends, linear or logarithmic."""

import math
from dataclasses import dataclass

from taichi_softras.errors import ArgumentError


@dataclass(frozen=True)
class Scale:
    """A map between the fraction of a slider's way, 0 to 1, and a value."""

    low: float
    """Value at fraction 0."""
    high: float
    """Value at fraction 1."""
    logarithmic: bool = False
    """Equal ways multiply the value instead of adding to it."""
    unit: str = ""
    """Written after the number."""

    def __post_init__(self) -> None:
        """Refuse ends between which there is nothing to slide over."""
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ArgumentError(
                f"`low` and `high` must be finite and low < high, got {self.low} and {self.high}."
            )
        if self.logarithmic and self.low <= 0.0:
            raise ArgumentError(f"`low` must be positive on a logarithmic scale, got {self.low}.")

    def value(self, fraction: float) -> float:
        """Return the value at a fraction of the way, which is clipped to 0..1."""
        t = min(max(fraction, 0.0), 1.0)
        if self.logarithmic:
            low, high = math.log10(self.low), math.log10(self.high)
            return float(10.0 ** (low + t * (high - low)))
        return self.low + t * (self.high - self.low)

    def fraction(self, value: float) -> float:
        """Return how far along the way a value lies, clipped to 0..1."""
        if self.logarithmic:
            t = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            t = (value - self.low) / (self.high - self.low)
        return min(max(t, 0.0), 1.0)

    def text(self, value: float) -> str:
        """Write a value as the slider shows it."""
        if self.logarithmic:
            mantissa, exponent = f"{value:.1e}".split("e")
            return f"{mantissa}e{int(exponent)}{self.unit}"
        digits = 0 if self.high - self.low >= 20.0 else 2
        return f"{value:.{digits}f}{self.unit}"


SIGMA = Scale(1e-7, 1e-1, logarithmic=True)
"""Squared NDC units."""
GAMMA = Scale(1e-5, 1e1, logarithmic=True)
"""A share of far - near."""
DIST_EPS = Scale(1e-6, 1e-1, logarithmic=True)
"""Coverage."""
TURN = Scale(-180.0, 180.0, unit="°")
LIFT = Scale(-90.0, 90.0, unit="°")
SHARE = Scale(0.0, 1.0)
OFFSET = Scale(-1.0, 1.0)
EYE_DISTANCE = Scale(1.3, 12.0, logarithmic=True)
"""World units; the mesh lies in the unit sphere."""

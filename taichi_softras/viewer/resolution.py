"""How many pixels can be drawn in time: fewer while something moves, all when it rests."""

import math

from taichi_softras.errors import ArgumentError

FRAMES_PER_SECOND = 20.0
"""What is held while something moves."""


class ResolutionControl:
    """Chooses the size of the next picture from how long the last ones took.

    Args:
        full: Height and width of a picture at rest, in pixels.
        frames_per_second: To be held while something moves.
        least: Pixels along the shorter side that no picture goes below.
    """

    def __init__(
        self,
        full: tuple[int, int],
        frames_per_second: float = FRAMES_PER_SECOND,
        least: int = 64,
    ) -> None:
        if not frames_per_second > 0.0:
            raise ArgumentError(f"`frames_per_second` must be positive, got {frames_per_second}.")
        if min(full) < 1:
            raise ArgumentError(f"`full` must be positive, got {full}.")
        self.full = full
        self.budget = 0.9 / frames_per_second
        self._least = min(1.0, least / min(full))
        self._moving_scale = 0.5
        self._scale = 0.0

    @property
    def refined(self) -> bool:
        """Whether the last picture had all pixels."""
        return self._scale >= 1.0

    def size(self, *, moving: bool) -> tuple[int, int]:
        """Return height and width of the next picture.

        At rest, pictures grow by a factor of two a side until they are full, so that the pointer
        never waits for long.
        """
        self._scale = self._moving_scale if moving else min(1.0, max(2.0 * self._scale, 0.25))
        return self._pixels(self._scale)

    def observe(self, seconds: float, fixed: float = 0.0) -> None:
        """Learn from the picture whose size was asked for last.

        Args:
            seconds: What rendering it took; it falls with the number of pixels.
            fixed: What the rest of the frame took, whatever the picture's size.
        """
        room = max(self.budget - fixed, 0.2 * self.budget)
        # Time grows more slowly than pixels do, so this step falls short rather than overshoots.
        wanted = min(max(self._scale * math.sqrt(room / max(seconds, 1e-4)), self._least), 1.0)
        # A picture that would just about fit again must not make the size flicker.
        grows = self._scale <= self._moving_scale and wanted > 1.15 * self._moving_scale
        if wanted < self._moving_scale or grows or (wanted == 1.0 and self.refined):
            self._moving_scale = wanted

    def _pixels(self, scale: float) -> tuple[int, int]:
        height, width = self.full
        if scale >= 1.0:
            return self.full
        return max(1, round(height * scale)), max(1, round(width * scale))

"""Faces that could not be rendered: counted, and warned about once."""

import warnings
from typing import NamedTuple


class SkippedFaces(NamedTuple):
    """How many faces of a rendering contributed nothing, and why (culled ones not counted)."""

    non_finite: int = 0
    behind: int = 0
    degenerate: int = 0

    @property
    def total(self) -> int:
        """All skipped faces."""
        return sum(self)


def warn_about_skipped(skipped: SkippedFaces, *, stacklevel: int = 4) -> None:
    """Warn, once a process and reason, that faces were left out."""
    if not any(skipped):
        return
    for reason, count in skipped._asdict().items():
        if count and reason not in _warned_about:
            _warned_about.add(reason)
            warnings.warn(
                f"{count} faces were skipped because they are {_REASONS[reason]}; they contribute "
                "nothing. `Rendering.skipped` counts them; this is said once.",
                stacklevel=stacklevel,
            )


# Reasons that this process has warned about.
_warned_about: set[str] = set()

_REASONS = {
    "non_finite": "not finite (NaN or infinite corners or attributes)",
    "behind": "nearer than the near plane, or behind the eye",
    "degenerate": "degenerate (no area on the screen)",
}

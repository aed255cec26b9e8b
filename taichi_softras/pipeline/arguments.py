"""Arguments that stay from launch to launch, shared by several kernels."""

from collections.abc import Callable
from typing import Any

from taichi_softras.fast_launch import Launch
from taichi_softras.pipeline.plan import Array


class Arguments:
    """Arrays and numbers by the names of kernels' parameters, and the launches that they are in."""

    def __init__(self, **kept: Any) -> None:
        self._kept = kept
        self._launches: dict[Any, Launch] = {}
        self._rows: dict[str, int] = {}

    def __getitem__(self, name: str) -> Any:
        """Return an argument."""
        return self._kept[name]

    def keep(self, **kept: Any) -> None:
        """Set arguments in all launches."""
        self._kept |= kept
        for launch in self._launches.values():
            launch.keep(**{name: kept[name] for name in launch.parameters & kept.keys()})

    def keep_numbers(self, **numbers: float) -> None:
        """Set those numbers that are others than before."""
        kept = self._kept
        self.keep(**{name: n for name, n in numbers.items() if kept.get(name) != n})

    def grow(self, name: str, rows: int, make: Callable[[int], Array]) -> None:
        """Set an array that has at least so many rows; with some room if it is not the first."""
        before = self._rows.get(name)
        if before is None or rows > before:
            self._rows[name] = rows if before is None else rows * 5 // 4
            self.keep(**{name: make(self._rows[name])})

    def rows(self, name: str) -> int:
        """Return the rows of an array that `grow` has made, or 0."""
        return self._rows.get(name, 0)

    def launch(self, kernel: Callable[..., None]) -> Launch:
        """Return the launch of a kernel, with all of its arguments that are kept here."""
        launch = self._launches.get(kernel)
        if launch is None:
            launch = self._launches[kernel] = Launch(kernel)
            names = launch.parameters & self._kept.keys()
            launch.keep(**{name: self._kept[name] for name in names})
        return launch

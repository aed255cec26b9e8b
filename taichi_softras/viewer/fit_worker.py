"""An optimisation in a thread of its own, that can be paused, and whose crash can be read."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from taichi_softras.mesh import Mesh
from taichi_softras.viewer.fit_problems import FitProblem, Softness


@dataclass(frozen=True)
class FitSnapshot:
    """The fit between two steps."""

    problem: FitProblem
    step: int
    """Number of steps made."""
    softness: Softness
    """Sigma and gamma of the last step, or of the first one to come."""
    mesh: Mesh
    """As it is now."""
    losses: tuple[float, ...]
    """Of each step made."""


class FitWorker:
    """Steps a problem in a thread until it is paused or closed.

    Nothing here creates Taichi fields, which only the thread that started Taichi may do. Kernels
    of this thread and of the window's take turns (`runtime.launch_lock`).

    Args:
        make: Builds the problem, in the thread: it may take seconds.
    """

    def __init__(self, make: Callable[[], FitProblem]) -> None:
        self.snapshot: FitSnapshot | None = None
        """What can be shown; None until the problem is built."""
        self.error = ""
        """Why the thread ended, if it crashed."""
        self.softness: Softness | None = None
        """Sigma and gamma to use from now on; None follows the problem's schedule."""
        self._make = make
        self._wake = threading.Condition()
        self._playing = False
        self._single_steps = 0
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="softras fit", daemon=True)
        self._thread.start()

    @property
    def playing(self) -> bool:
        """Whether steps are being made."""
        return self._playing and not self.error

    def play(self, playing: bool) -> None:
        """Go on, or pause after the step at hand."""
        with self._wake:
            self._playing = playing
            self._wake.notify()

    def step_once(self) -> None:
        """Pause, and make one more step."""
        with self._wake:
            self._playing = False
            self._single_steps += 1
            self._wake.notify()

    def close(self) -> None:
        """End the thread after the step at hand; it cannot be used again."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=10.0)

    def _run(self) -> None:
        try:
            problem = self._make()
            losses: list[float] = []
            softness = self.softness or problem.schedule(0)
            self.snapshot = FitSnapshot(problem, 0, softness, problem.mesh(), ())
            while self._may_step():
                softness = self.softness or problem.schedule(len(losses))
                losses.append(problem.step(softness))
                self.snapshot = FitSnapshot(
                    problem, len(losses), softness, problem.mesh(), tuple(losses)
                )
        except Exception as error:  # whatever it is, the window must say so
            self.error = f"The fit stopped: {type(error).__name__}: {error}"

    def _may_step(self) -> bool:
        """Wait until a step is wanted; False when closed."""
        with self._wake:
            self._wake.wait_for(lambda: self._closed or self._playing or self._single_steps > 0)
            if not self._playing and self._single_steps > 0:
                self._single_steps -= 1
            return not self._closed

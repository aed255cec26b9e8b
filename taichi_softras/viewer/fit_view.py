"""The fit view: an optimisation while it runs, beside what it should become."""

import time
from collections.abc import Callable
from dataclasses import astuple, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from taichi_softras.viewer.controls import Box
from taichi_softras.viewer.fit_problems import FitProblem, PicturesFit, PoseFit, ShapeFit, Softness
from taichi_softras.viewer.fit_worker import FitSnapshot, FitWorker
from taichi_softras.viewer.painting import DIM, font, paint_title, stretched
from taichi_softras.viewer.picture import draw
from taichi_softras.viewer.plotting import Curve, paint_plot
from taichi_softras.viewer.resolution import ResolutionControl
from taichi_softras.viewer.scene import Scene
from taichi_softras.viewer.state import ViewState

_PLOT_HEIGHT = 256
_TITLE = 28
_CRISP = {"sigma": 1e-5, "gamma": 1e-3, "depth_range": "tight", "show": "color"}


class FitView:
    """Current and target side by side, the losses below; the fit runs in a `FitWorker`.

    Args:
        scene: What is fitted to, but for the pose of the cube.
        area: Where in the frame.
    """

    def __init__(self, scene: Scene, area: Box) -> None:
        self.problems: dict[str, Callable[[], FitProblem]] = {
            "pictures": lambda: PicturesFit(scene.mesh),
            "shape": lambda: ShapeFit(scene.mesh),
            "pose": PoseFit,
        }
        """What builds each fit; it is called in the worker's thread."""
        half, height = area.width // 2, area.height - _PLOT_HEIGHT
        self._cells = [
            Box(area.x + i * half + 4, area.y + _TITLE, half - 8, height - _TITLE) for i in range(2)
        ]
        self._plot = Box(area.x, area.y + height + 8, area.width, _PLOT_HEIGHT - 8)
        # the fit wants the cores too, and its steps are no smoother than this
        self.resolution = ResolutionControl(
            (self._cells[0].height, self._cells[0].width), frames_per_second=10.0, least=160
        )
        self.worker: FitWorker | None = None
        self._kind = ""
        self._drawn: object = None
        self._shown: FitSnapshot | None = None
        self._pictures: list[NDArray[np.uint8]] = []
        self._goal_key: object = None
        self._seconds = 0.0

    @property
    def error(self) -> str:
        """Why the fit stopped, or ""."""
        return "" if self.worker is None else self.worker.error

    @property
    def steps_made(self) -> int:
        """Number of steps of the fit so far."""
        snapshot = None if self.worker is None else self.worker.snapshot
        return 0 if snapshot is None else snapshot.step

    @property
    def resting(self) -> bool:
        """Whether nothing more is to be drawn until the state or the fit changes."""
        worker = self.worker
        if worker is None or worker.error:
            return self.resolution.refined or worker is not None
        waiting = worker.snapshot is None or worker.playing
        return not waiting and self.resolution.refined and self._shown is worker.snapshot

    def toggle(self, state: ViewState) -> None:
        """Run or pause."""
        worker = self._worker(state)
        worker.play(not worker.playing)

    def step_once(self, state: ViewState) -> None:
        """Make one step, then pause."""
        self._worker(state).step_once()

    def reset(self, state: ViewState) -> None:
        """Start again, paused."""
        self.close()
        self._worker(state)

    def softness(self, state: ViewState) -> Softness:
        """Return sigma and gamma as the fit's schedule has them now."""
        snapshot = None if self.worker is None else self.worker.snapshot
        return (state.fit_sigma, state.fit_gamma) if snapshot is None else snapshot.softness

    def close(self) -> None:
        """End the worker."""
        if self.worker is not None:
            self.worker.close()
        self.worker, self._shown, self._goal_key = None, None, None

    def update(self, state: ViewState, *, moving: bool, fixed: float) -> bool:
        """Draw the mesh as the fit has it now."""
        worker = self._worker(state)
        by_hand = state.softness == "sliders"
        worker.softness = (state.fit_sigma, state.fit_gamma) if by_hand else None
        snapshot = worker.snapshot
        if snapshot is None:
            return bool(worker.error)
        key = astuple(replace(state, fit_sigma=0.0, fit_gamma=0.0))
        changed = key != self._drawn or snapshot is not self._shown
        if not changed and (moving or self.resolution.refined):
            return False
        size = self.resolution.size(moving=moving or changed)
        start = time.perf_counter()
        crisp = replace(state, **_CRISP)  # type: ignore[arg-type]
        current = draw(snapshot.mesh, crisp, size, lit=snapshot.problem.lit)
        self._seconds = time.perf_counter() - start
        self.resolution.observe(self._seconds, fixed)
        self._pictures = [current, self._goal(snapshot, crisp, key)]
        self._drawn, self._shown = key, snapshot
        return True

    def paint(self, image: Image.Image, pen: ImageDraw.ImageDraw, state: ViewState) -> None:
        """Put pictures and losses into the frame."""
        shown = self._shown
        if shown is None:
            middle = (self._plot.x + self._plot.width // 2, self._cells[0].height // 2)
            text = "" if self.error else "Preparing the fit ..."
            pen.text(middle, text, DIM, font(18), "mm")
            return
        running = "running" if self.worker is not None and self.worker.playing else "paused"
        titles = (("now", f"step {shown.step}, {running}"), ("target", state.fit))
        for cell, title, pixels in zip(self._cells, titles, self._pictures, strict=True):
            whole = Box(cell.x, cell.y - _TITLE, cell.width, cell.height + _TITLE)
            box = paint_title(pen, whole, *title)
            image.paste(stretched(pixels, (box.width, box.height)), (box.x, box.y))
        steps = list(range(1, shown.step + 1))
        curves = [Curve("loss", steps, shown.losses)]
        paint_plot(pen, self._plot, curves, x_label="step", logarithmic=True)

    def status(self, state: ViewState) -> list[str]:
        """Lines about the fit."""
        del state
        shown = self._shown
        if shown is None:
            return []
        loss = f"loss {shown.losses[-1]:.4f}" if shown.losses else "space: run"
        height, width = self._pictures[0].shape[:2]
        return [f"picture {1e3 * self._seconds:.0f} ms at {width} x {height}", loss]

    def _worker(self, state: ViewState) -> FitWorker:
        """Return the worker for the kind of fit that is chosen, started anew if it changed."""
        if self.worker is None or self._kind != state.fit:
            self.close()
            self._kind = state.fit
            self.worker = FitWorker(self.problems[state.fit])
        return self.worker

    def _goal(
        self, snapshot: FitSnapshot, crisp: ViewState, key: tuple[object, ...]
    ) -> NDArray[np.uint8]:
        """Draw the target at full size, once for each camera."""
        wanted = (snapshot.problem, key)
        if self._goal_key != wanted:
            self._goal_key = wanted
            # colours that were fitted have the light in them, so the target shows it too
            lit = snapshot.problem.lit or isinstance(snapshot.problem, PicturesFit)
            self._goal_pixels = draw(snapshot.problem.goal(), crisp, self.resolution.full, lit=lit)
        return self._goal_pixels

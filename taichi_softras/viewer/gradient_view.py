"""The gradient view: what a loss asks of vertices and pixels, soft and hard, and its landscape."""

import time
from dataclasses import astuple, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from taichi_softras.renderer import render
from taichi_softras.settings import RasterSettings
from taichi_softras.viewer.arrows import arrows
from taichi_softras.viewer.controls import Box
from taichi_softras.viewer.landscape import Landscape, loss_between, moved
from taichi_softras.viewer.painting import (
    heat,
    paint_arrows,
    paint_title,
    stretched,
)
from taichi_softras.viewer.picture import displayable, draw, hardened
from taichi_softras.viewer.plotting import Curve, paint_plot
from taichi_softras.viewer.resolution import ResolutionControl
from taichi_softras.viewer.scene import Scene, resized
from taichi_softras.viewer.state import ViewState

_LANDSCAPE_SIZE = (64, 80)
_LANDSCAPE_SECONDS = 0.02


@dataclass(frozen=True)
class Pull:
    """A loss and its gradients."""

    loss: float
    d_vertices: Tensor
    """dL/dvertex. [V, 3]"""
    d_pixels: NDArray[np.float32]
    """dL/dpixel, summed over channels. [H, W]"""
    starts: NDArray[np.float32]
    """Where arrows begin, as shares of the picture's width and height. [N, 2]"""
    ends: NDArray[np.float32]
    """Where they end: the way that -dL/dvertex leads. [N, 2]"""

    @property
    def norm(self) -> float:
        """Length of the whole vertex gradient."""
        return float(self.d_vertices.norm())


class GradientView:
    """Four cells: the mesh with arrows, the pixels' gradient, hard rasterization, the landscape.

    Args:
        scene: What to draw, and a silhouette to compare with.
        area: Where in the frame.
    """

    def __init__(self, scene: Scene, area: Box) -> None:
        self._mesh = displayable(scene.mesh)
        self._mask = scene.mask
        self._cells = _quarters(area)
        picture = self._cells[0]
        self.resolution = ResolutionControl((picture.height, picture.width))
        self.soft_curve, self.hard_curve = Landscape(), Landscape()
        self.soft: Pull | None = None
        self.hard: Pull | None = None
        self._pictures: list[NDArray[np.uint8]] = []
        self._drawn: tuple[object, ...] | None = None
        self._seconds = 0.0

    @property
    def resting(self) -> bool:
        """Whether nothing more is to be drawn until the state changes."""
        complete = self.soft_curve.complete and self.hard_curve.complete
        return self.resolution.refined and complete

    def update(self, state: ViewState, *, moving: bool, fixed: float) -> bool:
        """Compute gradients anew where anything changed, then a few samples of the landscape."""
        wanted = astuple(state)
        changed = wanted != self._drawn
        worked = self._sample(state)
        if not changed and (moving or self.resolution.refined):
            return worked
        size = self.resolution.size(moving=moving or changed)
        start = time.perf_counter()
        target = self.target(state, size)
        self.soft = self._pull(state, _settings(state), target)
        self.hard = self._pull(state, hardened(_settings(state)), target)
        crisp = replace(state, distance="hard", alpha="hard", color="hard")
        self._pictures = [draw(self._mesh, state, size), draw(self._mesh, crisp, size)]
        self._seconds = time.perf_counter() - start
        self.resolution.observe(self._seconds, fixed + _LANDSCAPE_SECONDS)
        self._drawn = wanted
        return True

    def target(self, state: ViewState, size: tuple[int, int]) -> Tensor:
        """Make what the mesh is held against: a silhouette [H, W], or colours [H, W, 3]."""
        if state.target == "file" and self._mask is not None:
            mask = resized(self._mask, size)
            return mask if state.loss == "silhouette" else mask[..., None].expand(-1, -1, 3)
        settings = hardened(_settings(state))
        mesh = self._mesh
        if state.target == "blurred":
            settings = replace(_settings(state), sigma=state.sigma * 10.0 ** (3 * state.amount))
        elif state.target == "shifted":
            mesh = moved(mesh, "shift", state.amount)
        elif state.target == "pose":
            mesh = moved(mesh, "turn", state.amount)
        with torch.no_grad():
            out = render(mesh, state.camera, size, settings=settings, light=state.light)
            if state.loss == "silhouette":
                return out.alpha[0]
            assert out.image is not None
            return (out.image * out.alpha[..., None])[0]

    def _pull(self, state: ViewState, settings: RasterSettings, target: Tensor) -> Pull:
        """Differentiate the loss by vertices and pixels."""
        vertices = self._mesh.vertices.detach().requires_grad_()
        mesh = self._mesh.replace(vertices=vertices)
        settings = _for_loss(settings, state.loss)
        loss, pixels = loss_between(state.loss, mesh, state.camera, settings, state.light, target)
        wanted = torch.autograd.grad(loss, [vertices, pixels], allow_unused=True)
        d_vertices, d_pixels = (
            torch.zeros_like(of) if d is None else d
            for of, d in zip((vertices, pixels), wanted, strict=True)
        )
        size = (target.shape[0], target.shape[1])
        starts, ends = arrows(mesh.detach(), d_vertices, state, size)
        flat = d_pixels[0].sum(dim=-1) if d_pixels.ndim == 4 else d_pixels[0]
        return Pull(float(loss.detach()), d_vertices, flat.numpy(), starts, ends)

    def _sample(self, state: ViewState) -> bool:
        """Go on with the landscape of the current state, and that of hard rasterization."""
        common = (state.azimuth, state.elevation, state.eye_distance, state.target, state.amount,
                  state.loss, state.freedom, state.depth_range, state.ambient)  # fmt: skip
        soft_key = (*common, state.sigma, state.gamma, state.dist_eps, state.distance, state.alpha)
        if state.target != "blurred":
            hard_key: tuple[Any, ...] = common
        else:
            hard_key = soft_key
        if self.soft_curve.complete and self.hard_curve.complete and self._drawn == astuple(state):
            return False
        target = self.target(state, _LANDSCAPE_SIZE)

        def sampler(settings: RasterSettings) -> Any:
            used = _for_loss(settings, state.loss)

            def sample(amount: float) -> float:
                mesh = moved(self._mesh, state.freedom, amount)
                with torch.no_grad():
                    loss, _ = loss_between(
                        state.loss, mesh, state.camera, used, state.light, target
                    )
                return float(loss)

            return sample

        soft = sampler(_settings(state))
        worked = self.soft_curve.advance(soft_key, soft, _LANDSCAPE_SECONDS)
        if not worked:
            hard = sampler(hardened(_settings(state)))
            worked = self.hard_curve.advance(hard_key, hard, _LANDSCAPE_SECONDS)
        else:
            self.hard_curve.invalidate(hard_key)
        return worked

    def paint(self, image: Image.Image, pen: ImageDraw.ImageDraw, state: ViewState) -> None:
        """Put the four cells into the frame."""
        if self.soft is None or self.hard is None:
            return
        titles = (
            (f"soft: -dL/dvertex, |g| = {self.soft.norm:.2g}", f"loss {self.soft.loss:.3f}"),
            ("soft: dL/dpixel", "red: less, blue: more"),
            (f"hard: -dL/dvertex, |g| = {self.hard.norm:.2g}", f"loss {self.hard.loss:.3f}"),
            ("loss along one freedom", f"target: {self._target_name(state)}"),
        )
        boxes = [
            paint_title(pen, Box(c.x, c.y - 28, c.width, c.height + 28), *title)
            for c, title in zip(self._cells, titles, strict=True)
        ]
        heat_map = heat(self.soft.d_pixels)
        for box, pixels in zip(
            boxes, (self._pictures[0], heat_map, self._pictures[1]), strict=False
        ):
            image.paste(stretched(pixels, (box.width, box.height)), (box.x, box.y))
        for box, pull in ((boxes[0], self.soft), (boxes[2], self.hard)):
            scale, shift = np.array([box.width, box.height]), np.array([box.x, box.y])
            paint_arrows(pen, pull.starts * scale + shift, pull.ends * scale + shift, "#d2185f")
        unit = {"turn": ("turn about y / degrees", 180.0), "shift": ("shift along x", 1.0),
                "size": ("doublings in size", 1.0)}[state.freedom]  # fmt: skip
        xs = [unit[1] * x for x in self.soft_curve.x]
        curves = [Curve(f"sigma {state.sigma:.0e}", xs, self.soft_curve.y)]
        curves.append(Curve("hard", xs, self.hard_curve.y))
        paint_plot(pen, boxes[3], curves, x_label=unit[0], mark=0.0)

    def status(self, state: ViewState) -> list[str]:
        """Lines about the last gradients."""
        del state
        height, width = self._pictures[0].shape[:2] if self._pictures else (0, 0)
        return [f"gradients {1e3 * self._seconds:.0f} ms at {width} x {height}"]

    def _target_name(self, state: ViewState) -> str:
        if state.target == "file" and self._mask is None:
            return "self (no --target given)"
        return {
            "pose": f"turned {180.0 * state.amount:.0f}°",
            "shifted": f"shifted {state.amount:.2f}",
            "blurred": f"sigma times {10.0 ** (3 * state.amount):.0f}",
            "file": "file",
        }[state.target]


def _settings(state: ViewState) -> RasterSettings:
    """Make room before the near plane for a mesh that is moved or twice as large."""
    settings = state.raster_settings
    return replace(settings, near=min(settings.near, max(state.eye_distance - 2.1, 0.02)))


def _for_loss(settings: RasterSettings, loss: str) -> RasterSettings:
    """Leave out colours where only the silhouette counts."""
    return replace(settings, color="none") if loss == "silhouette" else settings


def _quarters(area: Box) -> list[Box]:
    """Cut an area into four pictures, each with room for a title above."""
    title, gap = 28, 4
    width, height = area.width // 2, area.height // 2
    return [
        Box(area.x + x * width + gap, area.y + y * height + title, width - 2 * gap,
            height - title - gap)
        for y in range(2)
        for x in range(2)
    ]  # fmt: skip

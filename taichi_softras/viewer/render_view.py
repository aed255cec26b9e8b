"""The render view: one picture that follows the sliders."""

import time
from dataclasses import astuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from taichi_softras.mesh import Mesh
from taichi_softras.shading import shade
from taichi_softras.viewer.controls import Box
from taichi_softras.viewer.painting import stretched
from taichi_softras.viewer.picture import count_pairs, displayable, draw
from taichi_softras.viewer.resolution import ResolutionControl
from taichi_softras.viewer.scene import Scene
from taichi_softras.viewer.state import ViewState


class RenderView:
    """Draws the mesh with as many pixels as there is time for.

    Args:
        scene: What to draw.
        area: Where in the frame.
    """

    def __init__(self, scene: Scene, area: Box) -> None:
        self._scene, self._area = scene, area
        self.resolution = ResolutionControl((area.height, area.width))
        self._drawn: tuple[object, ...] | None = None
        self._compiled: set[tuple[object, ...]] = set()
        self._pixels: NDArray[np.uint8] = np.zeros((1, 1, 3), np.uint8)
        self._lit_by: tuple[float, ...] | None = None
        self._lit_mesh = scene.mesh
        self._seconds = 0.0

    def update(self, state: ViewState, *, moving: bool, fixed: float) -> bool:
        """Draw anew where that changes anything, and say whether it did.

        Args:
            state: What to draw.
            moving: A drag goes on, so being in time matters more than pixels.
            fixed: Seconds that a frame takes beside the rendering.
        """
        wanted = astuple(state)
        changed = wanted != self._drawn
        if not changed and (moving or self.resolution.refined):
            return False
        size = self.resolution.size(moving=moving or changed)
        variant = (state.distance, state.alpha, state.color, state.show == "silhouette")
        start = time.perf_counter()
        self._pixels = draw(self._lit(state), state, size, lit=False)
        self._seconds = time.perf_counter() - start
        if variant in self._compiled:  # the first time compiles, which says nothing of later ones
            self.resolution.observe(self._seconds, fixed)
        self._compiled.add(variant)
        self._drawn = wanted
        return True

    def _lit(self, state: ViewState) -> Mesh:
        """Light the mesh, once for each light: it stands still while the camera moves."""
        key = (state.light_azimuth, state.light_elevation, state.ambient)
        if self._lit_by != key:
            self._lit_by = key
            self._lit_mesh = shade(displayable(self._scene.mesh), state.light)
        return self._lit_mesh

    @property
    def resting(self) -> bool:
        """Whether nothing more is to be drawn until the state changes."""
        return self.resolution.refined

    def paint(self, image: Image.Image, pen: ImageDraw.ImageDraw, state: ViewState) -> None:
        """Put the picture into the frame."""
        del pen, state
        x, y, width, height = self._area
        image.paste(stretched(self._pixels, (width, height)), (x, y))

    def status(self, state: ViewState) -> list[str]:
        """Lines about the last picture."""
        height, width = self._pixels.shape[:2]
        pairs = ""
        if self.resolution.refined:  # no time to count them while something moves
            settings = state.raster_settings
            count = count_pairs(self._scene.mesh, state.camera, (height, width), settings)
            pairs = f", {count / 1e6:.2f} M pairs"
        return [
            f"render {1e3 * self._seconds:.0f} ms at {width} x {height}",
            f"{self._scene.mesh.n_faces} faces{pairs}",
        ]

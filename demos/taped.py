"""What the demos of the tape share: shapes, eyes and pictures, in NumPy and without torch."""

import math
from pathlib import Path

import numpy as np
import taichi as ti


def sphere(rows: int = 12, columns: int = 18) -> tuple[np.ndarray, np.ndarray]:
    """Build a unit sphere of meridians and parallels: vertices [V, 3] and outward faces [F, 3]."""
    polar = np.pi * np.arange(1, rows) / rows
    around = 2.0 * np.pi * np.arange(columns) / columns
    ring = np.stack([np.sin(around), np.zeros(columns), np.cos(around)], 1)
    points = np.sin(polar)[:, None, None] * ring + np.cos(polar)[:, None, None] * [0.0, 1.0, 0.0]
    vertices = np.concatenate([[[0.0, 1.0, 0.0]], points.reshape(-1, 3), [[0.0, -1.0, 0.0]]])
    last, faces = len(vertices) - 1, []
    for j in range(columns):
        k = (j + 1) % columns
        faces += [(0, 1 + j, 1 + k), (last, last - columns + k, last - columns + j)]
        for i in range(rows - 2):
            a, b = 1 + i * columns, 1 + (i + 1) * columns
            faces += [(a + j, b + j, b + k), (a + j, b + k, a + k)]
    return vertices.astype(np.float32), np.array(faces, np.int32)


def edges_of(faces: np.ndarray) -> np.ndarray:
    """List each edge once. [F, 3] -> [E, 2]."""
    pairs = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    return np.unique(pairs, axis=0).astype(np.int32)


def orbit(distance: float, elevation: float, azimuth: float) -> tuple[float, float, float]:
    """Eye on a sphere round the origin, as `Camera.orbit`; degrees."""
    e, a = math.radians(elevation), math.radians(azimuth)
    return (
        distance * math.cos(e) * math.sin(a),
        distance * math.sin(e),
        distance * math.cos(e) * math.cos(a),
    )


def row_of(pictures: np.ndarray, scale: int = 2) -> np.ndarray:
    """Lay pictures side by side and enlarge them. [N, H, W] or [N, H, W, 3] -> [h, w, 3] uint8."""
    rgb = np.repeat(pictures[..., None], 3, -1) if pictures.ndim == 3 else pictures
    strip = np.concatenate(list(rgb), axis=1).repeat(scale, 0).repeat(scale, 1)
    return (255.0 * strip.clip(0.0, 1.0)).astype(np.uint8)


class Screen:
    """Shows pictures in a window, or keeps them for a GIF."""

    def __init__(self, title: str, path: Path, show: bool) -> None:
        self._title, self._path, self._show = title, path, show
        self._window: ti.GUI | None = None
        self._pictures: list[np.ndarray] = []

    def draw(self, picture: np.ndarray) -> None:
        """Take one picture. [H, W, 3] uint8"""
        if not self._show:
            self._pictures.append(picture)
            return
        columns_first = np.ascontiguousarray(picture[::-1].swapaxes(0, 1))
        if self._window is None:
            self._window = ti.GUI(self._title, res=columns_first.shape[:2])
        if self._window.running:
            self._window.set_image(columns_first.astype(np.float32) / 255.0)
            self._window.show()

    def close(self, *, seconds_a_picture: float = 0.1) -> None:
        """Write the GIF, or keep the window until it is closed."""
        if self._show:
            while self._window is not None and self._window.running:
                self._window.show()
            return
        import imageio

        self._path.parent.mkdir(parents=True, exist_ok=True)
        last = [self._pictures[-1]] * 20  # stay on the result for a while
        pictures = [*self._pictures, *last]
        imageio.mimsave(self._path, pictures, duration=1000.0 * seconds_a_picture, loop=0)

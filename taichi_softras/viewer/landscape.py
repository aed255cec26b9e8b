"""The loss along one degree of freedom: what softness does to the way down."""

import time
from collections.abc import Callable
from typing import Any

from torch import Tensor

from taichi_softras import losses
from taichi_softras.camera import Camera
from taichi_softras.mesh import Mesh
from taichi_softras.renderer import render
from taichi_softras.settings import RasterSettings
from taichi_softras.shading import Light
from taichi_softras.transforms import rotation_from_axis_angle


def moved(mesh: Mesh, freedom: str, amount: float) -> Mesh:
    """Turn about y by `amount` half turns, shift along x by world units, or double in size.

    Args:
        mesh: V vertices, one set.
        freedom: "turn", "shift" or "size".
        amount: In -1..1; 0 leaves the mesh as it is.
    """
    if amount == 0.0:
        return mesh
    vertices = mesh.vertices
    if freedom == "turn":
        rotation = rotation_from_axis_angle([0.0, 1.0, 0.0], 180.0 * amount).to(vertices)
        return mesh.replace(vertices=vertices @ rotation.mT)
    if freedom == "shift":
        return mesh.replace(vertices=vertices + vertices.new_tensor([amount, 0.0, 0.0]))
    return mesh.replace(vertices=vertices * 2.0**amount)


def loss_between(
    kind: str, mesh: Mesh, camera: Camera, settings: RasterSettings, light: Light, target: Tensor
) -> tuple[Tensor, Tensor]:
    """Render and compare.

    Args:
        kind: "silhouette" for 1 - IoU, or "color" for the mean absolute difference.
        mesh: Three colour channels or none.
        camera: One view.
        settings: How soft.
        light: Shines on the mesh, for "color".
        target: Silhouette [H, W], or colours over black [H, W, 3].

    Returns:
        The loss, and the pixels it was made from: [1, H, W] or [1, H, W, 3].
    """
    size = (target.shape[0], target.shape[1])
    if kind == "silhouette":
        pixels = render(mesh, camera, size, settings=settings).alpha
        return losses.silhouette_iou(pixels, target[None]), pixels
    out = render(mesh, camera, size, settings=settings, light=light)
    assert out.image is not None
    pixels = out.image * out.alpha[..., None]
    return losses.photometric(pixels, target[None]), pixels


class Landscape:
    """Samples of a curve, computed a few at a time, coarse to fine.

    Args:
        count: Number of samples over -1..1; odd, so that one is at 0.
    """

    def __init__(self, count: int = 33) -> None:
        self.x = [2.0 * i / (count - 1) - 1.0 for i in range(count)]
        self.y = [float("nan")] * count
        self.key: Any = None
        """What the curve depends on."""
        self._stale: list[int] = []
        self._order = _coarse_to_fine(count)

    @property
    def complete(self) -> bool:
        """Whether all samples belong to the last key."""
        return self.key is not None and not self._stale

    def invalidate(self, key: object) -> None:
        """Mark all samples as stale if they belong to another key; they stay to be seen."""
        if key != self.key:
            self.key, self._stale = key, list(self._order)

    def advance(self, key: object, sample: Callable[[float], float], seconds: float) -> bool:
        """Compute samples for some time, at least one if any is stale; say whether any was.

        Args:
            key: What the curve depends on; samples of another key are computed again.
            sample: The curve.
            seconds: For how long.
        """
        self.invalidate(key)
        end = time.perf_counter() + seconds
        worked = False
        while self._stale and (not worked or time.perf_counter() < end):
            i = self._stale.pop(0)
            self.y[i] = sample(self.x[i])
            worked = True
        return worked


def _coarse_to_fine(count: int) -> list[int]:
    """Order 0 .. count - 1 so that any beginning is spread out."""
    order: list[int] = []
    stride = 1 << max(count - 2, 0).bit_length()
    while stride:
        order += [i for i in range(0, count, stride) if i not in order]
        stride //= 2
    return order

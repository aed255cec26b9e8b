"""What is looked at: a mesh in the unit sphere, by name or from a file."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from taichi_softras import shapes
from taichi_softras.errors import ArgumentError
from taichi_softras.io import load_image
from taichi_softras.mesh import Mesh
from taichi_softras.scenes import open_mesh

DEFAULT = "duck"
# As `softras render` knows them, but for a duck with a quarter of the faces, to move at once.
_LIVELY: dict[str, Callable[[], Mesh]] = {"duck": lambda: shapes.duck(4)}


@dataclass(frozen=True, eq=False)
class Scene:
    """A mesh, how Python calls it, and what it may be held against."""

    mesh: Mesh
    """In the unit sphere; one set of vertices."""
    python: str
    """The expression that makes it, of `tsr` or of `scenes.open_mesh`."""
    mask: Tensor | None = None
    """A silhouette to compare with, 1 inside. [H, W]"""


def open_scene(name: str = DEFAULT, target: Path | None = None) -> Scene:
    """Open a mesh by its built-in name or its path.

    Args:
        name: A shape of `scenes.SHAPES`, or a file.
        target: Picture of a silhouette: its alpha, or else its brightness, is 1 inside.

    Raises:
        SoftRasError: The mesh or the picture cannot be read.
    """
    mask = None if target is None else silhouette_of(load_image(target))
    if name in _LIVELY and not Path(name).is_file():
        return Scene(_LIVELY[name]().normalized(), "tsr.shapes.duck(4).normalized()", mask)
    mesh = open_mesh(name)
    if mesh.n_faces == 0:
        raise ArgumentError(f"`{name}` has no faces, so there is nothing to look at.")
    return Scene(mesh.normalized(), f"open_mesh({name!r}).normalized()", mask)


def silhouette_of(image: Tensor) -> Tensor:
    """Take alpha, or the brightness of pictures without it. [H, W, C] -> [H, W]."""
    return image[..., 3] if image.shape[-1] == 4 else image.mean(dim=-1)


def resized(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Fit a silhouette into an image, centred and undistorted. [H, W] -> [*size]."""
    height, width = size
    scale = min(height / mask.shape[0], width / mask.shape[1])
    inner = max(1, round(mask.shape[0] * scale)), max(1, round(mask.shape[1] * scale))
    small = torch.nn.functional.interpolate(
        mask[None, None].float(), inner, mode="bilinear", antialias=True, align_corners=False
    )[0, 0].clamp(0.0, 1.0)
    placed = torch.zeros(size)
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    placed[top : top + inner[0], left : left + inner[1]] = small
    return placed

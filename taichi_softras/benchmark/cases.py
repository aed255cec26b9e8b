"""What is timed: a sphere, seen by some views, forward and back to its vertices."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from taichi_softras import shapes
from taichi_softras.camera import Camera
from taichi_softras.mesh import Mesh
from taichi_softras.settings import RasterSettings

Suite = Literal["quick", "standard", "full"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """An icosphere in some views."""

    level: int = 3
    """Subdivisions of the icosahedron: 20 * 4**level faces."""
    size: int = 256
    """Side of the image in pixels."""
    views: int = 1
    sigma: float = 1e-4
    color: Literal["none", "softmax"] = "none"
    """Silhouette only, or three colour channels, depth and alpha."""

    @property
    def faces(self) -> int:
        """Faces of a view."""
        return 20 << (2 * self.level)

    @property
    def name(self) -> str:
        """Say what is special about it."""
        what = "silhouette" if self.color == "none" else "RGB + alpha"
        return f"{what}, {self.views} x {self.size}², {self.faces} faces, sigma {self.sigma:g}"

    @property
    def settings(self) -> RasterSettings:
        """What `rasterize` is told."""
        return RasterSettings(sigma=self.sigma, color=self.color)

    @cached_property
    def mesh(self) -> Mesh:
        """The sphere."""
        return shapes.icosphere(self.level)

    @cached_property
    def vertices_ndc(self) -> Tensor:
        """Projected vertices. [B, V, 3]"""
        turns = torch.arange(self.views) / self.views
        camera = Camera.orbit(2.7, 20.0 + 20.0 * turns, 30.0 + 360.0 * turns)
        points = camera.view_from_points(self.mesh.vertices)
        return camera.ndc_from_view(points, (self.size, self.size)).contiguous()

    @cached_property
    def colors(self) -> Tensor | None:
        """Corner colours, shared by all views. [F, 3, 3]"""
        if self.color == "none":
            return None
        return torch.rand(self.faces, 3, 3, generator=torch.Generator().manual_seed(0))

    @cached_property
    def upstream(self) -> Tensor:
        """Gradient of alpha, and of every channel. [B, H, W]"""
        shape = (self.views, self.size, self.size)
        return torch.rand(shape, generator=torch.Generator().manual_seed(1)) - 0.5


def small(case: Case) -> Case:
    """Return a case of the same kind that the dense reference can render."""
    return replace(case, level=1, size=28, views=min(case.views, 2))


SUITES: dict[Suite, tuple[Case, ...]] = {
    "quick": (Case(), Case(color="softmax"), Case(size=64)),
    "standard": (
        *(Case(level=level, sigma=sigma) for sigma in (1e-5, 1e-4) for level in (3, 4)),
        *(Case(level=level, color="softmax") for level in (3, 4)),
        *(Case(size=64, views=views) for views in (1, 8)),
        *(Case(level=4, size=size) for size in (64, 128)),
    ),
    "full": (
        *(Case(level=level, sigma=s) for s in (1e-5, 1e-4) for level in (2, 3, 4, 5, 6)),
        *(Case(level=level, color="softmax") for level in (2, 3, 4, 5, 6)),
        *(Case(size=size, color=c) for c in ("none", "softmax") for size in (64, 128, 512, 1024)),
        *(Case(level=4, size=size) for size in (64, 128)),
        *(Case(size=64, views=views) for views in (1, 2, 4, 8, 16)),
        *(Case(sigma=s, color=c) for c in ("none", "softmax") for s in (1e-6, 1e-3, 1e-2)),
        Case(size=128, views=64),
        Case(level=8, size=1024),
    ),
}
"""Cases by the length of the run; the last two of "full" are about scale."""

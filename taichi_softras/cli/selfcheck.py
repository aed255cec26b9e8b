"""A tiny render and its gradients, against the dense reference."""

from typing import NamedTuple

import torch
from torch import Tensor

from taichi_softras import reference, shapes
from taichi_softras.camera import Camera
from taichi_softras.settings import RasterSettings
from taichi_softras.torch_bridge import rasterize

_SIZE = (20, 28)  # straddles tiles both ways
# Largest difference of a picture, and of a gradient relative to its largest entry.
_LIMITS = {torch.float32: (2e-5, 1e-3), torch.float64: (1e-9, 1e-7)}


class Check(NamedTuple):
    """One comparison with the reference."""

    name: str
    error: float
    """NaN where it could not be made."""
    limit: float
    note: str = ""
    """Why it could not be made."""

    @property
    def passed(self) -> bool:
        """Is the error within the limit?"""
        return self.error <= self.limit


def run() -> list[Check]:
    """Compare picture and gradients in both precisions; whatever goes wrong is a failed check."""
    checks: list[Check] = []
    for dtype, (picture_limit, gradient_limit) in _LIMITS.items():
        precision = str(dtype).removeprefix("torch.")
        try:
            picture, gradient = _errors(dtype)
        except Exception as error:  # a report must come even from a machine in pieces
            reason = f"{type(error).__name__}: {error}"
            checks.append(Check(f"{precision} render", float("nan"), picture_limit, reason))
            continue
        checks.append(Check(f"{precision} picture", picture, picture_limit))
        checks.append(Check(f"{precision} gradient", gradient, gradient_limit))
    return checks


def _errors(dtype: torch.dtype) -> tuple[float, float]:
    """Return the largest errors of picture and gradient."""
    settings = RasterSettings(sigma=1e-3, gamma=1e-2)
    mesh = shapes.icosphere(1)
    camera = Camera.orbit(2.7, 20.0, 30.0)
    corners = camera.ndc_from_view(camera.view_from_points(mesh.vertices), _SIZE)[:, mesh.faces]
    generator = torch.Generator().manual_seed(0)
    colors = torch.rand(mesh.n_faces, 3, 3, generator=generator)
    target = torch.rand(*_SIZE, 3, generator=generator)
    results = []
    for draw in (rasterize, reference.rasterize):
        leaves = [x.to(dtype).clone().requires_grad_() for x in (corners, colors)]
        out = draw(leaves[0], leaves[1], size=_SIZE, settings=settings)
        assert out.image is not None
        loss = (out.image - target).square().sum() + (out.alpha - target[..., 0]).square().sum()
        picture = torch.cat([out.image.detach(), out.alpha.detach()[..., None]], dim=-1)
        results.append((picture, *torch.autograd.grad(loss, leaves)))
    ours, wanted = results
    gradients = zip(ours[1:], wanted[1:], strict=True)
    return _largest(ours[0] - wanted[0]), max(_largest(a - b) / _largest(b) for a, b in gradients)


def _largest(values: Tensor) -> float:
    return float(values.abs().max())

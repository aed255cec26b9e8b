"""A tiny render and its gradients, against the dense reference."""

from typing import NamedTuple

import torch
from torch import Tensor

from taichi_softras import reference, shapes
from taichi_softras.camera import Camera
from taichi_softras.errors import BackendError
from taichi_softras.settings import RasterSettings
from taichi_softras.torch_bridge import rasterize

_SIZE = (20, 28)  # straddles tiles both ways
# Largest difference of a picture, and of a gradient relative to its largest entry.
_LIMITS = {torch.float32: (2e-5, 1e-3), torch.float64: (1e-9, 1e-7)}


class Check(NamedTuple):
    """One comparison with the reference."""

    name: str
    error: float | None
    """None where it could not be made."""
    limit: float
    note: str = ""
    """Why it could not be made."""
    optional: bool = False
    """Is it no fault if it could not be made?"""

    @property
    def passed(self) -> bool:
        """Is the error within the limit, or is there none to be had?"""
        return self.optional if self.error is None else self.error <= self.limit


def run(device: str = "cpu") -> list[Check]:
    """Compare picture and gradients in both precisions; whatever goes wrong is a failed check.

    Args:
        device: Where the tensors are.
    """
    checks: list[Check] = []
    for dtype, (picture_limit, gradient_limit) in _LIMITS.items():
        precision = str(dtype).removeprefix("torch.")
        try:
            picture, gradient = _errors(dtype, device)
        except Exception as error:  # a report must come even from a machine in pieces
            missing = isinstance(error, BackendError) and "needs float64" in str(error)
            reason = "not on this backend" if missing else f"{type(error).__name__}: {error}"
            checks.append(Check(f"{precision} render", None, picture_limit, reason, missing))
            continue
        checks.append(Check(f"{precision} picture", picture, picture_limit))
        checks.append(Check(f"{precision} gradient", gradient, gradient_limit))
    return checks


def _errors(dtype: torch.dtype, device: str) -> tuple[float, float]:
    """Return the largest errors of picture and gradient."""
    settings = RasterSettings(sigma=1e-3, gamma=1e-2)
    mesh = shapes.icosphere(1)
    camera = Camera.orbit(2.7, 20.0, 30.0)
    corners = camera.ndc_from_view(camera.view_from_points(mesh.vertices), _SIZE)[:, mesh.faces]
    generator = torch.Generator().manual_seed(0)
    colors = torch.rand(mesh.n_faces, 3, 3, generator=generator)
    target = torch.rand(*_SIZE, 3, generator=generator)
    results = []
    for draw, place in ((rasterize, device), (reference.rasterize, "cpu")):
        leaves = [x.to(place, dtype).clone().requires_grad_() for x in (corners, colors)]
        out = draw(leaves[0], leaves[1], size=_SIZE, settings=settings)
        assert out.image is not None
        image, alpha = out.image.cpu(), out.alpha.cpu()
        loss = (image - target).square().sum() + (alpha - target[..., 0]).square().sum()
        picture = torch.cat([image.detach(), alpha.detach()[..., None]], dim=-1)
        gradients = (g.cpu() for g in torch.autograd.grad(loss, leaves))
        results.append((picture, *gradients))
    ours, wanted = results
    pairs = zip(ours[1:], wanted[1:], strict=True)
    return _largest(ours[0] - wanted[0]), max(_largest(a - b) / _largest(b) for a, b in pairs)


def _largest(values: Tensor) -> float:
    return float(values.abs().max())

"""Is what is about to be timed right? Nothing is reported otherwise."""

import torch

from taichi_softras import reference
from taichi_softras.benchmark.cases import Case, small
from taichi_softras.benchmark.contenders import ours
from taichi_softras.errors import SoftRasError
from taichi_softras.torch_bridge import rasterize

PICTURE_LIMIT, GRADIENT_LIMIT = 2e-5, 1e-3
"""Largest error of a picture, and of the gradient relative to its norm, in float32."""


class ParityError(SoftRasError):
    """The kernels do not agree with the reference."""


def check(case: Case) -> float:
    """Compare a small case of the same kind with the reference.

    Returns:
        The largest error, as a share of what is allowed.

    Raises:
        ParityError: It is above 1.
    """
    case = small(case)
    vertices = case.vertices_ndc.double().requires_grad_()
    corners = case.mesh.at_corners(vertices)
    colors = None if case.colors is None else case.colors.double()
    wanted = reference.rasterize(corners, colors, size=case.size, settings=case.settings)
    got = rasterize(
        case.mesh.at_corners(case.vertices_ndc),
        case.colors,
        size=case.size,
        settings=case.settings,
    )
    loss = (wanted.alpha * case.upstream).sum()
    errors = [_largest(got.alpha, wanted.alpha) / PICTURE_LIMIT]
    if wanted.image is not None and got.image is not None:
        loss = loss + (wanted.image * case.upstream[..., None]).sum()
        errors.append(_largest(got.image, wanted.image) / PICTURE_LIMIT)
    gradient = torch.autograd.grad(loss, vertices)[0]
    difference = float((ours(case)() - gradient).norm() / gradient.norm())
    share = max(*errors, difference / GRADIENT_LIMIT)
    if not share <= 1.0:
        raise ParityError(
            f"{case.name}: the kernels differ from the reference by {share:.3g} times what is "
            "allowed, so there is nothing to time; `softras doctor` tells more."
        )
    return share


def _largest(got: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((got - wanted).detach().abs().max())

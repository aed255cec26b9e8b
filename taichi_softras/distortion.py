"""Lens distortion as OpenCV has it: where it bends a ray, and how far its formula can be trusted.

The formula is that of OpenCV's camera calibration ("Detailed Description" of the calib3d module),
without its thin prism and tilt terms. With x and y the ray's x/z and y/z, r² = x² + y² and the
coefficients in OpenCV's order k1, k2, p1, p2, k3, k4, k5, k6:

    f = (1 + k1 r² + k2 r⁴ + k3 r⁶) / (1 + k4 r² + k5 r⁴ + k6 r⁶)
    x' = x f + 2 p1 x y + p2 (r² + 2 x²)
    y' = y f + p1 (r² + 2 y²) + 2 p2 x y

Such polynomials turn back: far from the axis a ray would land in the image again. So they are
followed up to `trusted_radius` only, and beyond it the picture goes on in proportion.
"""

import math

import torch
from torch import Tensor

from taichi_softras.errors import ShapeError

COEFFICIENTS = 8
"""Length of a row of coefficients; OpenCV's shorter ones are filled up with zeros."""

# No lens is described by these formulas so far from its axis, and float32 would overflow soon.
_LARGEST_ANGLE = math.radians(89.0)
# Least denominator of f: beyond it there is a pole.
_LEAST_DENOMINATOR = 1e-2
_SAMPLES, _LEVELS = 256, 3


def pad_coefficients(name: str, coefficients: Tensor) -> Tensor:
    """Fill OpenCV's vectors of 4, 5 or 8 coefficients up to 8. [..., N] -> [..., 8]."""
    count = coefficients.shape[-1] if coefficients.ndim else 0
    if count not in (4, 5, COEFFICIENTS):
        raise ShapeError(
            f"`{name}` must have OpenCV's 4, 5 or 8 coefficients (k1, k2, p1, p2, k3, k4, k5, k6) "
            f"in its last axis, got shape {list(coefficients.shape)}."
        )
    return torch.nn.functional.pad(coefficients, (0, COEFFICIENTS - count))


def distort(rays: Tensor, coefficients: Tensor) -> Tensor:
    """Bend rays; differentiable in both arguments.

    Beyond the radius R = `trusted_radius` a ray at r goes to r / R times where the one at R in its
    direction goes: the map stays continuous, and moves outward along every ray.

    Args:
        rays: x/z and y/z in view axes, x right, y down. [B, ..., 2]
        coefficients: k1, k2, p1, p2, k3, k4, k5, k6. [B, 8]

    Returns:
        x' and y'. [B, ..., 2]
    """
    spread = (-1,) + (1,) * (rays.ndim - 1)
    limit = trusted_radius(coefficients).reshape(spread)
    # The largest entry is taken out first, so that no square of a far ray overflows.
    size = rays.detach().abs().amax(-1, keepdim=True).clamp(min=1.0)
    radius = size * (rays / size).square().sum(-1, keepdim=True).clamp(min=1e-12).sqrt()
    shrink = limit / torch.maximum(radius, limit)
    x, y = (rays * shrink).unbind(-1)
    k1, k2, p1, p2, k3, k4, k5, k6 = (c.reshape(spread[:-1]) for c in coefficients.unbind(-1))
    r2 = x * x + y * y
    factor = (1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1.0 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    aside = 2.0 * (p2 * x + p1 * y)
    bent = torch.stack([x * (factor + aside) + p2 * r2, y * (factor + aside) + p1 * r2], -1)
    return bent / shrink


def trusted_radius(coefficients: Tensor) -> Tensor:
    """Radius r = tan(angle to the axis) up to which rays land farther out the larger r is.

    That is where r f(r) - 3 |p| r², the distance from the centre in the direction where the
    tangential terms pull inward most, stops to grow; or where f comes close to a pole; or at 89
    degrees from the axis.

    Args:
        coefficients: k1, k2, p1, p2, k3, k4, k5, k6. [B, 8]

    Returns:
        Differentiable by the implicit function theorem. [B]
    """
    # A clipped mesh has one row a face, nearly all of them equal.
    known, row = torch.unique(coefficients.detach().double(), dim=0, return_inverse=True)
    radius, which = (found[row] for found in _first_broken(_conditions(known)))
    conditions = _conditions(coefficients)
    chosen = conditions.gather(1, which.expand(-1, 1, conditions.shape[-1]))
    step = _newton_step(chosen, radius)
    return radius.to(step) - step


def _first_broken(conditions: Tensor) -> tuple[Tensor, Tensor]:
    """Least root of any condition, and whose it is. [B, 2, 14] -> [B], [B, 1, 1]."""
    low = conditions.new_zeros(len(conditions))
    high = torch.full_like(low, math.tan(_LARGEST_ANGLE))
    steps = torch.linspace(0.0, 1.0, _SAMPLES, dtype=low.dtype, device=low.device)
    for _ in range(_LEVELS):
        # Even in the angle, not in its tangent.
        samples = torch.lerp(low.atan()[:, None], high.atan()[:, None], steps).tan()  # [B, S]
        broken = (_evaluate(conditions, samples) <= 0.0).any(1)
        broken[:, -1] = True
        first = broken.to(torch.uint8).argmax(1, keepdim=True).clamp(min=1)
        low, high = samples.gather(1, first - 1)[:, 0], samples.gather(1, first)[:, 0]
    which = _evaluate(conditions, high[:, None]).argmin(1, keepdim=True)
    chosen = conditions.gather(1, which.expand(-1, 1, conditions.shape[-1]))
    return high - _newton_step(chosen, high), which


def _newton_step(polynomial: Tensor, r: Tensor) -> Tensor:
    """Newton's step to a root close by, with the root's gradient; 0 where none is close.

    Where `r` is the root already, subtracting the step only gives it that gradient.
    [B, 1, P], [B] -> [B].
    """
    powers = torch.arange(1, polynomial.shape[-1], device=r.device)
    slope = _evaluate(polynomial.detach().double()[..., 1:] * powers, r[:, None]).flatten()
    step = _evaluate(polynomial, r[:, None]).flatten() / torch.where(slope < 0.0, slope, 1.0)
    is_root = (slope < 0.0) & (step.detach().abs() < 1e-3 * r)
    return torch.where(is_root, step, torch.zeros_like(step)).to(polynomial)


def _conditions(coefficients: Tensor) -> Tensor:
    """Polynomials in r, lowest power first, that are positive where the lens is trusted.

    The first is the derivative of r f - 3 |p| r², times the square of f's denominator; the second
    is that denominator less the least one allowed. [B, 8] -> [B, 2, 14].
    """
    k1, k2, _, _, k3, k4, k5, k6 = coefficients.unbind(-1)
    one = torch.ones_like(k1)
    over, under = torch.stack([one, k1, k2, k3], -1), torch.stack([one, k4, k5, k6], -1)
    pull = 6.0 * torch.linalg.vector_norm(coefficients[:, 2:4], dim=-1)
    i = torch.arange(4, device=one.device)
    power = (i[:, None] + i).flatten()
    weight = 1.0 + 2.0 * (i[:, None] - i).to(one)
    even = one.new_zeros((len(one), 7))
    even, odd = (
        even.index_add(1, power, terms.flatten(1))
        for terms in (
            weight * over[:, :, None] * under[:, None, :],
            -pull[:, None, None] * under[:, :, None] * under[:, None, :],
        )
    )
    growth = torch.stack([even, odd], -1).flatten(1)
    least = under.new_tensor([_LEAST_DENOMINATOR, 0.0, 0.0, 0.0])
    pole = torch.stack([under - least, torch.zeros_like(under)], -1).flatten(1)
    return torch.stack([growth, torch.nn.functional.pad(pole, (0, 6))], 1)


def _evaluate(polynomials: Tensor, r: Tensor) -> Tensor:
    """Values of N polynomials at S places. [B, N, P], [B, S] -> [B, N, S]."""
    powers = torch.arange(polynomials.shape[-1], device=r.device)
    return polynomials.to(r) @ (r[:, None] ** powers[:, None])

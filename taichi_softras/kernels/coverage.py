"""How much a face covers a pixel, D = sigmoid(x), and the silhouette alpha; with adjoints."""

import taichi as ti

from taichi_softras.kernels.types import both, lesser


@ti.func
def logistic(inside, e):
    """Split D = sigmoid(x) so that nothing cancels, with e = exp(-|x|) and x >= 0 inside.

    Returns:
        coverage: D.
        gap: 1 - D, right also where D rounds to 1.
        scale: D = exp(min(x, 0)) * scale, scale in [1/2, 1].
    """
    scale = 1.0 / (1.0 + e)
    tail = e * scale
    return ti.select(inside, scale, tail), ti.select(inside, tail, scale), scale


@ti.func
def smallest_weight(w0, w1, w2):
    """Barycentric metric: d = min_k w_k, positive inside."""
    return lesser(w0, lesser(w1, w2))


@ti.func
def smallest_weight_adjoint(w0, w1, w2, d_d):
    """Give the gradient of the smallest coordinate to the first that attains it."""
    first = both(w0 <= w1, w0 <= w2)
    rest = ti.select(first, 0.0, d_d)
    d_w1 = ti.select(w1 <= w2, rest, 0.0)
    return d_d - rest, d_w1, rest - d_w1


@ti.func
def union_adjoint(coverage, d_alpha_clear):
    """dL/dx of alpha = 1 - prod(1 - D), from dL/d(alpha) times that product: no division."""
    return d_alpha_clear * coverage


@ti.func
def sum_adjoint(coverage, gap, d_alpha):
    """dL/dx of alpha = sum(D)."""
    return d_alpha * coverage * gap

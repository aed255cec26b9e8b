"""One face at one pixel: the mathematics that every driver shares, forward and adjoint.

`fragment_functions` closes the choices that change code over the scalar functions of `triangle`,
`coverage` and `blending`. Drivers only loop. Symbols are those of docs/gradients.md.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import taichi as ti

from taichi_softras.kernels import coverage, triangle
from taichi_softras.kernels.types import exp_negative


@dataclass(frozen=True, kw_only=True)
class Variant:
    """Everything that changes the compiled code of a rasterizer; the cache key of its kernels."""

    dtype: Any
    channels: int
    distance: str
    alpha: str
    color: str
    clip: str
    perspective: bool
    linear_depth: bool

    @property
    def position_dtype(self) -> Any:
        """Precision of pixel centres and edge functions.

        Barycentric coverage is exp(-w^2 / sigma) with w near 0 and sigma as small as 1e-6:
        float32's rounding of w, some 1e-7 over the triangle's height, would show in the image.
        """
        return ti.f64 if self.distance == "barycentric" else self.dtype

    @property
    def slot_width(self) -> int:
        """Numbers in one gradient slot: x, y of three corners, then depths, then attributes."""
        return 6 if self.color == "none" else 9 + 3 * self.channels


class FragmentFunctions(NamedTuple):
    """The functions of one variant."""

    locate: Any
    cover: Any
    read_at: Any
    locate_adjoint: Any


@cache
def fragment_functions(variant: Variant) -> FragmentFunctions:
    """Return the fragment functions of `variant`."""
    exp_neg = exp_negative(variant.dtype)
    dtype, distance, clip = variant.dtype, variant.distance, variant.clip

    # Eight roundings of the precision; a power of two, because literals are float32.
    rounding = 2.0**-20 if dtype == ti.f32 else 2.0**-49

    @ti.func
    def locate(p_exact, face):
        """Place a pixel, whose centre comes in `variant.position_dtype`, relative to the face.

        Returns:
            w0, w1, w2: barycentric coordinates; inside: all of them >= 0.
            edge, t, n_x, n_y: nearest boundary point and the vector from it to p.
            measure: squared distance in the variant's metric.
        """
        exact = variant.position_dtype
        v0, v1, v2 = triangle.barycentric(
            p_exact,
            ti.cast(face.p0, exact),
            ti.cast(face.p1, exact),
            ti.cast(face.p2, exact),
            face.inverse_area2,
        )
        w0, w1, w2 = ti.cast(v0, dtype), ti.cast(v1, dtype), ti.cast(v2, dtype)
        p = ti.cast(p_exact, dtype)
        d = coverage.smallest_weight(w0, w1, w2)
        handicap = ti.cast(1.0, dtype)
        if ti.static(variant.color != "none"):
            handicap += ti.cast(rounding, dtype)
        edge, t, n_x, n_y, measure = triangle.nearest_on_boundary(
            p, face.p0, face.p1, face.p2, face.inverse_length2, handicap
        )
        if ti.static(distance == "barycentric"):
            measure = d * d
        return w0, w1, w2, d >= 0.0, edge, t, n_x, n_y, measure

    @ti.func
    def cover(inside, measure, inverse_sigma, reach2):
        """Whether the face counts here, x with D = sigmoid(x), D, 1 - D and D / exp(min(x, 0))."""
        zero, one = ti.cast(0.0, dtype), ti.cast(1.0, dtype)
        kept = inside
        x, full, gap, scale = zero, one, zero, one
        if ti.static(distance != "hard"):
            kept = inside | (measure < reach2)
            x = ti.select(inside, measure, -measure) * inverse_sigma
            full, gap, scale = coverage.logistic(x, exp_neg(ti.abs(x)))
        return kept, x, full, gap, scale

    @ti.func
    def read_at(w0, w1, w2, inside, edge, t):
        """Barycentric coordinates where attributes are read, and 1 / sum of the clamped ones."""
        a0, a1, a2 = triangle.boundary_weights(edge, t)
        inverse_sum = t
        if ti.static(clip == "clamp" and distance != "hard"):
            a0, a1, a2, inverse_sum = triangle.clamp_weights(w0, w1, w2)
        else:
            a0 = ti.select(inside, w0, a0)
            a1 = ti.select(inside, w1, a1)
            a2 = ti.select(inside, w2, a2)
        return a0, a1, a2, inverse_sum

    @ti.func
    def locate_adjoint(
        face, w0, w1, w2, inside, edge, t, n_x, n_y, d_measure,
        a0, a1, a2, inverse_sum, d_a0, d_a1, d_a2,
    ):  # fmt: skip
        """Turn dL/d(measure) and dL/da into dL/d(x, y) of the three corners."""
        zero = ti.cast(0.0, dtype)
        d_w0, d_w1, d_w2, d_t, d_distance2 = zero, zero, zero, zero, zero
        if ti.static(variant.color != "none"):
            if ti.static(clip == "clamp" and distance != "hard"):
                d_w0, d_w1, d_w2 = triangle.clamp_weights_adjoint(
                    w0, w1, w2, a0, a1, a2, inverse_sum, d_a0, d_a1, d_a2
                )
            else:
                # At the edge from a to b, dL/dt = dL/da_b - dL/da_a.
                end = ti.select(edge == 0, d_a1, ti.select(edge == 1, d_a2, d_a0))
                start = ti.select(edge == 0, d_a0, ti.select(edge == 1, d_a1, d_a2))
                d_t = ti.select(inside, 0.0, end - start)
                d_w0 = ti.select(inside, d_a0, 0.0)
                d_w1 = ti.select(inside, d_a1, 0.0)
                d_w2 = ti.select(inside, d_a2, 0.0)
        if ti.static(distance == "barycentric"):
            d = coverage.smallest_weight(w0, w1, w2)
            e0, e1, e2 = coverage.smallest_weight_adjoint(w0, w1, w2, 2.0 * d * d_measure)
            d_w0 += e0
            d_w1 += e1
            d_w2 += e2
        if ti.static(distance == "euclidean"):
            d_distance2 = d_measure
        v_x, v_y = triangle.barycentric_adjoint(
            face.p0, face.p1, face.p2, face.inverse_area2, d_w0, d_w1, d_w2
        )
        g_x, g_y, r_x, r_y = triangle.nearest_on_boundary_adjoint(
            edge, t, n_x, n_y, face.p0, face.p1, face.p2, face.inverse_length2, d_t, d_distance2
        )
        b0, b1, b2 = triangle.boundary_weights(edge, t)
        # +1 at the edge's end, -1 at its start.
        s0 = ti.select(edge == 2, 1.0, ti.select(edge == 0, -1.0, 0.0))
        s1 = ti.select(edge == 0, 1.0, ti.select(edge == 1, -1.0, 0.0))
        s2 = ti.select(edge == 1, 1.0, ti.select(edge == 2, -1.0, 0.0))
        return (
            s0 * r_x - w0 * v_x - b0 * g_x, s0 * r_y - w0 * v_y - b0 * g_y,
            s1 * r_x - w1 * v_x - b1 * g_x, s1 * r_y - w1 * v_y - b1 * g_y,
            s2 * r_x - w2 * v_x - b2 * g_x, s2 * r_y - w2 * v_y - b2 * g_y,
        )  # fmt: skip

    return FragmentFunctions(locate, cover, read_at, locate_adjoint)

"""One face at one pixel: the mathematics that every driver shares, forward and adjoint.

`fragment_functions` closes the choices that change code over the scalar functions of `triangle`,
`coverage` and `blending`. Drivers only loop. Symbols are those of docs/gradients.md.
"""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

import taichi as ti

from taichi_softras.kernels import blending, coverage, triangle
from taichi_softras.kernels.types import STATE, both, either, exp_negative, greater, lesser


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
    shows: str = ""
    """What colour leaves out but alpha counts: nothing, or "front", "back" or "both" sides of faces
    and then fragments between near and far only."""
    lookup: str = ""
    """How a texture is read, see `texture`; "" is none."""
    textured: int = 0
    """Channels that the texture multiplies, the first ones."""

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
        return 6 if self.color == "none" else 9 + 3 * self.attributes

    @property
    def attributes(self) -> int:
        """Numbers at a corner: the channels, then texture coordinates."""
        coordinates = {"": 0, "mipmap": 3}.get(self.lookup, 2)
        return self.channels + coordinates


def setup_choices(variant: Variant, cull: str) -> tuple[Any, str, str, bool, bool]:
    """Return what of a variant matters to `setup.setup_function`: its arguments."""
    return variant.dtype, variant.distance, cull, variant.shows != "", variant.attributes > 0


def state_planes(color: str) -> int:
    """Return how many numbers a pixel keeps for the adjoint, see `types.STATE`."""
    return STATE if color == "softmax" else 1


class FragmentFunctions(NamedTuple):
    """The functions of one variant.

    `place` and `blend` are the halves of `blend_in`, `locate` and `pull` those of its adjoint.
    """

    locate: Any
    place: Any
    blend: Any
    blend_in: Any
    weigh: Any
    pull: Any
    blend_in_adjoint: Any


@ti.func
def pixel_center(row, column, height, width, shorter):
    """NDC of a pixel; see docs/conventions.md."""
    x = (2 * column + 1 - width) / shorter
    y = (height - 1 - 2 * row) / shorter
    return x, y


def outline_functions(variant: Variant) -> FragmentFunctions:
    """Return the functions for faces that only alpha feels; what they share has the same bits."""
    silhouette = replace(variant, color="none", channels=0, lookup="", textured=0)
    return fragment_functions(silhouette, reads_attributes=variant.color != "none")


@cache
def fragment_functions(
    variant: Variant, *, reads_attributes: bool | None = None
) -> FragmentFunctions:
    """Return the fragment functions of `variant`."""
    exp_neg = exp_negative(variant.dtype)
    dtype, distance, clip = variant.dtype, variant.distance, variant.clip
    alpha, color = variant.alpha, variant.color
    perspective, linear, shows = variant.perspective, variant.linear_depth, variant.shows
    # Eight roundings of the precision; only attributes feel which point is the nearest.
    rounding = 2.0**-20 if dtype == ti.f32 else 2.0**-49
    reads = color != "none" if reads_attributes is None else reads_attributes
    handicap = rounding if reads else 0.0

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
            kept = either(inside, measure < reach2)
            y = measure * inverse_sigma
            x = ti.select(inside, y, -y)
            full, gap, scale = coverage.logistic(inside, exp_neg(y))
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
    def shown(kept, face, depth, near, far):
        """Whether colour and depth count the face, and a depth that is a number if they do not."""
        counts = kept
        if ti.static(shows != ""):
            counts = both(counts, both(depth >= near, depth <= far))
            if ti.static(shows != "both"):
                side = face.inverse_area2 > 0.0
                counts = both(counts, side if ti.static(shows == "front") else not side)
        return counts, ti.select(counts, depth, far) if ti.static(shows != "") else depth

    @ti.func
    def share(shows_here, x, scale, depth, chosen, reference, inverse_total, tau, inverse_tau):
        """Return the face's weight in the pixel, from what the pixel was in the end."""
        weight = ti.cast(0.0, dtype)
        if ti.static(color == "softmax"):
            depth_soft = depth - tau * lesser(x, 0.0)
            behind = greater((depth_soft - reference) * inverse_tau, 0.0)
            weight = ti.select(shows_here, scale * exp_neg(behind) * inverse_total, 0.0)
        else:
            weight = ti.select(both(shows_here, chosen), 1.0, 0.0)
        return weight

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

    @ti.func
    def place(p, face):
        """Find what a face is at a pixel.

        Returns:
            inside, measure: as of `locate`.
            depth, u0, u1, u2: its depth, and the weights of its corners' attributes.
        """
        zero = ti.cast(0.0, dtype)
        w0, w1, w2, inside, edge, t, _x, _y, measure = locate(p, face)
        depth, u0, u1, u2 = zero, zero, zero, zero
        if ti.static(color != "none"):
            a0, a1, a2, _s = read_at(w0, w1, w2, inside, edge, t)
            depth, u0, u1, u2 = blending.interpolate(
                a0, a1, a2, face.z, face.r, perspective, linear
            )
        return inside, measure, depth, u0, u1, u2

    @ti.func
    def blend(
        inside, measure, fragment_depth, face, silhouette, reference, inverse_sigma, reach2,
        tau, inverse_tau, near, far,
    ):  # fmt: skip
        """Add a face to a pixel's running sums; the first three are of `place`.

        Returns:
            silhouette, reference: the new ones. `reference` is the depth that softmax weights are
                relative to; with hard colour that of the nearest face so far.
            old, new: factors of the sums so far and of this face in them; front: whether this
                face is the nearest one so far; its depth.
        """
        zero, one = ti.cast(0.0, dtype), ti.cast(1.0, dtype)
        kept, x, full, gap, scale = cover(inside, measure, inverse_sigma, reach2)
        covered = silhouette
        if ti.static(alpha == "prod"):
            covered = silhouette * ti.select(kept, gap, 1.0)
            # Flushed before it turns denormal, which is slow.
            covered = ti.select(covered > 1e-30, covered, 0.0)
        elif ti.static(alpha == "sum"):
            covered = silhouette + ti.select(kept, full, 0.0)
        else:
            covered = ti.select(both(kept, full > 0.5), 1.0, silhouette)
        nearer, old, new, front, depth = reference, one, zero, inside, fragment_depth
        if ti.static(color == "softmax"):
            counts, shown_depth = shown(kept, face, fragment_depth, near, far)
            depth = shown_depth
            depth_soft = depth - tau * lesser(x, 0.0)
            ahead = (reference - depth_soft) * inverse_tau
            fade = exp_neg(ti.abs(ahead))
            front = both(counts, ahead > 0.0)
            old = ti.select(front, fade, 1.0)
            new = ti.select(counts, ti.select(front, scale, scale * fade), 0.0)
            nearer = ti.select(front, depth_soft, reference)
        elif ti.static(color == "hard"):
            counts, shown_depth = shown(inside, face, fragment_depth, near, far)
            depth = shown_depth
            front = both(counts, depth < reference)
            old = ti.select(front, zero, one)
            new = ti.select(front, one, zero)
            nearer = ti.select(front, depth, reference)
        return covered, nearer, old, new, front, depth

    @ti.func
    def blend_in(
        p, face, silhouette, reference, inverse_sigma, reach2, tau, inverse_tau, near, far
    ):  # fmt: skip
        """Do both; returns what `blend` does, then u0, u1, u2."""
        inside, measure, fragment_depth, u0, u1, u2 = place(p, face)
        covered, nearer, old, new, front, depth = blend(
            inside, measure, fragment_depth, face, silhouette, reference, inverse_sigma, reach2,
            tau, inverse_tau, near, far,
        )  # fmt: skip
        return covered, nearer, old, new, front, depth, u0, u1, u2

    @ti.func
    def weigh(
        p, face, reference, inverse_total, chosen, inverse_sigma, reach2, tau, inverse_tau,
        near, far,
    ):  # fmt: skip
        """Return the face's weight in the pixel and the weights of its corners' attributes.

        Of the pixel as `blend_in_adjoint`; for what must be read before gradients are known.
        """
        w0, w1, w2, inside, edge, t, _x, _y, measure = locate(p, face)
        kept, x, _full, _gap, scale = cover(inside, measure, inverse_sigma, reach2)
        a0, a1, a2, _s = read_at(w0, w1, w2, inside, edge, t)
        depth, u0, u1, u2 = blending.interpolate(a0, a1, a2, face.z, face.r, perspective, linear)
        drawn = kept if ti.static(color == "softmax") else inside
        counts, depth = shown(drawn, face, depth, near, far)
        weight = share(counts, x, scale, depth, chosen, reference, inverse_total, tau, inverse_tau)
        return weight, u0, u1, u2

    @ti.func
    def pull(
        w0, w1, w2, inside, edge, t, n_x, n_y, measure, face,
        reference, inverse_total, chosen, g_alpha, g_depth, g_mean, g0, g1, g2,
        seen, inverse_sigma, reach2, tau, inverse_tau, near, far,
    ):  # fmt: skip
        """Pull a pixel's gradients back to one face; what comes before `face` is of `locate`.

        Of the pixel: `reference` is its final reference depth, `inverse_total` 1 / sum of its
        softmax weights, `chosen` whether it shows this face (hard colour), `g_alpha` dL/d(alpha),
        times the transparency if alpha is a product, `g_depth` dL/d(depth), `g_mean` what its
        colour and depth say to every weight alike, g_k dL/d(colour) along the attributes of corner
        k, `seen` dL/d(colour) along the face's colour where that is not linear in the attributes:
        textures.

        Returns:
            dL/d(x, y) of the three corners; dL/d(depth) of them, but for `blending.finish_depths`;
            the face's weight and u0, u1, u2;
            dL/dx x, which sums to sigma's gradient; and dL/d(log weight) (depth - reference): as
            dL/d(log weight) sums to 0 over a pixel's faces and background, any depth may be taken
            off, and this one keeps the sum, which is gamma's, from cancelling.
        """
        zero = ti.cast(0.0, dtype)
        kept, x, full, gap, scale = cover(inside, measure, inverse_sigma, reach2)
        d_x, weight, d_logit_depth = zero, zero, zero
        if ti.static(alpha == "prod"):
            d_x = coverage.union_adjoint(full, g_alpha)
        elif ti.static(alpha == "sum"):
            d_x = coverage.sum_adjoint(full, gap, g_alpha)
        a0, a1, a2, inverse_sum = w0, w1, w2, w0
        u0, u1, u2 = zero, zero, zero
        d_a0, d_a1, d_a2, d_z0, d_z1, d_z2 = zero, zero, zero, zero, zero, zero
        if ti.static(color != "none"):
            a0, a1, a2, inverse_sum = read_at(w0, w1, w2, inside, edge, t)
            depth, v0, v1, v2 = blending.interpolate(
                a0, a1, a2, face.z, face.r, perspective, linear
            )
            u0, u1, u2 = v0, v1, v2
            drawn = kept if ti.static(color == "softmax") else inside
            counts, depth_here = shown(drawn, face, depth, near, far)
            depth = depth_here
            weight = share(
                counts, x, scale, depth, chosen, reference, inverse_total, tau, inverse_tau
            )
            d_depth = weight * g_depth
            along = u0 * g0 + u1 * g1 + u2 * g2
            if ti.static(color == "softmax"):
                color_along = along if ti.static(variant.lookup == "") else seen
                d_logit = weight * (color_along + g_depth * depth - g_mean)
                d_x += d_logit * gap
                d_depth -= d_logit * inverse_tau
                d_logit_depth = d_logit * (depth - reference)
            d_a0, d_a1, d_a2, d_z0, d_z1, d_z2 = blending.interpolation_adjoint(
                a0, a1, a2, face.z, face.r, depth,
                weight * g0, weight * g1, weight * g2, weight * along, d_depth,
                perspective, linear,
            )  # fmt: skip
        d_x = ti.select(kept, d_x, 0.0)
        d_measure = ti.select(inside, d_x, -d_x) * inverse_sigma
        d0, d1, d2, d3, d4, d5 = locate_adjoint(
            face, w0, w1, w2, inside, edge, t, n_x, n_y, d_measure,
            a0, a1, a2, inverse_sum, d_a0, d_a1, d_a2,
        )  # fmt: skip
        return (
            d0, d1, d2, d3, d4, d5, d_z0, d_z1, d_z2,
            weight, u0, u1, u2, d_x * x, d_logit_depth,
        )  # fmt: skip

    @ti.func
    def blend_in_adjoint(
        p, face, reference, inverse_total, chosen, g_alpha, g_depth, g_mean, g0, g1, g2,
        seen, inverse_sigma, reach2, tau, inverse_tau, near, far,
    ):  # fmt: skip
        """Do both; returns what `pull` does."""
        w0, w1, w2, inside, edge, t, n_x, n_y, measure = locate(p, face)
        d0, d1, d2, d3, d4, d5, d_z0, d_z1, d_z2, weight, u0, u1, u2, d_sigma, d_gamma = pull(
            w0, w1, w2, inside, edge, t, n_x, n_y, measure, face,
            reference, inverse_total, chosen, g_alpha, g_depth, g_mean, g0, g1, g2,
            seen, inverse_sigma, reach2, tau, inverse_tau, near, far,
        )  # fmt: skip
        return d0, d1, d2, d3, d4, d5, d_z0, d_z1, d_z2, weight, u0, u1, u2, d_sigma, d_gamma

    return FragmentFunctions(locate, place, blend, blend_in, weigh, pull, blend_in_adjoint)

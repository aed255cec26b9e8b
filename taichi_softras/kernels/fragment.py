"""One face at one pixel: the mathematics that every driver shares, forward and adjoint.

`fragment_functions` closes the choices that change code over the scalar functions of `triangle`,
`coverage` and `blending`. Drivers only loop. Symbols are those of docs/gradients.md.
"""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

import taichi as ti

from taichi_softras.kernels import blending, coverage, triangle
from taichi_softras.kernels.fused import fma
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


def setup_choices(variant: Variant, cull: str) -> tuple[Any, ...]:
    """Return what of a variant matters to `setup.setup_functions`: its arguments."""
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
    clamps = clip == "clamp" and distance != "hard"
    # Who owns a pixel on an edge.
    jumps = "hard" in (distance, alpha, color)
    place_in = triangle.barycentric_watertight if jumps else triangle.barycentric

    @ti.func
    def locate(p_exact, face):
        """Place a pixel, whose centre comes in `variant.position_dtype`, relative to the face.

        Returns:
            w0, w1, w2: barycentric coordinates; inside: all of them >= 0.
            edge, t, n_x, n_y: nearest boundary point and the vector from it to p.
            measure: squared distance in the variant's metric.
        """
        exact = variant.position_dtype
        v0, v1, v2 = place_in(
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
        if ti.static(clamps):
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
            depth_soft = fma(-tau, lesser(x, 0.0), depth)
            behind = greater((depth_soft - reference) * inverse_tau, 0.0)
            weight = ti.select(shows_here, scale * exp_neg(behind) * inverse_total, 0.0)
        else:
            weight = ti.select(both(shows_here, chosen), 1.0, 0.0)
        return weight

    @ti.func
    def locate_adjoint(
        face, w0, w1, w2, inside, edge, t, n_x, n_y, d_measure,
        a0, a1, a2, inverse_sum, d_a0, d_a1, d_a2, d_corners: ti.template(),
    ):  # fmt: skip
        """Turn dL/d(measure) and dL/da into dL/d(x, y) of the corners, and add that."""
        zero = ti.cast(0.0, dtype)
        d_w0, d_w1, d_w2, d_t, d_distance2 = zero, zero, zero, zero, zero
        if ti.static(color != "none"):
            if ti.static(clamps):
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
        g_x, g_y, r_x, r_y = triangle.nearest_on_boundary_adjoint(
            edge, t, n_x, n_y, face.p0, face.p1, face.p2, face.inverse_length2, d_t, d_distance2
        )
        b = triangle.boundary_weights(edge, t)
        for k in ti.static(range(3)):
            d_corners[2 * k] = fma(-b[k], g_x, d_corners[2 * k])
            d_corners[2 * k + 1] = fma(-b[k], g_y, d_corners[2 * k + 1])
        # What is known to be 0 is left out: nobody sees that through the calls that `fma` makes.
        if ti.static(color != "none" or distance == "barycentric"):
            v_x, v_y = triangle.barycentric_adjoint(
                face.p0, face.p1, face.p2, face.inverse_area2, d_w0, d_w1, d_w2
            )
            w = w0, w1, w2
            for k in ti.static(range(3)):
                d_corners[2 * k] = fma(-w[k], v_x, d_corners[2 * k])
                d_corners[2 * k + 1] = fma(-w[k], v_y, d_corners[2 * k + 1])
        if ti.static(color != "none" and not clamps):
            for k in ti.static(range(3)):
                # 1 at the edge's end, -1 at its start.
                s = ti.select(edge == (k + 2) % 3, 1.0, ti.select(edge == k, -1.0, 0.0))
                d_corners[2 * k] = fma(s, r_x, d_corners[2 * k])
                d_corners[2 * k + 1] = fma(s, r_y, d_corners[2 * k + 1])

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
            depth_soft = fma(-tau, lesser(x, 0.0), depth)
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
        w0, w1, w2, inside, edge, t, n_x, n_y, measure, face, corners: ti.template(),
        reference, inverse_total, chosen, g_alpha, g_depth, g_mean, g: ti.template(), seen,
        inverse_sigma, reach2, tau, inverse_tau, near, far,
        d_corners: ti.template(), d_attributes: ti.template(),
    ):  # fmt: skip
        """Pull a pixel's gradients back to one face; what comes before `face` is of `locate`.

        `corners` are the attributes of the three. Of the pixel: `reference` is its final reference
        depth, `inverse_total` 1 / sum of its softmax weights, `chosen` whether it shows this face
        (hard colour), `g_alpha` dL/d(alpha), times the transparency if alpha is a product,
        `g_depth` dL/d(depth), `g_mean` what its colour and depth say to every weight alike, `g`
        dL/d(attributes here), which without a texture are the colours, `seen` dL/d(colour) along
        the face's colour where that is not linear in the attributes: textures.

        Adds to lists, an empty one of which is not wanted:
            d_corners: dL/d(x, y) of the three corners, then, with colour, dL/d(depth) of them, but
                for `blending.finish_depths`.
            d_attributes: dL/d(attributes) of corner 0, of 1 and of 2.

        Returns:
            dL/dx x, which sums to sigma's gradient; and dL/d(log weight) (depth - reference): as
            dL/d(log weight) sums to 0 over a pixel's faces and background, any depth may be taken
            off, and this one keeps the sum, which is gamma's, from cancelling.
        """
        zero = ti.cast(0.0, dtype)
        kept, x, full, gap, scale = cover(inside, measure, inverse_sigma, reach2)
        d_x, d_logit_depth = zero, zero
        if ti.static(alpha == "prod"):
            d_x = coverage.union_adjoint(full, g_alpha)
        elif ti.static(alpha == "sum"):
            d_x = coverage.sum_adjoint(full, gap, g_alpha)
        a0, a1, a2, inverse_sum = w0, w1, w2, w0
        d_a0, d_a1, d_a2 = zero, zero, zero
        if ti.static(color != "none"):
            a0, a1, a2, inverse_sum = read_at(w0, w1, w2, inside, edge, t)
            depth, u0, u1, u2 = blending.interpolate(
                a0, a1, a2, face.z, face.r, perspective, linear
            )
            drawn = kept if ti.static(color == "softmax") else inside
            counts, depth_here = shown(drawn, face, depth, near, far)
            depth = depth_here
            weight = share(
                counts, x, scale, depth, chosen, reference, inverse_total, tau, inverse_tau
            )
            d_u = [ti.cast(0.0, dtype) for _ in ti.static(range(3))]
            for a in ti.static(range(variant.attributes)):
                d_here = weight * g[a]
                for k in ti.static(range(3)):
                    d_u[k] = fma(d_here, corners[k][a], d_u[k])
                if ti.static(len(d_attributes) > 0):
                    u = u0, u1, u2
                    for k in ti.static(range(3)):
                        d_attributes[k * variant.attributes + a] = fma(
                            d_here, u[k], d_attributes[k * variant.attributes + a]
                        )
            along = fma(u0, d_u[0], fma(u1, d_u[1], u2 * d_u[2]))
            d_depth = weight * g_depth
            if ti.static(color == "softmax"):
                color_along = along if ti.static(variant.lookup == "") else weight * seen
                d_logit = fma(weight, fma(g_depth, depth, -g_mean), color_along)
                d_x = fma(d_logit, gap, d_x)
                d_depth = fma(-d_logit, inverse_tau, d_depth)
                d_logit_depth = d_logit * (depth - reference)
            d_a0, d_a1, d_a2, d_z0, d_z1, d_z2 = blending.interpolation_adjoint(
                a0, a1, a2, face.z, face.r, depth, d_u[0], d_u[1], d_u[2], along, d_depth,
                perspective, linear,
            )  # fmt: skip
            if ti.static(len(d_corners) > 0):
                d_corners[6] += d_z0
                d_corners[7] += d_z1
                d_corners[8] += d_z2
        d_x = ti.select(kept, d_x, 0.0)
        if ti.static(len(d_corners) > 0):
            locate_adjoint(
                face, w0, w1, w2, inside, edge, t, n_x, n_y,
                ti.select(inside, d_x, -d_x) * inverse_sigma,
                a0, a1, a2, inverse_sum, d_a0, d_a1, d_a2, d_corners,
            )  # fmt: skip
        return d_x * x, d_logit_depth

    @ti.func
    def blend_in_adjoint(
        p, face, corners: ti.template(),
        reference, inverse_total, chosen, g_alpha, g_depth, g_mean, g: ti.template(), seen,
        inverse_sigma, reach2, tau, inverse_tau, near, far,
        d_corners: ti.template(), d_attributes: ti.template(),
    ):  # fmt: skip
        """Do both; adds to and returns what `pull` does."""
        w0, w1, w2, inside, edge, t, n_x, n_y, measure = locate(p, face)
        d_sigma, d_gamma = pull(
            w0, w1, w2, inside, edge, t, n_x, n_y, measure, face, corners,
            reference, inverse_total, chosen, g_alpha, g_depth, g_mean, g, seen,
            inverse_sigma, reach2, tau, inverse_tau, near, far, d_corners, d_attributes,
        )  # fmt: skip
        return d_sigma, d_gamma

    return FragmentFunctions(locate, place, blend, blend_in, weigh, pull, blend_in_adjoint)

"""One face at one pixel, backwards: from gradients of a pixel to those of a face's corners.

As `fragment`, whose functions are done again. Symbols are those of docs/gradients.md.
"""

from functools import cache
from typing import Any, NamedTuple

import taichi as ti

from taichi_softras.kernels import blending, coverage, triangle
from taichi_softras.kernels.fragment import Variant, fragment_functions
from taichi_softras.kernels.fused import fma


class AdjointFunctions(NamedTuple):
    """The functions of one variant; `pull` is `blend_in_adjoint` of a face that was located."""

    pull: Any
    blend_in_adjoint: Any


@cache
def adjoint_functions(variant: Variant) -> AdjointFunctions:
    """Return the adjoints of the fragment functions of `variant`."""
    dtype, distance = variant.dtype, variant.distance
    alpha, color = variant.alpha, variant.color
    perspective, linear = variant.perspective, variant.linear_depth
    fragment = fragment_functions(variant)
    locate, cover, read_at = fragment.locate, fragment.cover, fragment.read_at
    shown, share = fragment.shown, fragment.share

    @ti.func
    def locate_adjoint(
        face, spot, d_measure, a0, a1, a2, inverse_sum, d_a0, d_a1, d_a2, d_corners: ti.template()
    ):  # fmt: skip
        """Turn dL/d(measure) and dL/da into dL/d(x, y) of the corners, and add that."""
        zero = ti.cast(0.0, dtype)
        d_w0, d_w1, d_w2, d_t, d_distance2 = zero, zero, zero, zero, zero
        if ti.static(color != "none"):
            if ti.static(variant.clamps):
                d_w0, d_w1, d_w2 = triangle.clamp_weights_adjoint(
                    spot.w0, spot.w1, spot.w2, a0, a1, a2, inverse_sum, d_a0, d_a1, d_a2
                )
            else:
                # At the edge from a to b, dL/dt = dL/da_b - dL/da_a.
                end = ti.select(spot.edge == 0, d_a1, ti.select(spot.edge == 1, d_a2, d_a0))
                start = ti.select(spot.edge == 0, d_a0, ti.select(spot.edge == 1, d_a1, d_a2))
                d_t = ti.select(spot.inside, 0.0, end - start)
                d_w0 = ti.select(spot.inside, d_a0, 0.0)
                d_w1 = ti.select(spot.inside, d_a1, 0.0)
                d_w2 = ti.select(spot.inside, d_a2, 0.0)
        if ti.static(distance == "barycentric"):
            d = coverage.smallest_weight(spot.w0, spot.w1, spot.w2)
            e0, e1, e2 = coverage.smallest_weight_adjoint(
                spot.w0, spot.w1, spot.w2, 2.0 * d * d_measure
            )
            d_w0 += e0
            d_w1 += e1
            d_w2 += e2
        if ti.static(distance == "euclidean"):
            d_distance2 = d_measure
        g_x, g_y, r_x, r_y = triangle.nearest_on_boundary_adjoint(
            spot.edge,
            spot.t,
            spot.n_x,
            spot.n_y,
            face.p0,
            face.p1,
            face.p2,
            face.inverse_length2,
            d_t,
            d_distance2,
        )
        b = triangle.boundary_weights(spot.edge, spot.t)
        for k in ti.static(range(3)):
            d_corners[2 * k] = fma(-b[k], g_x, d_corners[2 * k])
            d_corners[2 * k + 1] = fma(-b[k], g_y, d_corners[2 * k + 1])
        # What is known to be 0 is left out: nobody sees that through the calls that `fma` makes.
        if ti.static(color != "none" or distance == "barycentric"):
            v_x, v_y = triangle.barycentric_adjoint(
                face.p0, face.p1, face.p2, face.inverse_area2, d_w0, d_w1, d_w2
            )
            w = spot.w0, spot.w1, spot.w2
            for k in ti.static(range(3)):
                d_corners[2 * k] = fma(-w[k], v_x, d_corners[2 * k])
                d_corners[2 * k + 1] = fma(-w[k], v_y, d_corners[2 * k + 1])
        if ti.static(color != "none" and not variant.clamps):
            for k in ti.static(range(3)):
                # 1 at the edge's end, -1 at its start.
                s = ti.select(spot.edge == (k + 2) % 3, 1.0, ti.select(spot.edge == k, -1.0, 0.0))
                d_corners[2 * k] = fma(s, r_x, d_corners[2 * k])
                d_corners[2 * k + 1] = fma(s, r_y, d_corners[2 * k + 1])

    @ti.func
    def pull(
        spot, face, corners: ti.template(), pixel, g: ti.template(), seen, soft,
        d_corners: ti.template(), d_attributes: ti.template(),
    ):  # fmt: skip
        """Pull a pixel's gradients back to one face; `spot` is of `locate`.

        `corners` are the attributes of the three. Of the pixel: `reference` is its final reference
        depth, `inverse_total` 1 / sum of its softmax weights, `chosen` whether it shows this face
        (hard colour), `g_alpha` dL/d(alpha), times the transparency if alpha is a product,
        `g_depth` dL/d(depth), `g_mean` what its colour and depth say to every weight alike. `g` is
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
        kept, x, full, gap, scale = cover(spot.inside, spot.measure, soft)
        d_x, d_logit_depth = zero, zero
        if ti.static(alpha == "prod"):
            d_x = coverage.union_adjoint(full, pixel.g_alpha)
        elif ti.static(alpha == "sum"):
            d_x = coverage.sum_adjoint(full, gap, pixel.g_alpha)
        a0, a1, a2, inverse_sum = spot.w0, spot.w1, spot.w2, spot.w0
        d_a0, d_a1, d_a2 = zero, zero, zero
        if ti.static(color != "none"):
            a0, a1, a2, inverse_sum = read_at(spot)
            depth, u0, u1, u2 = blending.interpolate(
                a0, a1, a2, face.z, face.r, perspective, linear
            )
            drawn = kept if ti.static(color == "softmax") else spot.inside
            counts, depth_here = shown(drawn, face, depth, soft)
            depth = depth_here
            weight = share(counts, x, scale, depth, pixel, soft)
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
            d_depth = weight * pixel.g_depth
            if ti.static(color == "softmax"):
                color_along = along if ti.static(variant.lookup == "") else weight * seen
                d_logit = fma(weight, fma(pixel.g_depth, depth, -pixel.g_mean), color_along)
                d_x = fma(d_logit, gap, d_x)
                d_depth = fma(-d_logit, soft.inverse_tau, d_depth)
                d_logit_depth = d_logit * (depth - pixel.reference)
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
                face, spot, ti.select(spot.inside, d_x, -d_x) * soft.inverse_sigma,
                a0, a1, a2, inverse_sum, d_a0, d_a1, d_a2, d_corners,
            )  # fmt: skip
        return d_x * x, d_logit_depth

    @ti.func
    def blend_in_adjoint(
        p, face, corners: ti.template(), pixel, g: ti.template(), seen, soft,
        d_corners: ti.template(), d_attributes: ti.template(),
    ):  # fmt: skip
        """Do both; adds to and returns what `pull` does."""
        return pull(locate(p, face), face, corners, pixel, g, seen, soft, d_corners, d_attributes)

    return AdjointFunctions(pull, blend_in_adjoint)

"""Depth, attributes and their softmax over the faces of a pixel; with adjoints.

A face of coverage D = exp(min(x, 0)) * scale at depth z enters the softmax with the weight
scale * exp(-z_soft / tau), tau = gamma (far - near), z_soft = z - tau * min(x, 0): outside a
face its depth recedes. The running reference is the smallest z_soft so far, so exponents are
differences of depths, never differences of normalised depths near 1.
"""

import taichi as ti

from taichi_softras.kernels.fused import fma


@ti.func
def interpolate(a0, a1, a2, z, r, perspective: ti.template(), linear: ti.template()):
    """Depth at barycentric coordinates a, and the weights of the corner attributes there.

    `z` holds the depth of corner 0 and how much farther corners 1 and 2 are, `r` 1 / depth of the
    corners. With `perspective` attributes are linear in space, u_k = a_k depth / z_k, else on the
    screen, u_k = a_k. With `linear`, depth is linear on the screen (orthographic views).

    Depth is summed from differences to corner 0: small faces then have depths that are right to
    half a unit in the last place, which is what limits small gammas.
    """
    v0, v1, v2 = a0, a1, a2
    if ti.static(not linear):
        q1, q2 = a1 * r[1], a2 * r[2]
        depth = 1.0 / fma(a0, r[0], q1 + q2)
        v0, v1, v2 = a0 * r[0] * depth, q1 * depth, q2 * depth
    depth = z[0] + fma(v1, z[1], v2 * z[2])
    u0, u1, u2 = a0, a1, a2
    if ti.static(perspective):
        u0, u1, u2 = v0, v1, v2
    return depth, u0, u1, u2


@ti.func
def interpolation_adjoint(
    a0, a1, a2, z, r, depth, d_u0, d_u1, d_u2, along, d_depth,
    perspective: ti.template(), linear: ti.template(),
):  # fmt: skip
    """Turn dL/du and dL/d(depth) into dL/da and dL/dz; z and r as above.

    `along` is the sum of u_k dL/du_k.

    Returns:
        The three dL/da_k, then dL/d(corner depth) of the three, but for `finish_depths`.
    """
    d_a0, d_a1, d_a2 = d_u0, d_u1, d_u2
    d_z0, d_z1, d_z2 = a0 * d_depth, a1 * d_depth, a2 * d_depth
    if ti.static(linear):
        # The coordinates sum to 1, so a constant may be left out of dL/da.
        d_a1 = fma(d_depth, z[1], d_a1)
        d_a2 = fma(d_depth, z[2], d_a2)
    else:
        # depth = 1 / sum(a r), so d(depth) = -depth^2 d(sum), and a_k r_k = u_k / depth.
        total = d_depth * depth
        if ti.static(perspective):
            total = fma(d_depth, depth, along)
        s = -total * depth
        if ti.static(perspective):
            q0, q1, q2 = fma(d_u0, depth, s), fma(d_u1, depth, s), fma(d_u2, depth, s)
            d_a0, d_a1, d_a2 = q0 * r[0], q1 * r[1], q2 * r[2]
            d_z0, d_z1, d_z2 = a0 * q0, a1 * q1, a2 * q2
        else:
            d_a0 = fma(s, r[0], d_a0)
            d_a1 = fma(s, r[1], d_a1)
            d_a2 = fma(s, r[2], d_a2)
            d_z0, d_z1, d_z2 = a0 * s, a1 * s, a2 * s
    return d_a0, d_a1, d_a2, d_z0, d_z1, d_z2


@ti.func
def finish_depths(d_z: ti.template(), first: ti.template(), r, linear: ti.template()):
    """Multiply d_z[first : first + 3] by what `interpolation_adjoint` left out, dr_k / dz_k.

    It is the same for all pixels, so it comes after their sum.
    """
    if ti.static(not linear):
        for k in ti.static(range(3)):
            d_z[first + k] *= -r[k] * r[k]

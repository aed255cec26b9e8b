"""Where a pixel lies relative to a triangle: scalar functions, each followed by its adjoint.

Symbols are those of docs/gradients.md. Every function works in the precision of its arguments.
"""

import taichi as ti

from taichi_softras.kernels.fused import fma
from taichi_softras.kernels.types import both, either, greater, lesser


@ti.func
def cross2(a, b):
    """z of the cross product of two plane vectors."""
    return a[0] * b[1] - a[1] * b[0]


@ti.func
def side_of_edge(p, a, b):
    """Twice the area of (a, b, p): exactly the opposite of that of (b, a, p).

    So no rounding lets a pixel fall between two triangles that share an edge.
    """
    turned = either(b[0] < a[0], both(b[0] == a[0], b[1] < a[1]))
    first, last = ti.select(turned, b, a), ti.select(turned, a, b)
    e, v = last - first, p - first
    area2 = fma(e[0], v[1], -e[1] * v[0])
    return ti.select(turned, -area2, area2)


@ti.func
def barycentric_watertight(p, p0, p1, p2, inverse_area2):
    """Do as `barycentric`: at least one of two triangles has a pixel on their common edge."""
    w0 = side_of_edge(p, p1, p2) * inverse_area2
    w1 = side_of_edge(p, p2, p0) * inverse_area2
    w2 = side_of_edge(p, p0, p1) * inverse_area2
    return w0, w1, w2


@ti.func
def barycentric(p, p0, p1, p2, inverse_area2):
    """Barycentric coordinates of p; all >= 0 inside, whatever the triangle's orientation.

    For where nothing jumps at an edge: fewer operations than `barycentric_watertight`.
    """
    e0, e1, e2 = (p2 - p1) * inverse_area2, (p0 - p2) * inverse_area2, (p1 - p0) * inverse_area2
    w0 = fma(e0[0], p[1] - p1[1], -e0[1] * (p[0] - p1[0]))
    w1 = fma(e1[0], p[1] - p2[1], -e1[1] * (p[0] - p2[0]))
    w2 = fma(e2[0], p[1] - p0[1], -e2[1] * (p[0] - p0[0]))
    return w0, w1, w2


@ti.func
def barycentric_adjoint(p0, p1, p2, inverse_area2, d_w0, d_w1, d_w2):
    """Return V = sum_k dL/dw_k grad_p w_k; then dL/dP_k = -w_k V.

    Moving P_k by m changes the coordinates of p as moving p by -w_k m does.
    """
    v_x = fma(d_w0, p1[1] - p2[1], fma(d_w1, p2[1] - p0[1], d_w2 * (p0[1] - p1[1])))
    v_y = fma(d_w0, p2[0] - p1[0], fma(d_w1, p0[0] - p2[0], d_w2 * (p1[0] - p0[0])))
    return v_x * inverse_area2, v_y * inverse_area2


@ti.func
def nearest_on_edge(p, a, b, inverse_length2, handicap: ti.template()):
    """Nearest point a + t (b - a) of a segment.

    Returns:
        t, the vector from that point to p, and its squared length times 1 + `handicap` if the
        point is an end of the segment.
    """
    e_x = b[0] - a[0]
    e_y = b[1] - a[1]
    v_x = p[0] - a[0]
    v_y = p[1] - a[1]
    along = fma(v_x, e_x * inverse_length2, v_y * (e_y * inverse_length2))
    t = greater(lesser(along, 1.0), 0.0)
    n_x = fma(-t, e_x, v_x)
    n_y = fma(-t, e_y, v_y)
    distance2 = fma(n_x, n_x, n_y * n_y)
    if ti.static(handicap > 0.0):
        # Not a factor 1 + handicap: Taichi's literals are float32.
        distance2 = ti.select(t == along, distance2, fma(distance2, handicap, distance2))
    return t, n_x, n_y, distance2


@ti.func
def nearest_on_boundary(p, p0, p1, p2, inverse_length2, handicap: ti.template()):
    """Nearest point of the three edges.

    A point at t = 1 - s of one edge is nearer than the corner by O(s^2) only, so rounding could
    take the corner, an error of s, as the nearest point of the next edge. A small `handicap` for
    corners prevents that; 0 costs nothing and serves where only distances matter.

    Returns:
        edge: 0, 1 or 2; it runs from corner `edge` to the next one.
        t: position along that edge, in [0, 1].
        n_x, n_y: the vector from the nearest point to p.
        distance2: its squared length.
    """
    t0, x0, y0, d0 = nearest_on_edge(p, p0, p1, inverse_length2[0], handicap)
    t1, x1, y1, d1 = nearest_on_edge(p, p1, p2, inverse_length2[1], handicap)
    t2, x2, y2, d2 = nearest_on_edge(p, p2, p0, inverse_length2[2], handicap)
    first = d1 < d0
    last = d2 < lesser(d0, d1)
    edge = ti.select(last, 2, ti.select(first, 1, 0))
    t = ti.select(last, t2, ti.select(first, t1, t0))
    n_x = ti.select(last, x2, ti.select(first, x1, x0))
    n_y = ti.select(last, y2, ti.select(first, y1, y0))
    distance2 = lesser(lesser(d0, d1), d2)
    if ti.static(handicap > 0.0):
        distance2 = fma(n_x, n_x, n_y * n_y)
    return edge, t, n_x, n_y, distance2


@ti.func
def boundary_weights(edge, t):
    """Barycentric coordinates of the point at `t` on `edge`."""
    s = 1.0 - t
    b0 = ti.select(edge == 0, s, ti.select(edge == 2, t, 0.0))
    b1 = ti.select(edge == 1, s, ti.select(edge == 0, t, 0.0))
    b2 = ti.select(edge == 2, s, ti.select(edge == 1, t, 0.0))
    return b0, b1, b2


@ti.func
def nearest_on_boundary_adjoint(edge, t, n_x, n_y, p0, p1, p2, inverse_length2, d_t, d_distance2):
    """Turn dL/dt and dL/d(distance2) into gradients of the edge's two ends.

    distance2 follows the envelope theorem, d(n.n)/dP_k = -2 b_k n. For t between the ends,
    dt/da = (-n - (1 - t) e) / |e|^2 and dt/db = (n - t e) / |e|^2 with e = b - a.

    Returns:
        g_x, g_y: subtract b_k times this from the gradient of corner k.
        r_x, r_y: add this to the edge's end, subtract it from its start.
    """
    e_x = ti.select(edge == 0, p1[0] - p0[0], ti.select(edge == 1, p2[0] - p1[0], p0[0] - p2[0]))
    e_y = ti.select(edge == 0, p1[1] - p0[1], ti.select(edge == 1, p2[1] - p1[1], p0[1] - p2[1]))
    inverse = ti.select(
        edge == 0,
        inverse_length2[0],
        ti.select(edge == 1, inverse_length2[1], inverse_length2[2]),
    )
    turn = ti.select(both(t > 0.0, t < 1.0), d_t * inverse, 0.0)
    g_x = fma(2.0 * d_distance2, n_x, turn * e_x)
    g_y = fma(2.0 * d_distance2, n_y, turn * e_y)
    return g_x, g_y, turn * n_x, turn * n_y


@ti.func
def clamp_weights(w0, w1, w2):
    """Barycentric coordinates clamped to [0, 1] and renormalised; also 1 / their sum."""
    c0 = greater(lesser(w0, 1.0), 0.0)
    c1 = greater(lesser(w1, 1.0), 0.0)
    c2 = greater(lesser(w2, 1.0), 0.0)
    inverse_sum = 1.0 / (c0 + c1 + c2)
    return c0 * inverse_sum, c1 * inverse_sum, c2 * inverse_sum, inverse_sum


@ti.func
def clamp_weights_adjoint(w0, w1, w2, c0, c1, c2, inverse_sum, d_c0, d_c1, d_c2):
    """Turn the gradient of the clamped coordinates c into that of the raw coordinates w."""
    mean = fma(c0, d_c0, fma(c1, d_c1, c2 * d_c2))
    d_w0 = ti.select(both(w0 >= 0.0, w0 <= 1.0), (d_c0 - mean) * inverse_sum, 0.0)
    d_w1 = ti.select(both(w1 >= 0.0, w1 <= 1.0), (d_c1 - mean) * inverse_sum, 0.0)
    d_w2 = ti.select(both(w2 >= 0.0, w2 <= 1.0), (d_c2 - mean) * inverse_sum, 0.0)
    return d_w0, d_w1, d_w2

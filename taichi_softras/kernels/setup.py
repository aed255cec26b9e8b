"""Face records: what every pixel of a face needs, computed once; unusable faces are left out."""

from functools import cache
from typing import Any

import taichi as ti

from taichi_softras.kernels.triangle import cross2
from taichi_softras.kernels.types import RECORD, array, greater, lesser

NON_FINITE, BEHIND, DEGENERATE = 0, 1, 2
"""Slots of the counters of skipped faces."""

CULLED = 3
"""Reason of faces that the settings leave out on purpose."""


@ti.func
def is_finite_f32(x):
    """Read the exponent bits: fast-math compilers assume that x == x."""
    return (ti.bit_cast(x, ti.i32) & 0x7F800000) != 0x7F800000


@ti.func
def is_finite_f64(x):
    """Read the exponent bits: fast-math compilers assume that x == x."""
    return ((ti.bit_cast(x, ti.i64) >> 52) & 0x7FF) != 0x7FF


def is_finite(dtype: Any) -> Any:
    """Return the finiteness test for `dtype`."""
    return is_finite_f32 if dtype == ti.f32 else is_finite_f64


@ti.func
def length2(a):
    """Squared length of a plane vector."""
    return a[0] * a[0] + a[1] * a[1]


@ti.func
def edge_room(a, e, inverse_area2, reach, barycentric: ti.template()):
    """How far outside the line of edge e, from a on, pixels may feel the face, times |e|.

    With a margin for the rounding of the products that this is compared with.
    """
    size = ti.abs(e[0]) + ti.abs(e[1])
    allowed = reach * ti.sqrt(length2(e))
    if ti.static(barycentric):
        allowed = reach / ti.abs(inverse_area2)
    return 1.001 * allowed + 1e-6 * size * (1.0 + ti.abs(a[0]) + ti.abs(a[1]))


@ti.func
def record_of(p0, p1, p2, area2, z, reach, barycentric: ti.template()):
    """Return the numbers of a face's record.

    Layout: corners x0 y0 x1 y1 x2 y2; 1 / |edge|^2 of the edges 01, 12, 20; 1 / (signed twice
    the area); depth of corner 0 and differences of the others to it; 1 / depth of the corners;
    `edge_room` of the edges.
    """
    inverse_area2 = 1.0 / area2
    return ti.Vector([
        p0[0], p0[1], p1[0], p1[1], p2[0], p2[1],
        1.0 / length2(p1 - p0), 1.0 / length2(p2 - p1), 1.0 / length2(p0 - p2),
        inverse_area2,
        z[0], z[1] - z[0], z[2] - z[0],
        1.0 / z[0], 1.0 / z[1], 1.0 / z[2],
        edge_room(p0, p1 - p0, inverse_area2, reach, barycentric),
        edge_room(p1, p2 - p1, inverse_area2, reach, barycentric),
        edge_room(p2, p0 - p2, inverse_area2, reach, barycentric),
    ])  # fmt: skip


@ti.func
def pixel_range(low, high, n_pixels, shorter):
    """First and last pixel along x whose centre may lie in [low, high], widened for rounding."""
    margin = 1e-3 + 1e-6 * shorter * greater(ti.abs(low), ti.abs(high))
    first = (low * shorter + n_pixels - 1.0) * 0.5 - margin
    last = (high * shorter + n_pixels - 1.0) * 0.5 + margin
    # Clamped as floats: far-away corners do not fit an int.
    first = greater(lesser(ti.ceil(first), n_pixels), 0.0)
    last = greater(lesser(ti.floor(last), n_pixels - 1.0), -1.0)
    return ti.cast(first, ti.i32), ti.cast(last, ti.i32)


@ti.func
def view_of(views: ti.template(), n_views, n):
    """View that owns corner record n: the last one that begins at n or before, by bisection."""
    first, last = 0, n_views - 1
    while first < last:
        middle = (first + last + 1) // 2
        if views[middle, 0] <= n:
            first = middle
        else:
            last = middle - 1
    return first


@ti.func
def rows_of_corners(faces: ti.template(), n_vertices, b, f, n):
    """Where the corners of view b's face f, record n, are among the points.

    With `n_vertices` of each view, its vertices; with 0 the points are the records' corners.
    """
    rows = ti.Vector([3 * n, 3 * n + 1, 3 * n + 2])
    if n_vertices > 0:
        for k in ti.static(range(3)):
            rows[k] = b * n_vertices + faces[f, k]
    return rows


@cache
def setup_function(
    dtype: Any, distance: str, cull: str, any_depth: bool, with_attributes: bool
) -> Any:
    """Return the function that turns a face's corners into its record and pixel box.

    Args:
        dtype: Precision of the corners.
        distance: Metric of the coverage.
        cull: Sides to leave out.
        any_depth: Keep faces with corners behind the eye, except in its plane.
        with_attributes: There are any; faces whose are not finite cannot be rendered.
    """
    finite = is_finite(dtype)
    # Four roundings of the precision: below that the sign of an area is noise.
    flat = 4.0 * (2.0**-23 if dtype == ti.f32 else 2.0**-52)

    @ti.func
    def classify(
        points: ti.template(), rows, attributes: ti.template(), m, channels, area2, longest2
    ):
        """Return -1 for a face to render, else why not; 3 is a culled one."""
        reason = -1
        if ti.abs(area2) <= flat * longest2:
            reason = DEGENERATE
        for k in ti.static(range(3)):
            z = points[rows[k], 2]
            if z == 0.0 if ti.static(any_depth) else z <= 0.0:
                reason = BEHIND
        ok = finite(area2) and finite(longest2)
        for k in ti.static(range(3)):
            for axis in ti.static(range(3)):
                ok = ok and finite(points[rows[k], axis])
            if ti.static(with_attributes):
                for c in range(channels):
                    ok = ok and finite(attributes[m, k, c])
        if not ok:
            reason = NON_FINITE
        if ti.static(cull == "back"):
            if reason == -1 and area2 < 0.0:
                reason = CULLED
        if ti.static(cull == "front"):
            if reason == -1 and area2 > 0.0:
                reason = CULLED
        return reason

    @ti.func
    def set_up(
        points: ti.template(), faces: ti.template(), n_vertices, attributes: ti.template(),
        views: ti.template(), b, n, channels, height, width, reach,
        records: ti.template(), boxes: ti.template(), skipped: ti.template(),
    ):  # fmt: skip
        """Set up record n, a face of view b; count it in `skipped` if it cannot be rendered."""
        f = n - views[b, 0]
        m = views[b, 1] + f
        rows = rows_of_corners(faces, n_vertices, b, f, n)
        p0 = ti.Vector([points[rows[0], 0], points[rows[0], 1]])
        p1 = ti.Vector([points[rows[1], 0], points[rows[1], 1]])
        p2 = ti.Vector([points[rows[2], 0], points[rows[2], 1]])
        area2 = cross2(p1 - p0, p2 - p0)
        longest2 = ti.max(length2(p1 - p0), length2(p2 - p1), length2(p0 - p2))
        reason = classify(points, rows, attributes, m, channels, area2, longest2)
        left, right, up, down = 0, -1, 0, -1
        if reason == -1:
            z = ti.Vector([points[rows[0], 2], points[rows[1], 2], points[rows[2], 2]])
            record = record_of(p0, p1, p2, area2, z, reach, distance == "barycentric")
            for k in ti.static(range(RECORD)):
                records[n, k] = record[k]
            low, high = lesser(lesser(p0, p1), p2), greater(greater(p0, p1), p2)
            grow = ti.Vector([reach, reach])
            if ti.static(distance == "barycentric"):
                # All w_k > -reach: the triangle, 1 + 3 reach times as large.
                center = (p0 + p1 + p2) / 3.0
                grow = 3.0 * reach * greater(high - center, center - low)
            low -= grow
            high += grow
            shorter = ti.min(height, width)
            left, right = pixel_range(low[0], high[0], width, shorter)
            up, down = pixel_range(-high[1], -low[1], height, shorter)
        elif reason < CULLED:
            skipped[reason] += 1
        boxes[n, 0], boxes[n, 1], boxes[n, 2], boxes[n, 3] = left, right, up, down

    return set_up


@cache
def setup_kernel(*choices: Any) -> Any:
    """Return the kernel that only sets up faces, for GPUs; arguments as of `setup_function`."""
    dtype, set_up = choices[0], setup_function(*choices)

    @ti.kernel
    def setup(
        points: array(dtype, 2),  # [Q, 3] vertices or corners: x, y in NDC, view depth
        faces: array(ti.i32, 2),  # [F, 3] vertices of each view's faces
        n_vertices: ti.i32,  # see `rows_of_corners`
        attributes: array(dtype, 3),  # [M, 3, C]
        views: array(ti.i32, 2),  # [B, 3] first corner record, first attribute record, faces
        n_views: ti.i32,
        n_faces: ti.i32,  # N, of all views
        channels: ti.i32,  # C
        height: dtype,
        width: dtype,
        reach: dtype,  # faces are felt this far outside, in units of the distance metric
        records: array(dtype, 2),  # [N, RECORD] out
        boxes: array(ti.i32, 2),  # [N, 4] out: first and last column, first and last row
        skipped: array(ti.i32, 1),  # [3] out: faces left out, by reason
    ):
        for reason in range(3):
            skipped[reason] = 0
        for n in range(n_faces):
            set_up(
                points, faces, n_vertices, attributes, views, view_of(views, n_views, n), n,
                channels, height, width, reach, records, boxes, skipped,
            )  # fmt: skip

    return setup


@ti.func
def read_record(records: ti.template(), n):
    """Load face n as named vectors."""
    return ti.Struct(
        p0=ti.Vector([records[n, 0], records[n, 1]]),
        p1=ti.Vector([records[n, 2], records[n, 3]]),
        p2=ti.Vector([records[n, 4], records[n, 5]]),
        inverse_length2=ti.Vector([records[n, 6], records[n, 7], records[n, 8]]),
        inverse_area2=records[n, 9],
        z=ti.Vector([records[n, 10], records[n, 11], records[n, 12]]),
        r=ti.Vector([records[n, 13], records[n, 14], records[n, 15]]),
    )

"""Set up faces: what every pixel of one needs, computed once; unusable ones are left out."""

from functools import cache
from typing import Any, NamedTuple

import taichi as ti

from taichi_softras.kernels.blocks import HEIGHT, WIDTH
from taichi_softras.kernels.records import BOX, HALF_PLANES
from taichi_softras.kernels.triangle import cross2
from taichi_softras.kernels.types import both, greater, lesser

NON_FINITE, BEHIND, DEGENERATE = 0, 1, 2
"""Slots of the counters of skipped faces."""

CULLED = 3
"""Reason of faces that the settings leave out on purpose."""

USABLE = -1
"""No reason."""


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
def edge_room(a, e, e2, inverse_area2, reach, extent, barycentric: ti.template()):
    """How far outside the line of edge e, from a on, pixels may feel the face, times |e|.

    With a margin for the rounding of what this is compared with. `e2` is |e|^2, and `extent` bounds
    |x| + |y| of pixels.
    """
    size = ti.abs(e[0]) + ti.abs(e[1])
    allowed = reach * ti.sqrt(e2)
    if ti.static(barycentric):
        allowed = reach / ti.abs(inverse_area2)
    return 1.001 * allowed + 1e-6 * size * (extent + ti.abs(a[0]) + ti.abs(a[1]))


@ti.func
def half_plane(a, e, room, side, height, width):
    """How far blocks of pixels are inside edge e's line, from a on, times |e|, plus `room`.

    Blocks as in `blocks`; of each its best pixel counts. `side` is 1, or -1 for a face seen from
    behind.

    Returns:
        That of the image's first block; what each block to the right adds; each one below.
    """
    shorter = ti.min(height, width)
    # The centre of the first block.
    x, y = (WIDTH - width) / shorter, (height - HEIGHT) / shorter
    pixel = side * (2.0 / shorter)
    right, down = -pixel * e[1], -pixel * e[0]
    inward = side * (e[0] * (y - a[1]) - e[1] * (x - a[0])) + room
    inward += 0.5 * ((WIDTH - 1) * ti.abs(right) + (HEIGHT - 1) * ti.abs(down))
    return inward, WIDTH * right, HEIGHT * down


@ti.func
def pixel_range(low, high, n_pixels, shorter):
    """First and last pixel along x whose centre may lie in [low, high], widened for rounding."""
    margin = 1e-3 + 1e-6 * shorter * greater(ti.abs(low), ti.abs(high))
    first = (low * shorter + n_pixels - 1.0) * 0.5 - margin
    last = (high * shorter + n_pixels - 1.0) * 0.5 + margin
    # Clamped as floats: far-away corners do not fit an int.
    first = greater(lesser(ti.ceil(first), n_pixels), 0.0)
    last = greater(lesser(ti.floor(last), n_pixels - 1.0), -1.0)
    return first, last


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


class SetupFunctions(NamedTuple):
    """What makes records of faces."""

    reads_well: Any
    describe: Any


@cache
def setup_functions(
    dtype: Any, distance: str, cull: str, any_depth: bool, with_attributes: bool
) -> SetupFunctions:
    """Return the functions that turn a face's corners into its record.

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
    def reads_well(attributes: ti.template(), m, channels):
        """Whether attribute record m is finite."""
        ok = True
        if ti.static(with_attributes):
            for k in ti.static(range(3)):
                for c in range(channels):
                    ok = ok and finite(attributes[m, k, c])
        return ok

    @ti.func
    def reason_against(p0, p1, p2, z, reads, area2, longest2):
        """Return USABLE, or why a face is not rendered."""
        reason = ti.select(ti.abs(area2) <= flat * longest2, DEGENERATE, USABLE)
        ok = both(reads, both(finite(area2), finite(longest2)))
        for k in ti.static(range(3)):
            off = z[k] == 0.0 if ti.static(any_depth) else z[k] <= 0.0
            reason = ti.select(off, BEHIND, reason)
            ok = both(ok, finite(z[k]))
        for p in ti.static((p0, p1, p2)):
            ok = both(ok, both(finite(p[0]), finite(p[1])))
        if ti.static(cull != "none"):
            culled = area2 < 0.0 if ti.static(cull == "back") else area2 > 0.0
            reason = ti.select(both(reason == USABLE, culled), CULLED, reason)
        return ti.select(ok, reason, NON_FINITE)

    @ti.func
    def box_of(p0, p1, p2, height, width, reach):
        """First and last column, first and last row of pixels that may feel a face."""
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
        return left, right, up, down

    @ti.func
    def describe(p0, p1, p2, z, reads, height, width, reach, record: ti.template()):
        """Set a record [RECORD], without a branch; return USABLE, or why the face is not.

        Layout: corners x0 y0 x1 y1 x2 y2; 1 / |edge|^2 of the edges 01, 12, 20; 1 / (signed twice
        the area); depth of corner 0 and differences of the others to it; 1 / depth of the corners;
        `half_plane` of the edges; first and last column, first and last row of its pixels. A face
        that is not usable has none.
        """
        area2 = cross2(p1 - p0, p2 - p0)
        corners, edges = (p0, p1, p2), (p1 - p0, p2 - p1, p0 - p2)
        lengths2 = ti.Vector([length2(edges[k]) for k in ti.static(range(3))])
        longest2 = greater(greater(lengths2[0], lengths2[1]), lengths2[2])
        reason = reason_against(p0, p1, p2, z, reads, area2, longest2)
        inverse_area2 = 1.0 / area2
        side = ti.select(area2 > 0.0, 1.0, -1.0)
        extent = (height + width) / ti.min(height, width)
        for k in ti.static(range(3)):
            a = corners[k]
            record[2 * k], record[2 * k + 1] = a[0], a[1]
            record[6 + k] = 1.0 / lengths2[k]
            record[13 + k] = 1.0 / z[k]
            room = edge_room(
                a, edges[k], lengths2[k], inverse_area2, reach, extent, distance == "barycentric"
            )  # fmt: skip
            plane = half_plane(a, edges[k], room, side, height, width)
            for i in ti.static(range(3)):
                record[HALF_PLANES + 3 * k + i] = plane[i]
        record[9] = inverse_area2
        record[10], record[11], record[12] = z[0], z[1] - z[0], z[2] - z[0]
        left, right, up, down = box_of(p0, p1, p2, height, width, reach)
        usable = reason == USABLE
        record[BOX], record[BOX + 1] = ti.select(usable, left, 0.0), ti.select(usable, right, -1.0)
        record[BOX + 2], record[BOX + 3] = ti.select(usable, up, 0.0), ti.select(usable, down, -1.0)
        return reason

    return SetupFunctions(reads_well, describe)

"""Faces set up on a GPU, one a thread."""

from functools import cache
from typing import Any

import taichi as ti

from taichi_softras.kernels.records import RECORD
from taichi_softras.kernels.setup import CULLED, USABLE, rows_of_corners, setup_functions
from taichi_softras.kernels.types import array


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


@cache
def setup_kernel(*choices: Any) -> Any:
    """Return the kernel that only sets up faces, for GPUs; arguments as of `setup_functions`."""
    dtype, (reads_well, describe) = choices[0], setup_functions(*choices)

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
        records: array(dtype, 1),  # [N * RECORD] out
        skipped: array(ti.i32, 1),  # [3] out: faces left out, by reason
    ):
        for reason in range(3):
            skipped[reason] = 0
        for n in range(n_faces):
            b = view_of(views, n_views, n)
            f = n - views[b, 0]
            rows = rows_of_corners(faces, n_vertices, b, f, n)
            p0 = ti.Vector([points[rows[0], 0], points[rows[0], 1]])
            p1 = ti.Vector([points[rows[1], 0], points[rows[1], 1]])
            p2 = ti.Vector([points[rows[2], 0], points[rows[2], 1]])
            z = ti.Vector([points[rows[0], 2], points[rows[1], 2], points[rows[2], 2]])
            reads = reads_well(attributes, views[b, 1] + f, channels)
            record = ti.Vector.zero(dtype, RECORD)
            reason = describe(p0, p1, p2, z, reads, height, width, reach, record)
            for k in ti.static(range(RECORD)):
                records[n * RECORD + k] = record[k]
            if USABLE < reason < CULLED:
                skipped[reason] += 1

    return setup

"""Faces set up on a CPU, several at once."""

from functools import cache
from typing import Any

import taichi as ti

from taichi_softras.kernels.blocks import window
from taichi_softras.kernels.records import BOX, RECORD, WINDOW
from taichi_softras.kernels.setup import CULLED, USABLE, rows_of_corners, setup_functions
from taichi_softras.kernels.stores import AT_ONCE, store_function
from taichi_softras.kernels.types import WITHIN

EIGHT = 8
"""Faces at once: the numbers of an AVX register of float32, see `blocks`."""


@cache
def setup_eight_function(*choices: Any) -> Any:
    """Return the function that sets up EIGHT faces; arguments as of `setup_functions`."""
    dtype = choices[0]
    reads_well, describe = setup_functions(*choices)
    store = store_function(dtype)

    @ti.func
    def set_up_eight(
        points: ti.template(), faces: ti.template(), n_vertices, attributes: ti.template(),
        views: ti.template(), b, first, count, channels, height, width, reach,
        records: ti.template(), skipped: ti.template(),
    ):  # fmt: skip
        """Set up `count` records, faces of view b; count in `skipped` what cannot be rendered."""
        corners = [ti.Vector.zero(dtype, EIGHT) for _ in ti.static(range(9))]
        reads = ti.Vector.zero(ti.i32, EIGHT)
        for lane in range(EIGHT):
            # Missing ones are copies of the last one.
            n = first + ti.min(lane, count - 1)
            f = n - views[b, 0]
            rows = rows_of_corners(faces, n_vertices, b, f, n)
            for k in ti.static(range(3)):
                for axis in ti.static(range(3)):
                    corners[3 * k + axis][lane] = points[rows[k], axis]
            reads[lane] = ti.cast(reads_well(attributes, views[b, 1] + f, channels), ti.i32)
        numbers = [ti.Vector.zero(dtype, EIGHT) for _ in ti.static(range(RECORD))]
        reasons = ti.Vector.zero(ti.i32, EIGHT)
        for lane in range(EIGHT):
            p0 = ti.Vector([corners[0][lane], corners[1][lane]])
            p1 = ti.Vector([corners[3][lane], corners[4][lane]])
            p2 = ti.Vector([corners[6][lane], corners[7][lane]])
            z = ti.Vector([corners[2][lane], corners[5][lane], corners[8][lane]])
            record = ti.Vector.zero(dtype, RECORD)
            reasons[lane] = describe(p0, p1, p2, z, reads[lane] != 0, height, width, reach, record)
            record[WINDOW] = window(record, *[record[BOX + i] for i in ti.static(range(4))])
            for k in ti.static(range(RECORD)):
                numbers[k][lane] = record[k]
        for lane in range(count):
            at = ((first + lane) * RECORD) & WITHIN
            for part in ti.static(range(RECORD // AT_ONCE)):
                here = [numbers[part * AT_ONCE + k][lane] for k in ti.static(range(AT_ONCE))]
                store(records, at + part * AT_ONCE, ti.Vector(here))
            if USABLE < reasons[lane] < CULLED:
                skipped[reasons[lane]] += 1

    return set_up_eight

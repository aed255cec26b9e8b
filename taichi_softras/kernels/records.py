"""Face records: where their numbers are, and how to read them. `setup` makes them."""

import taichi as ti

from taichi_softras.kernels.types import WITHIN, both

RECORD = 32
"""Numbers of a face record, see `setup.describe`: a cache line for what pixels ask for, and one for
what lists do."""

HALF_PLANES = 16
"""Where those begin that tell which blocks may feel the face: three of each edge."""

BOX = 25
"""Where those begin that tell which pixels may: first and last column, first and last row."""

WINDOW = 29
"""Where `blocks.window` is, on CPUs."""


@ti.func
def read_box(records: ti.template(), n):
    """First and last column, first and last row of face n's pixels, as floats."""
    at = ((n * RECORD) & WITHIN) + BOX
    return records[at], records[at + 1], records[at + 2], records[at + 3]


@ti.func
def is_in_rows(records: ti.template(), n, row):
    """Whether face n may be felt in a row of pixels."""
    _left, _right, up, down = read_box(records, n)
    return both(up <= row, row <= down)


@ti.func
def read_record(records: ti.template(), n):
    """Load face n as named vectors."""
    at = (n * RECORD) & WITHIN
    return ti.Struct(
        p0=ti.Vector([records[at], records[at + 1]]),
        p1=ti.Vector([records[at + 2], records[at + 3]]),
        p2=ti.Vector([records[at + 4], records[at + 5]]),
        inverse_length2=ti.Vector([records[at + 6], records[at + 7], records[at + 8]]),
        inverse_area2=records[at + 9],
        z=ti.Vector([records[at + 10], records[at + 11], records[at + 12]]),
        r=ti.Vector([records[at + 13], records[at + 14], records[at + 15]]),
    )

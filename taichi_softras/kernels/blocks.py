"""A tile as blocks of eight pixels, and which of them a face can touch.

The eight pixels of a block, four wide and two high, are one AVX register of float32: the unit that
the CPU driver works in. Small and slanted faces touch fewer of them than rows of eight.
"""

from functools import cache
from typing import Any

import taichi as ti

from taichi_softras.kernels.fused import fma
from taichi_softras.kernels.records import HALF_PLANES, RECORD
from taichi_softras.kernels.types import CPU_TILE, WITHIN, both, greater, lesser

TILE = CPU_TILE

TILE_BITS = TILE.bit_length() - 1
"""x >> TILE_BITS is the tile of pixel x."""

PIXELS = TILE * TILE
"""Pixels of a tile."""

BLOCK = 8
"""Pixels of a block."""

WIDTH, HEIGHT = 4, 2

ACROSS = TILE // WIDTH
"""Blocks side by side."""

DOWN = TILE // HEIGHT
"""Blocks one above the other."""

BLOCKS = ACROSS * DOWN
"""Blocks of a tile: as many as an int32 has bits."""

# The shifts below are by the logarithms of these.

ALL_BLOCKS = -1
"""A bit for each block."""

EACH_ROW = sum(1 << bit for bit in range(0, BLOCKS, ACROSS))
"""The first bit of each row of blocks."""

WINDOW_DOWN = 6
"""Rows of blocks in a window, see `window`, as wide as a tile: 24 bits, which a float32 holds."""

LARGE = -1
"""In place of a window."""


@ti.func
def pixel_index(row, column):
    """Number of a tile's pixel, block by block; bits, because Taichi's // and % are slow."""
    return ((row >> 1) << 5) | ((column >> 2) << 3) | ((row & 1) << 2) | (column & 3)


@ti.func
def lanes_of(block):
    """Where a block's column and row begin, in arrays that have eight numbers for each."""
    return (block & (ACROSS - 1)) * BLOCK, (block >> 2) * BLOCK


@ti.func
def inside_edge(records: ti.template(), n, k: ti.template(), column, row):
    """Read `setup.half_plane` of edge k of face n, at the block in this column and row.

    Returns:
        How far inside it is; what each block to the right adds; each one below.
    """
    at = ((n * RECORD) & WITHIN) + HALF_PLANES + 3 * k
    right, down = records[at + 1], records[at + 2]
    return fma(right, column, fma(down, row, records[at])), right, down


@ti.func
def reaches_tile(records: ti.template(), n, tile_x, tile_y, across, down):
    """Whether tile (tile_x, tile_y) of so many blocks can hold a pixel that feels face n.

    Conservative: refused only if the whole tile lies beyond `reach` outside an edge's line.
    """
    near = 1
    for k in ti.static(range(3)):
        inward, right, below = inside_edge(records, n, k, tile_x * across, tile_y * down)
        best = inward + greater((across - 1) * right, 0.0) + greater((down - 1) * below, 0.0)
        if best < 0.0:
            near = 0
    return near


@ti.func
def live_blocks(records: ti.template(), n, left, right, up, low, tile_x, tile_y):
    """Return a bit for each block of tile (tile_x, tile_y) that can feel face n.

    As conservative as `reaches_tile`: a block is refused only if it lies outside the face's pixels,
    `left` to `right` and `up` to `low`, which must touch the tile, or wholly beyond `reach` outside
    an edge's line.
    """
    column, row = tile_x * ACROSS, tile_y * DOWN
    inward_0, right_0, down_0 = inside_edge(records, n, 0, column, row)
    inward_1, right_1, down_1 = inside_edge(records, n, 1, column, row)
    inward_2, right_2, down_2 = inside_edge(records, n, 2, column, row)
    live = 0
    # Vectorised: eight blocks at a time.
    for block in range(BLOCKS):
        d_x, d_y = block & (ACROSS - 1), block >> 2
        near = lesser(
            lesser(
                fma(right_0, d_x, fma(down_0, d_y, inward_0)),
                fma(right_1, d_x, fma(down_1, d_y, inward_1)),
            ),
            fma(right_2, d_x, fma(down_2, d_y, inward_2)),
        )
        live |= ti.select(near >= 0.0, 1 << block, 0)
    first_row = ti.max(up - tile_y * TILE, 0) >> 1
    last_row = ti.min(low - tile_y * TILE, TILE - 1) >> 1
    first_column = ti.max(left - tile_x * TILE, 0) >> 2
    last_column = ti.min(right - tile_x * TILE, TILE - 1) >> 2
    rows = (-1 << (ACROSS * first_row)) & ti.bit_shr(-1, BLOCKS - ACROSS * (last_row + 1))
    columns = ((2 << last_column) - (1 << first_column)) * EACH_ROW
    return live & rows & columns


@ti.func
def window(record: ti.template(), left, right, up, low):
    """Return which of ACROSS x WINDOW_DOWN blocks, a bit for each, can feel a small face.

    The first one holds the first of the face's pixels, `left` to `right` and `up` to `low`. A face
    with more blocks has LARGE. As `live_blocks`; without a branch, for several faces at once.
    """
    column, row = ti.floor(left / WIDTH), ti.floor(up / HEIGHT)
    columns, rows = ti.floor(right / WIDTH) - column + 1, ti.floor(low / HEIGHT) - row + 1
    at = HALF_PLANES
    across = ti.Vector([record[at + 1], record[at + 4], record[at + 7]])
    below = ti.Vector([record[at + 2], record[at + 5], record[at + 8]])
    in_row = ti.Vector([record[at], record[at + 3], record[at + 6]])
    in_row += across * column + below * row
    bits = 0
    # LLVM unrolls it, and sooner than Taichi would.
    for d_y in range(WINDOW_DOWN):
        inside = in_row
        for d_x in ti.static(range(ACROSS)):
            near = lesser(lesser(inside[0], inside[1]), inside[2])
            bits |= ti.select(near >= 0.0, 1 << (d_y * ACROSS + d_x), 0)
            inside += across
        in_row += below
    small = both(columns <= ACROSS, rows <= WINDOW_DOWN)
    in_columns = ((1 << ti.cast(columns, ti.i32)) - 1) * EACH_ROW
    in_rows = (1 << (ACROSS * ti.cast(rows, ti.i32))) - 1
    anywhere = both(left <= right, up <= low)
    return ti.select(anywhere, ti.select(small, bits & in_columns & in_rows, LARGE), 0)


@ti.func
def window_in_tile(bits, column, row, right: ti.template(), below: ti.template()):
    """Return `window`'s bits as those of a tile's blocks.

    The window begins at this column and row of a tile; wanted is that one, or the tile to the
    `right` of it, or `below`, or both.
    """
    # What is beside the tile would wrap to another row.
    if ti.static(right):
        bits = (bits & (((15 << (ACROSS - column)) & 15) * EACH_ROW)) >> (ACROSS - column)
    else:
        bits = (bits & ((15 >> column) * EACH_ROW)) << column
    if ti.static(below):
        # Not at once: nobody shifts by 32.
        return (bits >> (ACROSS * (DOWN - 1 - row))) >> ACROSS
    return bits << (ACROSS * row)


@ti.func
def first_block(blocks):
    """Number of the lowest bit that is set."""
    return ti.math.popcnt((blocks & -blocks) - 1)


@ti.func
def limits_of_sight(reference: ti.template(), reach, limits: ti.template()):
    """Depth from which on nothing shows in each block [BLOCKS].

    It is `reach` beyond the farthest `reference` depth [PIXELS] of the block.
    """
    for block in range(BLOCKS):
        farthest = reference[block * BLOCK]
        for lane in range(BLOCK):
            farthest = greater(farthest, reference[block * BLOCK + lane])
        # Interpolated depths may be nearer than all corners by a rounding or two.
        limits[block] = farthest + reach + 1e-5 * ti.abs(farthest)


@ti.func
def hidden_blocks(limits: ti.template(), z):
    """Return a bit for each block in which a face shows nowhere; z as in `records.read_record`."""
    nearest = z[0] + lesser(lesser(z[1], z[2]), 0.0)
    hidden = 0
    for block in range(BLOCKS):
        hidden |= ti.select(nearest >= limits[block], 1 << block, 0)
    return hidden


@cache
def nonzero_blocks_function(dtype: Any) -> Any:
    """Return the function that finds the blocks with a pixel that is not 0."""
    whole = ti.i32 if dtype == ti.f32 else ti.i64

    @ti.func
    def nonzero_blocks(values: ti.template()):
        """Return a bit for each block in which some of `values` [PIXELS] is not 0, NaN included."""
        live = 0
        for block in range(BLOCKS):
            bits = ti.cast(0, whole)
            # All bits but the sign: fast-math compilers assume that nothing is NaN.
            for lane in range(BLOCK):
                bits |= ti.bit_cast(values[block * BLOCK + lane], whole) << 1
            live |= ti.select(bits != 0, 1 << block, 0)
        return live

    return nonzero_blocks

"""A tile as blocks of eight pixels, and which of them a face can touch.

The eight pixels of a block, four wide and two high, are one AVX register of float32: the unit that
the CPU driver works in. Small and slanted faces touch fewer of them than rows of eight.
"""

from functools import cache
from typing import Any

import taichi as ti

from taichi_softras.kernels.fused import fma
from taichi_softras.kernels.types import CPU_TILE, greater, lesser

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


@ti.func
def pixel_index(row, column):
    """Number of a tile's pixel, block by block; bits, because Taichi's // and % are slow."""
    return ((row >> 1) << 5) | ((column >> 2) << 3) | ((row & 1) << 2) | (column & 3)


@ti.func
def lanes_of(block):
    """Where a block's column and row begin, in arrays that have eight numbers for each."""
    return (block & (ACROSS - 1)) * BLOCK, (block >> 2) * BLOCK


@ti.func
def live_blocks(records: ti.template(), boxes: ti.template(), n, tile_x, tile_y, height, width):
    """Return a bit for each block of tile (tile_x, tile_y) that can feel face n.

    As conservative as `tiles.reaches_tile`: a block is refused only if it lies outside the face's
    pixel box, which must touch the tile, or wholly beyond `reach` outside an edge's line.
    """
    shorter = ti.min(height, width)
    pixel = 2.0 / shorter
    # Of the centre of the first block.
    x = (2.0 * tile_x * TILE + WIDTH - width) / shorter
    y = (height - HEIGHT - 2.0 * tile_y * TILE) / shorter
    side = ti.select(records[n, 9] > 0.0, 1.0, -1.0)
    inward = ti.Vector([x, x, x])
    right = ti.Vector([x, x, x])
    down = ti.Vector([x, x, x])
    for k in ti.static(range(3)):
        a_x, a_y = records[n, 2 * k], records[n, 2 * k + 1]
        e_x = records[n, (2 * k + 2) % 6] - a_x
        e_y = records[n, (2 * k + 3) % 6] - a_y
        # At the block's centre, plus what its best corner has over that.
        inward[k] = side * (e_x * (y - a_y) - e_y * (x - a_x)) + records[n, 16 + k]
        inward[k] += 0.5 * pixel * ((WIDTH - 1) * ti.abs(e_y) + (HEIGHT - 1) * ti.abs(e_x))
        right[k] = -side * e_y * (pixel * WIDTH)
        down[k] = -side * e_x * (pixel * HEIGHT)
    live = 0
    # Vectorised: eight blocks at a time.
    for block in range(BLOCKS):
        d_x, d_y = block & (ACROSS - 1), block >> 2
        near = lesser(
            lesser(
                fma(right[0], d_x, fma(down[0], d_y, inward[0])),
                fma(right[1], d_x, fma(down[1], d_y, inward[1])),
            ),
            fma(right[2], d_x, fma(down[2], d_y, inward[2])),
        )
        live |= ti.select(near >= 0.0, 1 << block, 0)
    first_row = ti.max(boxes[n, 2] - tile_y * TILE, 0) >> 1
    last_row = ti.min(boxes[n, 3] - tile_y * TILE, TILE - 1) >> 1
    first_column = ti.max(boxes[n, 0] - tile_x * TILE, 0) >> 2
    last_column = ti.min(boxes[n, 1] - tile_x * TILE, TILE - 1) >> 2
    rows = (-1 << (ACROSS * first_row)) & ti.bit_shr(-1, BLOCKS - ACROSS * (last_row + 1))
    columns = ((2 << last_column) - (1 << first_column)) * EACH_ROW
    return live & rows & columns


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
    """Return a bit for each block in which a face shows nowhere; z as in `setup.read_record`."""
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

"""A tile as eight blocks of eight pixels, and which of them a face can touch.

The eight pixels of a block, four wide and two high, are one AVX register of float32: the unit that
the CPU driver works in. Small and slanted faces touch fewer of them than rows of eight.
"""

from functools import cache
from typing import Any

import taichi as ti

from taichi_softras.kernels.types import TILE, greater, lesser

BLOCK = 8
"""Pixels of a block."""

BLOCKS = 8
"""Blocks of a tile: two side by side, four rows of them."""

ALL_BLOCKS = 2**BLOCKS - 1
"""A bit for each block."""

WIDTH, HEIGHT = 4, 2


@ti.func
def pixel_row(i):
    """Row of a tile's pixel i, block by block; bits, because Taichi's // and % are slow."""
    return ((i >> 4) << 1) | ((i >> 2) & 1)


@ti.func
def pixel_column(i):
    """Column of a tile's pixel i, block by block."""
    return ((i >> 1) & 4) | (i & 3)


@ti.func
def pixel_index(row, column):
    """Inverse of `pixel_row` and `pixel_column`."""
    return ((row >> 1) << 4) | ((column & 4) << 1) | ((row & 1) << 2) | (column & 3)


@ti.func
def live_blocks(records: ti.template(), boxes: ti.template(), n, tile_x, tile_y, height, width):
    """Return a bit for each block of tile (tile_x, tile_y) that can feel face n.

    As conservative as `tiles.reaches_tile`: a block is refused only if it lies outside the face's
    pixel box, which must touch the tile, or wholly beyond `reach` outside an edge's line.
    """
    shorter = ti.min(height, width)
    pixel = 2.0 / shorter
    x = (2.0 * tile_x * TILE + TILE - width) / shorter
    y = (height - TILE - 2.0 * tile_y * TILE) / shorter
    side = ti.select(records[n, 9] > 0.0, 1.0, -1.0)
    inward = ti.Vector([x, x, x])
    right = ti.Vector([x, x, x])
    down = ti.Vector([x, x, x])
    for k in ti.static(range(3)):
        a_x, a_y = records[n, 2 * k], records[n, 2 * k + 1]
        e_x = records[n, (2 * k + 2) % 6] - a_x
        e_y = records[n, (2 * k + 3) % 6] - a_y
        # At the tile's centre, plus what the best corner of a block has over the block's centre.
        inward[k] = side * (e_x * (y - a_y) - e_y * (x - a_x)) + records[n, 16 + k]
        inward[k] += 0.5 * pixel * ((WIDTH - 1) * ti.abs(e_y) + (HEIGHT - 1) * ti.abs(e_x))
        right[k] = -side * e_y * pixel
        down[k] = -side * e_x * pixel
    live = 0
    # Unrolled: the offsets are constants.
    for block in ti.static(range(BLOCKS)):
        d_x = block % 2 * WIDTH + 0.5 * (WIDTH - TILE)
        d_y = block // 2 * HEIGHT + 0.5 * (HEIGHT - TILE)
        edges = inward + d_x * right + d_y * down
        near = lesser(lesser(edges[0], edges[1]), edges[2]) >= 0.0
        live |= ti.select(near, 1 << block, 0)
    first_row = ti.max(boxes[n, 2] - tile_y * TILE, 0) // HEIGHT
    last_row = ti.min(boxes[n, 3] - tile_y * TILE, TILE - 1) // HEIGHT
    rows = (1 << (2 * last_row + 2)) - (1 << (2 * first_row))
    left = ti.select(boxes[n, 0] < tile_x * TILE + WIDTH, 0x55, 0)
    right_half = ti.select(boxes[n, 1] >= tile_x * TILE + WIDTH, 0xAA, 0)
    return live & rows & (left | right_half)


@ti.func
def list_blocks(live, blocks: ti.template()):
    """Write the numbers of the bits in `live` to `blocks` [BLOCKS], in order; return how many."""
    n = 0
    for block in ti.static(range(BLOCKS)):
        blocks[n] = block
        n += (live >> block) & 1
    return n


@ti.func
def limits_of_sight(reference: ti.template(), reach, limits: ti.template()):
    """Depth from which on nothing shows in each block [BLOCKS].

    It is `reach` beyond the farthest `reference` depth [PIXELS] of the block.
    """
    for block in ti.static(range(BLOCKS)):
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
    for block in ti.static(range(BLOCKS)):
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
        for block in ti.static(range(BLOCKS)):
            bits = ti.cast(0, whole)
            # All bits but the sign: fast-math compilers assume that nothing is NaN.
            for lane in range(BLOCK):
                bits |= ti.bit_cast(values[block * BLOCK + lane], whole) << 1
            live |= ti.select(bits != 0, 1 << block, 0)
        return live

    return nonzero_blocks

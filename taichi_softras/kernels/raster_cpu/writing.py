"""From a tile's arrays, pixels block by block, to images; and what stays of a tile.

Several numbers are stored at once (`stores`), row by row and image by image, so that a cache line
is written in one go. Images are indexed by one number that cannot wrap; the state lies tile by tile
in the order of the tile's arrays.
"""

from functools import cache
from typing import Any, NamedTuple

import taichi as ti

from taichi_softras.kernels.blocks import DOWN, HEIGHT, PIXELS, TILE, WIDTH, pixel_index
from taichi_softras.kernels.fragment import Variant, state_planes
from taichi_softras.kernels.stores import AT_ONCE, copy_function, store_function
from taichi_softras.kernels.types import EMPTY, WITHIN

PAIR = HEIGHT * TILE
"""Pixels of two rows, which follow each other in a tile's arrays."""


class WritingFunctions(NamedTuple):
    """The functions of one variant."""

    tile: Any
    background: Any


@cache
def writing_functions(variant: Variant) -> WritingFunctions:
    """Return the functions that store a tile that faces reach, and one without."""
    dtype, channels, alpha, color = variant.dtype, variant.channels, variant.alpha, variant.color
    planes = state_planes(color)
    keep = copy_function(dtype, PIXELS)
    write_numbers, fill_numbers = _row_functions(dtype, 1)
    write_alphas, _ = _row_functions(dtype, 1, alpha == "prod")
    write_colors, fill_colors = _row_functions(dtype, channels)

    @ti.func
    def write(
        tile, width, far,
        silhouette: ti.template(), reference: ti.template(), total: ti.template(),
        depth_sum: ti.template(), nearest: ti.template(), sums: ti.template(),
        alpha_out: ti.template(), image: ti.template(), depth_out: ti.template(),
        state: ti.template(), winner: ti.template(),
    ):  # fmt: skip
        """Store a tile's arrays, whose numbers then are others."""
        if ti.static(color != "none"):
            for i in range(PIXELS):
                if ti.static(color == "softmax"):
                    total[i] = 1.0 / total[i]
                    depth_sum[i] *= total[i]
                else:
                    reference[i] = ti.select(nearest[i] >= 0, reference[i], far)
        first = (tile.index * (planes * PIXELS)) & WITHIN
        keep(state, first, silhouette)
        if ti.static(color == "softmax"):
            keep(state, first + PIXELS, reference)
            keep(state, first + 2 * PIXELS, total)
        # Of two rows only, because the compiler takes long for large arrays.
        colors = ti.Vector.zero(dtype, max(PAIR * channels, 1))
        for pair in range(DOWN):
            if ti.static(channels > 0):
                for k in range(PAIR):
                    i = pair * PAIR + k
                    share = ti.cast(1.0, dtype)
                    if ti.static(color == "softmax"):
                        share = total[i]
                    for ch in ti.static(range(channels)):
                        colors[k * channels + ch] = sums[ch][i] * share
            for row in range(HEIGHT * pair, ti.min(HEIGHT * (pair + 1), tile.rows)):
                q = tile.first_pixel + row * width
                write_alphas(alpha_out, q, silhouette, row, tile.columns)
                if ti.static(color == "hard"):
                    for column in range(tile.columns):
                        winner[q + column] = nearest[pixel_index(row, column)]
                    write_numbers(depth_out, q, reference, row, tile.columns)
                elif ti.static(color == "softmax"):
                    write_numbers(depth_out, q, depth_sum, row, tile.columns)
                if ti.static(channels > 0):
                    write_colors(image, q, colors, row & (HEIGHT - 1), tile.columns)

    @ti.func
    def write_background(
        tile, width, far, background: ti.template(), background_rows,
        alpha_out: ti.template(), image: ti.template(), depth_out: ti.template(),
        state: ti.template(), winner: ti.template(),
    ):  # fmt: skip
        """Store what is without faces; of the state only that there are none."""
        state[tile.index * (planes * PIXELS)] = EMPTY
        # A row of each image.
        alphas, depths = ti.Vector.zero(dtype, TILE), ti.Vector.zero(dtype, TILE)
        colors = ti.Vector.zero(dtype, max(TILE * channels, 1))
        for column in range(TILE):
            depths[column] = far
            for ch in ti.static(range(channels)):
                colors[column * channels + ch] = background[0, ch]
        for row in range(tile.rows):
            q = tile.first_pixel + row * width
            fill_numbers(alpha_out, q, alphas, tile.columns)
            if ti.static(color == "hard"):
                for column in range(tile.columns):
                    winner[q + column] = -1
            if ti.static(color != "none"):
                fill_numbers(depth_out, q, depths, tile.columns)
            if ti.static(channels > 0):
                if background_rows > 1:
                    for column in range(tile.columns):
                        for ch in ti.static(range(channels)):
                            colors[column * channels + ch] = background[q + column, ch]
                fill_colors(image, q, colors, tile.columns)

    return WritingFunctions(write, write_background)


def _row_functions(dtype: Any, each: int, complement: bool = False) -> tuple[Any, Any]:
    """Return functions that store a row of pixels, `each` numbers a pixel, at `first_pixel`.

    The first takes them from arrays block by block, of which `row` is one, the second from arrays
    of that row alone. Only whole tiles are stored several numbers at once.
    """
    store, copy_row = store_function(dtype), copy_function(dtype, TILE * each)
    # Numbers of a row of a block, and of its other rows. Two blocks have a row of AT_ONCE pixels.
    wide, others = WIDTH * each, (HEIGHT - 1) * WIDTH * each

    @ti.func
    def write_row(out: ti.template(), first_pixel, values: ti.template(), row, columns):
        first, i = (first_pixel * each) & WITHIN, pixel_index(row, 0) & (PIXELS - 1)
        if columns == TILE:
            for pair in range(TILE // AT_ONCE):
                at = i * each + pair * 2 * (wide + others)
                for part in range(each):
                    here = ti.Vector.zero(dtype, AT_ONCE)
                    for k in ti.static(range(AT_ONCE)):
                        m = part * AT_ONCE + k
                        here[k] = values[at + m + ti.select(m < wide, 0, others)]
                    if ti.static(complement):
                        here = 1.0 - here
                    store(out, first + (pair * each + part) * AT_ONCE, here)
        else:
            for column in range(columns):
                for k in ti.static(range(each)):
                    here = values[pixel_index(row, column) * each + k]
                    out[first + column * each + k] = 1.0 - here if ti.static(complement) else here

    @ti.func
    def fill_row(out: ti.template(), first_pixel, values: ti.template(), columns):
        first = (first_pixel * each) & WITHIN
        if columns == TILE:
            copy_row(out, first, values)
        else:
            for k in range(columns * each):
                out[first + k] = values[k]

    return write_row, fill_row

"""Where a tile and its pixels are, for both CPU drivers."""

import taichi as ti

from taichi_softras.kernels.blocks import ACROSS, BLOCK, DOWN, HEIGHT, PIXELS, TILE, WIDTH
from taichi_softras.kernels.fragment import Variant, pixel_center


def array_lengths(variant: Variant) -> tuple[int, int, int]:
    """Numbers in a tile's array that soft, hard, or any colour needs: one a pixel, or just one."""
    soft, hard = variant.color == "softmax", variant.color == "hard"
    return PIXELS if soft else 1, PIXELS if hard else 1, PIXELS if soft or hard else 1


@ti.func
def place_tile(work, tiles_per_band, first_tile_row, height, width):
    """Where tile `work` of a band lies."""
    columns = (width + TILE - 1) // TILE
    view, rest = work // tiles_per_band, work % tiles_per_band
    row, column = first_tile_row + rest // columns, rest % columns
    return ti.Struct(
        view=view,
        index=(view * ((height + TILE - 1) // TILE) + row) * columns + column,
        top=row * TILE,
        left=column * TILE,
        rows=ti.min(height - row * TILE, TILE),
        columns=ti.min(width - column * TILE, TILE),
        first_pixel=(view * height + row * TILE) * width + column * TILE,
    )


@ti.func
def place_lanes(tile, height, width, exact, px: ti.template(), py: ti.template()):
    """Write the pixel centres' x of each column of blocks, and y of each row, eight for each.

    `exact` is the image's shorter side in the precision of the centres.
    """
    for k in range(ACROSS * BLOCK):
        column = tile.left + (k >> 3) * WIDTH + (k & (WIDTH - 1))
        px[k], _y = pixel_center(0, column, height, width, exact)
    for k in range(DOWN * BLOCK):
        row = tile.top + (k >> 3) * HEIGHT + ((k & (BLOCK - 1)) >> 2)
        _x, py[k] = pixel_center(row, 0, height, width, exact)

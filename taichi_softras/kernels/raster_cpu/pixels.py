"""Between a tile's arrays, pixels block by block, and images; and what stays of a tile.

LLVM cannot know that an image does not overlap the launch's arguments, so each store is followed
by loads of the next one's array and place. Hence plain loops of few numbers each: images are
indexed by one number that cannot wrap, and the state lies tile by tile in the order of the arrays.
"""

from functools import cache
from typing import Any, NamedTuple

import taichi as ti

from taichi_softras.kernels.blocks import PIXELS, TILE, WIDTH, pixel_index
from taichi_softras.kernels.fragment import Variant, state_planes
from taichi_softras.kernels.types import EMPTY, MOST_NUMBERS

UNROLLED = 8
"""Numbers of the state that are copied in one go."""

WITHIN = MOST_NUMBERS - 1
"""Masks a place, so that LLVM knows that adding a few to it cannot wrap."""


class PixelFunctions(NamedTuple):
    """The functions of one variant."""

    write: Any
    write_background: Any
    read: Any


@cache
def pixel_functions(variant: Variant) -> PixelFunctions:
    """Return the functions that write and read a tile's pixels."""
    channels, alpha, color = variant.channels, variant.alpha, variant.color
    planes = state_planes(color)

    @ti.func
    def keep(state: ti.template(), first, values: ti.template()):
        for i in range(PIXELS // UNROLLED):
            for k in ti.static(range(UNROLLED)):
                state[first + i * UNROLLED + k] = values[i * UNROLLED + k]

    @ti.func
    def write_pixel(
        q, i, far,
        silhouette: ti.template(), reference: ti.template(), depth_sum: ti.template(),
        nearest: ti.template(), sums: ti.template(),
        alpha_out: ti.template(), image: ti.template(), depth_out: ti.template(),
        winner: ti.template(),
    ):  # fmt: skip
        """Store the tile's pixel i as the image's pixel q."""
        if ti.static(alpha == "prod"):
            alpha_out[q] = 1.0 - silhouette[i]
        else:
            alpha_out[q] = silhouette[i]
        if ti.static(color == "softmax"):
            depth_out[q] = depth_sum[i]
        elif ti.static(color == "hard"):
            winner[q] = nearest[i]
            depth_out[q] = ti.select(nearest[i] >= 0, reference[i], far)
        for ch in ti.static(range(channels)):
            image[q * channels + ch] = sums[ch][i]

    @ti.func
    def write(
        tile, width, far,
        silhouette: ti.template(), reference: ti.template(), total: ti.template(),
        depth_sum: ti.template(), nearest: ti.template(), sums: ti.template(),
        alpha_out: ti.template(), image: ti.template(), depth_out: ti.template(),
        state: ti.template(), winner: ti.template(),
    ):  # fmt: skip
        """Store a tile that faces reach."""
        first = (tile.index * (planes * PIXELS)) & WITHIN
        keep(state, first, silhouette)
        if ti.static(color == "softmax"):
            keep(state, first + PIXELS, reference)
            keep(state, first + 2 * PIXELS, total)
        for row in range(tile.rows):
            q = (tile.first_pixel + row * width) & WITHIN
            i = pixel_index(row, 0)
            if tile.columns == TILE:
                for four in range(TILE // WIDTH):
                    for k in ti.static(range(WIDTH)):
                        write_pixel(
                            q + four * WIDTH + k, i + 2 * four * WIDTH + k, far,
                            silhouette, reference, depth_sum, nearest, sums,
                            alpha_out, image, depth_out, winner,
                        )  # fmt: skip
            else:
                for column in range(tile.columns):
                    write_pixel(
                        q + column, pixel_index(row, column), far,
                        silhouette, reference, depth_sum, nearest, sums,
                        alpha_out, image, depth_out, winner,
                    )  # fmt: skip

    @ti.func
    def write_background(
        tile, width, far, background: ti.template(), background_rows,
        alpha_out: ti.template(), image: ti.template(), depth_out: ti.template(),
        state: ti.template(), winner: ti.template(),
    ):  # fmt: skip
        """Store a tile without faces; of its state only that there is none."""
        value = [background[0, ch] for ch in ti.static(range(channels))]
        state[tile.index * (planes * PIXELS)] = EMPTY
        for row in range(tile.rows):
            first = (tile.first_pixel + row * width) & WITHIN
            for column in range(tile.columns):
                alpha_out[first + column] = 0.0
            if ti.static(color == "hard"):
                for column in range(tile.columns):
                    winner[first + column] = -1
            if ti.static(color != "none"):
                for column in range(tile.columns):
                    depth_out[first + column] = far
            if ti.static(channels > 0):
                if background_rows > 1:
                    for column in range(tile.columns):
                        for ch in ti.static(range(channels)):
                            q = first + column
                            image[q * channels + ch] = background[q, ch]
                else:
                    for column in range(tile.columns):
                        for ch in ti.static(range(channels)):
                            image[(first + column) * channels + ch] = value[ch]

    @ti.func
    def read_pixels(
        count: ti.template(), first_pixel, i,
        nearest: ti.template(), g_alpha: ti.template(), g_depth: ti.template(),
        g_mean: ti.template(), g: ti.template(),
        image: ti.template(), depth_in: ti.template(), winner: ti.template(),
        d_alpha: ti.template(), d_image: ti.template(), d_depth_in: ti.template(),
    ):  # fmt: skip
        """Load the image's pixels from `first_pixel` on as the tile's from i on."""
        q, first = first_pixel & WITHIN, (first_pixel * channels) & WITHIN
        # Lists, so that all is loaded before something is stored.
        d_alphas = [d_alpha[q + k] for k in ti.static(range(count))]
        for k in ti.static(range(count)):
            g_alpha[i + k] = d_alphas[k]
        if ti.static(color == "hard"):
            winners = [winner[q + k] for k in ti.static(range(count))]
            for k in ti.static(range(count)):
                nearest[i + k] = winners[k]
        if ti.static(color != "none"):
            d_depths = [d_depth_in[q + k] for k in ti.static(range(count))]
            means = [d_depths[k] * depth_in[q + k] for k in ti.static(range(count))]
            for k in ti.static(range(count)):
                g_depth[i + k] = d_depths[k]
            if ti.static(channels > 0):
                d_colors = [d_image[first + k] for k in ti.static(range(count * channels))]
                colors = [image[first + k] for k in ti.static(range(count * channels))]
                for k in ti.static(range(count)):
                    for ch in ti.static(range(channels)):
                        g[ch][i + k] = d_colors[k * channels + ch]
                        means[k] += d_colors[k * channels + ch] * colors[k * channels + ch]
            # What the pixel's colour and depth say to every weight alike.
            for k in ti.static(range(count)):
                g_mean[i + k] = means[k]

    @ti.func
    def read(
        tile, width,
        reference: ti.template(), inverse_total: ti.template(), nearest: ti.template(),
        g_alpha: ti.template(), g_depth: ti.template(), g_mean: ti.template(), g: ti.template(),
        image: ti.template(), depth_in: ti.template(), state: ti.template(),
        winner: ti.template(), d_alpha: ti.template(), d_image: ti.template(),
        d_depth_in: ti.template(),
    ):  # fmt: skip
        """Load what forward left of a tile, and its pixels' gradients, 0 outside of the image."""
        if tile.rows < TILE or tile.columns < TILE:
            for i in range(PIXELS):
                g_alpha[i] = 0.0
                if ti.static(color == "hard"):
                    nearest[i] = -1
                if ti.static(color != "none"):
                    g_depth[i], g_mean[i] = 0.0, 0.0
                for ch in ti.static(range(channels)):
                    g[ch][i] = 0.0
        for row in range(tile.rows):
            q, i = tile.first_pixel + row * width, pixel_index(row, 0)
            if tile.columns == TILE:
                for four in range(TILE // WIDTH):
                    read_pixels(
                        WIDTH, q + four * WIDTH, i + 2 * four * WIDTH,
                        nearest, g_alpha, g_depth, g_mean, g, image, depth_in, winner,
                        d_alpha, d_image, d_depth_in,
                    )  # fmt: skip
            else:
                for column in range(tile.columns):
                    read_pixels(
                        1, q + column, pixel_index(row, column),
                        nearest, g_alpha, g_depth, g_mean, g, image, depth_in, winner,
                        d_alpha, d_image, d_depth_in,
                    )  # fmt: skip
        first = tile.index * (planes * PIXELS)
        for i in range(PIXELS // UNROLLED):
            here, i8 = (first + i * UNROLLED) & WITHIN, i * UNROLLED
            if ti.static(alpha == "prod"):
                clear = [state[here + k] for k in ti.static(range(UNROLLED))]
                for k in ti.static(range(UNROLLED)):
                    g_alpha[i8 + k] *= clear[k]
            if ti.static(color == "softmax"):
                depths = [state[here + PIXELS + k] for k in ti.static(range(UNROLLED))]
                totals = [state[here + 2 * PIXELS + k] for k in ti.static(range(UNROLLED))]
                for k in ti.static(range(UNROLLED)):
                    reference[i8 + k] = depths[k]
                    inverse_total[i8 + k] = 1.0 / totals[k]

    return PixelFunctions(write, write_background, read)

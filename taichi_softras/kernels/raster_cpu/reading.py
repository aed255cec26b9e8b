"""From images, and from what stays of a tile, to a tile's arrays, pixels block by block.

Images are indexed by one number that cannot wrap, so that LLVM loads several pixels at once.
"""

from functools import cache
from typing import Any

import taichi as ti

from taichi_softras.kernels.blocks import PIXELS, TILE, WIDTH, pixel_index
from taichi_softras.kernels.fragment import Variant, state_planes
from taichi_softras.kernels.stores import AT_ONCE
from taichi_softras.kernels.types import WITHIN


@cache
def reading_function(variant: Variant) -> Any:
    """Return the function that reads a tile for the adjoint."""
    channels, alpha, color = variant.channels, variant.alpha, variant.color
    planes = state_planes(color)

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
        for i in range(PIXELS // AT_ONCE):
            here, i8 = (first + i * AT_ONCE) & WITHIN, i * AT_ONCE
            if ti.static(alpha == "prod"):
                clear = [state[here + k] for k in ti.static(range(AT_ONCE))]
                for k in ti.static(range(AT_ONCE)):
                    g_alpha[i8 + k] *= clear[k]
            if ti.static(color == "softmax"):
                depths = [state[here + PIXELS + k] for k in ti.static(range(AT_ONCE))]
                shares = [state[here + 2 * PIXELS + k] for k in ti.static(range(AT_ONCE))]
                for k in ti.static(range(AT_ONCE)):
                    reference[i8 + k] = depths[k]
                    inverse_total[i8 + k] = shares[k]

    return read

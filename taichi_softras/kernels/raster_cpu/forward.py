"""Forward on the CPU: faces listed by tile, and all faces of a tile blended into its pixels."""

from functools import cache
from typing import Any

import taichi as ti

from taichi_softras.kernels.blocks import (
    ACROSS,
    ALL_BLOCKS,
    BLOCK,
    BLOCKS,
    DOWN,
    PIXELS,
    WIDTH,
    first_block,
    hidden_blocks,
    lanes_of,
    limits_of_sight,
    nonzero_blocks_function,
    pixel_index,
)
from taichi_softras.kernels.fragment import Variant, fragment_functions, outline_functions
from taichi_softras.kernels.phases import next_task
from taichi_softras.kernels.raster_cpu.tile import array_lengths, place_lanes, place_tile
from taichi_softras.kernels.setup import read_record
from taichi_softras.kernels.texture import texture_functions
from taichi_softras.kernels.tiles_cpu import PHASES, listing_function
from taichi_softras.kernels.types import TASK, array, vanishing

LOOK = 16
"""Faces between two looks for pixels that nothing can change any more; a power of two."""


DRAW = PHASES
"""The phase after those of `list_faces`."""


FORWARD_PHASES = DRAW + 1


@cache
def forward_kernel(variant: Variant, cull: str) -> Any:
    """Return the kernel that lists faces and renders all tiles of all views.

    It also lists, because a launch of its own for that would have to wake all threads again.
    """
    list_faces = listing_function(variant.dtype, variant.distance, cull, variant.shows != "")
    dtype, channels, alpha, color = variant.dtype, variant.channels, variant.alpha, variant.color
    blend_in, _, _ = fragment_functions(variant)
    attributes_in, textured = variant.attributes, variant.textured
    color_of, _, _ = texture_functions(dtype, variant.lookup, channels, textured, unroll=False)
    # The nearest fragment is searched from beyond any depth.
    beyond = 1e30
    if_soft, if_hard, if_colored = array_lengths(variant)
    nonzero_blocks = nonzero_blocks_function(dtype)
    # A pixel's silhouette number where no face is.
    nothing = 1.0 if alpha == "prod" else 0.0
    blend_in_outline, _, _ = outline_functions(variant)
    # This many taus behind the reference depth a face has no weight.
    sight = vanishing(dtype) + 1.0

    @ti.func
    def write_pixel(
        q, i, n_pixels, far,
        silhouette: ti.template(), reference: ti.template(), total: ti.template(),
        depth_sum: ti.template(), nearest: ti.template(), sums: ti.template(),
        alpha_out: ti.template(), image: ti.template(), depth_out: ti.template(),
        state: ti.template(), winner: ti.template(),
    ):  # fmt: skip
        """Store the tile's pixel i as the image's pixel q."""
        state[q] = silhouette[i]
        if ti.static(alpha == "prod"):
            alpha_out[q] = 1.0 - silhouette[i]
        else:
            alpha_out[q] = silhouette[i]
        if ti.static(color == "softmax"):
            state[n_pixels + q] = reference[i]
            state[2 * n_pixels + q] = total[i]
            depth_out[q] = depth_sum[i]
        elif ti.static(color == "hard"):
            winner[q] = nearest[i]
            depth_out[q] = ti.select(nearest[i] >= 0, reference[i], far)
        for ch in ti.static(range(channels)):
            image[q, ch] = sums[ch][i]

    @ti.func
    def write_background(
        tile, width, n_pixels, far, background_depth, background: ti.template(), background_rows,
        alpha_out: ti.template(), image: ti.template(), depth_out: ti.template(),
        state: ti.template(), winner: ti.template(),
    ):  # fmt: skip
        """Store the pixels of a tile without faces."""
        value = [background[0, ch] for ch in ti.static(range(channels))]
        for row in range(tile.rows):
            first = tile.first_pixel + row * width
            end = first + tile.columns
            # A loop for each array: LLVM cannot know that they do not overlap.
            for q in range(first, end):
                alpha_out[q] = 0.0
            for q in range(first, end):
                state[q] = nothing
            if ti.static(color == "softmax"):
                for q in range(n_pixels + first, n_pixels + end):
                    state[q] = background_depth
                for q in range(2 * n_pixels + first, 2 * n_pixels + end):
                    state[q] = 1.0
            elif ti.static(color == "hard"):
                for q in range(first, end):
                    winner[q] = -1
            if ti.static(color != "none"):
                for q in range(first, end):
                    depth_out[q] = far
            if ti.static(channels > 0):
                if background_rows > 1:
                    for q in range(first, end):
                        for ch in ti.static(range(channels)):
                            image[q, ch] = background[q, ch]
                else:
                    for q in range(first, end):
                        for ch in ti.static(range(channels)):
                            image[q, ch] = value[ch]

    @ti.kernel
    def forward(
        points: array(dtype, 2),  # this and the next as of `tiles_cpu.bin_faces`
        faces: array(ti.i32, 2),
        n_vertices: ti.i32,
        attributes: array(dtype, 3),  # [M, 3, C + texture coordinates]
        views: array(ti.i32, 2),  # [B, 3]
        n_views: ti.i32,
        n_faces: ti.i32,
        channels_in: ti.i32,
        real_height: dtype,
        real_width: dtype,
        reach: dtype,
        tile_rows: ti.i32,
        tile_columns: ti.i32,
        first_tile_row: ti.i32,
        end_tile_row: ti.i32,
        n_chunks: ti.i32,
        begin: ti.i32,
        capacity: ti.i32,
        records: array(dtype, 2),
        boxes: array(ti.i32, 2),
        skipped: array(ti.i32, 1),
        face_start: array(ti.i32, 1),
        chunk_next: array(ti.i32, 1),
        tile_start: array(ti.i32, 1),
        total_entries: array(ti.i32, 1),
        entries: array(ti.i32, 2),
        n_workers: ti.i32,
        progress: array(
            ti.i32, 1
        ),  # `counters` of FORWARD_PHASES, zeros; from here on what is drawn
        background: array(dtype, 2),  # [1, C] or [B * H * W, C]
        background_rows: ti.i32,
        height: ti.i32,
        width: ti.i32,
        shorter: dtype,
        inverse_sigma: dtype,
        reach2: dtype,  # faces are kept while the metric's square is below this
        tau: dtype,  # gamma (far - near)
        inverse_tau: dtype,
        near: dtype,
        far: dtype,
        background_depth: dtype,  # depth at which the background takes part in the softmax
        alpha_out: array(dtype, 1),  # [B * H * W] out
        image: array(dtype, 2),  # [B * H * W, C] out
        depth_out: array(dtype, 1),  # [B * H * W] out
        state: array(dtype, 1),  # out: see `types.STATE`
        winner: array(ti.i32, 1),  # [B * H * W] out: nearest face, -1 if none (hard colour only)
        texels: array(dtype, 2),  # [X, textured channels]
        maps: array(ti.i32, 1),  # of each attribute record where its map begins here; maps
    ):
        tiles_per_band = (end_tile_row - first_tile_row) * tile_columns
        n_tiles, n_pixels = n_views * tiles_per_band, n_views * height * width
        for worker in range(n_workers * TASK):
            if worker % TASK == 0:
                me = worker // TASK
                listed = list_faces(
                    points, faces, n_vertices, attributes, views, n_views, n_faces, channels_in,
                    real_height, real_width, reach, tile_rows, tile_columns, first_tile_row,
                    end_tile_row, n_chunks, begin, capacity, records, boxes, skipped, face_start,
                    chunk_next, tile_start, total_entries, entries, me, n_workers,
                    progress,
                )  # fmt: skip
                while listed:
                    work = next_task(progress, DRAW, me, n_workers, n_tiles)
                    if work == n_tiles:
                        break
                    tile = place_tile(work, tiles_per_band, first_tile_row, height, width)
                    b = tile.view
                    first_entry, end_entry = tile_start[tile.index], tile_start[tile.index + 1]
                    if first_entry == end_entry:
                        write_background(
                            tile, width, n_pixels, far, background_depth, background,
                            background_rows, alpha_out, image, depth_out, state, winner,
                        )  # fmt: skip
                        continue
                    px = ti.Vector.zero(variant.position_dtype, ACROSS * BLOCK)
                    py = ti.Vector.zero(variant.position_dtype, DOWN * BLOCK)
                    silhouette = ti.Vector.zero(dtype, PIXELS)
                    reference = ti.Vector.zero(dtype, if_colored)
                    total = ti.Vector.zero(dtype, if_soft)
                    depth_sum = ti.Vector.zero(dtype, if_soft)
                    nearest = ti.Vector.zero(ti.i32, if_hard)
                    sums = [ti.Vector.zero(dtype, PIXELS) for _ in ti.static(range(channels))]
                    # Of eight pixels: what a texture that is read one by one needs of them.
                    lanes = [ti.Vector.zero(dtype, BLOCK) for _ in ti.static(range(4))]
                    exact = ti.cast(shorter, variant.position_dtype)
                    place_lanes(tile, height, width, exact, px, py)
                    for i in range(PIXELS):
                        silhouette[i] = nothing
                        if ti.static(color == "softmax"):
                            reference[i] = background_depth
                            total[i] = 1.0
                            depth_sum[i] = far
                        elif ti.static(color == "hard"):
                            reference[i] = beyond
                            nearest[i] = -1
                    if ti.static(channels > 0):
                        if background_rows == 1:
                            for i in range(PIXELS):
                                for ch in ti.static(range(channels)):
                                    sums[ch][i] = background[0, ch]
                        else:
                            for row in range(tile.rows):
                                q = tile.first_pixel + row * width
                                for column in range(tile.columns):
                                    for ch in ti.static(range(channels)):
                                        sums[ch][pixel_index(row, column)] = background[
                                            q + column, ch
                                        ]
                    zero = ti.cast(0.0, dtype)
                    awake = ALL_BLOCKS
                    limits = ti.Vector.zero(dtype, BLOCKS)
                    for block in range(BLOCKS):
                        limits[block] = 1e30
                    for entry in range(first_entry, end_entry):
                        # Now and then: where the transparency is 0 it stays so, and what is hidden
                        # there will not be seen again.
                        if (entry - first_entry) & (LOOK - 1) == LOOK - 1:
                            if ti.static(alpha == "prod" and color != "hard"):
                                awake = nonzero_blocks(silhouette)
                            if ti.static(color == "softmax"):
                                limits_of_sight(reference, sight * tau, limits)
                        n = entries[entry, 0]
                        m = views[b, 1] + n - views[b, 0]
                        face = read_record(records, n)
                        c0 = [attributes[m, 0, a] for a in ti.static(range(attributes_in))]
                        c1 = [attributes[m, 1, a] - c0[a] for a in ti.static(range(attributes_in))]
                        c2 = [attributes[m, 2, a] - c0[a] for a in ti.static(range(attributes_in))]
                        live = entries[entry, 2]
                        hidden = 0
                        if ti.static(color == "softmax"):
                            hidden = hidden_blocks(limits, face.z)
                        elif ti.static(color == "none"):
                            live &= awake
                        left = live & ~hidden
                        while left != 0:
                            # Masked, so that LLVM knows that the sums below cannot wrap.
                            block = first_block(left) & (BLOCKS - 1)
                            left &= left - 1
                            block_column, block_row = lanes_of(block)
                            for lane in range(BLOCK):
                                i = block * BLOCK + lane
                                p = ti.Vector([px[block_column + lane], py[block_row + lane]])
                                behind = zero
                                if ti.static(color != "none"):
                                    behind = reference[i]
                                covered, nearer, old, new, front, depth, u0, u1, u2 = blend_in(
                                    p, face, silhouette[i], behind,
                                    inverse_sigma, reach2, tau, inverse_tau, near, far,
                                )  # fmt: skip
                                silhouette[i] = covered
                                if ti.static(color != "none"):
                                    reference[i] = nearer
                                if ti.static(color == "softmax"):
                                    total[i] = total[i] * old + new
                                    depth_sum[i] = depth_sum[i] * old + new * depth
                                elif ti.static(color == "hard"):
                                    nearest[i] = ti.select(front, n, nearest[i])
                                if ti.static(textured > 0):
                                    lanes[0][lane], lanes[1][lane] = old, new
                                    lanes[2][lane], lanes[3][lane] = u1, u2
                                else:
                                    for ch in ti.static(range(channels)):
                                        value = c0[ch] + (u1 * c1[ch] + u2 * c2[ch])
                                        sums[ch][i] = sums[ch][i] * old + new * value
                            if ti.static(textured > 0):
                                for lane in range(BLOCK):
                                    i = block * BLOCK + lane
                                    old, new = lanes[0][lane], lanes[1][lane]
                                    # What adds nothing fades nothing either.
                                    if new > 0.0:
                                        here = ti.Vector.zero(dtype, attributes_in)
                                        for a in ti.static(range(attributes_in)):
                                            here[a] = c0[a] + (
                                                lanes[2][lane] * c1[a] + lanes[3][lane] * c2[a]
                                            )
                                        value = color_of(texels, maps, maps[m], here)
                                        for ch in ti.static(range(channels)):
                                            sums[ch][i] = sums[ch][i] * old + new * value[ch]
                        if ti.static(color == "softmax"):
                            left = live & hidden & awake
                            while left != 0:
                                # Masked, so that LLVM knows that the sums below cannot wrap.
                                block = first_block(left) & (BLOCKS - 1)
                                left &= left - 1
                                block_column, block_row = lanes_of(block)
                                for lane in range(BLOCK):
                                    i = block * BLOCK + lane
                                    p = ti.Vector([px[block_column + lane], py[block_row + lane]])
                                    covered, _r, _o, _n, _f, _d, _u0, _u1, _u2 = blend_in_outline(
                                        p, face, silhouette[i], zero,
                                        inverse_sigma, reach2, tau, inverse_tau, near, far,
                                    )  # fmt: skip
                                    silhouette[i] = covered
                    if ti.static(color == "softmax"):
                        for i in range(PIXELS):
                            inverse_total = 1.0 / total[i]
                            depth_sum[i] *= inverse_total
                            for ch in ti.static(range(channels)):
                                sums[ch][i] *= inverse_total
                    for row in range(tile.rows):
                        for four in range((tile.columns + WIDTH - 1) // WIDTH):
                            q = tile.first_pixel + row * width + four * WIDTH
                            i = pixel_index(row, 0) + four * BLOCK
                            there = tile.columns - four * WIDTH
                            # Unrolled: four neighbours are one vector.
                            if there >= WIDTH:
                                for k in ti.static(range(WIDTH)):
                                    write_pixel(
                                        q + k, i + k, n_pixels, far,
                                        silhouette, reference, total, depth_sum, nearest, sums,
                                        alpha_out, image, depth_out, state, winner,
                                    )  # fmt: skip
                            else:
                                for k in range(there):
                                    write_pixel(
                                        q + k, i + k, n_pixels, far,
                                        silhouette, reference, total, depth_sum, nearest, sums,
                                        alpha_out, image, depth_out, state, winner,
                                    )  # fmt: skip

    return forward

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
    first_block,
    hidden_blocks,
    lanes_of,
    limits_of_sight,
    nonzero_blocks_function,
    pixel_index,
)
from taichi_softras.kernels.fragment import (
    Variant,
    fragment_functions,
    numbers_of,
    setup_choices,
)
from taichi_softras.kernels.fused import fma
from taichi_softras.kernels.phases import end_phase, leave_last, next_task
from taichi_softras.kernels.raster_cpu.tile import array_lengths, place_lanes, place_tile
from taichi_softras.kernels.raster_cpu.writing import writing_functions
from taichi_softras.kernels.records import read_record
from taichi_softras.kernels.texture import texture_functions
from taichi_softras.kernels.tiles_cpu import PHASES, listing_function
from taichi_softras.kernels.types import ENTRY, TASK, WITHIN, array, vanishing

LOOK = 16
"""Faces between two looks for pixels that nothing can change any more; a power of two."""

MANY = 8
"""Blocks of a face for which it is worth while to look up where it is hidden."""


DRAW = PHASES
"""The phase after those of `list_faces`."""


FORWARD_PHASES = DRAW + 1


@cache
def forward_kernel(variant: Variant, cull: str) -> Any:
    """Return the kernel that lists faces and renders all tiles of all views.

    It also lists, because a launch of its own for that would have to wake all threads again.
    """
    list_faces = listing_function(*setup_choices(variant, cull))
    dtype, channels, alpha, color = variant.dtype, variant.channels, variant.alpha, variant.color
    functions = fragment_functions(variant)
    place, blend = functions.place, functions.blend
    attributes_in, textured = variant.attributes, variant.textured
    color_of, _, _ = texture_functions(dtype, variant.lookup, channels, textured, unroll=False)
    # The nearest fragment is searched from beyond any depth.
    beyond = 1e30
    if_soft, if_hard, if_colored = array_lengths(variant)
    nonzero_blocks = nonzero_blocks_function(dtype)
    write, write_background = writing_functions(variant)
    # A pixel's silhouette number where no face is.
    nothing = 1.0 if alpha == "prod" else 0.0
    blend_outline = fragment_functions(variant.outline).blend_in
    # This many taus behind the reference depth a face has no weight.
    sight = vanishing(dtype) + 1.0

    @ti.func
    def begin_tile(
        tile, width, far, background_depth, background: ti.template(), background_rows,
        silhouette: ti.template(), reference: ti.template(), total: ti.template(),
        depth_sum: ti.template(), nearest: ti.template(), sums: ti.template(),
    ):  # fmt: skip
        """Fill a tile's arrays with what it is without faces."""
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
                        i = pixel_index(row, column)
                        for ch in ti.static(range(channels)):
                            sums[ch][i] = background[q + column, ch]

    @ti.kernel
    def forward(
        points: array(dtype, 2),  # this and the next as of `tiles_cpu.bin_faces`
        faces: array(ti.i32, 2),
        n_vertices: ti.i32,
        attributes: array(dtype, 3, used=attributes_in > 0),  # [M, 3, C + texture coordinates]
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
        records: array(dtype, 1),
        face_start: array(ti.i32, 1),
        chunk_next: array(ti.i32, 1),
        tile_start: array(ti.i32, 1),
        entries: array(ti.i32, 1),
        n_workers: ti.i32,
        progress: array(
            ti.i32, 1
        ),  # `counters` of FORWARD_PHASES, zeros; from here on what is drawn
        background: array(dtype, 2, used=channels > 0),  # [1, C] or [B * H * W, C]
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
        image: array(dtype, 1, used=channels > 0),  # [B * H * W * C] out
        depth_out: array(dtype, 1, used=color != "none"),  # [B * H * W] out
        state: array(dtype, 1),  # out: see `types.STATE`
        winner: array(ti.i32, 1, used=color == "hard"),  # [B * H * W] out: nearest face, or -1
        texels: array(dtype, 2, used=textured > 0),  # [X, textured channels]
        # Of each attribute record where its map begins here; maps.
        maps: array(ti.i32, 1, used=textured > 0),
    ):
        tiles_per_band = (end_tile_row - first_tile_row) * tile_columns
        n_tiles = n_views * tiles_per_band
        for worker in range(n_workers * TASK):
            if worker % TASK == 0:
                me = worker // TASK
                soft = numbers_of(inverse_sigma, reach2, tau, inverse_tau, near, far)
                listed = list_faces(
                    points, faces, n_vertices, attributes, views, n_views, n_faces, channels_in,
                    real_height, real_width, reach, tile_rows, tile_columns, first_tile_row,
                    end_tile_row, n_chunks, begin, capacity, records, face_start, chunk_next,
                    tile_start, entries, me, n_workers, progress,
                )  # fmt: skip
                # Here, because each tile would fill them with zeros first.
                px = ti.Vector.zero(variant.position_dtype, ACROSS * BLOCK)
                py = ti.Vector.zero(variant.position_dtype, DOWN * BLOCK)
                silhouette = ti.Vector.zero(dtype, PIXELS)
                reference = ti.Vector.zero(dtype, if_colored)
                total = ti.Vector.zero(dtype, if_soft)
                depth_sum = ti.Vector.zero(dtype, if_soft)
                nearest = ti.Vector.zero(ti.i32, if_hard)
                sums = [ti.Vector.zero(dtype, PIXELS) for _ in ti.static(range(channels))]
                # Of eight pixels: what a texture that is read one by one needs of them.
                lanes = [ti.Vector.zero(dtype, BLOCK) for _ in ti.static(range(2))]
                # Of the face at hand.
                side = ti.Vector.zero(dtype, if_colored)
                fragment_depth = ti.Vector.zero(dtype, if_colored)
                second = ti.Vector.zero(dtype, if_colored)
                third = ti.Vector.zero(dtype, if_colored)
                drawn = 0
                while listed:
                    work = next_task(progress, DRAW, me, n_workers, n_tiles)
                    if work == n_tiles:
                        break
                    drawn += 1
                    tile = place_tile(work, tiles_per_band, first_tile_row, height, width)
                    b = tile.view
                    first_entry, end_entry = tile_start[tile.index], tile_start[tile.index + 1]
                    if first_entry == end_entry:
                        write_background(
                            tile, width, far, background, background_rows,
                            alpha_out, image, depth_out, state, winner,
                        )  # fmt: skip
                        continue
                    exact = ti.cast(shorter, variant.position_dtype)
                    place_lanes(tile, height, width, exact, px, py)
                    begin_tile(
                        tile, width, far, background_depth, background, background_rows,
                        silhouette, reference, total, depth_sum, nearest, sums,
                    )  # fmt: skip
                    zero = ti.cast(0.0, dtype)
                    awake, looked = ALL_BLOCKS, False
                    limits = ti.Vector.zero(dtype, BLOCKS)
                    for entry in range(first_entry, end_entry):
                        # Now and then: where the transparency is 0 it stays so, and what is hidden
                        # there will not be seen again.
                        if (entry - first_entry) & (LOOK - 1) == LOOK - 1:
                            if ti.static(alpha == "prod" and color != "hard"):
                                awake = nonzero_blocks(silhouette)
                            if ti.static(color == "softmax"):
                                limits_of_sight(reference, sight * tau, limits)
                                looked = True
                        listed_at = (entry * ENTRY) & WITHIN
                        n = entries[listed_at]
                        m = views[b, 1] + n - views[b, 0]
                        face = read_record(records, n)
                        c0 = [attributes[m, 0, a] for a in ti.static(range(attributes_in))]
                        c1 = [attributes[m, 1, a] - c0[a] for a in ti.static(range(attributes_in))]
                        c2 = [attributes[m, 2, a] - c0[a] for a in ti.static(range(attributes_in))]
                        live = entries[listed_at + 2]
                        # Blocks of which only the silhouette feels the face.
                        outlined = 0
                        if ti.static(color == "none"):
                            outlined = live & awake
                        elif ti.static(color == "softmax"):
                            # With few blocks it costs more to ask than it saves.
                            if looked and ti.math.popcnt(live) >= MANY:
                                hidden = live & hidden_blocks(limits, face.z)
                                outlined = hidden & awake
                                live &= ~hidden
                        if ti.static(color != "none"):
                            # Two loops, so that the processor sees more of independent blocks.
                            left = live
                            while left != 0:
                                # Masked, so that LLVM knows that the sums below cannot wrap.
                                block = first_block(left) & (BLOCKS - 1)
                                left &= left - 1
                                block_column, block_row = lanes_of(block)
                                for lane in range(BLOCK):
                                    i = block * BLOCK + lane
                                    p = ti.Vector([px[block_column + lane], py[block_row + lane]])
                                    inside, measure, depth, _u0, u1, u2 = place(p, face)
                                    # In one number; outside it is never 0.
                                    side[i] = ti.select(inside, measure, -1e-37 - measure)
                                    fragment_depth[i], second[i], third[i] = depth, u1, u2
                            left = live
                            while left != 0:
                                block = first_block(left) & (BLOCKS - 1)
                                left &= left - 1
                                for lane in range(BLOCK):
                                    i = block * BLOCK + lane
                                    covered, nearer, old, new, front, depth = blend(
                                        side[i] >= 0.0, ti.abs(side[i]), fragment_depth[i], face,
                                        silhouette[i], reference[i],
                                        soft,
                                    )  # fmt: skip
                                    silhouette[i], reference[i] = covered, nearer
                                    if ti.static(color == "softmax"):
                                        total[i] = fma(total[i], old, new)
                                        depth_sum[i] = fma(depth_sum[i], old, new * depth)
                                    elif ti.static(color == "hard"):
                                        nearest[i] = ti.select(front, n, nearest[i])
                                    if ti.static(textured > 0):
                                        lanes[0][lane], lanes[1][lane] = old, new
                                    else:
                                        for ch in ti.static(range(channels)):
                                            value = fma(
                                                second[i], c1[ch], fma(third[i], c2[ch], c0[ch])
                                            )
                                            sums[ch][i] = fma(sums[ch][i], old, new * value)
                                if ti.static(textured > 0):
                                    for lane in range(BLOCK):
                                        i = block * BLOCK + lane
                                        old, new = lanes[0][lane], lanes[1][lane]
                                        # What adds nothing fades nothing either.
                                        if new > 0.0:
                                            here = ti.Vector.zero(dtype, attributes_in)
                                            for a in ti.static(range(attributes_in)):
                                                here[a] = c0[a] + (
                                                    second[i] * c1[a] + third[i] * c2[a]
                                                )
                                            value = color_of(texels, maps, maps[m], here)
                                            for ch in ti.static(range(channels)):
                                                sums[ch][i] = sums[ch][i] * old + new * value[ch]
                        while outlined != 0:
                            block = first_block(outlined) & (BLOCKS - 1)
                            outlined &= outlined - 1
                            block_column, block_row = lanes_of(block)
                            for lane in range(BLOCK):
                                i = block * BLOCK + lane
                                p = ti.Vector([px[block_column + lane], py[block_row + lane]])
                                covered, _r, _o, _n, _f, _d, _u0, _u1, _u2 = blend_outline(
                                    p, face, silhouette[i], zero, soft
                                )
                                silhouette[i] = covered
                    write(
                        tile, width, far, silhouette, reference, total, depth_sum, nearest, sums,
                        alpha_out, image, depth_out, state, winner,
                    )  # fmt: skip
                if listed:
                    end_phase(progress, DRAW, n_workers, drawn, n_tiles)
                leave_last(progress, me, n_workers)

    return forward

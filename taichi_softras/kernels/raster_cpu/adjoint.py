"""The adjoint on the CPU: the loops of forward again, and sums for each face."""

from functools import cache
from typing import Any

import taichi as ti

from taichi_softras.kernels.blending import finish_depths
from taichi_softras.kernels.blocks import (
    ACROSS,
    BLOCK,
    BLOCKS,
    DOWN,
    PIXELS,
    TILE,
    first_block,
    hidden_blocks,
    lanes_of,
    limits_of_sight,
    nonzero_blocks_function,
)
from taichi_softras.kernels.fragment import Variant, fragment_functions, numbers_of
from taichi_softras.kernels.fragment_adjoint import adjoint_functions
from taichi_softras.kernels.phases import end_phase, leave_last, next_task
from taichi_softras.kernels.raster_cpu.reading import reading_function
from taichi_softras.kernels.raster_cpu.sums import DRAW, sums_function
from taichi_softras.kernels.raster_cpu.tile import array_lengths, place_lanes, place_tile
from taichi_softras.kernels.records import read_record
from taichi_softras.kernels.texture import texture_functions
from taichi_softras.kernels.types import ENTRY, TASK, WITHIN, array, vanishing


@cache
def adjoint_kernel(
    variant: Variant, geometry: bool, attributes_too: bool, softness: bool, texels_too: bool
) -> Any:
    """Return the kernel that pulls image gradients back: to tile entries, faces, then vertices.

    Args:
        variant: As for the forward kernel.
        geometry: Compute gradients of the corners.
        attributes_too: Compute gradients of the attributes.
        softness: Compute gradients of sigma and gamma.
        texels_too: Compute gradients of the texels.
    """
    dtype, channels, color = variant.dtype, variant.channels, variant.color
    attributes_in, textured = variant.attributes, variant.textured
    functions, outline = fragment_functions(variant), fragment_functions(variant.outline)
    weigh, pull = functions.weigh, adjoint_functions(variant).pull
    pull_outline = adjoint_functions(variant.outline).pull
    # What silhouettes need barycentric coordinates for.
    barycentric = variant.distance == "barycentric"
    keeps_weights = barycentric or color != "none"
    if_weighted = PIXELS if keeps_weights else 1
    locate_blocks, read_spot = _locating_functions(dtype, functions.locate, keeps_weights)
    locate_outlines, read_outline = _locating_functions(dtype, outline.locate, barycentric)
    _, color_adjoint, add_to_texels = texture_functions(
        dtype, variant.lookup, channels, textured, unroll=False
    )
    nonzero_blocks = nonzero_blocks_function(dtype)
    read = reading_function(variant)
    sum_slots = sums_function(variant, geometry, attributes_too)
    width_slot = variant.slot_width
    of_outlines = 6 if geometry else 0
    of_corners = of_outlines if color == "none" else (9 if geometry else 0)
    of_attributes = 3 * attributes_in if attributes_too else 0
    if_soft, if_hard, if_colored = array_lengths(variant)
    sight = vanishing(dtype) + 1.0

    @ti.kernel
    def adjoint(
        records: array(dtype, 1),  # [N * RECORD]
        attributes: array(dtype, 3, used=attributes_in > 0),  # [M, 3, C + texture coordinates]
        views: array(ti.i32, 2, used=attributes_in > 0),  # [B, 3]
        tile_start: array(ti.i32, 1),  # [T + 1]
        entries: array(ti.i32, 1),  # [K * ENTRY]
        n_views: ti.i32,
        height: ti.i32,
        width: ti.i32,
        shorter: dtype,
        inverse_sigma: dtype,
        reach2: dtype,
        tau: dtype,
        inverse_tau: dtype,
        near: dtype,
        far: dtype,
        image: array(dtype, 1, used=channels > 0),  # [B * H * W * C] what forward returned
        depth_in: array(dtype, 1, used=color != "none"),  # [B * H * W] what forward returned
        state: array(dtype, 1),  # see `types.STATE`
        winner: array(ti.i32, 1, used=color == "hard"),  # [B * H * W]
        d_alpha: array(dtype, 1),  # [B * H * W]
        d_image: array(dtype, 1, used=channels > 0),  # [B * H * W * C]
        d_depth_in: array(dtype, 1, used=color != "none"),  # [B * H * W]
        n_faces: ti.i32,  # N
        n_attributes: ti.i32,  # M
        face_start: array(ti.i32, 1),  # [N + 1] first slot of each face
        slots: array(dtype, 2),  # [K, variant.slot_width] scratch
        more: ti.i32,  # whether to add to what is in the next two
        d_corners: array(dtype, 2, used=geometry),  # [3 N, 3] out
        # Out: [M, 3, C + texture coordinates].
        d_attributes: array(dtype, 3, used=attributes_too),
        n_vertices: ti.i32,  # of each view, 0 where only corners are asked for
        # [V + 1] where each vertex's corners begin, and [3 F] the corners 3 f + k, by vertex.
        corner_start: array(ti.i32, 1, used=geometry),
        corner_of: array(ti.i32, 1, used=geometry),
        d_points: array(dtype, 2, used=geometry),  # [Q, 3] out
        # [tiles of the band, 2] out: see `blend_in_adjoint`.
        d_softness: array(dtype, 2, used=softness),
        texels: array(dtype, 2, used=textured > 0),  # [X, textured channels]
        # Of each attribute record where its map begins here; maps.
        maps: array(ti.i32, 1, used=textured > 0),
        d_texels: array(ti.i32, 1, used=texels_too),  # out: see `texture.add_exactly`
        first_tile_row: ti.i32,  # of the band that is worked on
        end_tile_row: ti.i32,
        n_workers: ti.i32,
        progress: array(ti.i32, 1),  # `counters` of ADJOINT_PHASES, zeros
    ):
        tiles_per_band = (end_tile_row - first_tile_row) * ((width + TILE - 1) // TILE)
        n_tiles = n_views * tiles_per_band
        for worker in range(n_workers * TASK):
            if worker % TASK == 0:
                me = worker // TASK
                soft = numbers_of(inverse_sigma, reach2, tau, inverse_tau, near, far)
                # Here, because each tile would fill them with zeros first.
                px = ti.Vector.zero(variant.position_dtype, ACROSS * BLOCK)
                py = ti.Vector.zero(variant.position_dtype, DOWN * BLOCK)
                reference = ti.Vector.zero(dtype, if_soft)
                inverse_total = ti.Vector.zero(dtype, if_soft)
                nearest = ti.Vector.zero(ti.i32, if_hard)
                g_alpha = ti.Vector.zero(dtype, PIXELS)
                g_depth = ti.Vector.zero(dtype, if_colored)
                g_mean = ti.Vector.zero(dtype, if_colored)
                g = [ti.Vector.zero(dtype, PIXELS) for _ in ti.static(range(channels))]
                # Of eight pixels: the weight, u0, u1, u2, what is seen; dL/d(attributes).
                lanes = [ti.Vector.zero(dtype, BLOCK) for _ in ti.static(range(5))]
                d_here = [ti.Vector.zero(dtype, BLOCK) for _ in ti.static(range(attributes_in))]
                # Of the face at hand, see `locate`.
                edge = ti.Vector.zero(ti.i32, PIXELS)
                side = ti.Vector.zero(dtype, PIXELS)
                t = ti.Vector.zero(dtype, PIXELS)
                n_x = ti.Vector.zero(dtype, PIXELS)
                n_y = ti.Vector.zero(dtype, PIXELS)
                w0 = ti.Vector.zero(dtype, if_weighted)
                w1 = ti.Vector.zero(dtype, if_weighted)
                w2 = ti.Vector.zero(dtype, if_weighted)
                done = 0
                while True:
                    work = next_task(progress, DRAW, me, n_workers, n_tiles)
                    if work == n_tiles:
                        break
                    done += 1
                    tile = place_tile(work, tiles_per_band, first_tile_row, height, width)
                    b = tile.view
                    first_entry, end_entry = tile_start[tile.index], tile_start[tile.index + 1]
                    if first_entry == end_entry:
                        if ti.static(softness):
                            d_softness[work, 0] = 0.0
                            d_softness[work, 1] = 0.0
                        continue
                    exact = ti.cast(shorter, variant.position_dtype)
                    place_lanes(tile, height, width, exact, px, py)
                    read(
                        tile, width, reference, inverse_total, nearest, g_alpha, g_depth, g_mean, g,
                        image, depth_in, state, winner, d_alpha, d_image, d_depth_in,
                    )  # fmt: skip
                    zero = ti.cast(0.0, dtype)
                    to_sigma, to_gamma = zero, zero
                    # Pixels whose gradients are all 0 give 0 to every face, and those where only
                    # the silhouette has one need its functions alone.
                    outlined = nonzero_blocks(g_alpha)
                    colored = outlined
                    if ti.static(color != "none"):
                        colored = nonzero_blocks(g_depth)
                        for ch in ti.static(range(channels)):
                            colored |= nonzero_blocks(g[ch])
                        if ti.static(color == "hard"):
                            colored |= outlined
                    limits = ti.Vector.zero(dtype, BLOCKS)
                    if ti.static(color == "softmax"):
                        limits_of_sight(reference, sight * tau, limits)
                    for entry in range(first_entry, end_entry):
                        listed_at = (entry * ENTRY) & WITHIN
                        n = entries[listed_at]
                        m = n
                        if ti.static(attributes_in > 0):
                            m = views[b, 1] + n - views[b, 0]
                        face = read_record(records, n)
                        c0 = [attributes[m, 0, a] for a in ti.static(range(attributes_in))]
                        c1 = [attributes[m, 1, a] for a in ti.static(range(attributes_in))]
                        c2 = [attributes[m, 2, a] for a in ti.static(range(attributes_in))]
                        s = [ti.Vector.zero(dtype, BLOCK) for _ in ti.static(range(width_slot))]
                        live, hidden = entries[listed_at + 2], 0
                        if ti.static(color == "softmax"):
                            hidden = hidden_blocks(limits, face.z) | ~colored
                        # Two loops, so that the processor sees more of independent blocks.
                        left = live & colored & ~hidden
                        locate_blocks(left, face, px, py, edge, side, t, n_x, n_y, w0, w1, w2)
                        while left != 0:
                            # Masked, so that LLVM knows that the sums below cannot wrap.
                            block = first_block(left) & (BLOCKS - 1)
                            left &= left - 1
                            block_column, block_row = lanes_of(block)
                            if ti.static(textured > 0):
                                for lane in range(BLOCK):
                                    i = block * BLOCK + lane
                                    p = ti.Vector([px[block_column + lane], py[block_row + lane]])
                                    pixel = ti.Struct(
                                        reference=zero, inverse_total=zero, chosen=False
                                    )
                                    if ti.static(color == "softmax"):
                                        pixel.reference = reference[i]
                                        pixel.inverse_total = inverse_total[i]
                                    if ti.static(color == "hard"):
                                        pixel.chosen = nearest[i] == n
                                    weight, u0, u1, u2 = weigh(p, face, pixel, soft)
                                    lanes[0][lane], lanes[1][lane] = weight, u0
                                    lanes[2][lane], lanes[3][lane] = u1, u2
                                for lane in range(BLOCK):
                                    i = block * BLOCK + lane
                                    here = ti.Vector.zero(dtype, attributes_in)
                                    pulled = ti.Vector.zero(dtype, attributes_in)
                                    seen = zero
                                    if lanes[0][lane] > 0.0:
                                        for a in ti.static(range(attributes_in)):
                                            here[a] = (
                                                lanes[1][lane] * c0[a] + lanes[2][lane] * c1[a]
                                                + lanes[3][lane] * c2[a]
                                            )  # fmt: skip
                                        d_color = ti.Vector(
                                            [g[ch][i] for ch in ti.static(range(channels))]
                                        )
                                        seen, pulled = color_adjoint(
                                            texels, maps, maps[m], here, d_color
                                        )
                                        if ti.static(texels_too):
                                            add_to_texels(
                                                maps, maps[m], here, lanes[0][lane] * d_color,
                                                d_texels,
                                            )  # fmt: skip
                                    lanes[4][lane] = seen
                                    for a in ti.static(range(attributes_in)):
                                        d_here[a][lane] = pulled[a]
                            for lane in range(BLOCK):
                                i = block * BLOCK + lane
                                pixel = ti.Struct(
                                    reference=zero, inverse_total=zero, chosen=False,
                                    g_alpha=g_alpha[i], g_depth=zero, g_mean=zero,
                                )  # fmt: skip
                                if ti.static(color == "softmax"):
                                    pixel.reference = reference[i]
                                    pixel.inverse_total = inverse_total[i]
                                if ti.static(color == "hard"):
                                    pixel.chosen = nearest[i] == n
                                if ti.static(color != "none"):
                                    pixel.g_depth, pixel.g_mean = g_depth[i], g_mean[i]
                                spot = read_spot(i, edge, side, t, n_x, n_y, w0, w1, w2)
                                # dL/d(attributes here), which without a texture are the colours.
                                seen = lanes[4][lane]
                                values = ti.static(d_here if textured > 0 else g)
                                at = lane if ti.static(textured > 0) else i
                                d_value = [values[a][at] for a in ti.static(range(attributes_in))]
                                d_sigma, d_gamma = pull(
                                    spot, face, [c0, c1, c2], pixel, d_value, seen, soft,
                                    [s[k][lane] for k in ti.static(range(of_corners))],
                                    [s[9 + k][lane] for k in ti.static(range(of_attributes))],
                                )  # fmt: skip
                                if ti.static(softness):
                                    to_sigma += d_sigma
                                    to_gamma += d_gamma
                        if ti.static(color == "softmax"):
                            left = live & hidden & outlined
                            locate_outlines(left, face, px, py, edge, side, t, n_x, n_y, w0, w1, w2)
                            while left != 0:
                                block = first_block(left) & (BLOCKS - 1)
                                left &= left - 1
                                for lane in range(BLOCK):
                                    i = block * BLOCK + lane
                                    pixel = ti.Struct(g_alpha=g_alpha[i])
                                    spot = read_outline(i, edge, side, t, n_x, n_y, w0, w1, w2)
                                    d_sigma, _g = pull_outline(
                                        spot, face, [], pixel, [], zero, soft,
                                        [s[k][lane] for k in ti.static(range(of_outlines))], [],
                                    )  # fmt: skip
                                    if ti.static(softness):
                                        to_sigma += d_sigma
                        slot = entries[listed_at + 1]
                        if ti.static(geometry and color != "none"):
                            finish_depths(s, 6, face.r, variant.linear_depth)
                        # Two loops, because Taichi warns about unrolling more than 32 iterations.
                        for row in ti.static(range(width_slot // 3)):
                            for k in ti.static(range(3)):
                                slots[slot, 3 * row + k] = s[3 * row + k].sum()
                    if ti.static(softness):
                        d_softness[work, 0] = to_sigma
                        d_softness[work, 1] = to_gamma
                end_phase(progress, DRAW, n_workers, done, n_tiles)
                sum_slots(
                    progress, me, n_workers, n_views, n_faces, n_attributes, face_start,
                    slots, more, d_corners, d_attributes, n_vertices, corner_start, corner_of,
                    d_points,
                )  # fmt: skip
                leave_last(progress, me, n_workers)

    return adjoint


def _locating_functions(dtype: Any, locate: Any, keeps_weights: bool) -> tuple[Any, Any]:
    """Return the functions that do `locate` for all pixels of some blocks, and read a spot."""

    @ti.func
    def locate_blocks(
        blocks, face, px: ti.template(), py: ti.template(), edge: ti.template(),
        side: ti.template(), t: ti.template(), n_x: ti.template(), n_y: ti.template(),
        w0: ti.template(), w1: ti.template(), w2: ti.template(),
    ):  # fmt: skip
        left = blocks
        while left != 0:
            block = first_block(left) & (BLOCKS - 1)
            left &= left - 1
            block_column, block_row = lanes_of(block)
            for lane in range(BLOCK):
                i = block * BLOCK + lane
                spot = locate(ti.Vector([px[block_column + lane], py[block_row + lane]]), face)
                # In one number; outside it is never 0.
                side[i] = ti.select(spot.inside, spot.measure, -1e-37 - spot.measure)
                edge[i], t[i], n_x[i], n_y[i] = spot.edge, spot.t, spot.n_x, spot.n_y
                if ti.static(keeps_weights):
                    w0[i], w1[i], w2[i] = spot.w0, spot.w1, spot.w2

    @ti.func
    def read_spot(
        i, edge: ti.template(), side: ti.template(), t: ti.template(), n_x: ti.template(),
        n_y: ti.template(), w0: ti.template(), w1: ti.template(), w2: ti.template(),
    ):  # fmt: skip
        zero = ti.cast(0.0, dtype)
        spot = ti.Struct(
            w0=zero, w1=zero, w2=zero, inside=side[i] >= 0.0, edge=edge[i], t=t[i],
            n_x=n_x[i], n_y=n_y[i], measure=ti.abs(side[i]),
        )  # fmt: skip
        if ti.static(keeps_weights):
            spot.w0, spot.w1, spot.w2 = w0[i], w1[i], w2[i]
        return spot

    return locate_blocks, read_spot

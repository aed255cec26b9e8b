"""The CPU driver: one tile at a time, faces inside, the tile's pixels innermost.

The tile's pixels live in local arrays and the innermost body is scalar code on them, with selects
instead of branches: the shape that LLVM turns into SIMD. Forward and adjoint are the same loops.
Threads draw tiles from a queue; a tile's result does not depend on who computes it.
"""

from functools import cache
from typing import Any

import taichi as ti

from taichi_softras.kernels.blocks import (
    ALL_BLOCKS,
    BLOCK,
    BLOCKS,
    hidden_blocks,
    limits_of_sight,
    list_blocks,
    nonzero_blocks_function,
    pixel_column,
    pixel_index,
    pixel_row,
)
from taichi_softras.kernels.fragment import (
    Variant,
    fragment_functions,
    outline_functions,
    pixel_center,
)
from taichi_softras.kernels.setup import read_record
from taichi_softras.kernels.texture import texture_functions
from taichi_softras.kernels.types import PIXELS, TASK, TILE, array, vanishing

LOOK = 16
"""Faces between two looks for pixels that nothing can change any more."""


@cache
def forward_kernel(variant: Variant) -> Any:
    """Return the kernel that renders all tiles of all views."""
    dtype, channels, alpha, color = variant.dtype, variant.channels, variant.alpha, variant.color
    blend_in, _, _ = fragment_functions(variant)
    attributes_in, textured = variant.attributes, variant.textured
    color_of, _, _ = texture_functions(dtype, variant.lookup, channels, textured, unroll=False)
    # The nearest fragment is searched from beyond any depth.
    beyond = 1e30
    nonzero_blocks = nonzero_blocks_function(dtype)
    # A pixel's silhouette number where no face is.
    nothing = 1.0 if alpha == "prod" else 0.0
    blend_in_outline, _, _ = outline_functions(variant)
    # This many taus behind the reference depth a face has no weight.
    sight = vanishing(dtype) + 1.0

    @ti.kernel
    def forward(
        records: array(dtype, 2),  # [N, RECORD]
        attributes: array(dtype, 3),  # [M, 3, C + texture coordinates]
        views: array(ti.i32, 2),  # [B, 3]
        tile_start: array(ti.i32, 1),  # [T + 1]
        entry_face: array(ti.i32, 1),  # [K]
        entry_blocks: array(ti.i32, 1),  # [K]
        background: array(dtype, 2),  # [1, C] or [B * H * W, C]
        background_rows: ti.i32,
        n_views: ti.i32,
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
        state: array(dtype, 2),  # [B * H * W, STATE] out: transparency, reference depth, sum
        winner: array(ti.i32, 1),  # [B * H * W] out: nearest face, -1 if none (hard colour only)
        texels: array(dtype, 2),  # [X, textured channels]
        maps: array(ti.i32, 1),  # of each attribute record where its map begins here; maps
        first_tile_row: ti.i32,  # of the band that is worked on
        end_tile_row: ti.i32,
        n_workers: ti.i32,
        queue: array(ti.i32, 1),  # [1] next tile of the band; zero before
    ):
        tile_columns = (width + TILE - 1) // TILE
        tile_rows = (height + TILE - 1) // TILE
        tiles_per_band = (end_tile_row - first_tile_row) * tile_columns
        for worker in range(n_workers * TASK):
            if worker % TASK == 0:
                work = ti.atomic_add(queue[0], 1)
                while work < n_views * tiles_per_band:
                    b, rest = work // tiles_per_band, work % tiles_per_band
                    tile_row = first_tile_row + rest // tile_columns
                    tile_column = rest % tile_columns
                    tile = (b * tile_rows + tile_row) * tile_columns + tile_column
                    rows = ti.min(height - tile_row * TILE, TILE)
                    columns = ti.min(width - tile_column * TILE, TILE)
                    first_pixel = (b * height + tile_row * TILE) * width + tile_column * TILE
                    blocks = ti.Vector.zero(ti.i32, BLOCKS)
                    px = ti.Vector.zero(variant.position_dtype, PIXELS)
                    py = ti.Vector.zero(variant.position_dtype, PIXELS)
                    silhouette = ti.Vector.zero(dtype, PIXELS)
                    reference = ti.Vector.zero(dtype, PIXELS)
                    total = ti.Vector.zero(dtype, PIXELS)
                    depth_sum = ti.Vector.zero(dtype, PIXELS)
                    nearest = ti.Vector.zero(ti.i32, PIXELS)
                    sums = [ti.Vector.zero(dtype, PIXELS) for _ in ti.static(range(channels))]
                    # Of eight pixels: what a texture that is read one by one needs of them.
                    lanes = [ti.Vector.zero(dtype, BLOCK) for _ in ti.static(range(4))]
                    for i in range(PIXELS):
                        r = tile_row * TILE + pixel_row(i)
                        c = tile_column * TILE + pixel_column(i)
                        px[i], py[i] = pixel_center(
                            r, c, height, width, ti.cast(shorter, variant.position_dtype)
                        )
                        silhouette[i] = nothing
                        if ti.static(color == "softmax"):
                            reference[i] = background_depth
                            total[i] = 1.0
                            depth_sum[i] = far
                        elif ti.static(color == "hard"):
                            reference[i] = beyond
                            nearest[i] = -1
                    if ti.static(channels > 0):
                        for row in range(rows):
                            q = first_pixel + row * width
                            for column in range(columns):
                                behind = q + column if background_rows > 1 else 0
                                for ch in ti.static(range(channels)):
                                    sums[ch][pixel_index(row, column)] = background[behind, ch]
                    awake = ALL_BLOCKS
                    limits = ti.Vector([1e30 for _ in ti.static(range(BLOCKS))], dtype)
                    for entry in range(tile_start[tile], tile_start[tile + 1]):
                        # Now and then: where the transparency is 0 it stays so, and what is hidden
                        # there will not be seen again.
                        if (entry - tile_start[tile]) % LOOK == LOOK - 1:
                            if ti.static(alpha == "prod"):
                                awake = nonzero_blocks(silhouette)
                            if ti.static(color == "softmax"):
                                limits_of_sight(reference, sight * tau, limits)
                        n = entry_face[entry]
                        m = views[b, 1] + n - views[b, 0]
                        face = read_record(records, n)
                        c0 = [attributes[m, 0, a] for a in ti.static(range(attributes_in))]
                        c1 = [attributes[m, 1, a] - c0[a] for a in ti.static(range(attributes_in))]
                        c2 = [attributes[m, 2, a] - c0[a] for a in ti.static(range(attributes_in))]
                        live = entry_blocks[entry]
                        hidden = 0
                        if ti.static(color == "softmax"):
                            hidden = hidden_blocks(limits, face.z)
                        elif ti.static(color == "none"):
                            live &= awake
                        for k in range(list_blocks(live & ~hidden, blocks)):
                            for lane in range(BLOCK):
                                # Masked, so that LLVM knows that the sum cannot wrap.
                                i = (blocks[k] & (BLOCKS - 1)) * BLOCK + lane
                                p = ti.Vector([px[i], py[i]])
                                covered, nearer, old, new, front, depth, u0, u1, u2 = blend_in(
                                    p, face, silhouette[i], reference[i],
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
                                    i = (blocks[k] & (BLOCKS - 1)) * BLOCK + lane
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
                            for k in range(list_blocks(live & hidden & awake, blocks)):
                                for lane in range(BLOCK):
                                    i = (blocks[k] & (BLOCKS - 1)) * BLOCK + lane
                                    p = ti.Vector([px[i], py[i]])
                                    covered, _r, _o, _n, _f, _d, _u0, _u1, _u2 = blend_in_outline(
                                        p, face, silhouette[i], reference[i],
                                        inverse_sigma, reach2, tau, inverse_tau, near, far,
                                    )  # fmt: skip
                                    silhouette[i] = covered
                    if ti.static(color == "softmax"):
                        for i in range(PIXELS):
                            inverse_total = 1.0 / total[i]
                            depth_sum[i] *= inverse_total
                            for ch in ti.static(range(channels)):
                                sums[ch][i] *= inverse_total
                    for row in range(rows):
                        for column in range(columns):
                            i = pixel_index(row, column)
                            q = first_pixel + row * width + column
                            state[q, 0] = silhouette[i]
                            if ti.static(alpha == "prod"):
                                alpha_out[q] = 1.0 - silhouette[i]
                            else:
                                alpha_out[q] = silhouette[i]
                            if ti.static(color == "softmax"):
                                state[q, 1] = reference[i]
                                state[q, 2] = total[i]
                                depth_out[q] = depth_sum[i]
                            elif ti.static(color == "hard"):
                                winner[q] = nearest[i]
                                depth_out[q] = ti.select(nearest[i] >= 0, reference[i], far)
                            for ch in ti.static(range(channels)):
                                image[q, ch] = sums[ch][i]
                    work = ti.atomic_add(queue[0], 1)

    return forward


@cache
def adjoint_kernel(
    variant: Variant, geometry: bool, attributes_too: bool, softness: bool, texels_too: bool
) -> Any:
    """Return the kernel that turns image gradients into one gradient slot a tile entry.

    Args:
        variant: As for the forward kernel.
        geometry: Compute gradients of the corners.
        attributes_too: Compute gradients of the attributes.
        softness: Compute gradients of sigma and gamma.
        texels_too: Compute gradients of the texels.
    """
    dtype, channels, color = variant.dtype, variant.channels, variant.color
    attributes_in, textured = variant.attributes, variant.textured
    _, weigh, blend_in_adjoint = fragment_functions(variant)
    _, _, outline_adjoint = outline_functions(variant)
    _, color_adjoint, add_to_texels = texture_functions(
        dtype, variant.lookup, channels, textured, unroll=False
    )
    nonzero_blocks = nonzero_blocks_function(dtype)
    width_slot = variant.slot_width
    sight = vanishing(dtype) + 1.0

    @ti.kernel
    def adjoint(
        records: array(dtype, 2),  # [N, RECORD]
        attributes: array(dtype, 3),  # [M, 3, C + texture coordinates]
        views: array(ti.i32, 2),  # [B, 3]
        tile_start: array(ti.i32, 1),  # [T + 1]
        entry_face: array(ti.i32, 1),  # [K]
        entry_slot: array(ti.i32, 1),  # [K]
        entry_blocks: array(ti.i32, 1),  # [K]
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
        image: array(dtype, 2),  # [B * H * W, C] what forward returned
        depth_in: array(dtype, 1),  # [B * H * W] what forward returned
        state: array(dtype, 2),  # [B * H * W, STATE]
        winner: array(ti.i32, 1),  # [B * H * W]
        d_alpha: array(dtype, 1),  # [B * H * W]
        d_image: array(dtype, 2),  # [B * H * W, C]
        d_depth_in: array(dtype, 1),  # [B * H * W]
        slots: array(dtype, 2),  # [K, variant.slot_width] out
        d_softness: array(dtype, 2),  # [tiles of the band, 2] out: see `blend_in_adjoint`
        texels: array(dtype, 2),  # [X, textured channels]
        maps: array(ti.i32, 1),  # of each attribute record where its map begins here; maps
        d_texels: array(ti.i32, 1),  # out: see `texture.add_exactly`
        first_tile_row: ti.i32,  # of the band that is worked on
        end_tile_row: ti.i32,
        n_workers: ti.i32,
        queue: array(ti.i32, 1),  # [1] next tile of the band; zero before
    ):
        tile_columns = (width + TILE - 1) // TILE
        tile_rows = (height + TILE - 1) // TILE
        tiles_per_band = (end_tile_row - first_tile_row) * tile_columns
        for worker in range(n_workers * TASK):
            if worker % TASK == 0:
                work = ti.atomic_add(queue[0], 1)
                while work < n_views * tiles_per_band:
                    b, rest = work // tiles_per_band, work % tiles_per_band
                    tile_row = first_tile_row + rest // tile_columns
                    tile_column = rest % tile_columns
                    tile = (b * tile_rows + tile_row) * tile_columns + tile_column
                    rows = ti.min(height - tile_row * TILE, TILE)
                    columns = ti.min(width - tile_column * TILE, TILE)
                    first_pixel = (b * height + tile_row * TILE) * width + tile_column * TILE
                    blocks = ti.Vector.zero(ti.i32, BLOCKS)
                    px = ti.Vector.zero(variant.position_dtype, PIXELS)
                    py = ti.Vector.zero(variant.position_dtype, PIXELS)
                    clear = ti.Vector.zero(dtype, PIXELS)
                    reference = ti.Vector.zero(dtype, PIXELS)
                    inverse_total = ti.Vector.zero(dtype, PIXELS)
                    nearest = ti.Vector.zero(ti.i32, PIXELS)
                    g_alpha = ti.Vector.zero(dtype, PIXELS)
                    g_depth = ti.Vector.zero(dtype, PIXELS)
                    g_mean = ti.Vector.zero(dtype, PIXELS)
                    to_outline = ti.Vector.zero(dtype, PIXELS)
                    pull = ti.Vector.zero(dtype, PIXELS)
                    g = [ti.Vector.zero(dtype, PIXELS) for _ in ti.static(range(channels))]
                    # Of eight pixels: the weight, u0, u1, u2, what is seen; dL/d(attributes).
                    lanes = [ti.Vector.zero(dtype, BLOCK) for _ in ti.static(range(5))]
                    d_here = [ti.Vector.zero(dtype, BLOCK) for _ in ti.static(range(attributes_in))]
                    for i in range(PIXELS):
                        r = tile_row * TILE + pixel_row(i)
                        c = tile_column * TILE + pixel_column(i)
                        px[i], py[i] = pixel_center(
                            r, c, height, width, ti.cast(shorter, variant.position_dtype)
                        )
                    # An empty tile reads nothing.
                    for row in range(rows if tile_start[tile] < tile_start[tile + 1] else 0):
                        for column in range(columns):
                            i = pixel_index(row, column)
                            q = first_pixel + row * width + column
                            g_alpha[i] = d_alpha[q]
                            clear[i] = state[q, 0]
                            to_outline[i] = ti.abs(d_alpha[q])
                            if ti.static(variant.alpha == "prod"):
                                to_outline[i] *= ti.abs(state[q, 0])
                            pull[i] = to_outline[i]
                            if ti.static(color == "softmax"):
                                reference[i] = state[q, 1]
                                inverse_total[i] = state[q, 2]
                            if ti.static(color == "hard"):
                                nearest[i] = winner[q]
                            if ti.static(color != "none"):
                                g_depth[i] = d_depth_in[q]
                                pull[i] += ti.abs(d_depth_in[q])
                                mean = d_depth_in[q] * depth_in[q]
                                for ch in ti.static(range(channels)):
                                    g[ch][i] = d_image[q, ch]
                                    pull[i] += ti.abs(d_image[q, ch])
                                    mean += d_image[q, ch] * image[q, ch]
                                # What the pixel's colour and depth say to every weight alike.
                                g_mean[i] = mean
                    if ti.static(color == "softmax"):
                        for i in range(PIXELS):
                            # Pixels outside the image have no sum; no face is drawn there.
                            inverse_total[i] = 1.0 / ti.select(
                                inverse_total[i] > 0.0, inverse_total[i], 1.0
                            )
                    zero = ti.cast(0.0, dtype)
                    to_sigma, to_gamma = zero, zero
                    # Pixels whose gradients are all 0 give 0 to every face.
                    awake = nonzero_blocks(pull)
                    outlined = nonzero_blocks(to_outline)
                    limits = ti.Vector.zero(dtype, BLOCKS)
                    if ti.static(color == "softmax"):
                        limits_of_sight(reference, sight * tau, limits)
                    for entry in range(tile_start[tile], tile_start[tile + 1]):
                        n = entry_face[entry]
                        m = views[b, 1] + n - views[b, 0]
                        face = read_record(records, n)
                        c0 = [attributes[m, 0, a] for a in ti.static(range(attributes_in))]
                        c1 = [attributes[m, 1, a] for a in ti.static(range(attributes_in))]
                        c2 = [attributes[m, 2, a] for a in ti.static(range(attributes_in))]
                        s = [ti.Vector.zero(dtype, BLOCK) for _ in ti.static(range(width_slot))]
                        live, hidden = entry_blocks[entry] & awake, 0
                        if ti.static(color == "softmax"):
                            hidden = hidden_blocks(limits, face.z)
                        for k in range(list_blocks(live & ~hidden, blocks)):
                            if ti.static(textured > 0):
                                for lane in range(BLOCK):
                                    i = (blocks[k] & (BLOCKS - 1)) * BLOCK + lane
                                    weight, u0, u1, u2 = weigh(
                                        ti.Vector([px[i], py[i]]), face,
                                        reference[i], inverse_total[i], nearest[i] == n,
                                        inverse_sigma, reach2, tau, inverse_tau, near, far,
                                    )  # fmt: skip
                                    lanes[0][lane], lanes[1][lane] = weight, u0
                                    lanes[2][lane], lanes[3][lane] = u1, u2
                                for lane in range(BLOCK):
                                    i = (blocks[k] & (BLOCKS - 1)) * BLOCK + lane
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
                                # Masked, so that LLVM knows that the sum cannot wrap.
                                i = (blocks[k] & (BLOCKS - 1)) * BLOCK + lane
                                p = ti.Vector([px[i], py[i]])
                                # g_k: the image gradient along the attributes of corner k.
                                g0, g1, g2, seen = zero, zero, zero, lanes[4][lane]
                                d_value = [
                                    ti.cast(0.0, dtype) for _ in ti.static(range(attributes_in))
                                ]
                                for a in ti.static(range(attributes_in)):
                                    if ti.static(textured > 0):
                                        d_value[a] = d_here[a][lane]
                                    else:
                                        d_value[a] = g[a][i]
                                    g0 += d_value[a] * c0[a]
                                    g1 += d_value[a] * c1[a]
                                    g2 += d_value[a] * c2[a]
                                (
                                    d0, d1, d2, d3, d4, d5, d_z0, d_z1, d_z2,
                                    weight, u0, u1, u2, d_sigma, d_gamma,
                                ) = blend_in_adjoint(
                                    p, face, clear[i], reference[i], inverse_total[i],
                                    nearest[i] == n, g_alpha[i], g_depth[i], g_mean[i],
                                    g0, g1, g2, seen,
                                    inverse_sigma, reach2, tau, inverse_tau, near, far,
                                )  # fmt: skip
                                if ti.static(geometry):
                                    s[0][lane] += d0
                                    s[1][lane] += d1
                                    s[2][lane] += d2
                                    s[3][lane] += d3
                                    s[4][lane] += d4
                                    s[5][lane] += d5
                                    if ti.static(color != "none"):
                                        s[6][lane] += d_z0
                                        s[7][lane] += d_z1
                                        s[8][lane] += d_z2
                                if ti.static(attributes_too):
                                    for a in ti.static(range(attributes_in)):
                                        w_g = weight * d_value[a]
                                        s[9 + a][lane] += w_g * u0
                                        s[9 + attributes_in + a][lane] += w_g * u1
                                        s[9 + 2 * attributes_in + a][lane] += w_g * u2
                                if ti.static(softness):
                                    to_sigma += d_sigma
                                    to_gamma += d_gamma
                        if ti.static(color == "softmax"):
                            for k in range(list_blocks(live & hidden & outlined, blocks)):
                                for lane in range(BLOCK):
                                    i = (blocks[k] & (BLOCKS - 1)) * BLOCK + lane
                                    p = ti.Vector([px[i], py[i]])
                                    (
                                        d0, d1, d2, d3, d4, d5, _z0, _z1, _z2,
                                        _w, _u0, _u1, _u2, d_sigma, _g,
                                    ) = outline_adjoint(
                                        p, face, clear[i], zero, zero, False, g_alpha[i],
                                        zero, zero, zero, zero, zero, zero,
                                        inverse_sigma, reach2, tau, inverse_tau, near, far,
                                    )  # fmt: skip
                                    if ti.static(geometry):
                                        s[0][lane] += d0
                                        s[1][lane] += d1
                                        s[2][lane] += d2
                                        s[3][lane] += d3
                                        s[4][lane] += d4
                                        s[5][lane] += d5
                                    if ti.static(softness):
                                        to_sigma += d_sigma
                        slot = entry_slot[entry]
                        # Two loops, because Taichi warns about unrolling more than 32 iterations.
                        for row in ti.static(range(width_slot // 3)):
                            for k in ti.static(range(3)):
                                slots[slot, 3 * row + k] = s[3 * row + k].sum()
                    if ti.static(softness):
                        d_softness[work, 0] = to_sigma
                        d_softness[work, 1] = to_gamma
                    work = ti.atomic_add(queue[0], 1)

    return adjoint

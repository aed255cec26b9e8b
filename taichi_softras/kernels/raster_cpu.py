"""The CPU driver: one tile at a time, faces inside, the tile's pixels innermost.

The tile's pixels live in local arrays and the innermost body is scalar code on them, with selects
instead of branches: the shape that LLVM turns into SIMD. Forward and adjoint are the same loops.
Threads draw tiles from a queue; a tile's result does not depend on who computes it.
"""

from functools import cache
from typing import Any

import taichi as ti

from taichi_softras.kernels import blending, coverage
from taichi_softras.kernels.fragment import Variant, fragment_functions
from taichi_softras.kernels.setup import read_record
from taichi_softras.kernels.types import TASK, TILE, array, exp_negative

PIXELS = TILE * TILE

STATE = 3
"""Numbers a pixel keeps for the adjoint: see `forward`."""


@ti.func
def pixel_center(tile_row, tile_column, i, height, width, shorter):
    """NDC of pixel i of a tile; see MATH section 1."""
    x = (2 * (tile_column * TILE + i % TILE) + 1 - width) / shorter
    y = (height - 1 - 2 * (tile_row * TILE + i // TILE)) / shorter
    return x, y


@cache
def forward_kernel(variant: Variant) -> Any:
    """Return the kernel that renders all tiles of all views."""
    dtype, channels, alpha, color = variant.dtype, variant.channels, variant.alpha, variant.color
    perspective, linear = variant.perspective, variant.linear_depth
    locate, cover, read_at, _ = fragment_functions(variant)
    exp_neg = exp_negative(dtype)
    # The nearest fragment is searched from beyond any depth.
    beyond = 1e30

    @ti.kernel
    def forward(
        records: array(dtype, 2),  # [N, RECORD]
        boxes: array(ti.i32, 2),  # [N, 4]
        attributes: array(dtype, 3),  # [M, 3, C]
        views: array(ti.i32, 2),  # [B, 3]
        tile_start: array(ti.i32, 1),  # [T + 1]
        entry_face: array(ti.i32, 1),  # [K]
        background: array(dtype, 2),  # [1, C] or [B * H * W, C]
        height: ti.i32,
        width: ti.i32,
        shorter: dtype,
        inverse_sigma: dtype,
        reach2: dtype,  # faces are kept while the metric's square is below this
        tau: dtype,  # gamma (far - near)
        inverse_tau: dtype,
        far: dtype,
        background_depth: dtype,  # depth at which the background takes part in the softmax
        n_workers: ti.i32,
        queue: array(ti.i32, 1),  # [1] next tile; zero before
        alpha_out: array(dtype, 1),  # [B * H * W] out
        image: array(dtype, 2),  # [B * H * W, C] out
        depth_out: array(dtype, 1),  # [B * H * W] out
        state: array(dtype, 2),  # [B * H * W, STATE] out: transparency, reference depth, sum
        winner: array(ti.i32, 1),  # [B * H * W] out: nearest face, -1 if none (hard colour only)
    ):
        columns = (width + TILE - 1) // TILE
        tiles_per_view = (height + TILE - 1) // TILE * columns
        for worker in range(n_workers * TASK):
            if worker % TASK == 0:
                tile = ti.atomic_add(queue[0], 1)
                while tile < views.shape[0] * tiles_per_view:
                    b = tile // tiles_per_view
                    tile_row, tile_column = tile % tiles_per_view // columns, tile % columns
                    px = ti.Vector.zero(variant.position_dtype, PIXELS)
                    py = ti.Vector.zero(variant.position_dtype, PIXELS)
                    silhouette = ti.Vector.zero(dtype, PIXELS)
                    reference = ti.Vector.zero(dtype, PIXELS)
                    total = ti.Vector.zero(dtype, PIXELS)
                    depth_sum = ti.Vector.zero(dtype, PIXELS)
                    nearest = ti.Vector.zero(ti.i32, PIXELS)
                    sums = [ti.Vector.zero(dtype, PIXELS) for _ in ti.static(range(channels))]
                    for i in range(PIXELS):
                        px[i], py[i] = pixel_center(
                            tile_row,
                            tile_column,
                            i,
                            height,
                            width,
                            ti.cast(shorter, variant.position_dtype),
                        )
                        silhouette[i] = 1.0 if ti.static(alpha == "prod") else 0.0
                        if ti.static(color == "softmax"):
                            reference[i] = background_depth
                            total[i] = 1.0
                            depth_sum[i] = far
                        elif ti.static(color == "hard"):
                            reference[i] = beyond
                            nearest[i] = -1
                    if ti.static(channels > 0):
                        for i in range(PIXELS):
                            r = tile_row * TILE + i // TILE
                            c = tile_column * TILE + i % TILE
                            q = 0
                            if background.shape[0] > 1 and r < height and c < width:
                                q = (b * height + r) * width + c
                            for ch in ti.static(range(channels)):
                                sums[ch][i] = background[q, ch]
                    for entry in range(tile_start[tile], tile_start[tile + 1]):
                        n = entry_face[entry]
                        m = views[b, 1] + n - views[b, 0]
                        face = read_record(records, n)
                        c0 = [attributes[m, 0, ch] for ch in ti.static(range(channels))]
                        c1 = [attributes[m, 1, ch] - c0[ch] for ch in ti.static(range(channels))]
                        c2 = [attributes[m, 2, ch] - c0[ch] for ch in ti.static(range(channels))]
                        first = ti.max(boxes[n, 2] - tile_row * TILE, 0) * TILE
                        last = ti.min(boxes[n, 3] - tile_row * TILE + 1, TILE) * TILE
                        for i in range(first, last):
                            p = ti.Vector([px[i], py[i]])
                            w0, w1, w2, inside, edge, t, n_x, n_y, measure = locate(p, face)
                            kept, x, full, gap, scale = cover(
                                inside, measure, inverse_sigma, reach2
                            )
                            if ti.static(alpha == "prod"):
                                left = silhouette[i] * ti.select(kept, gap, 1.0)
                                # Flushed before it turns denormal, which is slow.
                                silhouette[i] = ti.select(left > 1e-30, left, 0.0)
                            elif ti.static(alpha == "sum"):
                                silhouette[i] = silhouette[i] + ti.select(kept, full, 0.0)
                            else:
                                silhouette[i] = ti.select(kept & (full > 0.5), 1.0, silhouette[i])
                            if ti.static(color != "none"):
                                a0, a1, a2, _s = read_at(w0, w1, w2, inside, edge, t)
                                depth, u0, u1, u2 = blending.interpolate(
                                    a0, a1, a2, face.z, face.r, perspective, linear
                                )
                                old, new = ti.cast(1.0, dtype), ti.cast(0.0, dtype)
                                if ti.static(color == "softmax"):
                                    depth_soft = depth - tau * ti.min(x, 0.0)
                                    ahead = (reference[i] - depth_soft) * inverse_tau
                                    fade = exp_neg(ti.abs(ahead))
                                    front = kept & (ahead > 0.0)
                                    old = ti.select(front, fade, 1.0)
                                    new = ti.select(front, scale, scale * fade)
                                    new = ti.select(kept, new, 0.0)
                                    reference[i] = ti.select(front, depth_soft, reference[i])
                                    total[i] = total[i] * old + new
                                    depth_sum[i] = depth_sum[i] * old + new * depth
                                else:
                                    front = inside & (depth < reference[i])
                                    old = ti.select(front, 0.0, 1.0)
                                    new = ti.select(front, 1.0, 0.0)
                                    reference[i] = ti.select(front, depth, reference[i])
                                    nearest[i] = ti.select(front, n, nearest[i])
                                for ch in ti.static(range(channels)):
                                    value = c0[ch] + (u1 * c1[ch] + u2 * c2[ch])
                                    sums[ch][i] = sums[ch][i] * old + new * value
                    for i in range(PIXELS):
                        r = tile_row * TILE + i // TILE
                        c = tile_column * TILE + i % TILE
                        if r < height and c < width:
                            q = (b * height + r) * width + c
                            state[q, 0] = silhouette[i]
                            if ti.static(alpha == "prod"):
                                alpha_out[q] = 1.0 - silhouette[i]
                            else:
                                alpha_out[q] = silhouette[i]
                            if ti.static(color == "softmax"):
                                inverse_total = 1.0 / total[i]
                                state[q, 1] = reference[i]
                                state[q, 2] = total[i]
                                depth_out[q] = depth_sum[i] * inverse_total
                                for ch in ti.static(range(channels)):
                                    image[q, ch] = sums[ch][i] * inverse_total
                            elif ti.static(color == "hard"):
                                winner[q] = nearest[i]
                                depth_out[q] = ti.select(nearest[i] >= 0, reference[i], far)
                                for ch in ti.static(range(channels)):
                                    image[q, ch] = sums[ch][i]
                    tile = ti.atomic_add(queue[0], 1)

    return forward


@cache
def adjoint_kernel(variant: Variant, geometry: bool, attributes_too: bool, softness: bool) -> Any:
    """Return the kernel that turns image gradients into one gradient slot a tile entry.

    Args:
        variant: As for the forward kernel.
        geometry: Compute gradients of the corners.
        attributes_too: Compute gradients of the attributes.
        softness: Compute gradients of sigma and gamma.
    """
    dtype, channels, alpha, color = variant.dtype, variant.channels, variant.alpha, variant.color
    perspective, linear = variant.perspective, variant.linear_depth
    locate, cover, read_at, locate_adjoint = fragment_functions(variant)
    exp_neg = exp_negative(dtype)
    width_slot = variant.slot_width

    @ti.kernel
    def adjoint(
        records: array(dtype, 2),  # [N, RECORD]
        boxes: array(ti.i32, 2),  # [N, 4]
        attributes: array(dtype, 3),  # [M, 3, C]
        views: array(ti.i32, 2),  # [B, 3]
        tile_start: array(ti.i32, 1),  # [T + 1]
        entry_face: array(ti.i32, 1),  # [K]
        entry_slot: array(ti.i32, 1),  # [K]
        height: ti.i32,
        width: ti.i32,
        shorter: dtype,
        inverse_sigma: dtype,
        reach2: dtype,
        tau: dtype,
        inverse_tau: dtype,
        background_depth: dtype,
        n_workers: ti.i32,
        queue: array(ti.i32, 1),  # [1] next tile; zero before
        image: array(dtype, 2),  # [B * H * W, C] what forward returned
        depth_in: array(dtype, 1),  # [B * H * W] what forward returned
        state: array(dtype, 2),  # [B * H * W, STATE]
        winner: array(ti.i32, 1),  # [B * H * W]
        d_alpha: array(dtype, 1),  # [B * H * W]
        d_image: array(dtype, 2),  # [B * H * W, C]
        d_depth_in: array(dtype, 1),  # [B * H * W]
        slots: array(dtype, 2),  # [K, variant.slot_width] out
        d_softness: array(dtype, 2),  # [T, 2] out: dL/dx x and dL/dlogit (depth - background's)
    ):
        columns = (width + TILE - 1) // TILE
        tiles_per_view = (height + TILE - 1) // TILE * columns
        for worker in range(n_workers * TASK):
            if worker % TASK == 0:
                tile = ti.atomic_add(queue[0], 1)
                while tile < views.shape[0] * tiles_per_view:
                    b = tile // tiles_per_view
                    tile_row, tile_column = tile % tiles_per_view // columns, tile % columns
                    px = ti.Vector.zero(variant.position_dtype, PIXELS)
                    py = ti.Vector.zero(variant.position_dtype, PIXELS)
                    clear = ti.Vector.zero(dtype, PIXELS)
                    reference = ti.Vector.zero(dtype, PIXELS)
                    inverse_total = ti.Vector.zero(dtype, PIXELS)
                    nearest = ti.Vector.zero(ti.i32, PIXELS)
                    g_alpha = ti.Vector.zero(dtype, PIXELS)
                    g_depth = ti.Vector.zero(dtype, PIXELS)
                    g_mean = ti.Vector.zero(dtype, PIXELS)
                    g = [ti.Vector.zero(dtype, PIXELS) for _ in ti.static(range(channels))]
                    for i in range(PIXELS):
                        px[i], py[i] = pixel_center(
                            tile_row,
                            tile_column,
                            i,
                            height,
                            width,
                            ti.cast(shorter, variant.position_dtype),
                        )
                        r = tile_row * TILE + i // TILE
                        c = tile_column * TILE + i % TILE
                        if r < height and c < width:
                            q = (b * height + r) * width + c
                            g_alpha[i] = d_alpha[q]
                            clear[i] = state[q, 0]
                            if ti.static(color == "softmax"):
                                reference[i] = state[q, 1]
                                inverse_total[i] = 1.0 / state[q, 2]
                            if ti.static(color == "hard"):
                                nearest[i] = winner[q]
                            if ti.static(color != "none"):
                                g_depth[i] = d_depth_in[q]
                                mean = d_depth_in[q] * depth_in[q]
                                for ch in ti.static(range(channels)):
                                    g[ch][i] = d_image[q, ch]
                                    mean += d_image[q, ch] * image[q, ch]
                                # What the pixel's colour and depth say to every weight alike.
                                g_mean[i] = mean
                    d_x_x = ti.cast(0.0, dtype)
                    d_logit_depth = ti.cast(0.0, dtype)
                    for entry in range(tile_start[tile], tile_start[tile + 1]):
                        n = entry_face[entry]
                        m = views[b, 1] + n - views[b, 0]
                        face = read_record(records, n)
                        c0 = [attributes[m, 0, ch] for ch in ti.static(range(channels))]
                        c1 = [attributes[m, 1, ch] for ch in ti.static(range(channels))]
                        c2 = [attributes[m, 2, ch] for ch in ti.static(range(channels))]
                        s = [ti.cast(0.0, dtype) for _ in ti.static(range(width_slot))]
                        first = ti.max(boxes[n, 2] - tile_row * TILE, 0) * TILE
                        last = ti.min(boxes[n, 3] - tile_row * TILE + 1, TILE) * TILE
                        for i in range(first, last):
                            p = ti.Vector([px[i], py[i]])
                            w0, w1, w2, inside, edge, t, n_x, n_y, measure = locate(p, face)
                            kept, x, full, gap, scale = cover(
                                inside, measure, inverse_sigma, reach2
                            )
                            d_x = ti.cast(0.0, dtype)
                            if ti.static(alpha == "prod"):
                                d_x = coverage.union_adjoint(clear[i], full, g_alpha[i])
                            elif ti.static(alpha == "sum"):
                                d_x = coverage.sum_adjoint(full, gap, g_alpha[i])
                            a0, a1, a2, inverse_sum = w0, w1, w2, w0
                            zero = ti.cast(0.0, dtype)
                            d_a0, d_a1, d_a2 = zero, zero, zero
                            if ti.static(color != "none"):
                                a0, a1, a2, inverse_sum = read_at(w0, w1, w2, inside, edge, t)
                                depth, u0, u1, u2 = blending.interpolate(
                                    a0, a1, a2, face.z, face.r, perspective, linear
                                )
                                weight = zero
                                if ti.static(color == "softmax"):
                                    depth_soft = depth - tau * ti.min(x, 0.0)
                                    behind = ti.max((depth_soft - reference[i]) * inverse_tau, 0.0)
                                    weight = scale * exp_neg(behind) * inverse_total[i]
                                    weight = ti.select(kept, weight, 0.0)
                                else:
                                    weight = ti.select(inside & (nearest[i] == n), 1.0, 0.0)
                                # g_k: the image gradient along the colour of corner k.
                                g0, g1, g2 = zero, zero, zero
                                for ch in ti.static(range(channels)):
                                    g0 += g[ch][i] * c0[ch]
                                    g1 += g[ch][i] * c1[ch]
                                    g2 += g[ch][i] * c2[ch]
                                    if ti.static(attributes_too):
                                        w_g = weight * g[ch][i]
                                        s[9 + ch] += w_g * u0
                                        s[9 + channels + ch] += w_g * u1
                                        s[9 + 2 * channels + ch] += w_g * u2
                                d_depth = weight * g_depth[i]
                                if ti.static(color == "softmax"):
                                    seen = u0 * g0 + u1 * g1 + u2 * g2 + g_depth[i] * depth
                                    d_logit = weight * (seen - g_mean[i])
                                    d_x += d_logit * gap
                                    d_depth -= d_logit * inverse_tau
                                    if ti.static(softness):
                                        d_logit_depth += d_logit * (depth - background_depth)
                                d_a0, d_a1, d_a2, d_z0, d_z1, d_z2 = blending.interpolation_adjoint(
                                    a0, a1, a2, face.z, face.r, depth,
                                    weight * g0, weight * g1, weight * g2, d_depth,
                                    perspective, linear,
                                )  # fmt: skip
                                if ti.static(geometry):
                                    s[6] += d_z0
                                    s[7] += d_z1
                                    s[8] += d_z2
                            d_x = ti.select(kept, d_x, 0.0)
                            if ti.static(softness):
                                d_x_x += d_x * x
                            if ti.static(geometry):
                                d_measure = ti.select(inside, d_x, -d_x) * inverse_sigma
                                d0, d1, d2, d3, d4, d5 = locate_adjoint(
                                    face, w0, w1, w2, inside, edge, t, n_x, n_y, d_measure,
                                    a0, a1, a2, inverse_sum, d_a0, d_a1, d_a2,
                                )  # fmt: skip
                                s[0] += d0
                                s[1] += d1
                                s[2] += d2
                                s[3] += d3
                                s[4] += d4
                                s[5] += d5
                        slot = entry_slot[entry]
                        # Two loops, because Taichi warns about unrolling more than 32 iterations.
                        for row in ti.static(range(width_slot // 3)):
                            for k in ti.static(range(3)):
                                slots[slot, 3 * row + k] = s[3 * row + k]
                    if ti.static(softness):
                        d_softness[tile, 0] = d_x_x
                        d_softness[tile, 1] = d_logit_depth
                    tile = ti.atomic_add(queue[0], 1)

    return adjoint

"""The GPU driver: one pixel a thread forward, one (tile, face) entry a thread in the adjoint.

Threads of a tile stand side by side, so that they read the same faces, or the same pixels, at the
same time. The mathematics is `fragment`'s, as on the CPU; sums stay in registers. Kernels take few
arrays: OpenGL allows 16, of which Taichi uses two.
"""

from functools import cache
from typing import Any

import taichi as ti

from taichi_softras.kernels.blending import finish_depths
from taichi_softras.kernels.fragment import Variant, fragment_functions, numbers_of, pixel_center
from taichi_softras.kernels.fragment_adjoint import adjoint_functions
from taichi_softras.kernels.records import is_in_rows, read_record
from taichi_softras.kernels.texture import texture_functions
from taichi_softras.kernels.types import GPU_TILE, array

TILE, PIXELS = GPU_TILE, GPU_TILE * GPU_TILE

BLOCK = 64
"""Threads of a block: two warps of an NVIDIA GPU, one wave of an AMD one."""


@cache
def forward_kernel(variant: Variant) -> Any:
    """Return the kernel that renders all tiles of all views."""
    dtype, channels, alpha, color = variant.dtype, variant.channels, variant.alpha, variant.color
    blend_in = fragment_functions(variant).blend_in
    attributes_in, textured = variant.attributes, variant.textured
    color_of, _, _ = texture_functions(dtype, variant.lookup, channels, textured, unroll=True)
    # The nearest fragment is searched from beyond any depth.
    beyond = 1e30

    @ti.kernel
    def forward(
        records: array(dtype, 1),  # [N * RECORD]
        attributes: array(dtype, 3),  # [M, 3, C + texture coordinates]
        views: array(ti.i32, 2),  # [B, 3]
        tile_start: array(ti.i32, 1),  # [T + 1]
        entry_face: array(ti.i32, 1),  # [K]
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
        image: array(dtype, 1),  # [B * H * W * C] out
        depth_out: array(dtype, 1),  # [B * H * W] out
        state: array(dtype, 1),  # out: see `types.STATE`
        winner: array(ti.i32, 1),  # [B * H * W] out: nearest face, -1 if none (hard colour only)
        texels: array(dtype, 2),  # [X, textured channels]
        maps: array(ti.i32, 1),  # of each attribute record where its map begins here; maps
        first_tile_row: ti.i32,  # of the band that is worked on
        end_tile_row: ti.i32,
    ):
        columns = (width + TILE - 1) // TILE
        tile_rows = (height + TILE - 1) // TILE
        tiles_per_band = (end_tile_row - first_tile_row) * columns
        n_pixels = n_views * height * width
        ti.loop_config(block_dim=BLOCK)
        for thread in range(n_views * tiles_per_band * PIXELS):
            soft = numbers_of(inverse_sigma, reach2, tau, inverse_tau, near, far)
            work, i = thread // PIXELS, thread % PIXELS
            b, rest = work // tiles_per_band, work % tiles_per_band
            tile_row, tile_column = first_tile_row + rest // columns, rest % columns
            tile = (b * tile_rows + tile_row) * columns + tile_column
            r, c = tile_row * TILE + i // TILE, tile_column * TILE + i % TILE
            if r < height and c < width:
                q = (b * height + r) * width + c
                x, y = pixel_center(r, c, height, width, ti.cast(shorter, variant.position_dtype))
                p = ti.Vector([x, y])
                silhouette = ti.cast(1.0 if ti.static(alpha == "prod") else 0.0, dtype)
                reference = ti.cast(beyond, dtype)
                total, depth_sum, nearest = ti.cast(1.0, dtype), far, -1
                if ti.static(color == "softmax"):
                    reference = background_depth
                behind = q if background_rows > 1 else 0
                sums = [background[behind, ch] for ch in ti.static(range(channels))]
                for entry in range(tile_start[tile], tile_start[tile + 1]):
                    n = entry_face[entry]
                    if is_in_rows(records, n, r):
                        m = views[b, 1] + n - views[b, 0]
                        covered, nearer, old, new, front, depth, u0, u1, u2 = blend_in(
                            p, read_record(records, n), silhouette, reference, soft
                        )
                        silhouette = covered
                        if ti.static(color != "none"):
                            reference = nearer
                        if ti.static(color == "softmax"):
                            total = total * old + new
                            depth_sum = depth_sum * old + new * depth
                        elif ti.static(color == "hard"):
                            nearest = ti.select(front, n, nearest)
                        if ti.static(textured > 0):
                            # What adds nothing fades nothing either.
                            if new > 0.0:
                                here = ti.Vector.zero(dtype, attributes_in)
                                for a in ti.static(range(attributes_in)):
                                    c0 = attributes[m, 0, a]
                                    here[a] = c0 + (
                                        u1 * (attributes[m, 1, a] - c0)
                                        + u2 * (attributes[m, 2, a] - c0)
                                    )
                                value = color_of(texels, maps, maps[m], here)
                                for ch in ti.static(range(channels)):
                                    sums[ch] = sums[ch] * old + new * value[ch]
                        else:
                            for ch in ti.static(range(channels)):
                                c0 = attributes[m, 0, ch]
                                value = c0 + (
                                    u1 * (attributes[m, 1, ch] - c0)
                                    + u2 * (attributes[m, 2, ch] - c0)
                                )
                                sums[ch] = sums[ch] * old + new * value
                state[q] = silhouette
                if ti.static(alpha == "prod"):
                    alpha_out[q] = 1.0 - silhouette
                else:
                    alpha_out[q] = silhouette
                if ti.static(color == "softmax"):
                    inverse_total = 1.0 / total
                    state[n_pixels + q] = reference
                    state[2 * n_pixels + q] = inverse_total
                    depth_out[q] = depth_sum * inverse_total
                    for ch in ti.static(range(channels)):
                        image[q * channels + ch] = sums[ch] * inverse_total
                elif ti.static(color == "hard"):
                    winner[q] = nearest
                    depth_out[q] = ti.select(nearest >= 0, reference, far)
                    for ch in ti.static(range(channels)):
                        image[q * channels + ch] = sums[ch]

    return forward


def pixel_width(channels: int) -> int:
    """Numbers that the adjoint reads of a pixel, see `pixel_kernel`."""
    return 5 + channels


@cache
def pixel_kernel(variant: Variant) -> Any:
    """Return the kernel that puts what the adjoint reads of a pixel into one row.

    Layout: dL/d(alpha), times the transparency if alpha is a product; reference depth; 1 / sum of
    weights; dL/d(depth); what colour and depth say to every weight alike; then dL/d(image).
    """
    dtype, channels, color = variant.dtype, variant.channels, variant.color

    @ti.kernel
    def pack_pixels(
        n_pixels: ti.i32,
        image: array(dtype, 1),  # [P * C] what forward returned
        depth: array(dtype, 1),  # [P] what forward returned
        state: array(dtype, 1),  # see `types.STATE`
        d_alpha: array(dtype, 1),  # [P]
        d_image: array(dtype, 1),  # [P * C]
        d_depth: array(dtype, 1),  # [P]
        pixels: array(dtype, 2),  # [P, 5 + C] out
    ):
        for q in range(n_pixels):
            pixels[q, 0] = d_alpha[q]
            if ti.static(variant.alpha == "prod"):
                pixels[q, 0] *= state[q]
            if ti.static(color == "softmax"):
                pixels[q, 1] = state[n_pixels + q]
                pixels[q, 2] = state[2 * n_pixels + q]
            if ti.static(color != "none"):
                pixels[q, 3] = d_depth[q]
                mean = d_depth[q] * depth[q]
                for ch in ti.static(range(channels)):
                    pixels[q, 5 + ch] = d_image[q * channels + ch]
                    mean += d_image[q * channels + ch] * image[q * channels + ch]
                pixels[q, 4] = mean

    return pack_pixels


@cache
def adjoint_kernel(variant: Variant, geometry: bool, attributes_too: bool, softness: bool) -> Any:
    """Return the kernel that turns image gradients into one gradient slot a tile entry.

    Args:
        variant: As for the forward kernel.
        geometry: Compute gradients of the corners.
        attributes_too: Compute gradients of the attributes.
        softness: Compute gradients of sigma and gamma.
    """
    dtype, channels, color = variant.dtype, variant.channels, variant.color
    attributes_in, textured = variant.attributes, variant.textured
    weigh = fragment_functions(variant).weigh
    blend_in_adjoint = adjoint_functions(variant).blend_in_adjoint
    _, color_adjoint, _ = texture_functions(dtype, variant.lookup, channels, textured, unroll=True)
    width_slot = variant.slot_width
    of_corners = (6 if color == "none" else 9) if geometry else 0
    of_attributes = 3 * attributes_in if attributes_too else 0

    @ti.kernel
    def adjoint(
        records: array(dtype, 1),  # [N * RECORD]
        attributes: array(dtype, 3),  # [M, 3, C + texture coordinates]
        views: array(ti.i32, 2),  # [B, 3]
        n_entries: ti.i32,
        entry_tile: array(ti.i32, 1),  # [K]
        entry_face: array(ti.i32, 1),  # [K]
        entry_slot: array(ti.i32, 1),  # [K]
        height: ti.i32,
        width: ti.i32,
        shorter: dtype,
        inverse_sigma: dtype,
        reach2: dtype,
        tau: dtype,
        inverse_tau: dtype,
        near: dtype,
        far: dtype,
        pixels: array(dtype, 2),  # [B * H * W, 5 + C] see `pixel_kernel`
        winner: array(ti.i32, 1),  # [B * H * W] with hard colour
        slots: array(dtype, 2),  # [K, variant.slot_width] out
        d_softness: array(dtype, 2),  # [K, 2] out: see `blend_in_adjoint`
        texels: array(dtype, 2),  # [X, textured channels]
        maps: array(ti.i32, 1),  # of each attribute record where its map begins here; maps
    ):
        columns = (width + TILE - 1) // TILE
        tiles_per_view = (height + TILE - 1) // TILE * columns
        ti.loop_config(block_dim=BLOCK)
        for entry in range(n_entries):
            soft = numbers_of(inverse_sigma, reach2, tau, inverse_tau, near, far)
            tile, n = entry_tile[entry], entry_face[entry]
            b = tile // tiles_per_view
            tile_row, tile_column = tile % tiles_per_view // columns, tile % columns
            m = views[b, 1] + n - views[b, 0]
            face = read_record(records, n)
            zero = ti.cast(0.0, dtype)
            to_sigma, to_gamma = zero, zero
            s = [ti.cast(0.0, dtype) for _ in ti.static(range(width_slot))]
            c0 = [attributes[m, 0, a] for a in ti.static(range(attributes_in))]
            c1 = [attributes[m, 1, a] for a in ti.static(range(attributes_in))]
            c2 = [attributes[m, 2, a] for a in ti.static(range(attributes_in))]
            # A tile's threads read its pixels in step: the same address at the same time.
            for i in range(PIXELS):
                r, c = tile_row * TILE + i // TILE, tile_column * TILE + i % TILE
                if r < height and c < width and is_in_rows(records, n, r):
                    q = (b * height + r) * width + c
                    x, y = pixel_center(
                        r, c, height, width, ti.cast(shorter, variant.position_dtype)
                    )
                    pixel = ti.Struct(
                        reference=zero, inverse_total=zero, chosen=False,
                        g_alpha=pixels[q, 0], g_depth=zero, g_mean=zero,
                    )  # fmt: skip
                    seen = zero
                    # dL/d(attributes here), which without a texture are the colours.
                    g = [ti.cast(0.0, dtype) for _ in ti.static(range(attributes_in))]
                    if ti.static(color == "softmax"):
                        pixel.reference, pixel.inverse_total = pixels[q, 1], pixels[q, 2]
                    if ti.static(color == "hard"):
                        pixel.chosen = winner[q] == n
                    if ti.static(color != "none"):
                        pixel.g_depth, pixel.g_mean = pixels[q, 3], pixels[q, 4]
                        for ch in ti.static(range(channels)):
                            g[ch] = pixels[q, 5 + ch]
                        if ti.static(textured > 0):
                            weight, u0, u1, u2 = weigh(ti.Vector([x, y]), face, pixel, soft)
                            if weight > 0.0:
                                here = ti.Vector.zero(dtype, attributes_in)
                                for a in ti.static(range(attributes_in)):
                                    here[a] = u0 * c0[a] + u1 * c1[a] + u2 * c2[a]
                                d_color = ti.Vector([g[ch] for ch in ti.static(range(channels))])
                                along, d_here = color_adjoint(texels, maps, maps[m], here, d_color)
                                seen = along
                                for a in ti.static(range(attributes_in)):
                                    g[a] = d_here[a]
                    d_sigma, d_gamma = blend_in_adjoint(
                        ti.Vector([x, y]), face, [c0, c1, c2], pixel, g, seen, soft,
                        [s[k] for k in ti.static(range(of_corners))],
                        [s[9 + k] for k in ti.static(range(of_attributes))],
                    )  # fmt: skip
                    if ti.static(softness):
                        to_sigma += d_sigma
                        to_gamma += d_gamma
            if ti.static(geometry and color != "none"):
                finish_depths(s, 6, face.r, variant.linear_depth)
            slot = entry_slot[entry]
            # Two loops, because Taichi warns about unrolling more than 32 iterations.
            for row in ti.static(range(width_slot // 3)):
                for k in ti.static(range(3)):
                    slots[slot, 3 * row + k] = s[3 * row + k]
            if ti.static(softness):
                d_softness[slot, 0] = to_sigma
                d_softness[slot, 1] = to_gamma

    return adjoint


@cache
def texel_kernel(variant: Variant) -> Any:
    """Return the kernel that adds up gradients of texels, one (entry, pixel) a thread."""
    dtype, channels, color = variant.dtype, variant.channels, variant.color
    attributes_in = variant.attributes
    weigh = fragment_functions(variant).weigh
    _, _, add_to_texels = texture_functions(
        dtype, variant.lookup, channels, variant.textured, unroll=True
    )

    @ti.kernel
    def texel_adjoint(
        records: array(dtype, 1),  # [N * RECORD]
        attributes: array(dtype, 3),  # [M, 3, C + texture coordinates]
        views: array(ti.i32, 2),  # [B, 3]
        n_entries: ti.i32,
        entry_tile: array(ti.i32, 1),  # [K]
        entry_face: array(ti.i32, 1),  # [K]
        height: ti.i32,
        width: ti.i32,
        shorter: dtype,
        inverse_sigma: dtype,
        reach2: dtype,
        tau: dtype,
        inverse_tau: dtype,
        near: dtype,
        far: dtype,
        pixels: array(dtype, 2),  # [B * H * W, 5 + C] see `pixel_kernel`
        winner: array(ti.i32, 1),  # [B * H * W] with hard colour
        maps: array(ti.i32, 1),  # of each attribute record where its map begins here; maps
        sums: array(ti.i32, 1),  # see `texture.add_exactly`
    ):
        columns = (width + TILE - 1) // TILE
        tiles_per_view = (height + TILE - 1) // TILE * columns
        for thread in range(n_entries * PIXELS):
            soft = numbers_of(inverse_sigma, reach2, tau, inverse_tau, near, far)
            entry, i = thread // PIXELS, thread % PIXELS
            tile, n = entry_tile[entry], entry_face[entry]
            b = tile // tiles_per_view
            r = tile % tiles_per_view // columns * TILE + i // TILE
            c = tile % columns * TILE + i % TILE
            if r < height and c < width and is_in_rows(records, n, r):
                q = (b * height + r) * width + c
                m = views[b, 1] + n - views[b, 0]
                x, y = pixel_center(r, c, height, width, ti.cast(shorter, variant.position_dtype))
                pixel = ti.Struct(reference=pixels[q, 1], inverse_total=pixels[q, 2], chosen=False)
                if ti.static(color == "hard"):
                    pixel.chosen = winner[q] == n
                weight, u0, u1, u2 = weigh(ti.Vector([x, y]), read_record(records, n), pixel, soft)
                if weight > 0.0:
                    here = ti.Vector.zero(dtype, attributes_in)
                    for a in ti.static(range(attributes_in)):
                        here[a] = (
                            u0 * attributes[m, 0, a]
                            + u1 * attributes[m, 1, a]
                            + u2 * attributes[m, 2, a]
                        )
                    d_color = ti.Vector(
                        [weight * pixels[q, 5 + ch] for ch in ti.static(range(channels))]
                    )
                    add_to_texels(maps, maps[m], here, d_color, sums)

    return texel_adjoint

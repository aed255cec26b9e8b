"""Texels: where a texture is read, what is read there, and the adjoint of both.

A map is a row of five numbers in `maps`: first texel, height, width, what happens outside [0, 1]
(0 begin again, 1 hold the border, 2 turn back), levels from here on; its levels of detail follow.
Coordinates s (right) and t (down) are 0..1 over the map.
"""

from functools import cache
from typing import Any, NamedTuple

import taichi as ti

from taichi_softras.kernels.setup import is_finite
from taichi_softras.kernels.types import array, both, either

MAP_ROW = 5

HEAD = 1
"""Numbers before the sums in `sums`: the bits of the scale, see `add_exactly`."""

PARTS = 256
"""Partial maxima of `scale_kernel`."""


@ti.func
def folded(s, mode):
    """Bring a coordinate into [0, 1], or [0, 2] where it turns back; its slope stays 1."""
    whole = ti.select(mode == 1, 0.0, ti.floor(s))
    whole = ti.select(mode == 2, 2.0 * ti.floor(0.5 * s), whole)
    s -= whole
    return ti.select(mode == 1, ti.min(ti.max(s, 0.0), 1.0), s)


@ti.func
def address(i, n, mode):
    """Index of a texel of n, for i from -1 to n, or 2 n where coordinates turn back."""
    wrapped = ti.select(i < 0, n - 1, ti.select(i >= n, i - n, i))
    held = ti.min(ti.max(i, 0), n - 1)
    turned = ti.select(i < 0, 0, ti.select(i >= n, 2 * n - 1 - i, i))
    return ti.max(ti.select(mode == 0, wrapped, ti.select(mode == 1, held, turned)), 0)


@ti.func
def nearest_texel(maps: ti.template(), row, s, t):
    """Index of the texel that holds (s, t)."""
    first, h, w, mode = maps[row], maps[row + 1], maps[row + 2], maps[row + 3]
    x = address(ti.cast(ti.floor(folded(s, mode) * w), ti.i32), w, mode)
    y = address(ti.cast(ti.floor(folded(t, mode) * h), ti.i32), h, mode)
    return first + y * w + x


@ti.func
def triangle_texel(maps: ti.template(), row, s, t):
    """Index by Liu et al.'s rule for R² texels on a face, see `textures.SurfaceTexture`."""
    side = maps[row + 2]
    a = ti.min(ti.max(ti.cast(ti.floor(s * side), ti.i32), 0), side - 1)
    b = ti.min(ti.max(ti.cast(ti.floor(t * side), ti.i32), 0), side - 1)
    # No face lies beyond its cells on the diagonal, though rounding may take a point there.
    lower = either((s + t) * side - (a + b) <= 1.0, a + b >= side - 1)
    index = ti.select(lower, b * side + a, (side - 1 - b) * side + side - 1 - a)
    return maps[row] + index


@ti.func
def four_texels(maps: ti.template(), row, s, t):
    """Return the texels around (s, t), row by row, and how far it is from the first one."""
    first, h, w, mode = maps[row], maps[row + 1], maps[row + 2], maps[row + 3]
    x = folded(s, mode) * w - 0.5
    y = folded(t, mode) * h - 0.5
    x0, y0 = ti.floor(x), ti.floor(y)
    left, right = ti.cast(x0, ti.i32), ti.cast(x0, ti.i32) + 1
    up, down = ti.cast(y0, ti.i32), ti.cast(y0, ti.i32) + 1
    left, right = address(left, w, mode), address(right, w, mode)
    up, down = first + address(up, h, mode) * w, first + address(down, h, mode) * w
    return ti.Vector([up + left, up + right, down + left, down + right]), x - x0, y - y0


@ti.func
def four_weights(f_x, f_y):
    """Bilinear weights of `four_texels`."""
    e_x, e_y = 1.0 - f_x, 1.0 - f_y
    return ti.Vector([e_x * e_y, f_x * e_y, e_x * f_y, f_x * f_y])


@ti.func
def split_level(maps: ti.template(), row, level):
    """Return the rows of the two levels around `level`, how far it is between them, the slope."""
    last = ti.cast(maps[row + 4] - 1, ti.f32)
    inside = ti.min(ti.max(level, 0.0), last)
    lower = ti.min(ti.floor(inside), ti.max(last - 1.0, 0.0))
    fine = row + MAP_ROW * ti.cast(lower, ti.i32)
    coarse = ti.select(last > 0.0, fine + MAP_ROW, fine)
    part = inside - lower
    # At a level itself the other one is not read.
    slope = ti.select(both(both(level > 0.0, level < last), part > 0.0), 1.0, 0.0)
    return fine, coarse, part, slope


@ti.func
def add_exactly(sums: ti.template(), k, value):
    """Add to sum k so that the order of additions does not matter: in integers.

    Sum k is a fixed-point number of 64 bits, the lower half first. 32-bit atomics are all that
    every backend has, so the carry is passed on by hand: each addition sees whether it wrapped.
    """
    scaled = value * ti.bit_cast(sums[0], ti.f32)
    whole = ti.floor(scaled)
    low = ti.cast((scaled - whole) * 4294967296.0, ti.u32)
    high = ti.cast(whole, ti.i32)
    if low != ti.u32(0):
        before = ti.cast(ti.atomic_add(sums[HEAD + 2 * k], ti.cast(low, ti.i32)), ti.u32)
        if before + low < low:
            high += 1
    if high != 0:
        ti.atomic_add(sums[HEAD + 2 * k + 1], high)


class TextureFunctions(NamedTuple):
    """The functions of one kind of texture."""

    color: Any
    color_adjoint: Any
    add_to_texels: Any


@cache
def texture_functions(
    dtype: Any, lookup: str, channels: int, textured: int, *, unroll: bool
) -> TextureFunctions:
    """Return the functions that turn the attributes of a point into its `channels` of colour.

    Attributes are the channels, of which the texture multiplies the first `textured` ones, then s,
    t and, with lookup="mipmap", the level of detail. Colour is computed where it is seen, because
    it is not linear in the attributes. With `unroll` no atomic stands in a loop: Mesa's lavapipe
    (22.3) ends a loop after its first atomic. Without, compiling takes half as long.
    """
    coordinates = 3 if lookup == "mipmap" else 2
    one_texel = lookup in ("nearest", "triangles")
    n_levels = 2 if lookup == "mipmap" else 1
    texel_of = triangle_texel if lookup == "triangles" else nearest_texel

    @ti.func
    def levels_at(maps: ti.template(), row, at):
        """Rows of the levels to read, their shares, and d(share of the second) / d(level)."""
        rows = ti.Vector([row for _ in ti.static(range(n_levels))])
        shares = ti.Vector([ti.cast(1.0, dtype) for _ in ti.static(range(n_levels))])
        slope = ti.cast(0.0, dtype)
        if ti.static(lookup == "mipmap"):
            fine, coarse, part, inside = split_level(maps, row, at[2])
            rows[0], rows[1] = fine, coarse
            shares[0], shares[1] = 1.0 - part, part
            slope = inside
        return rows, shares, slope

    @ti.func
    def read(texels: ti.template(), maps: ti.template(), row, at):
        """Return what the map at `row` of `maps` shows there. [textured]"""
        value = ti.Vector.zero(dtype, textured)
        if ti.static(one_texel):
            where = texel_of(maps, row, at[0], at[1])
            for ch in ti.static(range(textured)):
                value[ch] = texels[where, ch]
        else:
            rows, shares, _slope = levels_at(maps, row, at)
            for level in range(n_levels):
                # Most pixels of a magnified texture need one level.
                if shares[level] > 0.0:
                    where, f_x, f_y = four_texels(maps, rows[level], at[0], at[1])
                    weights = shares[level] * four_weights(f_x, f_y)
                    for k in range(4):
                        for ch in ti.static(range(textured)):
                            value[ch] += weights[k] * texels[where[k], ch]
        return value

    @ti.func
    def read_adjoint(
        texels: ti.template(), maps: ti.template(), row, at, d_value
    ):  # fmt: skip
        """Return what `read` returns, and dL/d(s, t, level)."""
        value, d_at = ti.Vector.zero(dtype, textured), ti.Vector.zero(dtype, coordinates)
        if ti.static(one_texel):
            where = texel_of(maps, row, at[0], at[1])
            for ch in ti.static(range(textured)):
                value[ch] = texels[where, ch]
        else:
            rows, shares, slope = levels_at(maps, row, at)
            for level in range(n_levels):
                if shares[level] > 0.0:
                    where, f_x, f_y = four_texels(maps, rows[level], at[0], at[1])
                    weights = four_weights(f_x, f_y)
                    along = ti.Vector.zero(dtype, 4)
                    for k in range(4):
                        w = shares[level] * weights[k]
                        for ch in ti.static(range(textured)):
                            texel = texels[where[k], ch]
                            value[ch] += w * texel
                            along[k] += d_value[ch] * texel
                    h, w = maps[rows[level] + 1], maps[rows[level] + 2]
                    right = (along[1] - along[0]) * (1.0 - f_y) + (along[3] - along[2]) * f_y
                    down = (along[2] - along[0]) * (1.0 - f_x) + (along[3] - along[1]) * f_x
                    d_at[0] += shares[level] * w * right
                    d_at[1] += shares[level] * h * down
                    if ti.static(lookup == "mipmap"):
                        d_at[2] += slope * ti.select(level == 0, -1.0, 1.0) * weights.dot(along)
        return value, d_at

    @ti.func
    def color(texels: ti.template(), maps: ti.template(), row, here):
        """Colour of a point with the attributes `here`, on the map at `row` of `maps`."""
        at = ti.Vector([here[channels + k] for k in ti.static(range(coordinates))])
        texture = read(texels, maps, row, at)
        value = ti.Vector([here[ch] for ch in ti.static(range(channels))])
        for ch in ti.static(range(textured)):
            value[ch] *= texture[ch]
        return value

    @ti.func
    def color_adjoint(
        texels: ti.template(), maps: ti.template(), row, here, d_color
    ):  # fmt: skip
        """Pull the gradient of a point's colour back to its attributes.

        Returns:
            d_color . colour; dL/d(attributes).
        """
        at = ti.Vector([here[channels + k] for k in ti.static(range(coordinates))])
        d_texture = ti.Vector([d_color[ch] * here[ch] for ch in ti.static(range(textured))])
        texture, d_at = read_adjoint(texels, maps, row, at, d_texture)
        d_here = ti.Vector.zero(dtype, channels + coordinates)
        seen = ti.cast(0.0, dtype)
        for ch in ti.static(range(channels)):
            d_here[ch] = d_color[ch]
            if ti.static(ch < textured):
                d_here[ch] *= texture[ch]
            seen += d_here[ch] * here[ch]
        for k in ti.static(range(coordinates)):
            d_here[channels + k] = d_at[k]
        return seen, d_here

    @ti.func
    def add_to_level(maps: ti.template(), row, at, d_texture, sums: ti.template()):
        where, f_x, f_y = four_texels(maps, row, at[0], at[1])
        weights = four_weights(f_x, f_y)
        if ti.static(unroll):
            for k in ti.static(range(4)):
                for ch in ti.static(range(textured)):
                    add_exactly(sums, where[k] * textured + ch, weights[k] * d_texture[ch])
        else:
            for k in range(4):
                for ch in ti.static(range(textured)):
                    add_exactly(sums, where[k] * textured + ch, weights[k] * d_texture[ch])

    @ti.func
    def add_to_texels(maps: ti.template(), row, here, d_color, sums: ti.template()):
        """Add dL/d(texels) to `sums`, see `add_exactly`; d_color with the point's weight."""
        at = ti.Vector([here[channels + k] for k in ti.static(range(coordinates))])
        d_texture = ti.Vector([d_color[ch] * here[ch] for ch in ti.static(range(textured))])
        if ti.static(one_texel):
            where = texel_of(maps, row, at[0], at[1])
            for ch in ti.static(range(textured)):
                add_exactly(sums, where * textured + ch, d_texture[ch])
        else:
            rows, shares, _slope = levels_at(maps, row, at)
            for level in ti.static(range(n_levels)):
                if shares[level] > 0.0:
                    add_to_level(maps, rows[level], at, shares[level] * d_texture, sums)

    return TextureFunctions(color, color_adjoint, add_to_texels)


@cache
def scale_kernel(dtype: Any) -> Any:
    """Return the kernel that finds a scale for `add_exactly` under which no sum overflows."""
    finite = is_finite(dtype)

    @ti.kernel
    def find_scale(
        n_pixels: ti.i32,
        n_records: ti.i32,
        channels: ti.i32,  # of the texture
        image_channels: ti.i32,  # C
        d_image: array(dtype, 1),  # [P * C]
        attributes: array(dtype, 3),  # [M, 3, channels or more]
        partial: array(dtype, 2),  # [PARTS, 2] scratch
        sums: array(ti.i32, 1),  # the first number is written
    ):
        for part in range(PARTS):
            largest_d, largest_a = ti.cast(0.0, dtype), ti.cast(0.0, dtype)
            broken = 0
            for i in range((n_pixels - part + PARTS - 1) // PARTS):
                for ch in range(channels):
                    d = d_image[(i * PARTS + part) * image_channels + ch]
                    if finite(d):
                        largest_d = ti.max(largest_d, ti.abs(d))
                    else:
                        broken = 1
            for i in range((n_records - part + PARTS - 1) // PARTS):
                for k in ti.static(range(3)):
                    for ch in range(channels):
                        a = attributes[i * PARTS + part, k, ch]
                        if finite(a):  # other faces are not drawn
                            largest_a = ti.max(largest_a, ti.abs(a))
            partial[part, 0] = ti.select(broken == 1, -1.0, largest_d)
            partial[part, 1] = largest_a
        for _ in range(1):
            largest_d, largest_a, broken = ti.cast(0.0, dtype), ti.cast(0.0, dtype), 0
            for part in range(PARTS):
                broken |= ti.select(partial[part, 0] < 0.0, 1, 0)
                largest_d = ti.max(largest_d, partial[part, 0])
                largest_a = ti.max(largest_a, partial[part, 1])
            # Weights of a pixel sum to 1 at most, so no sum exceeds this.
            bound = ti.cast(largest_d, ti.f32) * ti.cast(largest_a, ti.f32) * n_pixels
            bits = 0x7FC00000  # NaN
            if broken == 0:
                exponent = ti.cast(28.0 - ti.ceil(ti.log(ti.max(bound, 1e-37)) * 1.4427), ti.i32)
                bits = (ti.max(ti.min(exponent, 120), -120) + 127) << 23
            sums[0] = bits

    return find_scale


@cache
def collect_kernel(dtype: Any) -> Any:
    """Return the kernel that turns the sums of `add_exactly` into gradients."""

    @ti.kernel
    def collect(
        n_texels: ti.i32,
        channels: ti.i32,
        sums: array(ti.i32, 1),  # [HEAD + 2 * n_texels * channels]
        d_texels: array(dtype, 2),  # [X, C] out
    ):
        for x in range(n_texels):
            unit = 1.0 / ti.cast(ti.bit_cast(sums[0], ti.f32), dtype)
            for ch in range(channels):
                k = HEAD + 2 * (x * channels + ch)
                low, high = sums[k], sums[k + 1]
                sign = ti.cast(1.0, dtype)
                if high < 0:
                    # Negated, because a number near 0 would otherwise be a difference near 1.
                    low, high = -low, ti.select(low == 0, -high, ~high)
                    sign = ti.cast(-1.0, dtype)
                part = ti.cast(ti.cast(low, ti.u32), dtype) / 4294967296.0
                d_texels[x, ch] = sign * (ti.cast(high, dtype) + part) * unit

    return collect

"""From gradient slots to faces and vertices, from pixels to the background: sums in one order."""

from functools import cache
from typing import Any, NamedTuple

import taichi as ti

from taichi_softras.kernels.blocks import PIXELS, TILE, TILE_BITS, pixel_index
from taichi_softras.kernels.types import EMPTY, STATE, TASK, array, exp_negative


class GatherFunctions(NamedTuple):
    """What sums the gradients of one face, or of one vertex."""

    corners: Any
    points: Any
    attributes: Any


@cache
def gather_functions(dtype: Any, has_depth: bool) -> GatherFunctions:
    """Return the functions."""

    @ti.func
    def sum_corners(
        n, face_start: ti.template(), slots: ti.template(), more, d_corners: ti.template()
    ):  # fmt: skip
        """Sum the slots of face n, to what is there if there is `more`."""
        zero = ti.cast(0.0, dtype)
        s = [zero for _ in ti.static(range(9))]
        if more:
            for k in ti.static(range(3)):
                s[2 * k], s[2 * k + 1] = d_corners[3 * n + k, 0], d_corners[3 * n + k, 1]
                s[6 + k] = d_corners[3 * n + k, 2]
        for slot in range(face_start[n], face_start[n + 1]):
            for k in ti.static(range(9 if has_depth else 6)):
                s[k] += slots[slot, k]
        for k in ti.static(range(3)):
            d_corners[3 * n + k, 0] = s[2 * k]
            d_corners[3 * n + k, 1] = s[2 * k + 1]
            d_corners[3 * n + k, 2] = s[6 + k]

    @ti.func
    def sum_points(
        row, n_vertices, corners_each, corner_start: ti.template(), corner_of: ti.template(),
        d_corners: ti.template(), d_points: ti.template(),
    ):  # fmt: skip
        """Sum the corners that a vertex is, of `corners_each` in its view."""
        v, first = row % n_vertices, row // n_vertices * corners_each
        s = ti.Vector.zero(dtype, 3)
        for i in range(corner_start[v], corner_start[v + 1]):
            for axis in ti.static(range(3)):
                s[axis] += d_corners[first + corner_of[i], axis]
        for axis in ti.static(range(3)):
            d_points[row, axis] = s[axis]

    @ti.func
    def sum_attributes(
        m, n_attributes, n_sharing, face_start: ti.template(), slots: ti.template(), channels, more,
        d_attributes: ti.template(),
    ):  # fmt: skip
        """Sum the slots of attribute record m, to what is there if there is `more`.

        `n_sharing` views share the attributes; record n of view b is b * n_attributes + m.
        """
        for k in range(3 * channels):
            s = ti.cast(0.0, dtype)
            if more:
                s = d_attributes[m, k // channels, k % channels]
            for b in range(n_sharing):
                n = b * n_attributes + m
                for slot in range(face_start[n], face_start[n + 1]):
                    s += slots[slot, 9 + k]
            d_attributes[m, k // channels, k % channels] = s

    return GatherFunctions(sum_corners, sum_points, sum_attributes)


@cache
def gather_kernels(dtype: Any, has_depth: bool) -> GatherFunctions:
    """Return kernels that do so for all faces or vertices, for GPUs."""
    sum_corners, sum_points, sum_attributes = gather_functions(dtype, has_depth)

    @ti.kernel
    def gather_corners(
        n_faces: ti.i32,
        face_start: array(ti.i32, 1),  # [N + 1] first slot of each face
        slots: array(dtype, 2),  # [K, slot width]
        more: ti.i32,  # whether to add to what is there
        d_corners: array(dtype, 2),  # [3 N, 3] out
    ):
        for n in range(n_faces):
            sum_corners(n, face_start, slots, more, d_corners)

    @ti.kernel
    def gather_points(
        n_points: ti.i32,  # Q, of all views
        n_vertices: ti.i32,  # of each view
        corners_each: ti.i32,  # 3 F
        corner_start: array(ti.i32, 1),  # [V + 1] where each vertex's corners begin
        corner_of: array(ti.i32, 1),  # [3 F] corners 3 f + k, by vertex
        d_corners: array(dtype, 2),  # [3 N, 3]
        d_points: array(dtype, 2),  # [Q, 3] out
    ):
        for row in range(n_points):
            sum_points(row, n_vertices, corners_each, corner_start, corner_of, d_corners, d_points)

    @ti.kernel
    def gather_attributes(
        n_attributes: ti.i32,  # M
        face_start: array(ti.i32, 1),  # [N + 1]
        slots: array(dtype, 2),  # [K, 9 + 3 C]
        channels: ti.i32,  # C
        n_sharing: ti.i32,  # views that share the attributes
        more: ti.i32,  # whether to add to what is there
        d_attributes: array(dtype, 3),  # [M, 3, C] out
    ):
        for m in range(n_attributes):
            sum_attributes(
                m, n_attributes, n_sharing, face_start, slots, channels, more, d_attributes
            )

    return GatherFunctions(gather_corners, gather_points, gather_attributes)


@ti.func
def read_state(
    state: ti.template(), line, column, width, height, n_pixels, background_depth,
    tiled: ti.template(),
):  # fmt: skip
    """Return a pixel's reference depth and 1 / its sum of weights, see `types.STATE`.

    A line is a row of pixels if the state is `tiled`, else one pixel.
    """
    reference, inverse_total = background_depth, background_depth * 0.0 + 1.0
    if ti.static(tiled):
        view, row = line // height, line % height
        across, down = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
        tile = (view * down + (row >> TILE_BITS)) * across + (column >> TILE_BITS)
        first = tile * (STATE * PIXELS)
        if state[first] != EMPTY:
            i = first + pixel_index(row & (TILE - 1), column & (TILE - 1))
            reference, inverse_total = state[i + PIXELS], state[i + 2 * PIXELS]
    else:
        reference, inverse_total = state[n_pixels + line], state[2 * n_pixels + line]
    return reference, inverse_total


LINES = 4
"""Lines that a CPU thread does at the least."""


@cache
def background_kernel(dtype: Any, color: str, tiled: bool) -> Any:
    """Return the kernel for dL/d(background) of every pixel; `tiled` says how the state lies."""
    exp_neg = exp_negative(dtype)

    @ti.func
    def pull_line(
        line, width, height, n_lines, channels, inverse_tau, background_depth,
        state: ti.template(), winner: ti.template(), d_image: ti.template(),
        d_background: ti.template(),
    ):  # fmt: skip
        for column in range(width):
            q = line * width + column
            weight = ti.cast(0.0, dtype)
            if ti.static(color == "softmax"):
                reference, inverse_total = read_state(
                    state, line, column, width, height, n_lines, background_depth, tiled
                )
                weight = exp_neg((background_depth - reference) * inverse_tau) * inverse_total
            elif winner[q] < 0:
                weight = ti.cast(1.0, dtype)
            for c in range(channels):
                d_background[q, c] = weight * d_image[q * channels + c]

    @ti.kernel
    def background_adjoint(
        n_lines: ti.i32,  # this and the next two as of `Plan.lines`
        width: ti.i32,
        height: ti.i32,
        channels: ti.i32,
        inverse_tau: dtype,
        background_depth: dtype,
        state: array(dtype, 1),  # see `types.STATE`
        winner: array(ti.i32, 1),  # [B * H * W]
        d_image: array(dtype, 1),  # [B * H * W * C]
        d_background: array(dtype, 2),  # [B * H * W, C] out
    ):
        if ti.static(tiled):
            for work in range((n_lines + LINES - 1) // LINES * TASK):
                if work % TASK == 0:
                    first = work // TASK * LINES
                    for line in range(first, ti.min(first + LINES, n_lines)):
                        pull_line(
                            line, width, height, n_lines, channels, inverse_tau, background_depth,
                            state, winner, d_image, d_background,
                        )  # fmt: skip
        else:
            for line in range(n_lines):
                pull_line(
                    line, width, height, n_lines, channels, inverse_tau, background_depth,
                    state, winner, d_image, d_background,
                )  # fmt: skip

    return background_adjoint


PARTS = 256
"""Partial sums of `softness_kernel`."""


@cache
def softness_kernel(dtype: Any, color: str, tiled: bool) -> Any:
    """Return the kernel that sums sigma's and gamma's contributions, always in the same order."""
    exp_neg = exp_negative(dtype)

    @ti.kernel
    def sum_softness(
        n_rows: ti.i32,
        n_lines: ti.i32,  # this and the next two as of `Plan.lines`
        width: ti.i32,
        height: ti.i32,
        channels: ti.i32,
        background_rows: ti.i32,
        inverse_tau: dtype,
        far: dtype,
        background_depth: dtype,
        d_softness: array(dtype, 2),  # [rows, 2] of the faces, see `blend_in_adjoint`
        background: array(dtype, 2),  # [1, C] or [P, C]
        image: array(dtype, 1),  # [P * C]
        depth: array(dtype, 1),  # [P]
        state: array(dtype, 1),  # see `types.STATE`
        d_image: array(dtype, 1),  # [P * C]
        d_depth: array(dtype, 1),  # [P]
        partial: array(dtype, 2),  # [PARTS, 2] scratch
        more: ti.i32,  # whether to add to what is there
        total: array(dtype, 1),  # [2] out
    ):
        for part in range(PARTS):
            to_sigma, to_gamma = ti.cast(0.0, dtype), ti.cast(0.0, dtype)
            # Strided, so that neighbouring threads of a GPU read neighbouring rows.
            for i in range((n_rows - part + PARTS - 1) // PARTS):
                to_sigma += d_softness[i * PARTS + part, 0]
                to_gamma += d_softness[i * PARTS + part, 1]
            if ti.static(color == "softmax"):
                # The background's weight depends on gamma like a face's.
                for i in range((n_lines - part + PARTS - 1) // PARTS):
                    line = i * PARTS + part
                    for column in range(width):
                        q = line * width + column
                        reference, inverse_total = read_state(
                            state, line, column, width, height, n_lines, background_depth, tiled
                        )
                        behind = background_depth - reference
                        seen = d_depth[q] * (far - depth[q])
                        row = q if background_rows > 1 else 0
                        for ch in range(channels):
                            color_here = image[q * channels + ch]
                            d_here = d_image[q * channels + ch]
                            seen += d_here * (background[row, ch] - color_here)
                        weight = exp_neg(ti.max(behind, 0.0) * inverse_tau)
                        to_gamma += weight * inverse_total * seen * behind
            partial[part, 0] = to_sigma
            partial[part, 1] = to_gamma
        for k in range(2):
            s = ti.cast(0.0, dtype)
            if more:
                s = total[k]
            for part in range(PARTS):
                s += partial[part, k]
            total[k] = s

    return sum_softness

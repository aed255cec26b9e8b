"""Who shares what: copy shared rows to their users, and sum gradients back in a fixed order.

Each copy has its adjoint beside it. Sums run over lists or in fixed parts and never race, so the
same input gives the same bits. All arrays are `ti.ndarray`s; broken (non-finite) points become
zeros wherever a derived adjoint would spread their NaN to what they share.
"""

from functools import cache
from typing import Any, NamedTuple

import taichi as ti

from taichi_softras.kernels.setup import is_finite
from taichi_softras.kernels.types import array
from taichi_softras.kernels.vertex import CLIP, LIGHT

PARTS = 256
"""Partial sums where all points share one row."""


class SharingKernels(NamedTuple):
    """Copies to those who share, and sums back."""

    to_points: Any
    to_lights: Any
    from_lights: Any
    mark_broken: Any
    sum_parts: Any
    sum_sets: Any
    add: Any


@cache
def sharing_kernels(dtype: Any) -> SharingKernels:
    """Return the kernels for cameras and lights, which many points share."""
    finite = is_finite(dtype)

    @ti.kernel
    def to_points(
        points: array(dtype, 2),  # [S * V, 3]
        clips: array(dtype, 2),  # [B, CLIP]
        n_rows: ti.i32,  # B * V
        n_vertices: ti.i32,
        n_points: ti.i32,  # S * V; S is 1 or B
        rows: array(dtype, 2),  # [B * V, 3 + CLIP] out
    ):
        for n in range(n_rows):
            p = n % n_points
            whole = finite(points[p, 0]) and finite(points[p, 1]) and finite(points[p, 2])
            for k in range(3):
                rows[n, k] = ti.select(whole, points[p, k], ti.cast(0.0, dtype))
            for k in range(CLIP):
                rows[n, 3 + k] = clips[n // n_vertices, k]

    @ti.kernel
    def mark_broken(
        points: array(dtype, 2),  # [S * V, K]
        n_rows: ti.i32,
        n_points: ti.i32,
        width: ti.i32,
        nan: dtype,
        values: array(dtype, 2),  # [n_rows, >= 1] in and out
    ):
        for n in range(n_rows):
            whole = True
            for k in range(width):
                whole = whole and finite(points[n % n_points, k])
            if not whole:
                values[n, 0] = nan

    @ti.kernel
    def sum_parts(
        rows: array(dtype, 2),  # [G * n, >= first + K]
        n_groups: ti.i32,  # G
        n_rows: ti.i32,  # n, of a group
        first: ti.i32,  # column
        width: ti.i32,  # K
        partial: array(dtype, 2),  # [G * PARTS, K] scratch
        total: array(dtype, 2),  # [G, K] out
    ):
        for q in range(n_groups * PARTS):
            group, part = q // PARTS, q % PARTS
            for k in range(width):
                s = ti.cast(0.0, dtype)
                for i in range((n_rows - part + PARTS - 1) // PARTS):
                    s += rows[group * n_rows + i * PARTS + part, first + k]
                partial[q, k] = s
        for q in range(n_groups * width):
            group, k = q // width, q % width
            s = ti.cast(0.0, dtype)
            for part in range(PARTS):
                s += partial[group * PARTS + part, k]
            total[group, k] = s

    @ti.kernel
    def sum_sets(
        rows: array(dtype, 2),  # [n_sets * n, >= first + K]
        n_sets: ti.i32,
        n_rows: ti.i32,  # n
        first: ti.i32,  # column
        width: ti.i32,  # K
        into: ti.i32,  # column
        total: array(dtype, 2),  # [n, >= into + K] out
    ):
        for n in range(n_rows):
            for k in range(width):
                s = ti.cast(0.0, dtype)
                for i in range(n_sets):
                    s += rows[i * n_rows + n, first + k]
                total[n, into + k] = s

    @ti.kernel
    def add(
        addend: array(dtype, 2),  # [n, K]
        n_rows: ti.i32,
        width: ti.i32,
        total: array(dtype, 2),  # [n, K] in and out
    ):
        for n in range(n_rows):
            for k in range(width):
                total[n, k] += addend[n, k]

    @ti.kernel
    def to_lights(
        normals: array(dtype, 2),  # [S * V, 3]
        colors: array(dtype, 2),  # [A * V, 3 or 4]
        light: array(dtype, 2),  # [1, LIGHT]
        n_rows: ti.i32,  # max(S, A) * V
        n_normals: ti.i32,  # S * V
        n_colors: ti.i32,  # A * V
        rows: array(dtype, 2),  # [n_rows, 6 + LIGHT] out
    ):
        for n in range(n_rows):
            c = n % n_colors
            whole = finite(colors[c, 0]) and finite(colors[c, 1]) and finite(colors[c, 2])
            for k in range(3):
                rows[n, k] = normals[n % n_normals, k]
                rows[n, 3 + k] = ti.select(whole, colors[c, k], ti.cast(0.0, dtype))
            for k in range(LIGHT):
                rows[n, 6 + k] = light[0, k]

    @ti.kernel
    def from_lights(
        lit: array(dtype, 2),  # [n_rows, 3]
        colors: array(dtype, 2),  # [A * V, C]
        n_rows: ti.i32,
        n_colors: ti.i32,
        channels: ti.i32,  # C, 3 or 4; the fourth is not lit
        shown: array(dtype, 2),  # [n_rows, C] out
    ):
        for n in range(n_rows):
            for k in range(3):
                shown[n, k] = lit[n, k]
            for k in range(3, channels):
                shown[n, k] = colors[n % n_colors, k]

    return SharingKernels(
        to_points=to_points,
        to_lights=to_lights,
        from_lights=from_lights,
        mark_broken=mark_broken,
        sum_parts=sum_parts,
        sum_sets=sum_sets,
        add=add,
    )

"""Between vertices and the corners of their faces: copies, each followed by its adjoint.

Sums run over each vertex's own list of corners, so nothing races and bits are reproducible.
"""

from functools import cache
from typing import Any

import taichi as ti

from taichi_softras.kernels.setup import is_finite
from taichi_softras.kernels.types import array


@cache
def corner_kernels(dtype: Any, as_rows: bool) -> tuple[Any, Any]:
    """Return the kernels that copy vertex values to corners, and sum corners' values at vertices.

    Corners are [S * F, 3, K], or with `as_rows` [S * F, 3 K]: input of a derived kernel, for which
    faces with a broken corner become zeros.
    """
    finite = is_finite(dtype)
    layout = array(dtype, 2 if as_rows else 3)

    @ti.kernel
    def to_corners(
        values: array(dtype, 2),  # [S * V, >= K]
        faces: array(ti.i32, 2),  # [F, 3]
        n_rows: ti.i32,  # S * F
        n_vertices: ti.i32,  # V
        n_faces: ti.i32,  # F
        width: ti.i32,  # K
        corners: layout,  # out
    ):
        for n in range(n_rows):
            first = n // n_faces * n_vertices
            whole = True
            for k in range(3):
                for c in range(width):
                    value = values[first + faces[n % n_faces, k], c]
                    if ti.static(as_rows):
                        corners[n, k * width + c] = value
                        whole = whole and finite(value)
                    else:
                        corners[n, k, c] = value
            if ti.static(as_rows):
                if not whole:
                    for c in range(3 * width):
                        corners[n, c] = ti.cast(0.0, dtype)

    @ti.kernel
    def from_corners(
        d_corners: layout,
        corner_start: array(ti.i32, 1),  # [V + 1] where each vertex's corners begin
        corner_of: array(ti.i32, 1),  # [3 F] corners 3 f + k, by vertex
        n_rows: ti.i32,  # S * V
        n_vertices: ti.i32,
        n_faces: ti.i32,
        width: ti.i32,
        d_values: array(dtype, 2),  # [S * V, K] out
    ):
        for n in range(n_rows):
            v = n % n_vertices
            first = n // n_vertices * n_faces
            for c in range(width):
                s = ti.cast(0.0, dtype)
                for i in range(corner_start[v], corner_start[v + 1]):
                    face, k = first + corner_of[i] // 3, corner_of[i] % 3
                    if ti.static(as_rows):
                        s += d_corners[face, k * width + c]
                    else:
                        s += d_corners[face, k, c]
                d_values[n, c] = s

    return to_corners, from_corners


@cache
def normal_kernels(dtype: Any) -> tuple[Any, Any]:
    """Return the kernels that sum face normals at vertices, and the adjoint."""

    @ti.kernel
    def to_vertices(
        areas: array(dtype, 2),  # [S * F, 3]
        corner_start: array(ti.i32, 1),  # [V + 1]
        corner_of: array(ti.i32, 1),  # [3 F]
        n_rows: ti.i32,  # S * V
        n_vertices: ti.i32,
        n_faces: ti.i32,
        normals: array(dtype, 2),  # [S * V, 3] out, of any length
    ):
        for n in range(n_rows):
            v = n % n_vertices
            first = n // n_vertices * n_faces
            for c in range(3):
                s = ti.cast(0.0, dtype)
                for i in range(corner_start[v], corner_start[v + 1]):
                    s += areas[first + corner_of[i] // 3, c]
                normals[n, c] = s

    @ti.kernel
    def from_vertices(
        d_normals: array(dtype, 2),  # [S * V, 3]
        faces: array(ti.i32, 2),  # [F, 3]
        n_rows: ti.i32,  # S * F
        n_vertices: ti.i32,
        n_faces: ti.i32,
        d_areas: array(dtype, 2),  # [S * F, 3] out
    ):
        for n in range(n_rows):
            first = n // n_faces * n_vertices
            for c in range(3):
                s = ti.cast(0.0, dtype)
                for k in range(3):
                    s += d_normals[first + faces[n % n_faces, k], c]
                d_areas[n, c] = s

    return to_vertices, from_vertices

"""Camera, projection and lighting: one row of numbers in, one row out; Taichi derives the adjoint.

Taichi's reverse mode is right for this shape only: fields (not ndarrays), no inner loop at run
time, no row that two iterations read, so that nothing is added atomically. Whatever is shared
between rows (a camera by its points, a vertex by its faces) is copied and summed in `sharing`.
"""

from functools import cache
from typing import Any, NamedTuple

import taichi as ti

CAMERA = 10
"""A camera: eye, at, up (world), full vertical field of view (degrees)."""
CLIP = 12
"""Rows of clip_from_world [3, 4]; x and y are NDC times the depth, z is the depth."""
LIGHT = 11
"""A light: ambient intensity and colour, directional intensity and colour, direction towards it."""

SMALLEST_DEPTH = 1e-12
"""Points in the eye's own plane are projected as if here, as by `camera`: no 1/0 in a gradient."""


class VertexKernels(NamedTuple):
    """Kernels (rows in, rows out); each has a `.grad` that adds to the gradient of the input."""

    look_at: Any  # [n, CAMERA] -> [n, CLIP]
    project: Any  # [n, 3 + CLIP]: point and its camera -> [n, 3] NDC and depth
    area: Any  # [n, 9] corners -> [n, 3] normal, twice the area long
    shade: Any  # [n, 6 + LIGHT]: normal, colour, light -> [n, 3]


@ti.func
def unit(v, one):
    """Scale a vector to length 1; zero stays zero, with zero gradient. `one` sets the dtype."""
    length2 = v.dot(v)
    usable = length2 > 0.0
    return v * ti.select(usable, 1.0 / ti.sqrt(ti.select(usable, length2, one)), 0.0 * one)


@ti.func
def cotangent(angle, one):
    """1 / tan for 0 < angle < pi / 2, to a few roundings.

    Taylor's series at an eighth of the angle, doubled three times: Taichi has no adjoint for
    ti.tan, and Vulkan no float64 sine. The coefficients are exact ratios in the dtype of `one`.
    """
    x = angle * 0.125
    x2 = x * x
    t = one * 929569.0 / 638512875.0
    t = one * 21844.0 / 6081075.0 + x2 * t
    t = one * 1382.0 / 155925.0 + x2 * t
    t = one * 62.0 / 2835.0 + x2 * t
    t = one * 17.0 / 315.0 + x2 * t
    t = one * 2.0 / 15.0 + x2 * t
    t = one / 3.0 + x2 * t
    t = x * (1.0 + x2 * t)
    t = 2.0 * t / (1.0 - t * t)
    t = 2.0 * t / (1.0 - t * t)
    return (1.0 - t * t) / (2.0 * t)


@cache
def vertex_kernels(dtype: Any) -> VertexKernels:
    """Return the kernels for fields of `dtype`, all of shape [n, row]."""

    @ti.kernel
    def look_at(
        cameras: ti.template(),  # [n, CAMERA]
        clips: ti.template(),  # [n, CLIP] out
        radians: dtype,  # half a degree
        scale: dtype,  # image height over the shorter side
    ):
        for i in range(cameras.shape[0]):
            one = ti.cast(1.0, dtype)
            eye = ti.Vector([cameras[i, 0], cameras[i, 1], cameras[i, 2]])
            at = ti.Vector([cameras[i, 3], cameras[i, 4], cameras[i, 5]])
            up = ti.Vector([cameras[i, 6], cameras[i, 7], cameras[i, 8]])
            forward = unit(at - eye, one)
            right = unit(forward.cross(unit(up, one)), one)
            down = forward.cross(right)
            focal = scale * cotangent(cameras[i, 9] * radians, one)
            for k in ti.static(range(3)):
                clips[i, k] = focal * right[k]
                clips[i, 4 + k] = -focal * down[k]
                clips[i, 8 + k] = forward[k]
            clips[i, 3] = -focal * right.dot(eye)
            clips[i, 7] = focal * down.dot(eye)
            clips[i, 11] = -forward.dot(eye)

    @ti.kernel
    def project(
        rows: ti.template(),  # [n, 3 + CLIP]
        ndc: ti.template(),  # [n, 3] out: x right, y up, view depth
    ):
        for i in range(rows.shape[0]):
            clip = ti.Vector([rows[i, 3 + 4 * k + 3] for k in ti.static(range(3))])
            for k in ti.static(range(3)):
                for axis in ti.static(range(3)):
                    clip[k] += rows[i, 3 + 4 * k + axis] * rows[i, axis]
            tiny = ti.cast(SMALLEST_DEPTH, dtype)
            depth = ti.select(ti.abs(clip[2]) < tiny, tiny, clip[2])
            ndc[i, 0] = clip[0] / depth
            ndc[i, 1] = clip[1] / depth
            ndc[i, 2] = clip[2]

    @ti.kernel
    def area(
        corners: ti.template(),  # [n, 9] world
        areas: ti.template(),  # [n, 3] out
    ):
        for i in range(corners.shape[0]):
            a = ti.Vector([corners[i, 0], corners[i, 1], corners[i, 2]])
            b = ti.Vector([corners[i, 3], corners[i, 4], corners[i, 5]])
            c = ti.Vector([corners[i, 6], corners[i, 7], corners[i, 8]])
            normal = (b - a).cross(c - a)
            for k in ti.static(range(3)):
                areas[i, k] = normal[k]

    @ti.kernel
    def shade(
        rows: ti.template(),  # [n, 6 + LIGHT]
        lit: ti.template(),  # [n, 3] out
    ):
        for i in range(rows.shape[0]):
            one = ti.cast(1.0, dtype)
            normal = unit(ti.Vector([rows[i, 0], rows[i, 1], rows[i, 2]]), one)
            towards = unit(ti.Vector([rows[i, 14], rows[i, 15], rows[i, 16]]), one)
            facing = ti.max(normal.dot(towards), 0.0 * one)
            for k in ti.static(range(3)):
                everywhere = rows[i, 6] * rows[i, 7 + k]
                lit[i, k] = rows[i, 3 + k] * (everywhere + facing * rows[i, 10] * rows[i, 11 + k])

    return VertexKernels(look_at, project, area, shade)

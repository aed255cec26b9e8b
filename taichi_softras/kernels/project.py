"""From vertices to their projections in one launch, and back.

Sums over views and over a view's vertices are in a fixed order: nothing races, and bits do not
depend on the number of threads.
"""

from functools import cache
from typing import Any, NamedTuple

import taichi as ti

from taichi_softras.kernels.phases import end_phase, leave_last, next_task
from taichi_softras.kernels.setup import is_finite
from taichi_softras.kernels.types import TASK, array
from taichi_softras.kernels.vertex import SMALLEST_DEPTH

CAMERA_ROW = 16
"""A camera: rotation into view space, row by row; translation; then how many NDC units its view x
and y are in a depth of 1 (orthographic: at any depth), and where depth's axis lies in NDC."""

CHUNKS = 32
"""Parts of the vertices that threads share."""

BROKEN, NEARER = 0, 1
"""Where in `found` `project` writes 1 if a vertex is not finite, or before the near plane."""


class ProjectionKernels(NamedTuple):
    """Kernels whose sizes are B views, S sets of vertices, C cameras, V vertices."""

    project: Any
    pull_back: Any
    """The adjoint of `project`, to vertices and cameras."""


@cache
def projection_kernels(
    dtype: Any, perspective: bool, parallel: bool, cameras_too: bool
) -> ProjectionKernels:
    """Return the kernels.

    Args:
        dtype: Precision of all arrays but the cameras' gradients.
        perspective: Divide by the depth.
        parallel: Share the work. Without, the kernels run in the thread that calls them, which is
            faster for small meshes: waking threads takes as long as projecting thousands of points.
        cameras_too: Compute gradients of the cameras.
    """
    serial = not parallel
    finite = is_finite(dtype)

    @ti.func
    def to_view(points: ti.template(), at, cameras: ti.template(), c):
        point = ti.Vector([points[at, 0], points[at, 1], points[at, 2]])
        view = ti.Vector.zero(dtype, 3)
        for row in ti.static(range(3)):
            view[row] = (
                point[0] * cameras[c, 3 * row] + point[1] * cameras[c, 3 * row + 1]
                + point[2] * cameras[c, 3 * row + 2] + cameras[c, 9 + row]
            )  # fmt: skip
        return point, view

    @ti.func
    def divisor(view):
        """What x and y are divided by, and whether that depends on the depth."""
        depth, moves = ti.cast(1.0, dtype), False
        if ti.static(perspective):
            moves = ti.abs(view[2]) >= SMALLEST_DEPTH
            depth = ti.select(moves, view[2], ti.cast(SMALLEST_DEPTH, dtype))
        return depth, moves

    @ti.kernel
    def project(
        points: array(dtype, 2),  # [S * V, 3] world
        cameras: array(dtype, 2),  # [C, CAMERA_ROW]
        n_views: ti.i32,  # B
        n_sets: ti.i32,  # S: 1 or B
        n_cameras: ti.i32,  # C: 1 or B
        n_vertices: ti.i32,  # V
        projected: array(dtype, 2),  # [B * V, 3] out: x right, y up in NDC, view depth
        near: dtype,  # depth of the near plane
        found: array(ti.i32, 1),  # [2] zeros in; see BROKEN and NEARER
        n_workers: ti.i32,
        progress: array(ti.i32, 1),  # `counters` of one phase, zeros
    ):
        ti.loop_config(serialize=serial)
        for worker in range(n_workers * TASK):
            if worker % TASK == 0:
                each = (n_vertices + CHUNKS - 1) // CHUNKS
                me, done = worker // TASK, 0
                chunk = next_task(progress, 0, me, n_workers, CHUNKS)
                while chunk < CHUNKS:
                    done += 1
                    for b in range(n_views):
                        c = ti.min(b, n_cameras - 1)
                        for v in range(chunk * each, ti.min((chunk + 1) * each, n_vertices)):
                            at = ti.min(b, n_sets - 1) * n_vertices + v
                            point, view = to_view(points, at, cameras, c)
                            if not (finite(point[0]) and finite(point[1]) and finite(point[2])):
                                found[BROKEN] = 1
                            if view[2] < near:
                                found[NEARER] = 1
                            depth, _ = divisor(view)
                            row = b * n_vertices + v
                            projected[row, 0] = cameras[c, 12] * (view[0] / depth) + cameras[c, 14]
                            projected[row, 1] = cameras[c, 15] - cameras[c, 13] * (view[1] / depth)
                            projected[row, 2] = view[2]
                    chunk = next_task(progress, 0, me, n_workers, CHUNKS)
                end_phase(progress, 0, n_workers, done, CHUNKS)
                leave_last(progress, me, n_workers)

    @ti.kernel
    def pull_back(
        points: array(dtype, 2),  # [S * V, 3]
        cameras: array(dtype, 2),  # [C, CAMERA_ROW]
        n_views: ti.i32,
        n_sets: ti.i32,
        n_cameras: ti.i32,
        n_vertices: ti.i32,
        d_projected: array(dtype, 2),  # [B * V, 3]
        d_points: array(dtype, 2),  # [S * V, 3] out
        d_cameras: array(ti.f64, 3),  # [B, CHUNKS, CAMERA_ROW] out if wanted, to sum over chunks
        n_workers: ti.i32,
        progress: array(ti.i32, 1),  # `counters` of one phase, zeros
    ):
        ti.loop_config(serialize=serial)
        for worker in range(n_workers * TASK):
            if worker % TASK == 0:
                each = (n_vertices + CHUNKS - 1) // CHUNKS
                me, done = worker // TASK, 0
                chunk = next_task(progress, 0, me, n_workers, CHUNKS)
                while chunk < CHUNKS:
                    done += 1
                    for b in range(n_views):
                        c = ti.min(b, n_cameras - 1)
                        total = ti.Vector.zero(ti.f64, CAMERA_ROW)
                        for v in range(chunk * each, ti.min((chunk + 1) * each, n_vertices)):
                            d = ti.Vector.zero(dtype, 3)
                            for axis in ti.static(range(3)):
                                d[axis] = d_projected[b * n_vertices + v, axis]
                            at = ti.min(b, n_sets - 1) * n_vertices + v
                            point, view = to_view(points, at, cameras, c)
                            depth, moves = divisor(view)
                            x, y = view[0] / depth, view[1] / depth
                            d_x, d_y = d[0] * cameras[c, 12], -d[1] * cameras[c, 13]
                            d_view = ti.Vector([d_x / depth, d_y / depth, d[2]])
                            if moves:
                                d_view[2] -= (d_x * x + d_y * y) / depth
                            for axis in ti.static(range(3)):
                                s = ti.cast(0.0, dtype)
                                if b > 0 and n_sets == 1:
                                    s = d_points[at, axis]
                                for row in ti.static(range(3)):
                                    s += d_view[row] * cameras[c, 3 * row + axis]
                                d_points[at, axis] = s
                            if ti.static(cameras_too):
                                for row in ti.static(range(3)):
                                    for axis in ti.static(range(3)):
                                        total[3 * row + axis] += d_view[row] * point[axis]
                                    total[9 + row] += d_view[row]
                                total[12] += d[0] * x
                                total[13] -= d[1] * y
                                total[14] += d[0]
                                total[15] += d[1]
                        if ti.static(cameras_too):
                            for n in ti.static(range(CAMERA_ROW)):
                                d_cameras[b, chunk, n] = total[n]
                    chunk = next_task(progress, 0, me, n_workers, CHUNKS)
                end_phase(progress, 0, n_workers, done, CHUNKS)
                leave_last(progress, me, n_workers)

    return ProjectionKernels(project, pull_back)

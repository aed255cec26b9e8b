"""The end of the adjoint on the CPU: slots are summed at faces, and corners at vertices."""

from functools import cache
from typing import Any

import taichi as ti

from taichi_softras.kernels.fragment import Variant
from taichi_softras.kernels.gather import gather_functions
from taichi_softras.kernels.phases import end_phase, next_task

DRAW, FACES, VERTICES = 0, 1, 2
"""Phases of the adjoint."""


ADJOINT_PHASES = 3


PARTS = 64
"""Tasks of each of these phases."""


@cache
def sums_function(variant: Variant, geometry: bool, attributes_too: bool) -> Any:
    """Return the function for the last two phases; arguments as of `adjoint_kernel`."""
    gather = gather_functions(variant.dtype, variant.color != "none")
    sum_corners, sum_points, sum_attributes = gather
    attributes_in = variant.attributes

    @ti.func
    def sum_slots(
        progress: ti.template(), worker, n_workers, n_views, n_faces, n_attributes,
        face_start: ti.template(), slots: ti.template(), more,
        d_corners: ti.template(), d_attributes: ti.template(),
        n_vertices, corner_start: ti.template(), corner_of: ti.template(),
        d_points: ti.template(),
    ):  # fmt: skip
        """Do a worker's part, once all tiles are done; arguments as of the kernel."""
        if ti.static(geometry or attributes_too):
            done = 0
            while True:
                part = next_task(progress, FACES, worker, n_workers, PARTS)
                if part == PARTS:
                    break
                done += 1
                if ti.static(geometry):
                    each = (n_faces + PARTS - 1) // PARTS
                    for n in range(part * each, ti.min((part + 1) * each, n_faces)):
                        sum_corners(n, face_start, slots, more, d_corners)
                if ti.static(attributes_too):
                    n_sharing = n_faces // ti.max(n_attributes, 1)
                    each = (n_attributes + PARTS - 1) // PARTS
                    for m in range(part * each, ti.min((part + 1) * each, n_attributes)):
                        sum_attributes(
                            m, n_attributes, n_sharing, face_start, slots, attributes_in,
                            more, d_attributes,
                        )  # fmt: skip
            end_phase(progress, FACES, n_workers, done, PARTS)
        if ti.static(geometry):
            if n_vertices > 0:
                n_points = n_views * n_vertices
                each = (n_points + PARTS - 1) // PARTS
                done = 0
                while True:
                    part = next_task(progress, VERTICES, worker, n_workers, PARTS)
                    if part == PARTS:
                        break
                    done += 1
                    for row in range(part * each, ti.min((part + 1) * each, n_points)):
                        sum_points(
                            row, n_vertices, 3 * (n_faces // n_views), corner_start, corner_of,
                            d_corners, d_points,
                        )  # fmt: skip
                end_phase(progress, VERTICES, n_workers, done, PARTS)

    return sum_slots

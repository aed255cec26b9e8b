"""Exact binning of faces into tiles on a GPU: one face, then one run of entries, a thread.

Faces write their (tile, face) entries one face after the other; a stable radix sort by tile then
leaves every tile's entries in face order.
"""

from functools import cache
from typing import Any

import taichi as ti

from taichi_softras.kernels.blocks import HEIGHT, WIDTH, reaches_tile
from taichi_softras.kernels.records import read_box
from taichi_softras.kernels.scan import DIGIT_BITS, DIGITS, RUN, scan
from taichi_softras.kernels.setup_gpu import view_of
from taichi_softras.kernels.types import GPU_TILE, array

TILE = GPU_TILE

ACROSS, DOWN = TILE // WIDTH, TILE // HEIGHT
"""Blocks of `blocks` side by side, and one above the other."""


@cache
def entry_kernels(dtype: Any) -> tuple[Any, Any]:
    """Return the kernels (count, emit)."""

    @ti.kernel
    def count(
        records: array(dtype, 1),  # [N * RECORD]
        n_faces: ti.i32,
        first_tile_row: ti.i32,  # of the band of tiles that get lists
        end_tile_row: ti.i32,
        face_start: array(ti.i32, 1),  # [N + 1] out: first entry of each face, then their number
        scratch: array(ti.i32, 1),  # [scan_scratch(N)]
    ):
        for n in range(n_faces):
            entries = 0
            box = ti.cast(ti.Vector(read_box(records, n)), ti.i32)
            if box[0] <= box[1] and box[2] <= box[3]:
                for tile_y in range(
                    ti.max(box[2] // TILE, first_tile_row),
                    ti.min(box[3] // TILE + 1, end_tile_row),
                ):
                    for tile_x in range(box[0] // TILE, box[1] // TILE + 1):
                        if reaches_tile(records, n, tile_x, tile_y, ACROSS, DOWN):
                            entries += 1
            face_start[n] = entries
        scan(face_start, n_faces, scratch)

    @ti.kernel
    def emit(
        records: array(dtype, 1),  # [N * RECORD]
        views: array(ti.i32, 2),  # [B, 3]
        n_views: ti.i32,
        n_faces: ti.i32,
        tile_rows: ti.i32,
        tile_columns: ti.i32,
        first_tile_row: ti.i32,  # of the band of tiles that get lists
        end_tile_row: ti.i32,
        face_start: array(ti.i32, 1),  # [N + 1]
        slot_face: array(ti.i32, 1),  # [K] out: face of each entry, face by face
        slot_tile: array(ti.i32, 1),  # [K] out: its tile
        slot: array(ti.i32, 1),  # [K] out: 0, 1, 2, ...
    ):
        for n in range(n_faces):
            entry = face_start[n]
            if face_start[n + 1] > entry:
                box = ti.cast(ti.Vector(read_box(records, n)), ti.i32)
                tiles_before = view_of(views, n_views, n) * tile_rows * tile_columns
                for tile_y in range(
                    ti.max(box[2] // TILE, first_tile_row),
                    ti.min(box[3] // TILE + 1, end_tile_row),
                ):
                    for tile_x in range(box[0] // TILE, box[1] // TILE + 1):
                        if reaches_tile(records, n, tile_x, tile_y, ACROSS, DOWN):
                            slot_face[entry] = n
                            slot_tile[entry] = tiles_before + tile_y * tile_columns + tile_x
                            slot[entry] = entry
                            entry += 1

    return count, emit


@cache
def sort_kernels() -> tuple[Any, Any]:
    """Return the kernels (sort_pass, finish)."""

    @ti.kernel
    def sort_pass(
        n: ti.i32,
        n_runs: ti.i32,
        shift: ti.i32,
        tile: array(ti.i32, 1),  # [n] keys
        slot: array(ti.i32, 1),  # [n]
        tile_out: array(ti.i32, 1),  # [n] out: stably sorted by the bits from `shift` on
        slot_out: array(ti.i32, 1),  # [n] out
        places: array(ti.i32, 1),  # [DIGITS * n_runs + 1] scratch
        scratch: array(ti.i32, 1),  # [scan_scratch(DIGITS * n_runs)]
    ):
        for run in range(n_runs):
            for digit in range(DIGITS):
                places[digit * n_runs + run] = 0
            for i in range(run * RUN, ti.min((run + 1) * RUN, n)):
                digit = (tile[i] >> shift) & (DIGITS - 1)
                place = digit * n_runs + run
                places[place] = places[place] + 1
        scan(places, DIGITS * n_runs, scratch)
        for run in range(n_runs):
            for i in range(run * RUN, ti.min((run + 1) * RUN, n)):
                digit = (tile[i] >> shift) & (DIGITS - 1)
                place = digit * n_runs + run
                to = places[place]
                places[place] = to + 1
                tile_out[to] = tile[i]
                slot_out[to] = slot[i]

    @ti.kernel
    def finish(
        n: ti.i32,
        n_tiles: ti.i32,
        entry_tile: array(ti.i32, 1),  # [n] sorted
        entry_slot: array(ti.i32, 1),  # [n]
        slot_face: array(ti.i32, 1),  # [n]
        tile_start: array(ti.i32, 1),  # [T + 1] out
        entry_face: array(ti.i32, 1),  # [n] out
    ):
        for i in range(n + 1):
            before, here = -1, n_tiles
            if i > 0:
                before = entry_tile[i - 1]
            if i < n:
                here = entry_tile[i]
                entry_face[i] = slot_face[entry_slot[i]]
            for t in range(before + 1, here + 1):
                tile_start[t] = i

    return sort_pass, finish


def sort_shifts(n_tiles: int) -> range:
    """Shifts of the passes that sort tile numbers below n_tiles."""
    return range(0, max(n_tiles - 1, 1).bit_length(), DIGIT_BITS)

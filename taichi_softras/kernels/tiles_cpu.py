"""Exact binning of faces into square tiles: set up, count, scan, fill. Lists are in face order.

Tile t = (view * tile_rows + tile_row) * tile_columns + tile_column. Every view's faces are cut
into chunks that count and fill side by side; the scan gives each (tile, chunk) its own range, so
the order inside a tile's list is the face order however many threads there are.
"""

from functools import cache
from typing import Any

import taichi as ti

from taichi_softras.kernels.blocks import (
    ACROSS,
    DOWN,
    LARGE,
    TILE_BITS,
    live_blocks,
    reaches_tile,
    window_in_tile,
)
from taichi_softras.kernels.phases import end_phase, leave_last, next_task
from taichi_softras.kernels.records import RECORD, WINDOW, read_box
from taichi_softras.kernels.scan import LARGEST
from taichi_softras.kernels.setup_cpu import EIGHT, setup_eight_function
from taichi_softras.kernels.types import ENTRY, TASK, WITHIN, array

SET_UP, COUNT, FILL = 0, 1, 2
"""Where `list_faces` may begin: what comes before has been done by an earlier launch."""

PHASES = 3
"""Phases of `list_faces`."""

TOTAL = 3
"""Where the number of entries is in `progress`, at most LARGEST; before it are the faces that were
left out, by reason."""


@ti.func
def list_face(t, n, slot, live, filling, chunk_next: ti.template(), entries: ti.template()):
    """Advance `chunk_next` for a tile; when `filling`, also write the entry at the place there."""
    entry = chunk_next[t]
    # Not `+=`, which would be atomic.
    chunk_next[t] = entry + 1
    if filling == 1:
        at = (entry * ENTRY) & WITHIN
        entries[at], entries[at + 1], entries[at + 2] = n, slot, live


@ti.func
def visit_tiles(
    n, first_slot, counts, filling, records: ti.template(), tile_columns, first_tile_row,
    end_tile_row, chunk_next: ti.template(), entries: ti.template(),
):  # fmt: skip
    """List face n in each tile that it reaches, whose counters are from `counts` on.

    Returns:
        `first_slot` plus the number of tiles.
    """
    slot = first_slot
    box = ti.cast(ti.Vector(read_box(records, n)), ti.i32)
    left, right, up, low = box[0], box[1], box[2], box[3]
    first_x, last_x = left >> TILE_BITS, right >> TILE_BITS
    first_y, last_y = up >> TILE_BITS, low >> TILE_BITS
    bits = ti.cast(records[((n * RECORD) & WITHIN) + WINDOW], ti.i32)
    if bits != LARGE:
        # Most faces of fine meshes; it touches no more than two by two tiles.
        column, row = (left >> 2) & (ACROSS - 1), (up >> 1) & (DOWN - 1)
        for d_y, d_x in ti.static(ti.ndrange(2, 2)):
            live, tile_y = window_in_tile(bits, column, row, d_x == 1, d_y == 1), first_y + d_y
            if live != 0 and first_tile_row <= tile_y < end_tile_row:
                t = counts + tile_y * tile_columns + first_x + d_x
                list_face(t, n, slot, live, filling, chunk_next, entries)
                slot += 1
    else:
        # A face of few tiles seldom misses one that its box touches.
        few = last_x - first_x <= 1 and last_y - first_y <= 1
        for tile_y in range(ti.max(first_y, first_tile_row), ti.min(last_y + 1, end_tile_row)):
            for tile_x in range(first_x, last_x + 1):
                reached = 1
                if not few:
                    reached = reaches_tile(records, n, tile_x, tile_y, ACROSS, DOWN)
                if reached == 1:
                    live = 0
                    if filling == 1:
                        live = live_blocks(records, n, left, right, up, low, tile_x, tile_y)
                    t = counts + tile_y * tile_columns + tile_x
                    list_face(t, n, slot, live, filling, chunk_next, entries)
                    slot += 1
    return slot


@ti.func
def scan_tiles(
    n_tiles, n_chunks, tile_start: ti.template(), chunk_next: ti.template(),
    progress: ti.template(),
):  # fmt: skip
    """Turn the counts in `chunk_next` into beginnings of lists, and sum them."""
    running = ti.cast(0, ti.i64)
    for t in range(n_tiles):
        tile_start[t] = ti.cast(running, ti.i32)
        for chunk in range(n_chunks):
            count = chunk_next[chunk * n_tiles + t]
            chunk_next[chunk * n_tiles + t] = ti.cast(running, ti.i32)
            running += count
    tile_start[n_tiles] = ti.cast(running, ti.i32)
    progress[TOTAL] = ti.cast(ti.min(running, LARGEST), ti.i32)


@ti.func
def scan_faces(n_faces, face_start: ti.template()):
    """Turn the counts in `face_start` into beginnings of slots."""
    slot = 0
    for n in range(n_faces):
        count = face_start[n]
        face_start[n] = slot
        slot += count
    face_start[n_faces] = slot


@cache
def listing_function(*choices: Any) -> Any:
    """Return the function that sets up faces and lists them; arguments as of `setup_functions`."""
    set_up_eight = setup_eight_function(*choices)

    @ti.func
    def list_faces(
        points: ti.template(), faces: ti.template(), n_vertices, attributes: ti.template(),
        views: ti.template(), n_views, n_faces, channels, height, width, reach,
        tile_rows, tile_columns, first_tile_row, end_tile_row, n_chunks, begin, capacity,
        records: ti.template(), face_start: ti.template(), chunk_next: ti.template(),
        tile_start: ti.template(), entries: ti.template(), worker, n_workers,
        progress: ti.template(),
    ):  # fmt: skip
        """Do a worker's part, and wait for the others'; arguments as of `bin_faces`.

        Returns:
            Whether there was room for the lists, which are filled then.
        """
        tiles_per_view = tile_rows * tile_columns
        n_tiles = n_views * tiles_per_view
        n_tasks = n_views * n_chunks
        fits = True
        # Twice the same loop, for the compiler's sake: to count, and to fill what was counted.
        for filling in range(begin // FILL, 2):
            if filling == 1:
                fits = progress[TOTAL] <= capacity
            if fits:
                done = 0
                while True:
                    task = next_task(progress, 2 * filling, worker, n_workers, n_tasks)
                    if task == n_tasks:
                        break
                    done += 1
                    b, chunk = task // n_chunks, task % n_chunks
                    counts = chunk * n_tiles + b * tiles_per_view
                    if filling == 0:
                        for t in range(counts, counts + tiles_per_view):
                            chunk_next[t] = 0
                    of_view = views[b, 2]
                    f = of_view * chunk // n_chunks
                    end = of_view * (chunk + 1) // n_chunks
                    while f < end:
                        first, together = views[b, 0] + f, ti.min(end - f, EIGHT)
                        f += EIGHT
                        if filling == 0 and begin == SET_UP:
                            set_up_eight(
                                points, faces, n_vertices, attributes, views, b, first, together,
                                channels, height, width, reach, records, progress,
                            )  # fmt: skip
                        for n in range(first, first + together):
                            first_slot = 0
                            if filling == 1:
                                first_slot = face_start[n]
                            end_slot = visit_tiles(
                                n, first_slot, counts, filling, records,
                                tile_columns, first_tile_row, end_tile_row, chunk_next, entries,
                            )  # fmt: skip
                            if filling == 0:
                                face_start[n] = end_slot
                end_phase(progress, 2 * filling, n_workers, done, n_tasks)
                if filling == 0:
                    scanned = 0
                    while True:
                        task = next_task(progress, 1, worker, n_workers, 2)
                        if task == 0:
                            scan_tiles(n_tiles, n_chunks, tile_start, chunk_next, progress)
                        elif task == 1:
                            scan_faces(n_faces, face_start)
                        else:
                            break
                        scanned += 1
                    end_phase(progress, 1, n_workers, scanned, 2)
        return fits

    return list_faces


@cache
def binning_kernel(*choices: Any) -> Any:
    """Return the kernel that does so and no more; arguments as of `setup_functions`."""
    dtype, *_, with_attributes = choices
    list_faces = listing_function(*choices)

    @ti.kernel
    def bin_faces(
        points: array(dtype, 2),  # [Q, 3] vertices or corners: x, y in NDC, view depth
        faces: array(ti.i32, 2),  # [F, 3] vertices of each view's faces
        n_vertices: ti.i32,  # see `setup.rows_of_corners`
        attributes: array(dtype, 3, used=with_attributes),  # [M, 3, C]
        views: array(ti.i32, 2),  # [B, 3] first corner record, first attribute record, faces
        n_views: ti.i32,
        n_faces: ti.i32,  # N, of all views
        channels_in: ti.i32,  # C
        real_height: dtype,
        real_width: dtype,
        reach: dtype,  # faces are felt this far outside, in units of the distance metric
        tile_rows: ti.i32,
        tile_columns: ti.i32,
        first_tile_row: ti.i32,  # of the band of tiles that get lists
        end_tile_row: ti.i32,
        n_chunks: ti.i32,
        begin: ti.i32,  # SET_UP, COUNT or FILL
        capacity: ti.i32,  # entries that there is room for; with more, lists are not filled
        records: array(dtype, 1),  # [N * RECORD] out
        face_start: array(ti.i32, 1),  # [N + 1] out: first gradient slot of each face
        chunk_next: array(ti.i32, 1),  # [chunks * T] out: where each chunk's lists go on
        tile_start: array(ti.i32, 1),  # [T + 1] out
        entries: array(ti.i32, 1),  # [K * ENTRY] out, tile by tile, in face order
        n_workers: ti.i32,
        progress: array(ti.i32, 1),  # `counters` of PHASES, zeros; out: see TOTAL
    ):
        for worker in range(n_workers * TASK):
            if worker % TASK == 0:
                me = worker // TASK
                list_faces(
                    points, faces, n_vertices, attributes, views, n_views, n_faces, channels_in,
                    real_height, real_width, reach, tile_rows, tile_columns, first_tile_row,
                    end_tile_row, n_chunks, begin, capacity, records, face_start, chunk_next,
                    tile_start, entries, me, n_workers, progress,
                )  # fmt: skip
                leave_last(progress, me, n_workers)

    return bin_faces

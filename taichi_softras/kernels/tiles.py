"""Exact binning of faces into square tiles: count, scan, fill. No capacity, lists in face order.

Tile t = (view * tile_rows + tile_row) * tile_columns + tile_column. Every view's faces are cut
into chunks that count and fill side by side; the scan gives each (tile, chunk) its own range, so
the order inside a tile's list is the face order however many threads there are.
"""

from functools import cache
from typing import Any

import taichi as ti

from taichi_softras.kernels.blocks import live_blocks
from taichi_softras.kernels.types import TASK, TILE, array

LARGEST = 2**31 - 1
"""What the scans return for more entries than int32 can count."""


@ti.func
def reaches_tile(records: ti.template(), n, tile_x, tile_y, height, width):
    """Whether tile (tile_x, tile_y) can hold a pixel that feels face n.

    Conservative: refused only if the whole tile lies beyond `reach` outside an edge's line.
    """
    shorter = ti.min(height, width)
    half = (TILE - 1.0) / shorter
    x = (2.0 * tile_x * TILE + TILE - width) / shorter
    y = (height - TILE - 2.0 * tile_y * TILE) / shorter
    side = ti.select(records[n, 9] > 0.0, 1.0, -1.0)
    near = 1
    for k in ti.static(range(3)):
        a_x, a_y = records[n, 2 * k], records[n, 2 * k + 1]
        e_x = records[n, (2 * k + 2) % 6] - a_x
        e_y = records[n, (2 * k + 3) % 6] - a_y
        # |e| times the largest signed distance of the tile's pixels from the edge's line.
        inward = side * (e_x * (y - a_y) - e_y * (x - a_x)) + half * (ti.abs(e_x) + ti.abs(e_y))
        if inward + records[n, 16 + k] < 0.0:
            near = 0
    return near


@cache
def tile_kernels(dtype: Any) -> tuple[Any, Any, Any]:
    """Return the kernels (count, scan, fill)."""

    @ti.kernel
    def count(
        records: array(dtype, 2),  # [N, RECORD]
        boxes: array(ti.i32, 2),  # [N, 4]
        views: array(ti.i32, 2),  # [B, 3]
        n_views: ti.i32,
        n_chunks: ti.i32,
        height: dtype,
        width: dtype,
        tile_rows: ti.i32,
        tile_columns: ti.i32,
        first_tile_row: ti.i32,  # of the band of tiles that get lists
        end_tile_row: ti.i32,
        face_entries: array(ti.i32, 1),  # [N] out: tiles of each face
        chunk_entries: array(ti.i32, 2),  # [T, chunks] out: entries of each tile, by chunk
    ):
        for worker in range(n_views * n_chunks * TASK):
            if worker % TASK == 0:
                task = worker // TASK
                b, chunk = task // n_chunks, task % n_chunks
                tiles_before = b * tile_rows * tile_columns
                for t in range(tile_rows * tile_columns):
                    chunk_entries[tiles_before + t, chunk] = 0
                n_faces = views[b, 2]
                for f in range(n_faces * chunk // n_chunks, n_faces * (chunk + 1) // n_chunks):
                    n = views[b, 0] + f
                    entries = 0
                    if boxes[n, 0] <= boxes[n, 1] and boxes[n, 2] <= boxes[n, 3]:
                        for tile_y in range(
                            ti.max(boxes[n, 2] // TILE, first_tile_row),
                            ti.min(boxes[n, 3] // TILE + 1, end_tile_row),
                        ):
                            for tile_x in range(boxes[n, 0] // TILE, boxes[n, 1] // TILE + 1):
                                if reaches_tile(records, n, tile_x, tile_y, height, width):
                                    tile = tiles_before + tile_y * tile_columns + tile_x
                                    chunk_entries[tile, chunk] += 1
                                    entries += 1
                    face_entries[n] = entries

    @ti.kernel
    def scan(
        n_faces: ti.i32,
        n_tiles: ti.i32,
        n_chunks: ti.i32,
        face_entries: array(ti.i32, 1),  # [N]
        face_start: array(ti.i32, 1),  # [N + 1] out: first gradient slot of each face
        chunk_entries: array(ti.i32, 2),  # [T, chunks] in: counts, out: where to write next
        tile_start: array(ti.i32, 1),  # [T + 1] out
        total: array(ti.i32, 1),  # [1] out: number of entries K, at most LARGEST
    ):
        ti.loop_config(serialize=True)
        for _ in range(1):
            running = ti.cast(0, ti.i64)
            for t in range(n_tiles):
                tile_start[t] = ti.cast(running, ti.i32)
                for chunk in range(n_chunks):
                    entries = chunk_entries[t, chunk]
                    chunk_entries[t, chunk] = ti.cast(running, ti.i32)
                    running += entries
            tile_start[n_tiles] = ti.cast(running, ti.i32)
            total[0] = ti.cast(ti.min(running, LARGEST), ti.i32)
            slot = 0
            for n in range(n_faces):
                face_start[n] = slot
                slot += face_entries[n]
            face_start[n_faces] = slot

    @ti.kernel
    def fill(
        records: array(dtype, 2),  # [N, RECORD]
        boxes: array(ti.i32, 2),  # [N, 4]
        views: array(ti.i32, 2),  # [B, 3]
        n_views: ti.i32,
        n_chunks: ti.i32,
        height: dtype,
        width: dtype,
        tile_rows: ti.i32,
        tile_columns: ti.i32,
        first_tile_row: ti.i32,  # of the band of tiles that get lists
        end_tile_row: ti.i32,
        face_start: array(ti.i32, 1),  # [N + 1]
        chunk_next: array(ti.i32, 2),  # [T, chunks] in, out
        entry_face: array(ti.i32, 1),  # [K] out: face record, tile by tile, in face order
        entry_slot: array(ti.i32, 1),  # [K] out: where the entry's gradients go, face by face
        entry_blocks: array(ti.i32, 1),  # [K] out: one bit for each of the tile's live blocks
    ):
        for worker in range(n_views * n_chunks * TASK):
            if worker % TASK == 0:
                task = worker // TASK
                b, chunk = task // n_chunks, task % n_chunks
                tiles_before = b * tile_rows * tile_columns
                n_faces = views[b, 2]
                for f in range(n_faces * chunk // n_chunks, n_faces * (chunk + 1) // n_chunks):
                    n = views[b, 0] + f
                    slot = face_start[n]
                    if face_start[n + 1] > slot:
                        for tile_y in range(
                            ti.max(boxes[n, 2] // TILE, first_tile_row),
                            ti.min(boxes[n, 3] // TILE + 1, end_tile_row),
                        ):
                            for tile_x in range(boxes[n, 0] // TILE, boxes[n, 1] // TILE + 1):
                                if reaches_tile(records, n, tile_x, tile_y, height, width):
                                    tile = tiles_before + tile_y * tile_columns + tile_x
                                    entry = chunk_next[tile, chunk]
                                    chunk_next[tile, chunk] = entry + 1
                                    entry_face[entry] = n
                                    entry_slot[entry] = slot
                                    entry_blocks[entry] = live_blocks(
                                        records, boxes, n, tile_x, tile_y, height, width
                                    )
                                    slot += 1

    return count, scan, fill

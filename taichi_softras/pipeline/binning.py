"""Faces by tile on GPUs: whole lists, or lists for a band of tile rows at a time."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from taichi_softras.errors import ArgumentError
from taichi_softras.fast_launch import launch
from taichi_softras.kernels.records import RECORD
from taichi_softras.kernels.scan import DIGITS, scan_scratch, sort_runs
from taichi_softras.kernels.setup_gpu import setup_kernel
from taichi_softras.kernels.tiles_gpu import entry_kernels, sort_kernels, sort_shifts
from taichi_softras.kernels.types import ENTRY, MOST_NUMBERS
from taichi_softras.pipeline.plan import Array, Memory, Plan, Rows, Scene

MOST_ENTRIES = 2**23
"""Longest lists of (tile, face) pairs: some 100 MB, and 200 to 800 MB of gradient slots."""


class Faces(NamedTuple):
    """What `kernels.setup` makes of corners."""

    records: Array  # [N * RECORD]
    skipped: Array  # [3]


@dataclass(frozen=True)
class Tiles:
    """Faces by tile; see `kernels.tiles_gpu`."""

    faces: Faces
    n_entries: int
    face_start: Array  # [N + 1]
    tile_start: Array | None  # [T + 1]; this and the next None if lists are made later: `bands`
    entry_face: Array | None = None  # [K]
    entry_slot: Array | None = None  # [K]
    entry_tile: Array | None = None  # [K]
    rows: Rows = (0, 0)
    """First and last + 1 of the tile rows that have lists, in all views."""
    bands: tuple[Rows, ...] = ()
    """How to part the rows where the lists are made later, see `bands`."""


def bin_faces(plan: Plan, memory: Memory, scene: Scene) -> Tiles:
    """Set up faces and list them by tile; lists that are too long are left to `bands`."""
    n = plan.n_faces
    faces = Faces(memory.reals(n * RECORD), memory.zeros(3))
    launch(
        setup_kernel(*plan.setup_choices),
        scene.points, scene.faces, plan.n_vertices,
        scene.attributes, scene.views, plan.n_views, n, plan.variant.attributes,
        *plan.extent, plan.reach, *faces,
    )  # fmt: skip
    return _collect(plan, memory, scene, faces, (0, plan.tiles[0]))


def bands(plan: Plan, memory: Memory, scene: Scene, tiles: Tiles) -> Iterator[tuple[Tiles, Memory]]:
    """Yield `tiles`, or the same with lists for some rows after the other.

    A face that is felt everywhere is listed in every tile. Lists of faces x tiles are not kept:
    they are made for as many rows as `MOST_ENTRIES` allows, and made again for the adjoint.

    Yields:
        Tiles, and memory for what is as long as their lists; forget both before the next ones.
    """
    if not tiles.bands:
        yield tiles, memory
    for rows in tiles.bands:
        scratch = memory.scratch()
        yield _collect(plan, scratch, scene, tiles.faces, rows), scratch


def _collect(plan: Plan, memory: Memory, scene: Scene, faces: Faces, rows: Rows) -> Tiles:
    n, n_tiles = plan.n_faces, plan.n_tiles
    sort_pass, finish = sort_kernels()
    face_start, entries = _count(plan, memory, faces, rows)
    tiles = Tiles(faces, entries, face_start, None, rows=rows)
    if entries > MOST_ENTRIES and rows[1] - rows[0] > 1:
        return replace(tiles, bands=tuple(_halved(plan, memory, faces, rows)))
    check_length(plan, entries)
    _, emit = entry_kernels(plan.variant.dtype)
    slot_face, tile, slot = (memory.integers(entries) for _ in range(3))
    launch(
        emit, faces.records, scene.views, plan.n_views, n, *plan.tiles, *rows,
        face_start, slot_face, tile, slot,
    )  # fmt: skip
    runs = sort_runs(entries)
    tile_out, slot_out = memory.integers(entries), memory.integers(entries)
    places = memory.integers(DIGITS * runs + 1)
    scratch = memory.integers(scan_scratch(DIGITS * runs))
    for shift in sort_shifts(n_tiles):
        launch(sort_pass, entries, runs, shift, tile, slot, tile_out, slot_out, places, scratch)
        tile, tile_out, slot, slot_out = tile_out, tile, slot_out, slot
    tile_start, entry_face = memory.integers(n_tiles + 1), memory.integers(entries)
    launch(finish, entries, n_tiles, tile, slot, slot_face, tile_start, entry_face)
    return replace(
        tiles, tile_start=tile_start, entry_face=entry_face, entry_slot=slot, entry_tile=tile
    )


def _count(plan: Plan, memory: Memory, faces: Faces, rows: Rows) -> tuple[Array, int]:
    """Return where each face's entries in some tile rows begin, and how many there are."""
    n = plan.n_faces
    count, _ = entry_kernels(plan.variant.dtype)
    face_start, scratch = memory.integers(n + 1), memory.integers(scan_scratch(n))
    launch(count, faces.records, n, *rows, face_start, scratch)
    return face_start, memory.read_integer(face_start, n)


def _halved(plan: Plan, memory: Memory, faces: Faces, rows: Rows) -> Iterator[Rows]:
    """Cut the tile rows in halves until each has at most MOST_ENTRIES entries, or is one row."""
    middle = (rows[0] + rows[1]) // 2
    for part in ((rows[0], middle), (middle, rows[1])):
        _, entries = _count(plan, memory.scratch(), faces, part)
        if entries > MOST_ENTRIES and part[1] - part[0] > 1:
            yield from _halved(plan, memory, faces, part)
        else:
            yield part


def check_length(plan: Plan, entries: int) -> None:
    """Refuse lists whose numbers, or whose gradients', have no int32 places."""
    most = MOST_NUMBERS // max(ENTRY, plan.variant.slot_width)
    if entries > most:
        raise ArgumentError(
            f"the faces touch more than {most} (tile, face) pairs in a row of tiles; render fewer "
            "views at once, or use a smaller sigma or a larger dist_eps."
        )

"""Faces by tile: whole lists, or lists for a band of tile rows at a time."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from taichi_softras import runtime
from taichi_softras.errors import ArgumentError
from taichi_softras.fast_launch import launch
from taichi_softras.kernels import tiles_cpu
from taichi_softras.kernels.phases import counters
from taichi_softras.kernels.scan import DIGITS, LARGEST, scan_scratch, sort_runs
from taichi_softras.kernels.setup import setup_kernel
from taichi_softras.kernels.tiles_cpu import COUNT, FILL, SET_UP
from taichi_softras.kernels.tiles_gpu import entry_kernels, sort_kernels, sort_shifts
from taichi_softras.kernels.types import RECORD
from taichi_softras.pipeline.plan import Array, Memory, Plan, Scene

MOST_ENTRIES = 2**23
"""Longest lists of (tile, face) pairs: some 100 MB, and 200 to 800 MB of gradient slots."""

MOST_SPARE = 2
"""Lists with more room than this many times what they need are made shorter the next time."""

MOST_REMEMBERED = 64
"""Renderings whose lengths of lists are kept."""


class Faces(NamedTuple):
    """What `kernels.setup` makes of corners."""

    records: Array  # [N, RECORD]
    boxes: Array  # [N, 4]
    skipped: Array  # [3]


@dataclass(frozen=True)
class Tiles:
    """Faces by tile; see `kernels.tiles_cpu` and `kernels.tiles_gpu`."""

    faces: Faces
    n_entries: int
    room: int
    """Entries that lists have room for, at least as many; in a loop mostly those of the last time,
    so that what is as long as the lists finds the memory that others left."""
    face_start: Array  # [N + 1]
    tile_start: Array | None  # [T + 1]
    entries: Array | None = None  # [K, ENTRY] on CPUs; None if lists are made later, see `bands`
    entry_face: Array | None = None  # [K] on GPUs, and the next two
    entry_slot: Array | None = None  # [K]
    entry_tile: Array | None = None  # [K]
    rows: tuple[int, int] = (0, 0)
    """First and last + 1 of the tile rows that have lists, in all views."""
    bands: tuple[tuple[int, int], ...] = ()
    """How to part the rows where the lists are made later, see `bands`."""


class Finish(NamedTuple):
    """The CPU's kernel that lists faces, and what it does with the lists at once."""

    kernel: Any
    """Its arguments begin with those of `kernels.tiles_cpu.bin_faces`."""
    phases: int
    arguments: tuple[Any, ...] = ()


def bin_faces(plan: Plan, memory: Memory, scene: Scene, finish: Finish | None = None) -> Tiles:
    """Set up faces and list them by tile; lists that are too long are left to `bands`.

    On the CPU `finish` is what to do with the lists in the same launch.
    """
    n = plan.n_faces
    faces = Faces(memory.reals(n, RECORD), memory.integers(n, 4), memory.zeros(3))
    rows = (0, plan.tiles[0])
    if plan.backend == "cpu":
        return _collect_on_cpu(plan, memory, scene, faces, rows, SET_UP, finish)
    launch(
        setup_kernel(*plan.setup_choices),
        scene.points, scene.faces, plan.n_vertices,
        scene.attributes, scene.views, plan.n_views, n, plan.variant.attributes,
        *plan.extent, plan.reach, *faces,
    )  # fmt: skip
    return _collect_on_gpu(plan, memory, scene, faces, rows)


def bands(
    plan: Plan, memory: Memory, scene: Scene, tiles: Tiles, finish: Finish | None = None
) -> Iterator[tuple[Tiles, Memory]]:
    """Yield `tiles`, or the same with lists for some rows after the other.

    A face that is felt everywhere is listed in every tile. Lists of faces x tiles are not kept:
    they are made for as many rows as `MOST_ENTRIES` allows, and made again for the adjoint.
    `finish` is that of `bin_faces`, for lists that are made here.

    Yields:
        Tiles, and memory for what is as long as their lists; forget both before the next ones.
    """
    if not tiles.bands:
        yield tiles, memory
    on_cpu = plan.backend == "cpu"
    for rows in tiles.bands:
        scratch = memory.scratch()
        if on_cpu:
            yield _collect_on_cpu(plan, scratch, scene, tiles.faces, rows, COUNT, finish), scratch
        else:
            yield _collect_on_gpu(plan, scratch, scene, tiles.faces, rows), scratch


def _collect_on_cpu(
    plan: Plan,
    memory: Memory,
    scene: Scene,
    faces: Faces,
    rows: tuple[int, int],
    begin: int,
    finish: Finish | None,
) -> Tiles:
    """List the faces of some tile rows; only say how to part the rows if lists are too long.

    Lists have the room that such renderings needed before, and a bit more. If that does not do,
    the launch stops after it has counted, and a second one fills lists of the right length.
    """
    n, n_tiles = plan.n_faces, plan.n_tiles
    # Enough tasks to share, few enough that their counters stay small.
    n_chunks = max(1, min(8, 8 // plan.n_views))
    n_workers = runtime.thread_count()
    finish = finish or Finish(tiles_cpu.binning_kernel(*plan.setup_choices), tiles_cpu.PHASES)
    face_start, tile_start = memory.integers(n + 1), memory.integers(n_tiles + 1)
    chunk_next, total = memory.integers(n_chunks * n_tiles), memory.integers(1)
    likely = (n, plan.n_views, plan.size, rows)
    capacity = min(_room.get(likely, 0), MOST_ENTRIES)
    while True:
        lists = memory.integers(capacity, tiles_cpu.ENTRY)
        launch(
            finish.kernel,
            scene.points, scene.faces, plan.n_vertices,
            scene.attributes, scene.views, plan.n_views, n,
            plan.variant.attributes, *plan.extent, plan.reach, *plan.tiles, *rows, n_chunks,
            begin, capacity, *faces, face_start, chunk_next, tile_start, total, lists,
            n_workers, memory.zeros(counters(finish.phases, n_workers)), *finish.arguments,
        )  # fmt: skip
        entries = memory.read_integer(total, 0)
        if entries <= capacity:
            break
        if entries > MOST_ENTRIES and rows[1] - rows[0] > 1:
            tiles = Tiles(faces, entries, entries, face_start, tile_start, rows=rows)
            return replace(tiles, bands=_part(plan, memory, tiles))
        _check(entries)
        begin, capacity = FILL, entries
    if begin == FILL or capacity > MOST_SPARE * entries:
        _remember(likely, entries * 5 // 4)
    return Tiles(faces, entries, capacity, face_start, tile_start, lists, rows=rows)


_room: dict[Any, int] = {}
"""Entries to have room for, by what they depend on most."""


def _remember(likely: Any, room: int) -> None:
    if len(_room) >= MOST_REMEMBERED:
        _room.clear()
    _room[likely] = room


def _part(plan: Plan, memory: Memory, tiles: Tiles) -> tuple[tuple[int, int], ...]:
    """Cut the tile rows into bands of at most MOST_ENTRIES entries, or of one row."""
    first, end = tiles.rows
    if tiles.n_entries >= LARGEST:  # too many to count by row
        return tuple((row, row + 1) for row in range(first, end))
    n_rows, n_columns = plan.tiles
    bands, begin, filled = [], first, 0
    for row in range(first, end):
        before = [(b * n_rows + row) * n_columns for b in range(plan.n_views)]
        in_row = sum(
            memory.read_integer(tiles.tile_start, t + n_columns)
            - memory.read_integer(tiles.tile_start, t)
            for t in before
        )
        if row > begin and filled + in_row > MOST_ENTRIES:
            bands.append((begin, row))
            begin, filled = row, 0
        filled += in_row
    return (*bands, (begin, end))


def _collect_on_gpu(
    plan: Plan, memory: Memory, scene: Scene, faces: Faces, rows: tuple[int, int]
) -> Tiles:
    n, n_tiles = plan.n_faces, plan.n_tiles
    sort_pass, finish = sort_kernels()
    face_start, entries = _count_on_gpu(plan, memory, faces, rows)
    tiles = Tiles(faces, entries, entries, face_start, None, rows=rows)
    if entries > MOST_ENTRIES and rows[1] - rows[0] > 1:
        return replace(tiles, bands=tuple(_halved(plan, memory, faces, rows)))
    _check(entries)
    _, emit = entry_kernels(plan.variant.dtype)
    frame = plan.extent
    slot_face, tile, slot = (memory.integers(entries) for _ in range(3))
    launch(
        emit, faces.records, faces.boxes, scene.views, plan.n_views, n, *frame, *plan.tiles, *rows,
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


def _count_on_gpu(
    plan: Plan, memory: Memory, faces: Faces, rows: tuple[int, int]
) -> tuple[Array, int]:
    """Return where each face's entries in some tile rows begin, and how many there are."""
    n = plan.n_faces
    count, _ = entry_kernels(plan.variant.dtype)
    face_start, scratch = memory.integers(n + 1), memory.integers(scan_scratch(n))
    launch(count, faces.records, faces.boxes, n, *plan.extent, *rows, face_start, scratch)
    return face_start, memory.read_integer(face_start, n)


def _halved(
    plan: Plan, memory: Memory, faces: Faces, rows: tuple[int, int]
) -> Iterator[tuple[int, int]]:
    """Cut the tile rows in halves until each has at most MOST_ENTRIES entries, or is one row."""
    middle = (rows[0] + rows[1]) // 2
    for part in ((rows[0], middle), (middle, rows[1])):
        _, entries = _count_on_gpu(plan, memory.scratch(), faces, part)
        if entries > MOST_ENTRIES and part[1] - part[0] > 1:
            yield from _halved(plan, memory, faces, part)
        else:
            yield part


def _check(entries: int) -> None:
    if entries >= LARGEST:
        raise ArgumentError(
            "the faces touch 2**31 (tile, face) pairs or more; render fewer views at once, or use "
            "a smaller sigma or a larger dist_eps."
        )

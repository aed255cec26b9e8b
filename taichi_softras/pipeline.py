"""From triangle corners to images and back: which kernels run, in which order, on which memory.

It knows neither torch nor Taichi's fields. Arrays come from a `Memory`: torch tensors where
Taichi runs on the tensors' device, arrays of Taichi elsewhere.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

from taichi_softras import runtime
from taichi_softras.errors import ArgumentError
from taichi_softras.fast_launch import launch
from taichi_softras.kernels import raster_cpu, raster_gpu
from taichi_softras.kernels.fragment import Variant
from taichi_softras.kernels.gather import (
    PARTS,
    background_kernel,
    gather_kernels,
    softness_kernel,
)
from taichi_softras.kernels.scan import DIGITS, LARGEST, scan_scratch, sort_runs
from taichi_softras.kernels.setup import setup_kernel
from taichi_softras.kernels.tiles import tile_kernels
from taichi_softras.kernels.tiles_gpu import entry_kernels, sort_kernels, sort_shifts
from taichi_softras.kernels.types import RECORD, STATE, TILE
from taichi_softras.settings import RasterSettings

Array = Any
"""A torch tensor or a `ti.ndarray`; the first axis may be longer than what is used of it, and an
empty array is replaced by any other of its rank: kernels take their counts as numbers."""

UNBOUNDED = 1e15
"""Reach of a face when dist_eps is 0: beyond any NDC coordinate, and finite when squared."""


MOST_ENTRIES = 2**23
"""Longest lists of (tile, face) pairs on CPUs: some 100 MB, and 200 to 800 MB of gradient slots."""


class Memory(Protocol):
    """Where the arrays of one rendering come from; they live as long as it does.

    No axis of what it returns is 0: backends differ on empty arrays.
    """

    def reals(self, *shape: int) -> Array:
        """Return an uninitialised array of the rendering's dtype."""

    def integers(self, *shape: int) -> Array:
        """Return an uninitialised int32 array."""

    def zeros(self, n: int) -> Array:
        """Return n int32 zeros."""

    def read_integer(self, array: Array, index: int) -> int:
        """Return one number of an int32 array, once everything that writes it has run."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a launch needs beside arrays."""

    variant: Variant
    cull: str
    size: tuple[int, int]
    sigma: float
    gamma: float
    eps: float
    dist_eps: float
    near: float
    far: float
    n_views: int
    n_faces: int
    """Corner records of all views."""
    n_attributes: int
    """Attribute records; fewer than faces where views share them."""
    background_rows: int
    """1, or one a pixel."""

    @classmethod
    def of(
        cls,
        settings: RasterSettings,
        *,
        dtype: str,
        channels: int,
        size: tuple[int, int],
        n_views: int,
        n_faces: int,
        n_attributes: int,
        background_rows: int,
        orthographic: bool = False,
    ) -> "Plan":
        """Plan a rendering; `dtype` is "float32" or "float64"."""
        variant = Variant(
            dtype=runtime.taichi_dtype(dtype),
            channels=channels,
            distance=settings.distance,
            alpha=settings.alpha,
            color=settings.color,
            clip=settings.clip,
            perspective=settings.perspective_correct and not orthographic,
            linear_depth=orthographic,
        )
        return cls(
            variant=variant,
            cull=settings.cull,
            size=size,
            sigma=_number(settings.sigma),
            gamma=_number(settings.gamma),
            eps=settings.eps,
            dist_eps=settings.dist_eps,
            near=settings.near,
            far=settings.far,
            n_views=n_views,
            n_faces=n_faces,
            n_attributes=n_attributes,
            background_rows=background_rows,
        )

    @property
    def reach(self) -> float:
        """Distance, in the metric's unit, beyond which D < dist_eps."""
        if self.variant.distance == "hard":
            return 0.0
        if self.dist_eps == 0.0:
            return UNBOUNDED
        return min(math.sqrt(self.sigma * math.log(1.0 / self.dist_eps - 1.0)), UNBOUNDED)

    @property
    def tau(self) -> float:
        """Depth difference that changes a softmax weight by e."""
        return self.gamma * (self.far - self.near)

    @property
    def background_depth(self) -> float:
        """Depth whose normalised value is eps."""
        return self.far - self.eps * (self.far - self.near)

    @property
    def pixels(self) -> int:
        """Pixels of all views."""
        return self.n_views * self.size[0] * self.size[1]

    @property
    def tiles(self) -> tuple[int, int]:
        """Rows and columns of tiles in a view."""
        return -(-self.size[0] // TILE), -(-self.size[1] // TILE)

    @property
    def n_tiles(self) -> int:
        """Tiles of all views."""
        return self.n_views * self.tiles[0] * self.tiles[1]

    @property
    def extent(self) -> tuple[float, float]:
        """Height and width, as kernels take them that compute with both."""
        return float(self.size[0]), float(self.size[1])

    @property
    def numbers(self) -> tuple[float, ...]:
        """Scalars that the forward and the adjoint driver share, in their order."""
        return (
            *self.size,
            float(min(self.size)),
            1.0 / self.sigma,
            self.reach**2,
            self.tau,
            1.0 / self.tau,
        )

    @property
    def softness_scales(self) -> tuple[float, float]:
        """What the sums of `softness_kernel` are multiplied by to be dL/dsigma and dL/dgamma."""
        return -1.0 / self.sigma, 1.0 / (self.tau * self.gamma)


def _number(value: Any) -> float:
    return float(value.detach()) if hasattr(value, "detach") else float(value)


@dataclass(frozen=True)
class Scene:
    """Arrays that a rendering reads, in the layout of `inputs.RasterInputs`."""

    corners: Array  # [N, 3, 3]
    attributes: Array  # [M, 3, C]
    views: Array  # [B, 3] int32
    background: Array  # [1, C] or [B * H * W, C]


@dataclass(frozen=True)
class Tiles:
    """Faces by tile; see `kernels.tiles`."""

    records: Array  # [N, RECORD]
    boxes: Array  # [N, 4]
    skipped: Array  # [3]
    n_entries: int
    face_start: Array  # [N + 1]
    tile_start: Array  # [T + 1]
    entry_face: Array | None  # [K]; None if the lists are made later, see `_bands`
    entry_slot: Array | None  # [K]
    entry_tile: Array | None = None  # [K] on GPUs
    entry_blocks: Array | None = None  # [K] on CPUs
    rows: tuple[int, int] = (0, 0)
    """First and last + 1 of the tile rows that have lists, in all views; on CPUs."""
    bands: tuple[tuple[int, int], ...] = ()
    """How to part the rows where the lists are made later, see `_bands`."""


@dataclass(frozen=True)
class Rendered:
    """What forward leaves: results, and what the adjoint needs."""

    tiles: Tiles
    alpha: Array  # [P]
    image: Array  # [P, C]
    depth: Array  # [P], or [1] without colour
    state: Array  # [P, STATE]
    winner: Array  # [P] with hard colour, else [1]


@dataclass(frozen=True)
class Gradients:
    """What the adjoint leaves; None where nothing was asked for."""

    corners: Array | None  # [N, 3, 3]
    attributes: Array | None  # [M, 3, C]
    background: Array | None  # [P, C]
    softness: Array | None  # [2] times Plan.softness_scales


def bin_faces(plan: Plan, memory: Memory, scene: Scene) -> Tiles:
    """Set up faces and list them by tile; on CPUs long lists are left to `_bands`."""
    n = plan.n_faces
    records, boxes, skipped = memory.reals(n, RECORD), memory.integers(n, 4), memory.integers(3)
    launch(
        setup_kernel(plan.variant.dtype, plan.variant.distance, plan.cull),
        scene.corners, scene.attributes, scene.views, plan.n_views, n, plan.variant.channels,
        *plan.extent, plan.reach,
        records, boxes, skipped,
    )  # fmt: skip
    if runtime.backend() == "cpu":
        rows = (0, plan.tiles[0])
        return _collect_on_cpu(plan, memory, records, boxes, skipped, scene.views, rows)
    return _collect_on_gpu(plan, memory, records, boxes, skipped, scene.views)


def _bands(plan: Plan, memory: Memory, scene: Scene, tiles: Tiles) -> Iterator[Tiles]:
    """Yield `tiles`, or the same with lists for some rows after the other.

    A face that is felt everywhere is listed in every tile. Lists of faces x tiles are not kept:
    they are made for as many rows as `MOST_ENTRIES` allows, and made again for the adjoint.
    """
    if not tiles.bands:
        yield tiles
    for rows in tiles.bands:
        yield _collect_on_cpu(
            plan, memory, tiles.records, tiles.boxes, tiles.skipped, scene.views, rows
        )


def _collect_on_cpu(
    plan: Plan,
    memory: Memory,
    records: Array,
    boxes: Array,
    skipped: Array,
    views: Array,
    rows: tuple[int, int],
) -> Tiles:
    """List the faces of some tile rows; only say how to part the rows if lists are too long."""
    n, n_tiles = plan.n_faces, plan.n_tiles
    # Enough tasks to share, few enough that their counters stay small.
    n_chunks = max(1, min(8, 8 // plan.n_views))
    count, scan, fill = tile_kernels(plan.variant.dtype)
    frame = (records, boxes, views, plan.n_views, n_chunks, *plan.extent, *plan.tiles, *rows)
    face_entries, chunk_entries = memory.integers(n), memory.integers(n_tiles, n_chunks)
    launch(count, *frame, face_entries, chunk_entries)
    face_start, tile_start = memory.integers(n + 1), memory.integers(n_tiles + 1)
    total = memory.integers(1)
    launch(scan, n, n_tiles, n_chunks, face_entries, face_start, chunk_entries, tile_start, total)
    entries = memory.read_integer(total, 0)
    tiles = Tiles(records, boxes, skipped, entries, face_start, tile_start, None, None, rows=rows)
    if entries > MOST_ENTRIES and rows[1] - rows[0] > 1:
        return replace(tiles, bands=_part(plan, memory, tiles))
    _check(entries)
    entry_face, entry_slot, entry_blocks = (memory.integers(entries) for _ in range(3))
    launch(fill, *frame, face_start, chunk_entries, entry_face, entry_slot, entry_blocks)
    return replace(tiles, entry_face=entry_face, entry_slot=entry_slot, entry_blocks=entry_blocks)


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
    plan: Plan, memory: Memory, records: Array, boxes: Array, skipped: Array, views: Array
) -> Tiles:
    n, n_tiles = plan.n_faces, plan.n_tiles
    count, emit = entry_kernels(plan.variant.dtype)
    sort_pass, finish = sort_kernels()
    face_start = memory.integers(n + 1)
    frame = plan.extent
    launch(count, records, boxes, n, *frame, face_start, memory.integers(scan_scratch(n)))
    entries = memory.read_integer(face_start, n)
    _check(entries)
    slot_face, tile, slot = (memory.integers(entries) for _ in range(3))
    launch(
        emit, records, boxes, views, plan.n_views, n, *frame, *plan.tiles,
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
    return Tiles(
        records, boxes, skipped, entries, face_start, tile_start, entry_face, slot, entry_tile=tile
    )


def _check(entries: int) -> None:
    if entries >= LARGEST:
        raise ArgumentError(
            "the faces touch 2**31 (tile, face) pairs or more; render fewer views at once, or use "
            "a smaller sigma or a larger dist_eps."
        )


def forward(plan: Plan, memory: Memory, scene: Scene) -> Rendered:
    """Render all views; hold `runtime.launch_lock`."""
    variant, pixels = plan.variant, plan.pixels
    tiles = bin_faces(plan, memory, scene)
    rendered = Rendered(
        tiles,
        alpha=memory.reals(pixels),
        image=memory.reals(pixels, variant.channels),
        depth=memory.reals(pixels if variant.color != "none" else 1),
        state=memory.reals(pixels, STATE),
        winner=memory.integers(pixels if variant.color == "hard" else 1),
    )
    for part in _bands(plan, memory, scene, tiles):
        _draw(plan, memory, scene, part, rendered)
    return rendered


def _draw(plan: Plan, memory: Memory, scene: Scene, tiles: Tiles, rendered: Rendered) -> None:
    """Launch the forward driver on the tiles that have lists."""
    scene_arrays = (scene.attributes, scene.views, tiles.tile_start, tiles.entry_face)
    pixel_arrays = (
        scene.background, plan.background_rows, plan.n_views, *plan.numbers,
        plan.far, plan.background_depth,
        rendered.alpha, rendered.image, rendered.depth, rendered.state, rendered.winner,
    )  # fmt: skip
    if runtime.backend() == "cpu":
        launch(
            raster_cpu.forward_kernel(plan.variant),
            tiles.records, *scene_arrays, tiles.entry_blocks, *pixel_arrays,
            *tiles.rows, runtime.thread_count(), memory.zeros(1),
        )  # fmt: skip
    else:
        launch(
            raster_gpu.forward_kernel(plan.variant),
            tiles.records, tiles.boxes, *scene_arrays, *pixel_arrays,
        )  # fmt: skip


@dataclass(frozen=True)
class Needs:
    """Which gradients the adjoint is asked for."""

    corners: bool
    attributes: bool
    background: bool
    softness: bool


def adjoint(
    plan: Plan,
    memory: Memory,
    scene: Scene,
    rendered: Rendered,
    d_alpha: Array,
    d_image: Array,
    d_depth: Array,
    *,
    corners: bool,
    attributes: bool,
    background: bool,
    softness: bool,
) -> Gradients:
    """Pull gradients of the images back to what is asked for; hold `runtime.launch_lock`."""
    variant, colored = plan.variant, plan.variant.channels > 0
    needs = Needs(corners, attributes and colored, background and colored, softness)
    on_cpu = runtime.backend() == "cpu"
    softness_rows = plan.n_tiles if on_cpu else rendered.tiles.n_entries
    found = Gradients(
        memory.reals(plan.n_faces, 3, 3) if needs.corners else None,
        memory.reals(plan.n_attributes, 3, variant.channels) if needs.attributes else None,
        memory.reals(plan.pixels, variant.channels) if needs.background else None,
        memory.reals(2) if needs.softness else None,
    )
    d_softness = memory.reals(softness_rows if softness else 1, 2)
    d_images = (d_alpha, d_image, d_depth)
    for i, part in enumerate(_bands(plan, memory, scene, rendered.tiles)):
        slots = _pull(plan, memory, scene, part, rendered, d_images, d_softness, needs)
        _gather(plan, part, slots, found, more=i > 0)
    if needs.background:
        launch(
            background_kernel(variant.dtype, variant.color),
            plan.pixels, variant.channels, 1.0 / plan.tau, plan.background_depth,
            rendered.state, rendered.winner, d_image, found.background,
        )  # fmt: skip
    if needs.softness:
        launch(
            softness_kernel(variant.dtype, variant.color),
            softness_rows, plan.pixels, variant.channels, plan.background_rows,
            1.0 / plan.tau, plan.far, plan.background_depth, d_softness, scene.background,
            rendered.image, rendered.depth, rendered.state, d_image, d_depth,
            memory.reals(PARTS, 2), found.softness,
        )  # fmt: skip
    return found


def _pull(
    plan: Plan,
    memory: Memory,
    scene: Scene,
    tiles: Tiles,
    rendered: Rendered,
    d_images: tuple[Array, Array, Array],
    d_softness: Array,
    needs: Needs,
) -> Array:
    """Launch the adjoint driver on the tiles that have lists; return the gradient slots."""
    kernels = raster_cpu if runtime.backend() == "cpu" else raster_gpu
    kernel = kernels.adjoint_kernel(plan.variant, needs.corners, needs.attributes, needs.softness)
    slots = memory.reals(tiles.n_entries, plan.variant.slot_width)
    images = (rendered.image, rendered.depth, rendered.state)
    if kernels is raster_cpu:
        launch(
            kernel, tiles.records, scene.attributes, scene.views, tiles.tile_start,
            tiles.entry_face, tiles.entry_slot, tiles.entry_blocks, plan.n_views, *plan.numbers,
            *images, rendered.winner, *d_images, slots, d_softness,
            *tiles.rows, runtime.thread_count(), memory.zeros(1),
        )  # fmt: skip
    else:
        pixels = memory.reals(plan.pixels, raster_gpu.pixel_width(plan.variant.channels))
        launch(raster_gpu.pixel_kernel(plan.variant), plan.pixels, *images, *d_images, pixels)
        launch(
            kernel, tiles.records, tiles.boxes, scene.attributes, scene.views, tiles.n_entries,
            tiles.entry_tile, tiles.entry_face, tiles.entry_slot, *plan.numbers,
            pixels, rendered.winner, slots, d_softness,
        )  # fmt: skip
    return slots


def _gather(plan: Plan, tiles: Tiles, slots: Array, found: Gradients, *, more: bool) -> None:
    """Sum each face's slots, to what is there already if there is `more`."""
    variant = plan.variant
    gather_corners, gather_attributes = gather_kernels(variant.dtype, variant.color != "none")
    if found.corners is not None:
        launch(gather_corners, plan.n_faces, tiles.face_start, slots, int(more), found.corners)
    if found.attributes is not None:
        launch(
            gather_attributes, plan.n_attributes, tiles.face_start, slots, variant.channels,
            plan.n_faces // max(plan.n_attributes, 1), int(more), found.attributes,
        )  # fmt: skip

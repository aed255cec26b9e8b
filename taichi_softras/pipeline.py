"""From triangle corners to images and back: which kernels run, in which order, on which memory.

It knows neither torch nor Taichi's fields. Arrays come from a `Memory`: torch tensors where
Taichi runs on the tensors' device, arrays of Taichi elsewhere.
"""

import math
from dataclasses import dataclass
from typing import Any, Protocol

from taichi_softras import runtime
from taichi_softras.errors import ArgumentError
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
    entry_face: Array  # [K]
    entry_slot: Array  # [K]
    entry_tile: Array | None  # [K] on GPUs


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
    """Set up faces and list them by tile."""
    n = plan.n_faces
    records, boxes, skipped = memory.reals(n, RECORD), memory.integers(n, 4), memory.integers(3)
    setup_kernel(plan.variant.dtype, plan.variant.distance, plan.cull)(
        scene.corners, scene.attributes, scene.views, plan.n_views, n, plan.variant.channels,
        *plan.extent, plan.reach,
        records, boxes, skipped,
    )  # fmt: skip
    collect = _collect_on_cpu if runtime.backend() == "cpu" else _collect_on_gpu
    return collect(plan, memory, records, boxes, skipped, scene.views)


def _collect_on_cpu(
    plan: Plan, memory: Memory, records: Array, boxes: Array, skipped: Array, views: Array
) -> Tiles:
    n, n_tiles = plan.n_faces, plan.n_tiles
    # Enough tasks to share, few enough that their counters stay small.
    n_chunks = max(1, min(8, 8 // plan.n_views))
    count, scan, fill = tile_kernels(plan.variant.dtype, plan.variant.distance)
    frame = (records, boxes, views, plan.n_views, n_chunks, *plan.extent, plan.reach, *plan.tiles)
    face_entries, chunk_entries = memory.integers(n), memory.integers(n_tiles, n_chunks)
    count(*frame, face_entries, chunk_entries)
    face_start, tile_start = memory.integers(n + 1), memory.integers(n_tiles + 1)
    total = memory.integers(1)
    scan(n, n_tiles, n_chunks, face_entries, face_start, chunk_entries, tile_start, total)
    entries = _checked(memory.read_integer(total, 0))
    entry_face, entry_slot = memory.integers(entries), memory.integers(entries)
    fill(*frame, face_start, chunk_entries, entry_face, entry_slot)
    return Tiles(
        records, boxes, skipped, entries, face_start, tile_start, entry_face, entry_slot, None
    )


def _collect_on_gpu(
    plan: Plan, memory: Memory, records: Array, boxes: Array, skipped: Array, views: Array
) -> Tiles:
    n, n_tiles = plan.n_faces, plan.n_tiles
    count, emit = entry_kernels(plan.variant.dtype, plan.variant.distance)
    sort_pass, finish = sort_kernels()
    face_start = memory.integers(n + 1)
    frame = (*plan.extent, plan.reach)
    count(records, boxes, n, *frame, face_start, memory.integers(scan_scratch(n)))
    entries = _checked(memory.read_integer(face_start, n))
    slot_face, tile, slot = (memory.integers(entries) for _ in range(3))
    emit(
        records, boxes, views, plan.n_views, n, *frame, *plan.tiles,
        face_start, slot_face, tile, slot,
    )  # fmt: skip
    runs = sort_runs(entries)
    tile_out, slot_out = memory.integers(entries), memory.integers(entries)
    places = memory.integers(DIGITS * runs + 1)
    scratch = memory.integers(scan_scratch(DIGITS * runs))
    for shift in sort_shifts(n_tiles):
        sort_pass(entries, runs, shift, tile, slot, tile_out, slot_out, places, scratch)
        tile, tile_out, slot, slot_out = tile_out, tile, slot_out, slot
    tile_start, entry_face = memory.integers(n_tiles + 1), memory.integers(entries)
    finish(entries, n_tiles, tile, slot, slot_face, tile_start, entry_face)
    return Tiles(records, boxes, skipped, entries, face_start, tile_start, entry_face, slot, tile)


def _checked(entries: int) -> int:
    if entries >= LARGEST:
        raise ArgumentError(
            "the faces touch 2**31 (tile, face) pairs or more; render fewer views at once, or use "
            "a smaller sigma or a larger dist_eps."
        )
    return entries


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
    arguments = (
        tiles.records, tiles.boxes, scene.attributes, scene.views, tiles.tile_start,
        tiles.entry_face, scene.background, plan.background_rows, plan.n_views, *plan.numbers,
        plan.far, plan.background_depth,
        rendered.alpha, rendered.image, rendered.depth, rendered.state, rendered.winner,
    )  # fmt: skip
    if runtime.backend() == "cpu":
        raster_cpu.forward_kernel(variant)(*arguments, runtime.thread_count(), memory.zeros(1))
    else:
        raster_gpu.forward_kernel(variant)(*arguments)
    return rendered


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
    variant, tiles, n, entries = (
        plan.variant,
        rendered.tiles,
        plan.n_faces,
        rendered.tiles.n_entries,
    )
    colored = variant.channels > 0
    slots = memory.reals(entries, variant.slot_width)
    on_cpu = runtime.backend() == "cpu"
    softness_rows = (plan.n_tiles if on_cpu else entries) if softness else 1
    d_softness = memory.reals(softness_rows, 2)
    kernel = (raster_cpu if on_cpu else raster_gpu).adjoint_kernel(
        variant, corners, attributes, softness
    )
    faces = (tiles.records, tiles.boxes, scene.attributes, scene.views)
    images = (rendered.image, rendered.depth, rendered.state)
    if on_cpu:
        kernel(
            *faces, tiles.tile_start, tiles.entry_face, tiles.entry_slot, plan.n_views,
            *plan.numbers, *images, rendered.winner, d_alpha, d_image, d_depth,
            slots, d_softness, runtime.thread_count(), memory.zeros(1),
        )  # fmt: skip
    else:
        pixels = memory.reals(plan.pixels, raster_gpu.pixel_width(variant.channels))
        raster_gpu.pixel_kernel(variant)(plan.pixels, *images, d_alpha, d_image, d_depth, pixels)
        kernel(
            *faces, entries, tiles.entry_tile, tiles.entry_face, tiles.entry_slot,
            *plan.numbers, pixels, rendered.winner, slots, d_softness,
        )  # fmt: skip
    gather_corners, gather_attributes = gather_kernels(variant.dtype, variant.color != "none")
    d_corners = d_attributes = d_background = total = None
    if corners:
        d_corners = memory.reals(n, 3, 3)
        gather_corners(n, tiles.face_start, slots, d_corners)
    if attributes and colored:
        d_attributes = memory.reals(plan.n_attributes, 3, variant.channels)
        sharing = n // max(plan.n_attributes, 1)
        gather_attributes(
            plan.n_attributes, tiles.face_start, slots, variant.channels, sharing, d_attributes
        )
    if background and colored:
        d_background = memory.reals(plan.pixels, variant.channels)
        background_kernel(variant.dtype, variant.color)(
            plan.pixels, variant.channels, 1.0 / plan.tau, plan.background_depth,
            rendered.state, rendered.winner, d_image, d_background,
        )  # fmt: skip
    if softness:
        total = memory.reals(2)
        softness_kernel(variant.dtype, variant.color)(
            softness_rows, plan.pixels, variant.channels, plan.background_rows,
            1.0 / plan.tau, plan.far, plan.background_depth, d_softness, scene.background,
            *images, d_image, d_depth, memory.reals(PARTS, 2), total,
        )  # fmt: skip
    return Gradients(d_corners, d_attributes, d_background, total)

"""Forward and adjoint: which kernels run, in which order."""

from dataclasses import dataclass
from typing import NamedTuple

from taichi_softras import runtime
from taichi_softras.fast_launch import launch
from taichi_softras.kernels import raster_cpu, raster_gpu
from taichi_softras.kernels.gather import (
    PARTS,
    background_kernel,
    gather_kernels,
    softness_kernel,
)
from taichi_softras.kernels.phases import counters
from taichi_softras.kernels.texture import HEAD, collect_kernel, scale_kernel
from taichi_softras.kernels.texture import PARTS as TEXEL_PARTS
from taichi_softras.pipeline.binning import Finish, Tiles, bands, bin_faces
from taichi_softras.pipeline.plan import Array, CornerLists, Memory, Plan, Scene


@dataclass(frozen=True)
class Rendered:
    """What forward leaves: results, and what the adjoint needs."""

    tiles: Tiles
    alpha: Array  # [P]
    image: Array  # [P, C]
    depth: Array  # [P], or [1] without colour
    state: Array  # see `Plan.state_numbers`
    winner: Array  # [P] with hard colour, else [1]


@dataclass(frozen=True)
class Gradients:
    """What the adjoint leaves; None where nothing was asked for."""

    corners: Array | None  # [3 N, 3]
    points: Array | None  # [Q, 3], the same array where points are corners
    attributes: Array | None  # [M, 3, C + texture coordinates]
    background: Array | None  # [P, C]
    softness: Array | None  # [2] times Plan.softness_scales
    texels: Array | None  # [X, textured channels]


def forward(plan: Plan, memory: Memory, scene: Scene) -> Rendered:
    """Render all views; hold `runtime.launch_lock`."""
    variant, pixels, color = plan.variant, plan.pixels, plan.variant.color
    images = (
        memory.results(pixels),
        memory.results(pixels, variant.channels) if variant.channels else memory.nothing(2),
        memory.results(pixels) if color != "none" else memory.nothing(1),
        memory.reals(plan.state_numbers),
        memory.integers(pixels) if color == "hard" else memory.nothing(1, integers=True),
    )
    background = (scene.background, plan.background_rows)
    numbers = (*plan.numbers, plan.background_depth)
    texture = (scene.texels, scene.maps)
    finish, on_cpu = None, plan.backend == "cpu"
    if on_cpu:  # the launch that lists faces also draws them
        kernel = raster_cpu.forward_kernel(variant, plan.cull)
        arguments = (*background, *numbers, *images, *texture)
        finish = Finish(kernel, raster_cpu.FORWARD_PHASES, arguments)
    tiles = bin_faces(plan, memory, scene, finish)
    if tiles.bands or not on_cpu:
        for part, scratch in bands(plan, memory, scene, tiles, finish):
            if not on_cpu:
                launch(
                    raster_gpu.forward_kernel(variant),
                    part.faces.records, part.faces.boxes, scene.attributes, scene.views,
                    part.tile_start, part.entry_face, *background, plan.n_views, *numbers,
                    *images, *texture, *part.rows,
                )  # fmt: skip
            del part, scratch
    return Rendered(tiles, *images)


class Needs(NamedTuple):
    """Which gradients the adjoint is asked for."""

    points: bool
    attributes: bool
    background: bool
    softness: bool
    texels: bool = False


def adjoint(
    plan: Plan,
    memory: Memory,
    scene: Scene,
    rendered: Rendered,
    d_alpha: Array,
    d_image: Array,
    d_depth: Array,
    needs: Needs,
    corner_lists: CornerLists | None = None,
) -> Gradients:
    """Pull gradients of the images back to what is asked for; hold `runtime.launch_lock`.

    `corner_lists` is needed for points that are vertices.
    """
    variant, colored = plan.variant, plan.variant.channels > 0
    needs = needs._replace(
        attributes=needs.attributes and colored,
        background=needs.background and colored,
        texels=needs.texels and variant.textured > 0,
    )
    d_corners = d_points = None
    if needs.points:
        d_points = memory.results(plan.n_points, 3)
        d_corners = memory.reals(3 * plan.n_faces, 3) if plan.n_vertices else d_points
    found = Gradients(
        d_corners,
        d_points,
        memory.results(plan.n_attributes, 3, variant.attributes) if needs.attributes else None,
        memory.results(plan.pixels, variant.channels) if needs.background else None,
        memory.results(2) if needs.softness else None,
        memory.results(plan.n_texels, variant.textured) if needs.texels else None,
    )
    sums = _begin_texels(plan, memory, scene, d_image) if needs.texels else memory.zeros(1)
    d_images = (d_alpha, d_image, d_depth)
    for i, (part, scratch) in enumerate(bands(plan, memory, scene, rendered.tiles)):
        d_softness = _pull(
            plan, scratch, scene, part, rendered, d_images, sums, needs, found, corner_lists, i > 0
        )
        if needs.softness:
            _sum_softness(plan, scratch, scene, part, rendered, d_images, d_softness, found, i > 0)
        del part, scratch, d_softness
    if needs.texels:
        launch(
            collect_kernel(variant.dtype), plan.n_texels, variant.textured, sums, found.texels
        )  # fmt: skip
    if needs.background:
        launch(
            background_kernel(variant.dtype, variant.color),
            plan.pixels, variant.channels, 1.0 / plan.tau, plan.background_depth,
            rendered.state, rendered.winner, d_image, found.background,
        )  # fmt: skip
    return found


def _begin_texels(plan: Plan, memory: Memory, scene: Scene, d_image: Array) -> Array:
    """Return sums for the texels' gradients: 0, and scaled so that they will not overflow."""
    sums = memory.zeros(HEAD + 2 * plan.n_texels * plan.variant.textured)
    launch(
        scale_kernel(plan.variant.dtype),
        plan.pixels, plan.n_attributes, plan.variant.textured, d_image, scene.attributes,
        memory.reals(TEXEL_PARTS, 2), sums,
    )  # fmt: skip
    return sums


def _pull(
    plan: Plan,
    memory: Memory,
    scene: Scene,
    tiles: Tiles,
    rendered: Rendered,
    d_images: tuple[Array, Array, Array],
    sums: Array,
    needs: Needs,
    found: Gradients,
    corner_lists: CornerLists | None,
    more: bool,
) -> Array:
    """Launch the adjoint driver on the tiles that have lists; add to `found` if there is `more`.

    Returns:
        Rows for `softness_kernel`: one a tile on CPUs, else one an entry.
    """
    variant, wanted = plan.variant, (needs.points, needs.attributes, needs.softness)
    slots = memory.reals(tiles.room, variant.slot_width)
    d_softness = memory.nothing(2)
    if needs.softness:
        d_softness = memory.reals(_softness_rows(plan, tiles), 2)
    images = (rendered.image, rendered.depth, rendered.state)
    texture = (scene.texels, scene.maps)
    if corner_lists is None:
        corner_lists = CornerLists(*[memory.nothing(1, integers=True)] * 2)
    if plan.backend == "cpu":
        threads = runtime.thread_count()
        launch(
            raster_cpu.adjoint_kernel(variant, *wanted, needs.texels),
            tiles.faces.records, scene.attributes, scene.views, tiles.tile_start,
            tiles.entries, plan.n_views, *plan.numbers,
            *images, rendered.winner, *d_images,
            plan.n_faces, plan.n_attributes, tiles.face_start, slots, int(more),
            memory.nothing(2) if found.corners is None else found.corners,
            memory.nothing(3) if found.attributes is None else found.attributes,
            plan.n_vertices, *corner_lists,
            memory.nothing(2) if found.points is None else found.points,
            d_softness, *texture, sums,
            *tiles.rows, threads, memory.zeros(counters(raster_cpu.ADJOINT_PHASES, threads)),
        )  # fmt: skip
        return d_softness
    pixels = memory.reals(plan.pixels, raster_gpu.pixel_width(variant.channels))
    launch(raster_gpu.pixel_kernel(variant), plan.pixels, *images, *d_images, pixels)
    faces = (tiles.faces.records, tiles.faces.boxes, scene.attributes, scene.views, tiles.n_entries)
    launch(
        raster_gpu.adjoint_kernel(variant, *wanted),
        *faces, tiles.entry_tile, tiles.entry_face, tiles.entry_slot, *plan.numbers,
        pixels, rendered.winner, slots, d_softness, *texture,
    )  # fmt: skip
    if needs.texels:
        launch(
            raster_gpu.texel_kernel(variant),
            *faces, tiles.entry_tile, tiles.entry_face, *plan.numbers,
            pixels, rendered.winner, scene.maps, sums,
        )  # fmt: skip
    _gather(plan, corner_lists, tiles, slots, found, more=more)
    return d_softness


def _gather(
    plan: Plan, lists: CornerLists, tiles: Tiles, slots: Array, found: Gradients, *, more: bool
) -> None:
    """Sum each face's slots, to what is there already if there is `more`, and then at vertices."""
    variant = plan.variant
    gather = gather_kernels(variant.dtype, variant.color != "none")
    if found.corners is not None:
        launch(gather.corners, plan.n_faces, tiles.face_start, slots, int(more), found.corners)
        if plan.n_vertices:
            launch(
                gather.points,
                plan.n_points, plan.n_vertices, 3 * (plan.n_faces // plan.n_views),
                *lists, found.corners, found.points,
            )  # fmt: skip
    if found.attributes is not None:
        launch(
            gather.attributes, plan.n_attributes, tiles.face_start, slots, variant.attributes,
            plan.n_faces // max(plan.n_attributes, 1), int(more), found.attributes,
        )  # fmt: skip


def _softness_rows(plan: Plan, tiles: Tiles) -> int:
    """Rows of sigma's and gamma's contributions that `_pull` writes."""
    if plan.backend != "cpu":
        return tiles.n_entries
    first, end = tiles.rows
    return plan.n_views * (end - first) * plan.tiles[1]


def _sum_softness(
    plan: Plan,
    memory: Memory,
    scene: Scene,
    tiles: Tiles,
    rendered: Rendered,
    d_images: tuple[Array, Array, Array],
    d_softness: Array,
    found: Gradients,
    more: bool,
) -> None:
    """Sum sigma's and gamma's contributions, to what is there already if there is `more`."""
    variant = plan.variant
    _, d_image, d_depth = d_images
    launch(
        softness_kernel(variant.dtype, variant.color),
        # The background contributes once.
        _softness_rows(plan, tiles), 0 if more else plan.pixels,
        variant.channels, plan.background_rows,
        1.0 / plan.tau, plan.far, plan.background_depth, d_softness, scene.background,
        rendered.image, rendered.depth, rendered.state, d_image, d_depth,
        memory.reals(PARTS, 2), int(more), found.softness,
    )  # fmt: skip

"""The adjoint drivers: from gradients of images to those of corners, vertices and attributes."""

from collections.abc import Iterator
from typing import Any

from taichi_softras.fast_launch import launch
from taichi_softras.kernels import raster_gpu
from taichi_softras.kernels.gather import gather_kernels
from taichi_softras.pipeline.binning import Tiles, bands
from taichi_softras.pipeline.plan import Array, CornerLists, Memory, Plan, Scene
from taichi_softras.pipeline.results import Gradients, Leftovers, Needs, Rendered
from taichi_softras.pipeline.workspace import Workspace

Pulled = Iterator[tuple[int, Array | None]]
"""One after the other, for all tiles or a band of them: how many rows what comes next has, and
sigma's and gamma's contributions."""


def pull_on_cpu(
    plan: Plan,
    memory: Memory,
    scene: Scene,
    rendered: Rendered,
    d_images: tuple[Array, Array, Array],
    sums: Array | None,
    needs: Needs,
    found: Gradients,
    corner_lists: CornerLists | None,
) -> Pulled:
    """Launch the adjoint driver, which sums faces' and vertices' gradients too, to `found`."""
    space, left = rendered.lists, rendered.left
    assert isinstance(space, Workspace)
    wanted = (needs.points, needs.attributes, needs.softness, needs.texels)
    given = _read_by_adjoint(plan, scene, left, d_images)
    if needs.points:
        given["d_corners"] = found.corners
        if corner_lists is not None:
            starts, corners = corner_lists
            given |= {"d_points": found.points, "corner_start": starts, "corner_of": corners}
    if needs.attributes:
        given["d_attributes"] = found.attributes
    if needs.texels:
        given["d_texels"] = sums
    more = 0
    for rows in space.lists(scene):
        scratch = memory.scratch()
        n_tiles = plan.n_views * (rows[1] - rows[0]) * plan.tiles[1]
        given["more"] = more
        if needs.softness:
            given["d_softness"] = scratch.reals(n_tiles, 2)
        space.pull(wanted, rows, given, scratch)
        d_softness = given.get("d_softness")
        yield n_tiles, d_softness
        del d_softness, scratch
        more = 1


def _read_by_adjoint(
    plan: Plan, scene: Scene, left: Leftovers, d_images: tuple[Array, Array, Array]
) -> dict[str, Any]:
    d_alpha, d_image, d_depth = d_images
    given = {"state": left.state, "d_alpha": d_alpha}
    if plan.variant.color == "none":
        return given
    given |= {"winner": left.winner, "depth_in": left.depth, "d_depth_in": d_depth}
    if plan.variant.channels:
        given |= {"attributes": scene.attributes, "image": left.image, "d_image": d_image}
    if plan.variant.textured:
        given |= {"texels": scene.texels, "maps": scene.maps}
    return given


def pull_on_gpu(
    plan: Plan,
    memory: Memory,
    scene: Scene,
    rendered: Rendered,
    d_images: tuple[Array, Array, Array],
    sums: Array | None,
    needs: Needs,
    found: Gradients,
    corner_lists: CornerLists | None,
) -> Pulled:
    """Launch the adjoint drivers, then sum to `found`."""
    variant, left = plan.variant, rendered.left
    assert isinstance(rendered.lists, Tiles)
    pixels = memory.reals(plan.pixels, raster_gpu.pixel_width(variant.channels))
    launch(
        raster_gpu.pixel_kernel(variant),
        plan.pixels, left.image, left.depth, left.state, *d_images, pixels,
    )  # fmt: skip
    more = False
    for tiles, scratch in bands(plan, memory, scene, rendered.lists):
        slots = scratch.reals(tiles.n_entries, variant.slot_width)
        d_softness = scratch.reals(tiles.n_entries, 2) if needs.softness else scratch.nothing(2)
        faces = (tiles.faces.records, tiles.faces.boxes, scene.attributes, scene.views)
        entries = (tiles.n_entries, tiles.entry_tile, tiles.entry_face)
        launch(
            raster_gpu.adjoint_kernel(variant, needs.points, needs.attributes, needs.softness),
            *faces, *entries, tiles.entry_slot, *plan.numbers,
            pixels, left.winner, slots, d_softness, scene.texels, scene.maps,
        )  # fmt: skip
        if needs.texels:
            launch(
                raster_gpu.texel_kernel(variant),
                *faces, *entries, *plan.numbers, pixels, left.winner, scene.maps, sums,
            )  # fmt: skip
        _gather(plan, corner_lists, tiles, slots, found, more=more)
        yield tiles.n_entries, d_softness
        del tiles, scratch, slots, d_softness, faces, entries
        more = True


def _gather(
    plan: Plan,
    lists: CornerLists | None,
    tiles: Tiles,
    slots: Array,
    found: Gradients,
    *,
    more: bool,
) -> None:
    """Sum each face's slots, to what is there already if there is `more`, and then at vertices."""
    variant = plan.variant
    gather = gather_kernels(variant.dtype, variant.color != "none")
    if found.corners is not None:
        launch(gather.corners, plan.n_faces, tiles.face_start, slots, int(more), found.corners)
        if lists is not None:
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

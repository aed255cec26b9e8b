"""The adjoint drivers: from gradients of images to those of corners, vertices and attributes."""

from collections.abc import Callable
from typing import Any

from taichi_softras.fast_launch import launch
from taichi_softras.kernels import raster_gpu
from taichi_softras.kernels.gather import gather_kernels
from taichi_softras.pipeline.binning import Tiles, bands
from taichi_softras.pipeline.plan import Array, CornerLists, Memory, Plan, Rows, Scene
from taichi_softras.pipeline.results import Gradients, Leftovers, Needs, Rendered
from taichi_softras.pipeline.workspace import Workspace

AddSoftness = Callable[[int, Array], None]
"""What is to be done with sigma's and gamma's contributions of all tiles or a band of them; first
how many rows they have."""


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
    add_softness: AddSoftness | None,
) -> None:
    """Launch the adjoint driver, which sums faces' and vertices' gradients too, to `found`."""
    space = rendered.lists
    assert isinstance(space, Workspace)
    wanted = (needs.points, needs.attributes, needs.softness, needs.texels)
    given = _read_by_adjoint(plan, scene, rendered.left, d_images)
    if needs.points:
        if corner_lists is None:
            given["d_corners"] = found.points
        else:
            given["d_points"] = found.points
            given["corner_start"], given["corner_of"] = corner_lists
    if needs.attributes:
        given["d_attributes"] = found.attributes
    if needs.texels:
        given["d_texels"] = sums
    given["more"] = 0

    def pull(rows: Rows) -> None:
        scratch = memory.scratch()
        n_tiles = plan.n_views * (rows[1] - rows[0]) * plan.tiles[1]
        if add_softness is not None:
            given["d_softness"] = scratch.reals(n_tiles, 2)
        space.pull(wanted, rows, given, scratch)
        if add_softness is not None:
            add_softness(n_tiles, given["d_softness"])
        given["more"] = 1

    space.for_lists(scene, pull)


def _read_by_adjoint(
    plan: Plan, scene: Scene, left: Leftovers, d_images: tuple[Array, Array, Array]
) -> dict[str, Any]:
    d_alpha, d_image, d_depth = d_images
    given = {"state": left.state, "d_alpha": d_alpha}
    if plan.variant.color == "none":
        return given
    given |= {"depth_in": left.depth, "d_depth_in": d_depth}
    if plan.variant.color == "hard":
        given["winner"] = left.winner
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
    add_softness: AddSoftness | None,
) -> None:
    """Launch the adjoint drivers, then sum to `found`."""
    variant, left = plan.variant, rendered.left
    assert isinstance(rendered.lists, Tiles)
    d_corners = found.points
    if needs.points and corner_lists is not None:
        d_corners = memory.reals(3 * plan.n_faces, 3)
    pixels = memory.reals(plan.pixels, raster_gpu.pixel_width(variant.channels))
    launch(
        raster_gpu.pixel_kernel(variant),
        plan.pixels, left.image, left.depth, left.state, *d_images, pixels,
    )  # fmt: skip
    more = False
    for tiles, scratch in bands(plan, memory, scene, rendered.lists):
        slots = scratch.reals(tiles.n_entries, variant.slot_width)
        d_softness = scratch.reals(tiles.n_entries, 2) if needs.softness else scratch.nothing(2)
        faces = (tiles.faces.records, scene.attributes, scene.views)
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
        _gather(plan, corner_lists, tiles, slots, d_corners, found, more=more)
        if add_softness is not None:
            add_softness(tiles.n_entries, d_softness)
        del tiles, scratch, slots, d_softness, faces, entries
        more = True


def _gather(
    plan: Plan,
    lists: CornerLists | None,
    tiles: Tiles,
    slots: Array,
    d_corners: Array | None,
    found: Gradients,
    *,
    more: bool,
) -> None:
    """Sum each face's slots, to what is there already if there is `more`, and then at vertices."""
    variant = plan.variant
    gather = gather_kernels(variant.dtype, variant.color != "none")
    if d_corners is not None:
        launch(gather.corners, plan.n_faces, tiles.face_start, slots, int(more), d_corners)
        if lists is not None:
            launch(
                gather.points,
                plan.n_points, plan.n_vertices, 3 * (plan.n_faces // plan.n_views),
                *lists, d_corners, found.points,
            )  # fmt: skip
    if found.attributes is not None:
        launch(
            gather.attributes, plan.n_attributes, tiles.face_start, slots, variant.attributes,
            plan.n_faces // max(plan.n_attributes, 1), int(more), found.attributes,
        )  # fmt: skip

"""Forward and adjoint: which kernels run, in which order."""

from taichi_softras.fast_launch import launch
from taichi_softras.kernels import raster_gpu
from taichi_softras.kernels.gather import PARTS, background_kernel, softness_kernel
from taichi_softras.kernels.texture import HEAD, collect_kernel, scale_kernel
from taichi_softras.kernels.texture import PARTS as TEXEL_PARTS
from taichi_softras.pipeline.adjoint_drivers import AddSoftness, pull_on_cpu, pull_on_gpu
from taichi_softras.pipeline.binning import bands, bin_faces
from taichi_softras.pipeline.leases import borrow
from taichi_softras.pipeline.plan import Array, CornerLists, Memory, Plan, Scene
from taichi_softras.pipeline.results import Gradients, Leftovers, Needs, Rendered
from taichi_softras.pipeline.workspace import Workspace
from taichi_softras.skipped import SkippedFaces


def forward(plan: Plan, memory: Memory, scene: Scene) -> tuple[Array, Rendered]:
    """Render all views; hold `runtime.launch_lock`. Returns alpha, one number a pixel, first."""
    variant, pixels, color = plan.variant, plan.pixels, plan.variant.color
    alpha = memory.pictures(*plan.batch)
    lease = borrow(plan, memory) if plan.backend == "cpu" else None
    image = depth = memory.nothing(1)
    if variant.channels:
        image = memory.pictures(*plan.batch, variant.channels)
    if color != "none":
        depth = memory.pictures(*plan.batch)
    if lease is not None:
        space = lease.workspace
        space.draw(plan, scene, alpha, image, depth)
        left = Leftovers(image, depth, space.arguments["state"], space.arguments["winner"])
        return alpha, Rendered(left, space, space.skipped, lease)
    state = memory.reals(plan.state_numbers)
    winner = memory.integers(pixels if color == "hard" else 1)
    tiles = bin_faces(plan, memory, scene)
    for part, scratch in bands(plan, memory, scene, tiles):
        launch(
            raster_gpu.forward_kernel(variant),
            part.faces.records, scene.attributes, scene.views,
            part.tile_start, part.entry_face, scene.background, plan.background_rows, plan.n_views,
            *plan.numbers, plan.background_depth, alpha, image, depth, state, winner,
            scene.texels, scene.maps, *part.rows,
        )  # fmt: skip
        del part, scratch
    left = Leftovers(image, depth, state, winner)
    skipped = SkippedFaces(*memory.window(tiles.faces.skipped, 3).read())
    return alpha, Rendered(left, tiles, skipped)


def restore(plan: Plan, memory: Memory, scene: Scene, left: Leftovers) -> Rendered:
    """Return what `forward` did from its leftovers; hold `runtime.launch_lock`."""
    if plan.backend == "cpu":
        lease = borrow(plan, memory)
        lease.workspace.list_faces(plan, scene)
        return Rendered(left, lease.workspace, lease=lease)
    return Rendered(left, bin_faces(plan, memory, scene))


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
    variant = plan.variant
    if variant.channels == 0 and (needs.attributes or needs.background or needs.texels):
        needs = Needs(needs.points, attributes=False, background=False, softness=needs.softness)
    found = Gradients(
        memory.gradients(scene.points) if needs.points else None,
        memory.results(plan.n_attributes, 3, variant.attributes) if needs.attributes else None,
        memory.results(plan.pixels, variant.channels) if needs.background else None,
        memory.results(2) if needs.softness else None,
        memory.results(plan.n_texels, variant.textured) if needs.texels else None,
    )
    left, d_images = rendered.left, (d_alpha, d_image, d_depth)
    sums = _begin_texels(plan, memory, scene, d_image) if needs.texels else None
    pull = pull_on_cpu if isinstance(rendered.lists, Workspace) else pull_on_gpu
    add_softness = None
    if needs.softness:
        add_softness = _adding_softness(plan, memory, scene, left, d_images, found.softness)
    pull(plan, memory, scene, rendered, d_images, sums, needs, found, corner_lists, add_softness)
    if needs.texels:
        launch(
            collect_kernel(variant.dtype), plan.n_texels, variant.textured, sums, found.texels
        )  # fmt: skip
    if needs.background:
        n_lines, *line = plan.lines
        launch(
            background_kernel(variant.dtype, variant.color, plan.backend == "cpu"),
            n_lines, *line, variant.channels, 1.0 / plan.tau, plan.background_depth,
            left.state, left.winner, d_image, found.background,
        )  # fmt: skip
    return found


def _adding_softness(
    plan: Plan,
    memory: Memory,
    scene: Scene,
    left: Leftovers,
    d_images: tuple[Array, Array, Array],
    total: Array,
) -> AddSoftness:
    """Return what sums gradients of sigma and gamma to `total`, in the first call anew."""
    variant, done = plan.variant, False
    _, d_image, d_depth = d_images

    def add(rows: int, d_softness: Array) -> None:
        nonlocal done
        n_lines, *line = plan.lines
        launch(
            softness_kernel(variant.dtype, variant.color, plan.backend == "cpu"),
            # The background contributes once.
            rows, 0 if done else n_lines, *line, variant.channels, plan.background_rows,
            1.0 / plan.tau, plan.far, plan.background_depth, d_softness, scene.background,
            left.image, left.depth, left.state, d_image, d_depth,
            memory.reals(PARTS, 2), int(done), total,
        )  # fmt: skip
        done = True

    return add


def _begin_texels(plan: Plan, memory: Memory, scene: Scene, d_image: Array) -> Array:
    """Return sums for the texels' gradients: 0, and scaled so that they will not overflow."""
    sums = memory.zeros(HEAD + 2 * plan.n_texels * plan.variant.textured)
    launch(
        scale_kernel(plan.variant.dtype),
        plan.pixels, plan.n_attributes, plan.variant.textured, plan.variant.channels,
        d_image, scene.attributes, memory.reals(TEXEL_PARTS, 2), sums,
    )  # fmt: skip
    return sums

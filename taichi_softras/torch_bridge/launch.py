"""One rendering of torch tensors and its adjoint: memory, launches, and nothing of autograd."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from taichi_softras import pipeline, topology
from taichi_softras.inputs import RasterInputs
from taichi_softras.pipeline import CornerLists, Needs, Plan, Rendered, Scene
from taichi_softras.skipped import SkippedFaces
from taichi_softras.torch_bridge.memory import CopiedMemory, TorchMemory, launching, memory_for


class Tensors(NamedTuple):
    """What a rendering reads, packed as in `inputs.RasterInputs`."""

    points: Tensor
    """[Q, 3]"""
    attributes: Tensor
    """[M, 3, C + texture coordinates]"""
    views: Tensor
    """[B, 3]"""
    background: Tensor
    """[1, C] or [P, C]"""
    texels: Tensor
    """[X, texture channels]"""
    maps: Tensor
    """See `inputs.RasterInputs.table`."""
    faces: Tensor | None = None
    """[F, 3] int64; None where the points are corners."""

    @classmethod
    def of(cls, inputs: RasterInputs) -> "Tensors":
        """Return the tensors of packed inputs."""
        return cls(
            inputs.points, inputs.attributes, inputs.views, inputs.background,
            inputs.texels, inputs.table, inputs.faces,
        )  # fmt: skip


class Images(NamedTuple):
    """Results as tensors on the device of the arguments."""

    alpha: Tensor
    """[P], the pixels of all views."""
    image: Tensor | None
    """[P, C], None without colour."""
    depth: Tensor | None
    """[P], None without colour."""
    skipped: SkippedFaces


@dataclass(frozen=True)
class Kept:
    """What the adjoint needs of a rendering."""

    plan: Plan
    memory: TorchMemory | CopiedMemory
    scene: Scene
    rendered: Rendered
    like: Tensor
    """A tensor of the rendering's dtype and device."""
    faces: Tensor | None
    """[F, 3] int64; None where the points are corners."""


class Leftovers(NamedTuple):
    """What forward leaves of each pixel."""

    image: Tensor
    """[P, C]"""
    depth: Tensor
    """[P], or [1] without colour."""
    state: Tensor
    """[P] or [3 P], see `kernels.types.STATE`."""
    winner: Tensor
    """[P] with hard colour, else [1]."""


class Gradients(NamedTuple):
    """Gradients as tensors; None where not wanted."""

    points: Tensor | None
    attributes: Tensor | None
    background: Tensor | None
    texels: Tensor | None
    softness: tuple[Tensor | None, Tensor | None]
    """dL/dsigma and dL/dgamma, 0-d."""


def forward(plan: Plan, tensors: Tensors) -> tuple[Images, Kept]:
    """Render."""
    like = tensors.points.detach()
    memory = memory_for(like, "forward")
    with launching(like.device):
        scene = _scene(plan, memory, tensors)
        rendered = pipeline.forward(plan, memory, scene)
        pixels, colored = plan.pixels, plan.variant.color != "none"
        image, depth = rendered.image, rendered.depth
        images = Images(
            memory.tensor(rendered.alpha, pixels),
            memory.tensor(image, pixels, plan.variant.channels) if colored else None,
            memory.tensor(depth, pixels) if colored else None,
            SkippedFaces(*memory.tensor(rendered.tiles.faces.skipped, 3).tolist()),
        )
    if isinstance(memory, TorchMemory):
        # Aliases: results that autograd owns must not be reached from what they keep alive.
        if colored:
            image, depth = image.detach(), depth.detach()
        rendered = Rendered(
            rendered.tiles, rendered.alpha.detach(), image, depth, rendered.state, rendered.winner
        )
    return images, Kept(plan, memory, scene, rendered, like, tensors.faces)


def leftovers(kept: Kept, images: Images) -> Leftovers:
    """Return what `bin_again` needs, with zeros where nothing was written."""
    plan, rendered, color = kept.plan, kept.rendered, kept.plan.variant.color
    with launching(kept.like.device):
        state = kept.memory.tensor(rendered.state, plan.state_numbers)
        winner = kept.memory.tensor(rendered.winner, plan.pixels if color == "hard" else 1)
        if isinstance(kept.memory, TorchMemory):  # working tensors, which are lent again
            state, winner = state.clone(), winner.clone()
    image, depth = images.image, images.depth
    if image is None or depth is None:
        image, depth = state.new_empty(plan.pixels, 0), state.new_zeros(1)
    return Leftovers(image, depth, state, winner if color == "hard" else torch.zeros_like(winner))


def bin_again(plan: Plan, tensors: Tensors, left: Leftovers) -> Kept:
    """Restore what `forward` kept, from its arguments and leftovers."""
    memory = memory_for(tensors.points, "forward")
    with launching(tensors.points.device):
        scene = _scene(plan, memory, tensors)
        rendered = Rendered(
            pipeline.bin_faces(plan, memory, scene),
            None,
            *(memory.upload(tensor.detach().contiguous()) for tensor in left),
        )
    return Kept(plan, memory, scene, rendered, tensors.points.detach(), tensors.faces)


def _scene(plan: Plan, memory: TorchMemory | CopiedMemory, tensors: Tensors) -> Scene:
    textured = plan.variant.textured > 0
    points, attributes = _upload(memory, tensors.points), _upload(memory, tensors.attributes)
    background = _upload(memory, tensors.background)
    # What is kept from call to call goes in as it is: `fast_launch` knows it again.
    views = memory.upload(tensors.views)
    # Without a texture nothing reads what stands for it.
    texels = _upload(memory, tensors.texels) if textured else memory.nothing(2)
    maps = _upload(memory, tensors.maps) if textured else memory.nothing(1, integers=True)
    faces = memory.nothing(2, integers=True)
    if tensors.faces is not None:
        faces = memory.upload(topology.as_int32(tensors.faces))
    return Scene(points, faces, attributes, views, background, texels, maps)


def _upload(memory: TorchMemory | CopiedMemory, tensor: Tensor) -> pipeline.Array:
    # Detached, because Taichi would allocate a .grad for every tensor that requires one.
    return memory.upload(tensor.detach().contiguous())


def adjoint(
    kept: Kept, d_alpha: Tensor, d_image: Tensor | None, d_depth: Tensor | None, needs: Needs
) -> Gradients:
    """Pull gradients of the images back to the arguments; without colour there is one image."""
    plan, like, variant = kept.plan, kept.like, kept.plan.variant
    memory = memory_for(like, "adjoint")
    with launching(like.device):
        d_a = _upload(memory, d_alpha)
        d_i = memory.nothing(2) if d_image is None else _upload(memory, d_image)
        d_d = memory.nothing(1) if d_depth is None else _upload(memory, d_depth)
        lists = None
        if kept.faces is not None and needs.points:
            by_vertex = topology.corners_by_vertex(kept.faces, plan.n_vertices)
            lists = CornerLists(*(memory.upload(t) for t in by_vertex))
        found = pipeline.adjoint(
            plan, memory, kept.scene, kept.rendered, d_a, d_i, d_d, needs, lists
        )

        def tensor(array: pipeline.Array | None, *shape: int) -> Tensor | None:
            return None if array is None else memory.tensor(array, *shape)

        points = tensor(found.points, plan.n_points, 3)
        attributes = tensor(found.attributes, plan.n_attributes, 3, variant.attributes)
        background = tensor(found.background, plan.pixels, variant.channels)
        texels = tensor(found.texels, plan.n_texels, variant.textured)
        totals = tensor(found.softness, 2)
    if background is not None and plan.background_rows == 1:
        background = background.sum(0, keepdim=True)
    if totals is None:
        return Gradients(points, attributes, background, texels, (None, None))
    to_sigma, to_gamma = plan.softness_scales
    softness = (totals[0] * to_sigma, totals[1] * to_gamma)
    return Gradients(points, attributes, background, texels, softness)

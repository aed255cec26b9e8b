"""One rendering of torch tensors and its adjoint: memory, launches, and nothing of autograd."""

from typing import NamedTuple

import torch
from torch import Tensor

from taichi_softras import pipeline
from taichi_softras.inputs import RasterInputs
from taichi_softras.kernels.fragment import state_planes
from taichi_softras.kernels.types import EMPTY
from taichi_softras.pipeline import CornerLists, Leftovers, Needs, Plan, Rendered, Scene
from taichi_softras.pipeline.plan import Array
from taichi_softras.skipped import SkippedFaces
from taichi_softras.topology import KernelFaces, kernel_faces
from taichi_softras.torch_bridge.memory import CopiedMemory, TorchMemory, launching, memory_for


class Tensors(NamedTuple):
    """What a rendering reads, packed as in `inputs.RasterInputs`."""

    points: Tensor
    """[..., 3], of any shape"""
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
    faces: KernelFaces | None = None
    """[F, 3]; None where the points are corners."""

    @classmethod
    def of(cls, inputs: RasterInputs) -> "Tensors":
        """Return the tensors of packed inputs."""
        return cls(
            inputs.points, inputs.attributes, inputs.views, inputs.background,
            inputs.texels, inputs.table,
            None if inputs.faces is None else kernel_faces(inputs.faces),
        )  # fmt: skip


Setting = tuple[Array, Array, Array, Array]
"""The last fields of a `Scene`: views, background, texels and maps."""


class Fixed(NamedTuple):
    """What stays from pass to pass: where they run, and what they read besides the triangles."""

    memory: TorchMemory
    device: torch.device
    setting: Setting


def fix(plan: Plan, tensors: Tensors) -> Fixed | None:
    """Return what passes over such tensors have in common; None where it has to be copied."""
    points = tensors.points
    memory = memory_for(points)
    if isinstance(memory, CopiedMemory):
        return None
    with torch.no_grad():
        return Fixed(memory, points.device, _setting(plan, memory, tensors))


class Images(NamedTuple):
    """Results as tensors on the device of the arguments."""

    alpha: Tensor
    """[B, H, W]"""
    image: Tensor | None
    """[B, H, W, C], None without colour."""
    depth: Tensor | None
    """[B, H, W], None without colour."""
    skipped: SkippedFaces


class Kept(NamedTuple):
    """What the adjoint needs of a rendering."""

    plan: Plan
    memory: TorchMemory | CopiedMemory
    scene: Scene
    rendered: Rendered
    device: torch.device
    faces: KernelFaces | None
    """None where the points are corners."""
    shape: torch.Size
    """Of the points."""


class Gradients(NamedTuple):
    """Gradients as tensors; None where not wanted."""

    points: Tensor | None
    attributes: Tensor | None
    background: Tensor | None
    texels: Tensor | None
    softness: tuple[Tensor, Tensor] | None
    """dL/dsigma and dL/dgamma, 0-d."""


def forward(plan: Plan, tensors: Tensors, fixed: Fixed | None = None) -> tuple[Images, Kept]:
    """Render; what is kept has the memory of the images, but alpha's.

    With `fixed` only the tensors' points, attributes and faces are looked at.
    """
    memory: TorchMemory | CopiedMemory
    if fixed is None:
        memory, device, setting = memory_for(tensors.points), tensors.points.device, None
    else:
        memory, device, setting = fixed
    with launching(device):
        scene = _scene(plan, memory, tensors, setting)
        drawn, rendered = pipeline.forward(plan, memory, scene)
        batch, left = plan.batch, rendered.left
        alpha, image, depth = memory.tensor(drawn, *batch), None, None
        if plan.variant.color != "none":
            image = memory.tensor(left.image, *batch, plan.variant.channels)
            depth = memory.tensor(left.depth, *batch)
    kept = Kept(plan, memory, scene, rendered, device, tensors.faces, tensors.points.shape)
    return Images(alpha, image, depth, rendered.skipped), kept


def leftovers(kept: Kept, images: Images) -> Leftovers:
    """Return what `bin_again` needs, with zeros where nothing was written."""
    plan, left, color = kept.plan, kept.rendered.left, kept.plan.variant.color
    with launching(kept.device):
        state = kept.memory.tensor(left.state, plan.state_numbers)
        winner = kept.memory.tensor(left.winner, plan.pixels if color == "hard" else 1)
        if kept.rendered.lease is not None:
            # Working tensors, which are lent again, and may be long.
            state = state[: plan.state_numbers].clone()
            winner = winner[: plan.pixels if color == "hard" else 1].clone()
        _clear_unwritten(state, plan)
    image, depth = images.image, images.depth
    if image is None or depth is None:
        image, depth = state.new_empty(0), state.new_zeros(1)
    return Leftovers(image, depth, state, winner if color == "hard" else torch.zeros_like(winner))


def _clear_unwritten(state: Tensor, plan: Plan) -> None:
    """Fill with zeros what no kernel wrote, see `kernels.types.STATE`: results stay the same."""
    if plan.backend != "cpu":
        state[plan.pixels * state_planes(plan.variant.color) :] = 0.0
        return
    tiles = state.view(plan.n_tiles, -1)
    tiles[:, 1:].masked_fill_(tiles[:, :1] == EMPTY, 0.0)


def bin_again(plan: Plan, tensors: Tensors, left: Leftovers) -> Kept:
    """Restore what `forward` kept, from its arguments and leftovers."""
    memory = memory_for(tensors.points)
    with launching(tensors.points.device):
        scene = _scene(plan, memory, tensors)
        left = Leftovers(*(memory.upload(tensor, tensor.numel()) for tensor in left))
        rendered = pipeline.restore(plan, memory, scene, left)
    points = tensors.points
    return Kept(plan, memory, scene, rendered, points.device, tensors.faces, points.shape)


def _scene(
    plan: Plan,
    memory: TorchMemory | CopiedMemory,
    tensors: Tensors,
    setting: Setting | None = None,
) -> Scene:
    """Hand tensors to the kernels, and something of their rank for those that nothing reads."""
    known, colored = tensors.faces, plan.variant.attributes > 0
    faces = memory.nothing(2, integers=True) if known is None else memory.upload(known.rows)
    attributes = memory.upload(tensors.attributes) if colored else memory.nothing(3)
    points = memory.upload(tensors.points, plan.n_points, 3)
    return Scene(points, faces, attributes, *(setting or _setting(plan, memory, tensors)))


def _setting(plan: Plan, memory: TorchMemory | CopiedMemory, tensors: Tensors) -> Setting:
    """Do so with what does not belong to the triangles."""
    colored, textured = plan.variant.channels > 0, plan.variant.textured > 0
    background = memory.upload(tensors.background) if colored else memory.nothing(2)
    texels = memory.upload(tensors.texels) if textured else memory.nothing(2)
    maps = memory.upload(tensors.maps) if textured else memory.nothing(1, integers=True)
    return memory.upload(tensors.views), background, texels, maps


def adjoint(
    kept: Kept, d_alpha: Tensor | None, d_image: Tensor | None, d_depth: Tensor | None, needs: Needs
) -> Gradients:
    """Pull gradients of the images back to the arguments; None is a gradient of 0."""
    plan, variant, device = kept.plan, kept.plan.variant, kept.device
    memory = kept.memory.again()
    with launching(device):
        pixels = plan.pixels
        d_a = memory.blank(pixels) if d_alpha is None else memory.upload(d_alpha, pixels)
        d_i = d_d = memory.nothing(1)
        if variant.color != "none":
            n = pixels * variant.channels
            d_i = memory.blank(n) if d_image is None else memory.upload(d_image, n)
            d_d = memory.blank(pixels) if d_depth is None else memory.upload(d_depth, pixels)
        lists = None
        if kept.faces is not None and needs.points:
            start, corners = kept.faces.corners_by_vertex(plan.n_vertices)
            lists = CornerLists(memory.upload(start), memory.upload(corners))
        found = pipeline.adjoint(
            plan, memory, kept.scene, kept.rendered, d_a, d_i, d_d, needs, lists
        )
        points = attributes = background = texels = totals = None
        if found.points is not None:
            points = memory.tensor(found.points, *kept.shape)
        if found.attributes is not None:
            attributes = memory.tensor(found.attributes, plan.n_attributes, 3, variant.attributes)
        if found.background is not None:
            background = memory.tensor(found.background, pixels, variant.channels)
        if found.texels is not None:
            texels = memory.tensor(found.texels, plan.n_texels, variant.textured)
        if found.softness is not None:
            totals = memory.tensor(found.softness, 2)
    if background is not None and plan.background_rows == 1:
        background = background.sum(0, keepdim=True)
    softness = None
    if totals is not None:
        to_sigma, to_gamma = plan.softness_scales
        softness = (totals[0] * to_sigma, totals[1] * to_gamma)
    return Gradients(points, attributes, background, texels, softness)

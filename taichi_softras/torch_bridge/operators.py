"""The rasterizer as operators of torch.library, so that torch.compile keeps it in one graph.

A graph holds tensors of known shapes only. So, unlike the eager path, these operators keep no tile
lists between forward and adjoint: the adjoint bins the faces again, and is given what forward left
of each pixel (`state`, `winner`).
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from taichi_softras import runtime
from taichi_softras.errors import ArgumentError
from taichi_softras.inputs import RasterInputs, check_maps
from taichi_softras.pipeline import Leftovers, Needs, Plan
from taichi_softras.pipeline.plan import state_numbers
from taichi_softras.settings import RasterSettings
from taichi_softras.skipped import SkippedFaces, warn_about_skipped
from taichi_softras.texture_maps import MAP_ROW
from taichi_softras.torch_bridge import launch
from taichi_softras.torch_bridge.derivatives import refuse_second
from taichi_softras.torch_bridge.memory import check_backend, dtype_name

N_TENSORS = 8
"""Tensor arguments of `rasterize`."""


def render(
    inputs: RasterInputs, settings: RasterSettings, orthographic: bool
) -> tuple[Tensor, Tensor | None, Tensor | None, SkippedFaces]:
    """Do as `rasterizer._draw`; counts are 0-d tensors."""
    alpha, image, depth, _, _, skipped = rasterize(
        inputs.corners,
        inputs.attributes,
        inputs.background,
        inputs.texels,
        torch.as_tensor(settings.sigma),
        torch.as_tensor(settings.gamma),
        inputs.views,
        inputs.table,
        list(inputs.size),
        " ".join(getattr(settings, name) for name in _CHOICES),
        inputs.texture.lookup if inputs.texture else "",
        settings.perspective_correct,
        orthographic,
        [float(getattr(settings, name)) for name in _NUMBERS],
    )
    counts = SkippedFaces(*skipped.unbind())
    if settings.color == "none":
        return alpha, None, None, counts
    return alpha, image, depth, counts


_CHOICES = ("distance", "alpha", "color", "clip", "cull", "unseen")
_NUMBERS = ("eps", "dist_eps", "near", "far")


def _plan(tensors: Sequence[Tensor], options: Sequence[Any]) -> Plan:
    """Take the operators' arguments apart; also starts Taichi and checks what torch could not."""
    corners, attributes, background, texels, sigma, gamma, views, table = tensors
    size, choices, lookup, perspective_correct, orthographic, numbers = options
    runtime.init(tensors_on=corners.device.type)
    if not bool(background.isfinite().all()):
        raise ArgumentError("`background` must be finite, got NaN or infinite values.")
    settings = RasterSettings(
        sigma=float(sigma),
        gamma=float(gamma),
        perspective_correct=perspective_correct,
        **dict(zip(_NUMBERS, numbers, strict=True)),
        **dict(zip(_CHOICES, choices.split(), strict=True)),
    )
    check_backend(corners, settings)
    if lookup:
        records = attributes.shape[0]
        maps = table[records:].reshape(-1, MAP_ROW).long()
        check_maps(maps, (table[:records].long() - records) // MAP_ROW, texels.shape[0])
    return Plan.of(
        settings,
        dtype=dtype_name(corners.dtype),
        channels=background.shape[-1],
        size=(size[0], size[1]),
        n_views=views.shape[0],
        n_faces=corners.shape[0],
        n_attributes=attributes.shape[0],
        background_rows=background.shape[0],
        orthographic=orthographic,
        lookup=lookup,
        textured=texels.shape[1],
        n_texels=texels.shape[0],
    )


def _tensors(given: Sequence[Tensor]) -> launch.Tensors:
    corners, attributes, background, texels, _, _, views, table = given
    return launch.Tensors(corners, attributes, views, background, texels, table)


@torch.library.custom_op("taichi_softras::rasterize", mutates_args=())
def rasterize(
    corners: Tensor,
    attributes: Tensor,
    background: Tensor,
    texels: Tensor,
    sigma: Tensor,
    gamma: Tensor,
    views: Tensor,
    table: Tensor,
    size: list[int],
    choices: str,
    lookup: str,
    perspective_correct: bool,
    orthographic: bool,
    numbers: list[float],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return alpha, image, depth, state, winner [P], skipped [3]; without colour short ones."""
    options = (size, choices, lookup, perspective_correct, orthographic, numbers)
    tensors = (corners, attributes, background, texels, sigma, gamma, views, table)
    images, kept = launch.forward(_plan(tensors, options), _tensors(tensors))
    warn_about_skipped(images.skipped)
    return images.alpha, *launch.leftovers(kept, images), views.new_tensor(images.skipped)


@rasterize.register_fake
def _(
    corners: Tensor,
    attributes: Tensor,
    background: Tensor,
    texels: Tensor,
    sigma: Tensor,
    gamma: Tensor,
    views: Tensor,
    table: Tensor,
    size: list[int],
    choices: str,
    *_: Any,
) -> tuple[Tensor, ...]:
    batch, color = (views.shape[0], *size), choices.split()[2]
    colored = color != "none"
    return (
        corners.new_empty(batch),
        corners.new_empty(*batch, background.shape[-1]) if colored else corners.new_empty(0),
        corners.new_empty(batch if colored else 1),
        corners.new_empty(state_numbers(views.shape[0], size, color)),
        views.new_empty(math.prod(batch) if color == "hard" else 1),
        views.new_empty(3),
    )


@torch.library.custom_op("taichi_softras::rasterize_adjoint", mutates_args=())
def rasterize_adjoint(
    d_alpha: Tensor,
    d_image: Tensor,
    d_depth: Tensor,
    image: Tensor,
    depth: Tensor,
    state: Tensor,
    winner: Tensor,
    corners: Tensor,
    attributes: Tensor,
    background: Tensor,
    texels: Tensor,
    sigma: Tensor,
    gamma: Tensor,
    views: Tensor,
    table: Tensor,
    size: list[int],
    choices: str,
    lookup: str,
    perspective_correct: bool,
    orthographic: bool,
    numbers: list[float],
    needed: list[bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return gradients of the first six arguments of `rasterize`, empty where not needed."""
    options = (size, choices, lookup, perspective_correct, orthographic, numbers)
    tensors = (corners, attributes, background, texels, sigma, gamma, views, table)
    plan = _plan(tensors, options)
    left = Leftovers(image, depth, state, winner)
    kept = launch.bin_again(plan, _tensors(tensors), left)
    needs = Needs(needed[0], needed[1], needed[2], any(needed[4:]), needed[3])
    found = launch.adjoint(kept, d_alpha, d_image, d_depth, needs)
    d_corners = None if found.points is None else found.points.reshape(-1, 3, 3)
    softness = found.softness or (None, None)
    gradients = (d_corners, found.attributes, found.background, found.texels, *softness)
    like = tensors[: len(gradients)]
    results = [
        t.new_empty(0) if not wanted else torch.zeros_like(t) if g is None else g.to(t)
        for g, t, wanted in zip(gradients, like, needed, strict=True)
    ]
    return results[0], results[1], results[2], results[3], results[4], results[5]


@rasterize_adjoint.register_fake
def _(*arguments: Any) -> tuple[Tensor, ...]:
    tensors, needed = arguments[7:13], arguments[-1]
    return tuple(
        torch.empty_like(t, memory_format=torch.contiguous_format) if wanted else t.new_empty(0)
        for t, wanted in zip(tensors, needed, strict=True)
    )


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    _, image, depth, state, winner, skipped = output
    ctx.save_for_backward(image, depth, state, winner, *inputs[:N_TENSORS])
    ctx.options = inputs[N_TENSORS:]
    ctx.mark_non_differentiable(state, winner, skipped)


def _backward(ctx: Any, d_alpha: Tensor, d_image: Tensor, d_depth: Tensor, *_: Any) -> Any:
    needed = list(ctx.needs_input_grad[:6])
    gradients = rasterize_adjoint(
        d_alpha, d_image, d_depth, *ctx.saved_tensors, *ctx.options, needed
    )
    wanted = [g if n else None for g, n in zip(gradients, needed, strict=True)]
    return (*wanted, *[None] * (2 + len(ctx.options)))


rasterize.register_autograd(_backward, setup_context=_remember)
rasterize_adjoint.register_autograd(refuse_second)

"""The rasterizer under torch's autograd: detach, allocate, launch, save."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from taichi_softras import runtime
from taichi_softras.inputs import RasterInputs, Rendering, pack_inputs
from taichi_softras.pipeline import Needs, Plan
from taichi_softras.settings import RasterSettings
from taichi_softras.skipped import SkippedFaces, warn_about_skipped
from taichi_softras.texture_maps import FaceTexture
from taichi_softras.torch_bridge import launch, operators
from taichi_softras.torch_bridge.derivatives import first_only
from taichi_softras.torch_bridge.memory import check_backend, dtype_name

MAX_CHANNELS = 8
"""Channels of one kernel; more are rendered in groups, which bounds compile time and registers."""


def rasterize(
    corners_ndc: Tensor,
    corner_attributes: Tensor | None = None,
    *,
    size: int | Sequence[int],
    settings: RasterSettings | None = None,
    background: float | Sequence[float] | Tensor | None = None,
    face_counts: Sequence[int] | None = None,
    faces: Tensor | None = None,
    orthographic: bool = False,
    texture: FaceTexture | None = None,
) -> Rendering:
    """Blend soft triangles into images, differentiably; `render` does it for meshes and cameras.

    Gradients reach the corners (x, y and depth), the attributes, the background, and sigma and
    gamma where these are tensors that require grad. They are exact for the faces that count (D >=
    dist_eps). The formulas are those of Liu et al. (TPAMI 2020), as written in docs/gradients.md.

    Args:
        corners_ndc: Triangle corners; x right and y up in NDC, [-1, 1] over the shorter image
            side, then view depth, positive in front of the eye. float32 or float64. [B, F, 3, 3],
            or all views' faces one after the other [N, 3, 3] together with `face_counts`.
        corner_attributes: Any number of channels at the corners; [F, 3, C] or [1, F, 3, C] is
            shared by all views; None renders depth and alpha alone. [B, F, 3, C] or [N, 3, C]
        size: Image height and width in pixels, or one side of a square.
        settings: How triangles become pixels.
        background: What is behind everything: a number, [C], or an image [B, H, W, C]; 0 if None.
        face_counts: Faces of each view, when views have different meshes.
        faces: Vertices of each view's faces, the same in all views; `corners_ndc` then holds
            vertices [B, V, 3], which is faster than corners gathered from them. What gradients
            need of a faces tensor is sorted once, as long as it lives unchanged. [F, 3]
        orthographic: Depth and attributes vary linearly over the screen.
        texture: Texels that multiply the first channels of the attributes. The last two channels
            (three with lookup="mipmap") are then no colours, but where the texels are read.

    Returns:
        image [B, H, W, C], alpha [B, H, W], depth [B, H, W]; image and depth are None with
        color="none". Inside `torch.compile` the counts of `skipped` are 0-d tensors.

    Raises:
        ShapeError: A shape does not fit the others.
        ArgumentError: A dtype, device or value cannot be used.
        BackendError: The tensors are not where Taichi runs.
        DerivativeError: On asking for a second derivative.
    """
    settings = settings or RasterSettings()
    compiling = torch.compiler.is_compiling()
    if isinstance(corners_ndc, Tensor) and not compiling:
        runtime.init(tensors_on=corners_ndc.device.type)
        check_backend(corners_ndc, settings)
    inputs = pack_inputs(
        corners_ndc,
        corner_attributes,
        size=size,
        settings=settings,
        background=background,
        face_counts=face_counts,
        faces=faces,
        texture=texture,
    )
    draw = operators.render if compiling else _render
    groups = [draw(group, settings, orthographic) for group in inputs.groups(MAX_CHANNELS)]
    alpha, image, depth, counts = groups[0]
    batch = (inputs.views.shape[0], *inputs.size)
    alpha = alpha.reshape(batch)
    if not compiling:
        warn_about_skipped(counts)
    if settings.color == "none" or image is None or depth is None:
        return Rendering(None, alpha, None, counts)
    if len(groups) > 1:
        image = torch.cat([group[1] for group in groups if group[1] is not None], 1)
    return Rendering(image.reshape(*batch, inputs.channels), alpha, depth.reshape(batch), counts)


def _render(
    inputs: RasterInputs, settings: RasterSettings, orthographic: bool
) -> tuple[Tensor, Tensor | None, Tensor | None, SkippedFaces]:
    """Render a group of channels: alpha [P], image [P, C], depth [P]."""
    texels = inputs.texels
    plan = Plan.of(
        settings,
        dtype=dtype_name(inputs.attributes.dtype),
        channels=inputs.channels,
        size=inputs.size,
        n_views=inputs.views.shape[0],
        n_faces=inputs.n_faces,
        n_vertices=inputs.n_vertices,
        n_attributes=inputs.attributes.shape[0],
        background_rows=inputs.background.shape[0],
        orthographic=orthographic,
        lookup=inputs.texture.lookup if inputs.texture else "",
        textured=texels.shape[1],
        n_texels=texels.shape[0],
    )
    result: tuple[Tensor, Tensor | None, Tensor | None, SkippedFaces] = _Rasterize.apply(  # type: ignore[no-untyped-call]
        inputs.points,
        inputs.attributes,
        inputs.background,
        texels,
        settings.sigma,
        settings.gamma,
        inputs.views,
        inputs.table,
        inputs.faces,
        plan,
    )
    return result


class _Rasterize(torch.autograd.Function):
    """Forward: bin, launch, keep O(pixels + faces + tile entries)."""

    @staticmethod
    def forward(
        ctx: Any,
        points: Tensor,
        attributes: Tensor,
        background: Tensor,
        texels: Tensor,
        sigma: Any,
        gamma: Any,
        views: Tensor,
        table: Tensor,
        faces: Tensor | None,
        plan: Plan,
    ) -> tuple[Tensor, Tensor | None, Tensor | None, SkippedFaces]:
        tensors = launch.Tensors(points, attributes, views, background, texels, table, faces)
        images, ctx.kept = launch.forward(plan, tensors)
        # Autograd then notices if what the adjoint reads is changed in between.
        ctx.save_for_backward(points, attributes, texels, faces, images.image, images.depth)
        ctx.softness = [v.detach() if isinstance(v, Tensor) else None for v in (sigma, gamma)]
        return images.alpha, images.image, images.depth, images.skipped

    @staticmethod
    def backward(ctx: Any, *d_outputs: Tensor) -> tuple[Tensor | None, ...]:
        _ = ctx.saved_tensors
        pull_back = partial(_pull_back, ctx.kept, ctx.softness, ctx.needs_input_grad)
        return (*first_only(pull_back, *d_outputs[:3]), None, None, None, None)


def _pull_back(
    kept: launch.Kept,
    softness: list[Tensor | None],
    needed: tuple[bool, ...],
    d_alpha: Tensor,
    d_image: Tensor | None,
    d_depth: Tensor | None,
) -> tuple[Tensor | None, ...]:
    """Return the gradients of the first six arguments of `_Rasterize`, None where not needed."""
    points, attributes, background, texels, sigma, gamma = needed[:6]
    needs = Needs(points, attributes, background, sigma or gamma, texels)
    found = launch.adjoint(kept, d_alpha, d_image, d_depth, needs)
    d_softness = [
        total.to(like) if total is not None and like is not None and wanted else None
        for total, like, wanted in zip(found.softness, softness, (sigma, gamma), strict=True)
    ]
    return found.points, found.attributes, found.background, found.texels, *d_softness

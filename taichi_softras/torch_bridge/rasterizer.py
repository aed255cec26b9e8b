"""The rasterizer under torch's autograd: detach, allocate, launch, save."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from taichi_softras import runtime
from taichi_softras.inputs import Rendering, pack_inputs
from taichi_softras.intrinsics import check_size
from taichi_softras.pipeline import Needs
from taichi_softras.settings import RasterSettings
from taichi_softras.skipped import SkippedFaces, warn_about_skipped
from taichi_softras.texture_maps import FaceTexture
from taichi_softras.topology import KernelFaces, kernel_faces
from taichi_softras.torch_bridge import launch, operators
from taichi_softras.torch_bridge.derivatives import first_only
from taichi_softras.torch_bridge.frames import Frame, kind_of, recall, remember
from taichi_softras.torch_bridge.memory import check_backend

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
    settings = settings or _DEFAULTS
    compiling, kind, frame, known = torch.compiler.is_compiling(), None, None, None
    if isinstance(corners_ndc, Tensor) and not compiling:
        backend = runtime.init(tensors_on=corners_ndc.device.type)
        if background is None and texture is None and face_counts is None:
            size = check_size("size", size)
            choices = (backend, size, orthographic)
            kind = kind_of(settings, choices, corners_ndc, corner_attributes, faces)
            frame, known = recall(kind, corners_ndc, faces)
        if frame is None:
            check_backend(corners_ndc, settings)
    if frame is not None:  # nothing else has to be checked
        attributes = frame.attributes_of(corner_attributes, settings)
        drawn = [_draw(frame, corners_ndc, attributes, faces, known, settings)]
    else:
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
        groups = list(inputs.groups(MAX_CHANNELS))
        if compiling:
            drawn = [operators.render(group, settings, orthographic) for group in groups]
        else:
            frames = [Frame.of(group, settings, orthographic) for group in groups]
            known = None if faces is None else kernel_faces(faces)
            drawn = [
                _draw(frame, corners_ndc, group.attributes, faces, known, settings)
                for frame, group in zip(frames, groups, strict=True)
            ]
            if len(groups) == 1:
                remember(kind, frames[0], corners_ndc)
    alpha, image, depth, counts = drawn[0]
    if not compiling:
        warn_about_skipped(counts)
    if len(drawn) > 1:
        image = torch.cat([group[1] for group in drawn if group[1] is not None], -1)
    return Rendering(image, alpha, depth, counts)


_DEFAULTS = RasterSettings()

Drawn = tuple[Tensor, Tensor | None, Tensor | None, SkippedFaces]
"""alpha [B, H, W], image [B, H, W, C], depth [B, H, W]"""


def _draw(
    frame: Frame,
    points: Tensor,
    attributes: Tensor,
    faces: Tensor | None,
    known: KernelFaces | None,
    settings: RasterSettings,
) -> Drawn:
    """Render a group of channels; attributes are [M, 3, C], and `known` are the faces."""
    more: tuple[Any, ...] = ()  # torch takes a microsecond for each
    softness = settings.sigma, settings.gamma
    if isinstance(softness[0], Tensor) or isinstance(softness[1], Tensor):
        more = (attributes, frame.background, frame.texels, *softness)
    elif settings.color != "none":
        more = (attributes, frame.background, frame.texels)
    drawn: Drawn = _Rasterize.apply(  # type: ignore[no-untyped-call]
        frame, known, faces, points, *more
    )
    return drawn


class _Rasterize(torch.autograd.Function):
    """Forward: bin, launch, keep O(pixels + faces + tile entries)."""

    @staticmethod
    def forward(
        ctx: Any,
        frame: Frame,
        known: KernelFaces | None,
        faces: Tensor | None,
        points: Tensor,
        attributes: Tensor | None = None,
        background: Tensor | None = None,
        texels: Tensor | None = None,
        sigma: Any = None,
        gamma: Any = None,
    ) -> Drawn:
        plan = frame.plan
        if attributes is None or background is None or texels is None:
            attributes, background, texels = frame.nothing, frame.background, frame.texels
        tensors = launch.Tensors(
            points, attributes, frame.views, background, texels, frame.table, known
        )
        images, ctx.kept = launch.forward(plan, tensors, frame.fixed)
        ctx.set_materialize_grads(False)  # few losses look at all images
        alpha, image, depth = images.alpha, images.image, images.depth
        if image is not None and depth is not None:
            # Aliases: results that autograd owns must not be reached from what they keep alive.
            image, depth = image.detach(), depth.detach()
        # Autograd then notices if what the adjoint reads is changed in between.
        read: tuple[Tensor | None, ...] = (faces, image, depth)
        if plan.variant.attributes:
            read = (attributes, texels, *read)
        if faces is not None or image is not None:
            ctx.save_for_backward(*read)
        ctx.softness = None
        if isinstance(sigma, Tensor) or isinstance(gamma, Tensor):
            ctx.softness = [v.detach() if isinstance(v, Tensor) else None for v in (sigma, gamma)]
        return alpha, image, depth, images.skipped

    @staticmethod
    def backward(ctx: Any, *d_outputs: Tensor | None) -> tuple[Tensor | None, ...]:
        _ = ctx.saved_tensors
        pull_back = partial(_pull_back, ctx.kept, ctx.softness, ctx.needs_input_grad[_FIXED:])
        return (*(None,) * _FIXED, *first_only(pull_back, *d_outputs[:3]))


_FIXED = 3
"""Arguments of `_Rasterize` that have no gradients, the first ones."""


def _pull_back(
    kept: launch.Kept,
    softness: list[Tensor | None] | None,
    needed: tuple[bool, ...],
    d_alpha: Tensor | None,
    d_image: Tensor | None,
    d_depth: Tensor | None,
) -> tuple[Tensor | None, ...]:
    """Return the gradients of the other arguments of `_Rasterize`, None where not needed."""
    points, attributes, background, texels, sigma, gamma = (*needed, *(False,) * 5)[:6]
    needs = Needs(points, attributes, background, sigma or gamma, texels)
    found = launch.adjoint(kept, d_alpha, d_image, d_depth, needs)
    d_softness: list[Tensor | None] = [None, None]
    if found.softness is not None and softness is not None:
        d_softness = [
            total.to(like) if like is not None and wanted else None
            for total, like, wanted in zip(found.softness, softness, (sigma, gamma), strict=True)
        ]
    gradients = found.points, found.attributes, found.background, found.texels, *d_softness
    return gradients[: len(needed)]

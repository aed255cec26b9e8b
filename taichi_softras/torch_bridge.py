"""The rasterizer under torch's autograd: detach, allocate, launch, save."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from taichi_softras import runtime
from taichi_softras.errors import ArgumentError, BackendError, DerivativeError
from taichi_softras.inputs import (
    RasterInputs,
    Rendering,
    SkippedFaces,
    pack_inputs,
    warn_about_skipped,
)
from taichi_softras.kernels.fragment import Variant
from taichi_softras.kernels.gather import background_kernel, gather_kernels
from taichi_softras.kernels.raster_cpu import STATE, adjoint_kernel, forward_kernel
from taichi_softras.kernels.setup import setup_kernel
from taichi_softras.kernels.tiles import tile_kernels
from taichi_softras.kernels.types import RECORD, TILE
from taichi_softras.settings import RasterSettings

MAX_CHANNELS = 8
"""Channels of one kernel; more are rendered in groups, which bounds compile time and registers."""

UNBOUNDED = 1e15
"""Reach of a face when dist_eps is 0: beyond any NDC coordinate, and finite when squared."""


def rasterize(
    corners_ndc: Tensor,
    corner_attributes: Tensor | None = None,
    *,
    size: int | Sequence[int],
    settings: RasterSettings | None = None,
    background: float | Sequence[float] | Tensor | None = None,
    face_counts: Sequence[int] | None = None,
    orthographic: bool = False,
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
        orthographic: Depth and attributes vary linearly over the screen.

    Returns:
        image [B, H, W, C], alpha [B, H, W], depth [B, H, W]; image and depth are None with
        color="none".

    Raises:
        ShapeError: A shape does not fit the others.
        ArgumentError: A dtype, device or value cannot be used.
        BackendError: The tensors are not where Taichi runs.
        DerivativeError: On asking for a second derivative.
    """
    if isinstance(corners_ndc, Tensor) and corners_ndc.device.type != "cpu":
        raise BackendError(
            f"`corners_ndc` is on {corners_ndc.device}, but this version renders on the CPU only; "
            "move the tensors with `.cpu()`."
        )
    settings = settings or RasterSettings()
    inputs = pack_inputs(
        corners_ndc,
        corner_attributes,
        size=size,
        settings=settings,
        background=background,
        face_counts=face_counts,
    )
    runtime.init()
    channels = inputs.attributes.shape[-1]
    if channels > MAX_CHANNELS:
        # A face with one bad channel is left out of every group, not only of its own.
        finite = inputs.attributes.detach().isfinite().all(-1, keepdim=True).all(1, keepdim=True)
        inputs = replace(inputs, attributes=inputs.attributes.masked_fill(~finite, torch.nan))
    groups = [
        _render_group(inputs, settings, orthographic, slice(c, c + MAX_CHANNELS))
        for c in range(0, max(channels, 1), MAX_CHANNELS)
    ]
    alpha, _, depth, skipped = groups[0]
    counts = SkippedFaces(*skipped.tolist())
    warn_about_skipped(counts)
    batch = (inputs.views.shape[0], *inputs.size)
    if settings.color == "none":
        return Rendering(None, alpha.reshape(batch), None, counts)
    image = torch.cat([group[1] for group in groups], 1) if len(groups) > 1 else groups[0][1]
    return Rendering(
        image.reshape(*batch, channels), alpha.reshape(batch), depth.reshape(batch), counts
    )


@dataclass(frozen=True)
class _Plan:
    """What a launch needs beside tensors."""

    variant: Variant
    cull: str
    size: tuple[int, int]
    sigma: float
    gamma: float
    eps: float
    dist_eps: float
    near: float
    far: float

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
    def tiles(self) -> tuple[int, int]:
        """Rows and columns of tiles in a view."""
        return -(-self.size[0] // TILE), -(-self.size[1] // TILE)

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


def _render_group(
    inputs: RasterInputs, settings: RasterSettings, orthographic: bool, channels: slice
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Render some channels: alpha [P], image [P, C], depth [P], skipped [3]."""
    attributes = inputs.attributes[..., channels]
    variant = Variant(
        dtype=runtime.taichi_dtype(str(attributes.dtype).removeprefix("torch.")),
        channels=attributes.shape[-1],
        distance=settings.distance,
        alpha=settings.alpha,
        color=settings.color,
        clip=settings.clip,
        perspective=settings.perspective_correct and not orthographic,
        linear_depth=orthographic,
    )
    plan = _Plan(
        variant=variant,
        cull=settings.cull,
        size=inputs.size,
        sigma=_number(settings.sigma),
        gamma=_number(settings.gamma),
        eps=settings.eps,
        dist_eps=settings.dist_eps,
        near=settings.near,
        far=settings.far,
    )
    result: tuple[Tensor, Tensor, Tensor, Tensor] = _Rasterize.apply(  # type: ignore[no-untyped-call]
        inputs.corners_ndc,
        attributes,
        inputs.background[:, channels],
        torch.as_tensor(settings.sigma),
        torch.as_tensor(settings.gamma),
        inputs.views,
        plan,
    )
    return result


def _number(value: float | Tensor) -> float:
    return float(value.detach()) if isinstance(value, Tensor) else float(value)


@dataclass(frozen=True)
class _Tiles:
    """The tile lists of one set of views; see `kernels.tiles`."""

    records: Tensor
    boxes: Tensor
    face_start: Tensor
    tile_start: Tensor
    entry_face: Tensor
    entry_slot: Tensor
    skipped: Tensor


def _bin_faces(corners: Tensor, attributes: Tensor, views: Tensor, plan: _Plan) -> _Tiles:
    variant, n, n_views = plan.variant, corners.shape[0], views.shape[0]
    rows, columns = plan.tiles
    # Enough tasks to share, few enough that their counters stay small.
    n_chunks = max(1, min(8, 8 // n_views))

    def integers(*shape: int) -> Tensor:
        return torch.empty(shape, dtype=torch.int32)

    records, boxes = corners.new_empty((n, RECORD)), integers(n, 4)
    skipped = torch.zeros(3, dtype=torch.int32)
    extent = (float(plan.size[0]), float(plan.size[1]))
    setup = setup_kernel(variant.dtype, variant.distance, plan.cull)
    setup(corners, attributes, views, *extent, n_chunks, plan.reach, records, boxes, skipped)
    count, scan, fill = tile_kernels(variant.dtype, variant.distance)
    frame = (records, boxes, views, *extent, plan.reach, rows, columns)
    face_entries, chunk_entries = integers(n), integers(n_chunks, n_views * rows * columns)
    count(*frame, face_entries, chunk_entries)
    face_start, tile_start = integers(n + 1), integers(n_views * rows * columns + 1)
    total = torch.empty(1, dtype=torch.int64)
    scan(face_entries, face_start, chunk_entries, tile_start, total)
    entries = int(total)
    if entries >= 2**31:
        raise ArgumentError(
            f"the faces touch {entries} (tile, face) pairs, more than 2**31; render fewer views "
            "at once, or use a smaller sigma or a larger dist_eps."
        )
    entry_face, entry_slot = integers(entries), integers(entries)
    fill(*frame, face_start, chunk_entries, entry_face, entry_slot)
    return _Tiles(records, boxes, face_start, tile_start, entry_face, entry_slot, skipped)


class _Rasterize(torch.autograd.Function):
    """Forward: bin, launch, keep O(pixels + faces + tile entries). Backward: `_Adjoint`."""

    @staticmethod
    def forward(
        ctx: Any,
        corners: Tensor,
        attributes: Tensor,
        background: Tensor,
        sigma: Tensor,
        gamma: Tensor,
        views: Tensor,
        plan: _Plan,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        corners, attributes, background = (
            t.detach().contiguous() for t in (corners, attributes, background)
        )
        pixels = views.shape[0] * plan.size[0] * plan.size[1]
        colored, hard = plan.variant.color != "none", plan.variant.color == "hard"
        alpha = corners.new_empty(pixels)
        image = corners.new_empty((pixels, plan.variant.channels))
        depth = corners.new_empty(pixels if colored else 1)
        state = corners.new_empty((pixels, STATE))
        winner = torch.empty(pixels if hard else 1, dtype=torch.int32)
        with runtime.launch_lock:
            tiles = _bin_faces(corners, attributes, views, plan)
            forward_kernel(plan.variant)(
                tiles.records,
                tiles.boxes,
                attributes,
                views,
                tiles.tile_start,
                tiles.entry_face,
                background,
                *plan.numbers,
                plan.far,
                plan.background_depth,
                runtime.thread_count(),
                torch.zeros(1, dtype=torch.int32),
                alpha,
                image,
                depth,
                state,
                winner,
            )
        ctx.plan, ctx.tiles, ctx.views = plan, tiles, views
        ctx.shapes = (corners.shape, background.shape[0])
        ctx.softness = (sigma.detach(), gamma.detach())
        ctx.save_for_backward(attributes, image, depth, state, winner)
        ctx.mark_non_differentiable(tiles.skipped)
        return alpha, image, depth, tiles.skipped

    @staticmethod
    def backward(ctx: Any, *d_outputs: Tensor) -> tuple[Tensor | None, ...]:
        d_alpha, d_image, d_depth, _ = d_outputs
        gradients = _Adjoint.apply(  # type: ignore[no-untyped-call]
            ctx, d_alpha, d_image, d_depth, *ctx.saved_tensors
        )
        return (*gradients, None, None)


class _Adjoint(torch.autograd.Function):
    """The hand-written adjoint; it has no derivative of its own."""

    @staticmethod
    def forward(
        ctx: Any,
        primal: Any,
        d_alpha: Tensor,
        d_image: Tensor,
        d_depth: Tensor,
        attributes: Tensor,
        image: Tensor,
        depth: Tensor,
        state: Tensor,
        winner: Tensor,
    ) -> tuple[Tensor | None, ...]:
        plan, tiles, views = primal.plan, primal.tiles, primal.views
        variant = plan.variant
        # Taichi would allocate a .grad for every tensor that requires one.
        d_alpha, d_image, d_depth, attributes, image, depth, state, winner = (
            t.detach().contiguous()
            for t in (d_alpha, d_image, d_depth, attributes, image, depth, state, winner)
        )
        needs_corners, needs_attributes, needs_background, *needs_soft = primal.needs_input_grad[:5]
        (n, *_), background_rows = primal.shapes
        slots = state.new_empty((tiles.entry_face.shape[0], variant.slot_width))
        d_softness = state.new_zeros((tiles.tile_start.shape[0] - 1, 2))
        d_corners = d_attributes = d_background = None
        with runtime.launch_lock:
            adjoint_kernel(variant, needs_corners, needs_attributes, any(needs_soft))(
                tiles.records,
                tiles.boxes,
                attributes,
                views,
                tiles.tile_start,
                tiles.entry_face,
                tiles.entry_slot,
                *plan.numbers,
                plan.background_depth,
                runtime.thread_count(),
                torch.zeros(1, dtype=torch.int32),
                image,
                depth,
                state,
                winner,
                d_alpha,
                d_image,
                d_depth,
                slots,
                d_softness,
            )
            gather_corners, gather_attributes = gather_kernels(
                variant.dtype, variant.color != "none"
            )
            if needs_corners:
                d_corners = state.new_empty((n, 3, 3))
                gather_corners(tiles.face_start, slots, d_corners)
            if needs_attributes and variant.channels:
                d_attributes = torch.empty_like(attributes)
                sharing = n // max(attributes.shape[0], 1)
                gather_attributes(tiles.face_start, slots, sharing, d_attributes)
            if needs_background and variant.channels:
                d_background = torch.empty_like(d_image)
                background_kernel(variant.dtype, variant.color)(
                    1.0 / plan.tau, plan.background_depth, state, winner, d_image, d_background
                )
                if background_rows == 1:
                    d_background = d_background.sum(0, keepdim=True)
        d_sigma, d_gamma = (
            torch.as_tensor(total / -scale).to(like) if needed else None
            for total, scale, like, needed in zip(
                d_softness.sum(0),
                (plan.sigma, -plan.tau * plan.gamma),
                primal.softness,
                needs_soft,
                strict=True,
            )
        )
        return d_corners, d_attributes, d_background, d_sigma, d_gamma

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor | None, ...]:
        raise DerivativeError(
            "the rasterizer has first derivatives only; a second derivative (create_graph=True, "
            "torch.autograd.functional.hessian) is not available. `taichi_softras.reference."
            "rasterize` has derivatives of every order, at dense cost."
        )

"""What a rasterizer is given and what it returns: checked once, in one layout for every driver."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from taichi_softras.errors import ArgumentError, ShapeError, check_shape
from taichi_softras.intrinsics import check_size
from taichi_softras.settings import RasterSettings
from taichi_softras.skipped import SkippedFaces


class Rendering(NamedTuple):
    """What one render produced."""

    image: Tensor | None
    """Attributes blended over the background; None with color="none". [B, H, W, C]"""
    alpha: Tensor
    """Soft silhouette. [B, H, W]"""
    depth: Tensor | None
    """View depth under the image's weights, `far` in the background. [B, H, W]"""
    skipped: SkippedFaces = SkippedFaces()
    """Faces that were left out because they could not be rendered."""


@dataclass(frozen=True)
class RasterInputs:
    """Triangles of B views, packed: view b owns corners [first : first + count]."""

    corners_ndc: Tensor
    """x right, y up, view depth; all views one after the other. [N, 3, 3]"""
    attributes: Tensor
    """Corner attributes, shared between views where that is possible. [M, 3, C]"""
    views: Tensor
    """First corner record, first attribute record, number of faces. [B, 3] int32"""
    background: Tensor
    """Constant [1, C] or one row a pixel [B * H * W, C]."""
    size: tuple[int, int]
    """Image height and width in pixels."""


def pack_inputs(
    corners_ndc: Tensor,
    corner_attributes: Tensor | None,
    *,
    size: int | Sequence[int],
    settings: RasterSettings,
    background: float | Sequence[float] | Tensor | None,
    face_counts: Sequence[int] | None,
) -> RasterInputs:
    """Check the arguments of `rasterize` and bring them into the packed layout.

    Raises:
        ShapeError: A shape does not fit the others.
        ArgumentError: A dtype, device or background cannot be used.
    """
    _check_floating("corners_ndc", corners_ndc, corners_ndc)
    height_width = check_size("size", size)
    if face_counts is None:
        axes = check_shape("corners_ndc", corners_ndc.shape, "B F 3 3")
        counts = [axes["F"]] * axes["B"]
    else:
        axes = check_shape("corners_ndc", corners_ndc.shape, "N 3 3")
        counts = [int(n) for n in face_counts]
        if min(counts, default=0) < 0 or sum(counts) != axes["N"]:
            raise ShapeError(
                f"`face_counts` must be non-negative and sum to the {axes['N']} faces of "
                f"`corners_ndc`, got {counts}."
            )
    if not counts:
        raise ShapeError("`corners_ndc` must hold at least one view, got a batch of 0.")
    first = torch.tensor([0, *counts]).cumsum(0)[:-1]
    attributes, shared = _pack_attributes(corner_attributes, corners_ndc, counts, face_counts)
    if settings.color == "none":
        attributes = attributes[..., :0]
    attribute_first = torch.zeros_like(first) if shared else first
    views = torch.stack([first, attribute_first, torch.tensor(counts)], 1).to(
        corners_ndc.device, torch.int32
    )
    channels = attributes.shape[-1]
    return RasterInputs(
        corners_ndc=corners_ndc.reshape(-1, 3, 3),
        attributes=attributes,
        views=views,
        background=_pack_background(background, corners_ndc, len(counts), height_width, channels),
        size=height_width,
    )


def _check_floating(name: str, value: Tensor, like: Tensor) -> None:
    if not isinstance(value, Tensor) or value.dtype not in (torch.float32, torch.float64):
        given = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise ArgumentError(f"`{name}` must be a float32 or float64 tensor, got {given}.")
    if value.dtype != like.dtype or value.device != like.device:
        raise ArgumentError(
            f"`{name}` must have the dtype and device of `corners_ndc` ({like.dtype} on "
            f"{like.device}), got {value.dtype} on {value.device}."
        )


def _pack_attributes(
    attributes: Tensor | None,
    corners_ndc: Tensor,
    counts: list[int],
    face_counts: Sequence[int] | None,
) -> tuple[Tensor, bool]:
    """Return attributes [M, 3, C], and whether all views share one set."""
    if attributes is None:
        return corners_ndc.new_zeros((counts[0] if face_counts is None else sum(counts), 3, 0)), (
            face_counts is None
        )
    _check_floating("corner_attributes", attributes, corners_ndc)
    packed = face_counts is not None
    wanted = "N 3 C" if packed else "F 3 C" if attributes.ndim == 3 else "B F 3 C"
    axes = check_shape("corner_attributes", attributes.shape, wanted)
    shared = not packed and (attributes.ndim == 3 or axes["B"] == 1)
    faces, views = (sum(counts), 1) if packed else (counts[0], len(counts))
    if axes.get("N", axes.get("F")) != faces or axes.get("B", 1) not in (1, views):
        raise ShapeError(
            f"`corner_attributes` must have shape [{wanted.replace(' ', ', ')}] with the faces and "
            f"views of `corners_ndc` {list(corners_ndc.shape)}, got {list(attributes.shape)}."
        )
    return (attributes.flatten(0, 1) if attributes.ndim == 4 else attributes), shared


def _pack_background(
    background: float | Sequence[float] | Tensor | None,
    like: Tensor,
    views: int,
    size: tuple[int, int],
    channels: int,
) -> Tensor:
    value = torch.as_tensor(
        0.0 if background is None else background, dtype=like.dtype, device=like.device
    )
    # A compiled graph cannot look at values; its operator does.
    if not torch.compiler.is_compiling() and not bool(torch.isfinite(value.detach()).all()):
        raise ArgumentError("`background` must be finite, got NaN or infinite values.")
    if channels == 0:
        return like.new_zeros((1, 0))
    if value.ndim <= 1:
        if value.ndim == 1 and value.shape[0] not in (1, channels):
            raise ShapeError(
                f"`background` must have {channels} channels as the attributes, "
                f"got {value.shape[0]}."
            )
        return value.expand(channels).reshape(1, channels)
    full = (views, *size, channels)
    if value.shape not in (full, full[1:], (1, *full[1:])):
        raise ShapeError(
            f"`background` must be a number, [C] or [B, H, W, C] = {list(full)}, "
            f"got {list(value.shape)}."
        )
    return value.expand(full).reshape(-1, channels)

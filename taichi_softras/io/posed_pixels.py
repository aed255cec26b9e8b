"""The pictures of a posed-image folder: with their silhouettes, and at the size asked for."""

from pathlib import Path

import torch
from torch import Tensor

from taichi_softras.errors import FileError
from taichi_softras.io.images import load_image


def read_rgba(image: Path, mask: Path | None, where: str) -> Tensor:
    """Read a picture and its silhouette: alpha, mask or the product of both. -> [H, W, 4].

    Args:
        image: Grey, RGB or RGBA.
        mask: 1 on the object; of a coloured mask the mean over the channels counts.
        where: Names the frame in error messages.

    Raises:
        FileError: A file is damaged, sizes differ, or there is neither alpha nor mask.
    """
    pixels = load_image(image)
    height, width, channels = pixels.shape
    if mask is None and channels != 4:
        raise FileError(
            f"{where} has no silhouette: `{image}` has no alpha channel and the frame no "
            "`mask_path`. Give one of them (1 on the object)."
        )
    alpha = pixels[..., 3:] if channels == 4 else torch.ones(height, width, 1)
    if mask is not None:
        soft = load_image(mask)
        if soft.shape[:2] != pixels.shape[:2]:
            raise FileError(
                f"{where}: the mask `{mask}` is {soft.shape[1]} x {soft.shape[0]}, its image is "
                f"{width} x {height} (w x h); they must agree."
            )
        alpha = alpha * soft[..., :3].mean(dim=-1, keepdim=True)
    return torch.cat([pixels[..., :3].expand(height, width, 3), alpha], dim=-1)


def fitting_size(size: tuple[int, int], max_size: int | None) -> tuple[int, int]:
    """Return (height, width) of about the same aspect with no side longer than `max_size`."""
    longest = max(size)
    if max_size is None or longest <= max_size:
        return size
    height, width = (max(1, round(side * max_size / longest)) for side in size)
    return height, width


def shrink(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Average straight RGBA over the area of each new pixel; what is transparent has no colour.

    Args:
        image: float32. [H, W, 4]
        size: New height and width, not larger than the old.

    Returns:
        float32. [h, w, 4]
    """
    if size == tuple(image.shape[:2]):
        return image
    exact = image.double()
    premultiplied = torch.cat([exact[..., :3] * exact[..., 3:], exact[..., 3:]], dim=-1)
    rows, columns = (_overlaps(image.shape[i], size[i]) for i in range(2))
    mean = torch.einsum("yr,rcq,xc->yxq", rows, premultiplied, columns)
    plain = torch.einsum("yr,rcq,xc->yxq", rows, exact[..., :3], columns)
    alpha = mean[..., 3:]
    seen = alpha > 1e-6
    color = torch.where(seen, mean[..., :3] / torch.where(seen, alpha, 1.0), plain)
    return torch.cat([color, alpha], dim=-1).clamp(0.0, 1.0).float()


def _overlaps(old: int, new: int) -> Tensor:
    """Return how much of each new pixel each old one covers; rows sum to 1. [new, old]."""
    starts = torch.arange(new, dtype=torch.float64)[:, None] * (old / new)
    pixels = torch.arange(old, dtype=torch.float64)[None, :]
    ends = torch.minimum(starts + old / new, pixels + 1.0)
    return (ends - torch.maximum(starts, pixels)).clamp(min=0.0) * (new / old)

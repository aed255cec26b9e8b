"""What the lens does: from pixels to half image heights and back, and image sizes."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from taichi_softras.errors import ArgumentError

Size = int | tuple[int, int]


def check_size(name: str, size: Any) -> tuple[int, int]:
    """Return (height, width), or say what is wrong with it."""
    if type(size) is int and size > 0:
        return size, size
    if type(size) is tuple and tuple(map(type, size)) == (int, int) and min(size) > 0:
        return size  # abstract classes take their time
    pair = tuple(size) if isinstance(size, Sequence) else (size, size)
    if len(pair) != 2 or not all(isinstance(side, Integral) for side in pair) or min(pair) < 1:
        raise ArgumentError(f"`{name}` must be positive pixels, (height, width), got {size!r}.")
    return int(pair[0]), int(pair[1])


def half_heights_from_pixels(K: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Split intrinsics [B, 3, 3] in pixels into `focal` and `center` in half image heights."""
    height, width = size
    k = K.detach()
    slack = 1e-6 * k[:, 0, 0].abs()
    if bool((k[:, 0, 1].abs() > slack).any()) or bool((k[:, 1, 0].abs() > slack).any()):
        raise ArgumentError(
            f"`K` must have no skew, got K[0, 1] = {k[:, 0, 1].tolist()}, K[1, 0] = "
            f"{k[:, 1, 0].tolist()}; undistort the images, or drop it if it is negligible."
        )
    if not torch.allclose(k[:, 2], k.new_tensor([0.0, 0.0, 1.0])):
        raise ArgumentError(f"`K` must end in the row [0, 0, 1], got {k[:, 2].tolist()}.")
    if not bool((torch.stack([k[:, 0, 0], k[:, 1, 1]]) > 0.0).all()):
        raise ArgumentError("`K` must have positive focal lengths K[0, 0] and K[1, 1].")
    focal = torch.stack([K[:, 0, 0], K[:, 1, 1]], dim=-1) * (2.0 / height)
    center = [(2.0 * K[:, 0, 2] - width) / height, (height - 2.0 * K[:, 1, 2]) / height]
    return focal, torch.stack(center, dim=-1)


def pixels_from_half_heights(focal: Tensor, center: Tensor, size: tuple[int, int]) -> Tensor:
    """Join `focal` and `center` [B, 2] in half image heights to intrinsics [B, 3, 3] in pixels."""
    height, width = size
    half = 0.5 * height
    fx, fy = (focal * half).unbind(dim=-1)
    cx = 0.5 * width + center[:, 0] * half
    cy = half - center[:, 1] * half
    zero, one = torch.zeros_like(fx), torch.ones_like(fx)
    return torch.stack([fx, zero, cx, zero, fy, cy, zero, zero, one], dim=-1).reshape(-1, 3, 3)

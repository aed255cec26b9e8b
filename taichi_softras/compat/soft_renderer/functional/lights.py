"""Light that falls on faces or vertices, summed lamp by lamp."""

from typing import Any

import torch
from torch import Tensor

from taichi_softras.errors import check_shape
from taichi_softras.transforms import promote


def ambient_lighting(
    light: Tensor, light_intensity: Any = 0.5, light_color: Any = (1.0, 1.0, 1.0)
) -> Tensor:
    """Add light from everywhere.

    Args:
        light: What fell there before; not changed. [B, N, 3]
        light_intensity: A number, or one for each mesh. [] or [B]
        light_color: RGB. [3] or [B, 3]
    """
    return light + _emitted(light, light_intensity, light_color)


def directional_lighting(
    light: Tensor,
    normals: Tensor,
    light_intensity: Any = 0.5,
    light_color: Any = (1.0, 1.0, 1.0),
    light_direction: Any = (0.0, 1.0, 0.0),
) -> Tensor:
    """Add light from a direction, by the cosine between it and the normal.

    Args:
        light: What fell there before; not changed. [B, N, 3]
        normals: Unit normals. [B, N, 3]
        light_intensity: A number, or one for each mesh. [] or [B]
        light_color: RGB. [3] or [B, 3]
        light_direction: *Towards* the lamp; its length multiplies the light. [3] or [B, 3]
    """
    (towards,) = _rows(light, light_direction=light_direction)
    cosine = torch.relu((normals * towards).sum(dim=-1, keepdim=True))
    return light + _emitted(light, light_intensity, light_color) * cosine


def _emitted(light: Tensor, intensity: Any, color: Any) -> Tensor:
    """Intensity times colour. [1 or B, 1, 3]"""
    check_shape("light", light.shape, "B N 3")
    _, strength = promote(light=light, light_intensity=intensity)
    check_shape("light_intensity", strength.shape, "B" if strength.ndim else "")
    (rgb,) = _rows(light, light_color=color)
    return strength.to(light).reshape(-1, 1, 1) * rgb


def _rows(light: Tensor, **values: Any) -> list[Tensor]:
    _, *tensors = promote(light=light, **values)
    for name, tensor in zip(values, tensors, strict=True):
        check_shape(name, tensor.shape, "3" if tensor.ndim == 1 else "B 3")
    return [tensor.to(light).reshape(-1, 1, 3) for tensor in tensors]

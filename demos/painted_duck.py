"""A duck with an image on its skin, for the demo of textures."""

import math
from typing import Literal

import torch

import taichi_softras as tsr


def painted_duck(level: int, image: torch.Tensor, how: Literal["bilinear", "mipmap"]) -> tsr.Mesh:
    """Wrap an image round the duck, as a map of the world round the sphere that it is made from."""
    duck = tsr.shapes.duck(level)
    x, y, z = tsr.shapes.icosphere(level).corners.unbind(dim=-1)
    u = torch.atan2(x, z) / (2.0 * math.pi)
    u = u + (u < u.amax(dim=1, keepdim=True) - 0.5)  # across the back it runs on, beyond 1
    uvs = torch.stack([u, 0.5 + y.clamp(-1.0, 1.0).asin() / math.pi], dim=-1).reshape(-1, 2)
    corners = torch.arange(3 * duck.n_faces).reshape(-1, 3)
    skin = tsr.UVTexture(images=image, uvs=uvs, uv_faces=corners, filter=how)
    return duck.replace(vertex_colors=None, texture=skin)


def pattern(rows: int) -> torch.Tensor:
    """Paint spots and checks in colours that go round in waves. [H, 2 H, 3]"""
    ticks = [(torch.arange(n) + 0.5) / n for n in (rows, 2 * rows)]
    v, u = torch.meshgrid(ticks, indexing="ij")
    hue = 2.0 * math.pi * (u + 0.06 * (6.0 * math.pi * v).sin())
    color = torch.stack([0.55 + 0.4 * (hue + k).cos() for k in (0.0, 2.1, 4.2)], dim=-1)
    dark = ((16.0 * u).floor() + (8.0 * v).floor()) % 2.0 * 0.45
    spots = (16.0 * u % 1.0 - 0.5).square() + (8.0 * v % 1.0 - 0.5).square() < 0.06
    return torch.where(spots[..., None], 1.0 - color, color * (1.0 - dark[..., None]))

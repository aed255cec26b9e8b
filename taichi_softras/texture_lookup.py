"""How texels are read, in torch and to be read: the specification of `kernels.texture`."""

import torch
from torch import Tensor

from taichi_softras.texture_maps import FaceTexture


def shade_fragments(texture: FaceTexture, attributes: Tensor) -> Tensor:
    """Turn attributes at fragments into colours.

    Args:
        texture: With one map a face, `face_maps` [F].
        attributes: Colour channels, then texture coordinates. [..., F, C + coordinates]

    Returns:
        The channels, the first of them multiplied by what is read. [..., F, C]
    """
    colors = attributes[..., : -texture.coordinates]
    at = attributes[..., -texture.coordinates :]
    maps = texture.maps[texture.face_maps.expand(at.shape[:-1])]
    if texture.lookup == "mipmap":
        read = _between_levels(texture, maps, at)
    elif texture.lookup == "bilinear":
        read = _bilinear(texture.texels, maps, at)
    else:
        which = _triangle_texel if texture.lookup == "triangles" else _nearest_texel
        read = texture.texels[which(maps, at.detach())]
    textured = read.shape[-1]
    return torch.cat([colors[..., :textured] * read, colors[..., textured:]], -1)


def _bilinear(texels: Tensor, maps: Tensor, at: Tensor) -> Tensor:
    """Read between the centres of four texels. [..., texture channels]"""
    first, height, width, wrap, _ = maps.unbind(-1)
    x = _folded(at[..., 0], wrap) * width - 0.5
    y = _folded(at[..., 1], wrap) * height - 0.5
    left, top = x.detach().floor(), y.detach().floor()
    value = texels.new_zeros(())
    for down in (0, 1):
        row = _address(top.long() + down, height, wrap)
        vertical = (y - top) if down else 1.0 - (y - top)
        for right in (0, 1):
            column = _address(left.long() + right, width, wrap)
            horizontal = (x - left) if right else 1.0 - (x - left)
            weight = (vertical * horizontal)[..., None]
            value = value + weight * texels[first + row * width + column]
    return value


def _between_levels(texture: FaceTexture, maps: Tensor, at: Tensor) -> Tensor:
    """Mix the two nearest levels of detail. [..., texture channels]"""
    last = maps[..., 4] - 1
    level = torch.minimum(at[..., 2].clamp(min=0.0), last.to(at))
    lower = torch.minimum(level.detach().floor().long(), (last - 1).clamp(min=0))
    row = texture.face_maps.expand(at.shape[:-1]) + lower
    fine = _bilinear(texture.texels, texture.maps[row], at)
    coarse = _bilinear(texture.texels, texture.maps[row + (last > 0).long()], at)
    part = (level - lower)[..., None]
    return fine + part * (coarse - fine)


def _nearest_texel(maps: Tensor, at: Tensor) -> Tensor:
    """Index of the texel that holds a point. [...]"""
    first, height, width, wrap, _ = maps.unbind(-1)
    column = _address((_folded(at[..., 0], wrap) * width).floor().long(), width, wrap)
    row = _address((_folded(at[..., 1], wrap) * height).floor().long(), height, wrap)
    return first + row * width + column


def _triangle_texel(maps: Tensor, at: Tensor) -> Tensor:
    """Index by the rule of `textures.SurfaceTexture`. [...]"""
    first, _, side, _, _ = maps.unbind(-1)
    a, b = (torch.minimum((w * side).floor().long().clamp(min=0), side - 1) for w in at.unbind(-1))
    # No face lies beyond its cells on the diagonal, though rounding may take a point there.
    lower = (at.sum(-1) * side - (a + b) <= 1.0) | (a + b >= side - 1)
    index = torch.where(lower, b * side + a, (side - 1 - b) * side + side - 1 - a)
    return first + index


def _folded(s: Tensor, wrap: Tensor) -> Tensor:
    """Bring a coordinate into [0, 1], or [0, 2] where it turns back. [...]"""
    whole = torch.where(wrap == 2, 2.0 * (0.5 * s.detach()).floor(), s.detach().floor())
    return torch.where(wrap == 1, s.clamp(0.0, 1.0), s - whole)


def _address(i: Tensor, n: Tensor, wrap: Tensor) -> Tensor:
    """Index of a texel out of n. [...]"""
    turned = i.remainder(2 * n)
    turned = torch.minimum(turned, 2 * n - 1 - turned)
    held = torch.minimum(i.clamp(min=0), n - 1)
    return torch.where(wrap == 0, i.remainder(n), torch.where(wrap == 1, held, turned))

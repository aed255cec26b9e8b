"""The texels of faces laid out as one image, which files can hold."""

import math

import torch
from torch import Tensor

from taichi_softras.errors import ArgumentError
from taichi_softras.io.texture_images import MAX_PIXELS
from taichi_softras.textures import SurfaceTexture, UVTexture

_STEPS = 4
"""Pixels along the side of a texel that is a triangle; its slanted edges become stairs of them."""


def atlas(texture: SurfaceTexture) -> UVTexture:
    """Give each face a square of one image, with a border of its own colours.

    With filter="bilinear" it reads the same. With "nearest" and R = 1 too; else texels are
    triangles, whose edges are met to a quarter of a texel.

    Raises:
        ArgumentError: One set of texels a view, or too many of them for an image.
    """
    if texture.texels.ndim != 3:
        raise ArgumentError(
            f"`mesh.texture.texels` is a batch of shape {list(texture.texels.shape)}, and a file "
            "holds one mesh."
        )
    tiles = _tiles(texture)  # [F, S, S, C]
    count, side, _, channels = tiles.shape
    padded = side + 2
    columns = max(1, math.ceil(math.sqrt(count)))
    rows = math.ceil(count / columns)
    if rows * columns * padded**2 > MAX_PIXELS:
        raise ArgumentError(
            f"`mesh.texture` has {count} faces of {side} x {side} texels, more than the "
            f"{MAX_PIXELS} pixels that a file's images may have."
        )
    inner = torch.arange(-1, side + 1).clamp(0, side - 1)
    bordered = tiles.new_zeros((rows * columns, padded, padded, channels))
    bordered[:count] = tiles[:, inner][:, :, inner]
    image = bordered.reshape(rows, columns, padded, padded, channels).transpose(1, 2)
    place = torch.arange(count)
    left, top = place % columns * padded + 1, place // columns * padded + 1
    # Corners at (w0, w1) = (1, 0), (0, 1) and (0, 0).
    x = left[:, None] + torch.tensor([side, 0, 0])
    y = top[:, None] + torch.tensor([0, side, 0])
    uvs = torch.stack([x / (columns * padded), 1.0 - y / (rows * padded)], -1).reshape(-1, 2)
    return UVTexture(
        images=image.reshape(rows * padded, columns * padded, channels),
        uvs=uvs.to(tiles),
        uv_faces=torch.arange(3 * count).reshape(-1, 3),
        filter=texture.filter,
        wrap="clamp",
    )


def _tiles(texture: SurfaceTexture) -> Tensor:
    """Draw each face's texels over the square of w0 (right) and w1 (down). [F, S, S, C]."""
    texels, side = texture.texels.detach().cpu(), texture.side
    if texture.filter == "bilinear" or side == 1:
        return texels.reshape(len(texels), side, side, -1)
    centres = (torch.arange(_STEPS * side, dtype=torch.float64) + 0.5) / (_STEPS * side)
    w1, w0 = torch.meshgrid(centres, centres, indexing="ij")
    # Beyond the face, what is on its edge: moved straight back onto it, and a little further in.
    over = (w0 + w1 - 1.0).clamp(min=0.0) / 2.0
    w0, w1 = (w0 - over).clamp(min=0.0) * (1 - 1e-9), (w1 - over).clamp(min=0.0) * (1 - 1e-9)
    a, b = (w0 * side).long(), (w1 * side).long()
    first = (w0 + w1) * side - a - b <= 1.0
    flipped = (side - 1 - b) * side + (side - 1 - a)
    return texels[:, torch.where(first, b * side + a, flipped)]

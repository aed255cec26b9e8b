"""The layout in which a rasterizer takes textures: texels of many maps, and a table of the maps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from taichi_softras.errors import ArgumentError

Filter = Literal["nearest", "bilinear", "mipmap"]
Wrap = Literal["wrap", "clamp", "mirror"]
Lookup = Literal["nearest", "bilinear", "mipmap", "triangles"]

MAP_ROW = 5
"""Numbers in a row of `FaceTexture.maps`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FaceTexture:
    """Texels as `rasterize` takes them: what the last channels of the attributes point into.

    These channels are s (right) and t (down), 0..1 over a map; with lookup="mipmap" also the level
    of detail: 0 is the map itself, 1 half its resolution, and so on. What is read multiplies the
    first channels of the attributes.
    """

    texels: Tensor
    """Texels of all maps and levels, row by row. [X, C]"""
    maps: Tensor
    """First texel, height, width, number in `Wrap`, levels from here on. The levels of a map are
    rows that follow each other. Integers. [L, 5]"""
    face_maps: Tensor
    """Row of the map of each face, as the faces of the attributes. [F], [B, F] or [N]"""
    lookup: Lookup = "bilinear"
    """How they are read; "triangles" is `textures.SurfaceTexture`'s "nearest"."""

    @property
    def coordinates(self) -> int:
        """Channels of the attributes that are no colours."""
        return 3 if self.lookup == "mipmap" else 2

    @property
    def first_rows(self) -> Tensor:
        """Row of each map's first level."""
        levels, rows = self.maps[:, 4].tolist(), [0]
        while rows[-1] + levels[rows[-1]] < len(levels):
            rows.append(rows[-1] + levels[rows[-1]])
        return torch.tensor(rows, device=self.maps.device)


def joined(textures: Sequence[FaceTexture]) -> FaceTexture:
    """Make one texture of many, with their faces one after the other."""
    maps, rows, texels, row = [], [], 0, 0
    for texture in textures:
        offset = texture.maps.new_tensor([texels] + [0] * (MAP_ROW - 1))
        maps.append(texture.maps + offset)
        rows.append(texture.face_maps.flatten() + row)
        texels += texture.texels.shape[0]
        row += len(texture.maps)
    return FaceTexture(
        texels=torch.cat([texture.texels for texture in textures]),
        maps=torch.cat(maps),
        face_maps=torch.cat(rows),
        lookup=textures[0].lookup,
    )


class _Level(NamedTuple):
    texels: Tensor  # [H, W, C]
    left: int  # levels from here on


def packed(images: Sequence[Tensor], lookup: Filter, wrap: Wrap) -> FaceTexture:
    """Lay images out one after the other, with their reductions where they are wanted."""
    levels = [
        level for image in images for level in (_pyramid(image) if lookup == "mipmap" else
                                                [_Level(image, 1)])
    ]  # fmt: skip
    rows, first = [], 0
    for texels, left in levels:
        rows.append([first, *texels.shape[:2], get_args(Wrap).index(wrap), left])
        first += texels.shape[0] * texels.shape[1]
    if first >= 2**31:
        raise ArgumentError(f"`texture` has {first} texels; fewer than 2**31 can be rendered.")
    flat = [level.texels.reshape(-1, images[0].shape[-1]) for level in levels]
    device = images[0].device
    return FaceTexture(
        texels=flat[0] if len(flat) == 1 else torch.cat(flat),
        maps=torch.tensor(rows, device=device),
        face_maps=torch.zeros(0, dtype=torch.int64, device=device),
        lookup=lookup,
    )


def _pyramid(image: Tensor) -> list[_Level]:
    """Halve an image, averaging over areas, until one texel is left. [H, W, C] each."""
    levels = [image]
    while max(levels[-1].shape[:2]) > 1:
        last = levels[-1].permute(2, 0, 1)[None]
        size = [max(n // 2, 1) for n in last.shape[2:]]
        levels.append(interpolate(last, size=size, mode="area")[0].permute(1, 2, 0))
    return [_Level(level, len(levels) - i) for i, level in enumerate(levels)]

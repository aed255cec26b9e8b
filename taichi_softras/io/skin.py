"""Materials and texture coordinates as files give them, before they become a texture."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from taichi_softras.io.files import warn_caller
from taichi_softras.io.mesh_parts import Floats, Ints, Part
from taichi_softras.io.texture_images import Texels
from taichi_softras.texture_maps import Filter, Wrap
from taichi_softras.textures import UVTexture

GREY = (0.5, 0.5, 0.5)
"""Of what has no colour, beside what has."""

UNCOLORED = "uncoloured"
"""Material of faces that have none, or no texture coordinates for its image, beside others."""

MAX_COLOR = 1e30
"""A material's colour is below it, so that float32 holds it."""


@dataclass(frozen=True, eq=False)
class Material:
    """A plain colour, or an image times a colour."""

    name: str
    color: tuple[float, float, float] = GREY
    """RGB; multiplies the image."""
    image: Texels | None = None
    """RGB, row 0 on top. [H, W, 3]"""
    wrap: Wrap = "wrap"
    filter: Filter = "bilinear"

    @property
    def look(self) -> object:
        """Equal for materials whose texels are."""
        return id(self.image), self.color

    def texels(self) -> NDArray[np.float32]:
        """Return the image in 0..1, or one texel of the plain colour. [H, W, 3]."""
        color = np.array(self.color, np.float32)
        if self.image is None:
            return color[None, None]
        return self.image.astype(np.float32) / np.float32(np.iinfo(self.image.dtype).max) * color


@dataclass(frozen=True, eq=False)
class Skin:
    """What a `UVTexture` is made of."""

    materials: Sequence[Material]
    uvs: Floats  # [T, 2], u right, v up
    uv_faces: Ints  # [F, 3]
    face_materials: Ints  # [F]

    @property
    def textured(self) -> bool:
        """Whether there is any image."""
        return any(material.image is not None for material in self.materials)

    def way(self, path: Path) -> tuple[Wrap, Filter]:
        """Return how the images are read: as the first says; warn where others differ."""
        ways = dict.fromkeys((m.wrap, m.filter) for m in self.materials if m.image is not None)
        (wrap, chosen), *others = ways or {("wrap", "bilinear"): None}
        if others:
            said = ", ".join(f"{w} and {f}" for w, f in ways)
            warn_caller(f"`{path}` wraps and filters its images in several ways ({said}); "
                          f"a texture has one: {wrap} and {chosen}.")  # fmt: skip
        return wrap, chosen

    def texture(self, path: Path, dtype: torch.dtype) -> UVTexture:
        """Make the texture of a mesh; materials that look the same share their tensor."""
        wrap, chosen = self.way(path)
        images: dict[object, torch.Tensor] = {}
        for m in self.materials:
            if m.look not in images:
                images[m.look] = torch.from_numpy(m.texels()).to(dtype)
        return UVTexture(
            images=[images[m.look] for m in self.materials],
            uvs=torch.as_tensor(self.uvs, dtype=dtype),
            uv_faces=torch.as_tensor(self.uv_faces),
            face_materials=torch.as_tensor(self.face_materials),
            material_names=[m.name for m in self.materials],
            wrap=wrap,
            filter=chosen,
        )


def baked(part: Part, skin: Skin) -> Part:
    """Read the texture at the corners of the faces, times the vertex colours.

    Vertices are split where colours meet and joined where positions and colours agree; those that
    no face has are left out.
    """
    colors = np.empty((*part.faces.shape, 3))
    for i, material in enumerate(skin.materials):
        chosen = skin.face_materials == i
        uv = skin.uvs[skin.uv_faces[chosen]].reshape(-1, 2)
        colors[chosen] = sampled(material.texels(), uv, material.wrap).reshape(-1, 3, 3)
    if part.vertex_colors is not None:
        colors *= part.vertex_colors[part.faces]
    # Corners in the order of their vertices, so that those keep it.
    order = np.argsort(part.faces.ravel(), kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    corners = part.vertices[part.faces.ravel()[order]]
    return Part(corners, place.reshape(-1, 3), colors.reshape(-1, 3)[order]).welded()


def sampled(texels: NDArray[np.float32], uv: Floats, wrap: Wrap) -> Floats:
    """Interpolate a texture bilinearly, at vertices.

    Within [0, 1] the outer half texel is constant, so that a vertex on the border never takes
    colour from the opposite side.

    Args:
        texels: Row 0 on top. [H, W, 3]
        uv: u right, v up, (0, 0) at the bottom left corner of the texture. [V, 2]
        wrap: What is outside [0, 1].

    Returns:
        Colours; NaN coordinates read the corner. [V, 3]
    """
    height, width = texels.shape[:2]
    uv = np.nan_to_num(uv, nan=0.0, posinf=0.0, neginf=0.0)
    if wrap == "mirror":
        uv = 1.0 - np.abs(np.mod(uv, 2.0) - 1.0)
    elif wrap == "wrap":
        uv = np.where((uv < 0.0) | (uv > 1.0), uv - np.floor(uv), uv)
    x = np.clip(uv[:, 0] * width - 0.5, 0, width - 1)
    y = np.clip((1.0 - uv[:, 1]) * height - 0.5, 0, height - 1)
    left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    s, t = (x - left)[:, None], (y - top)[:, None]
    upper = texels[top, left] * (1 - s) + texels[top, right] * s
    lower = texels[bottom, left] * (1 - s) + texels[bottom, right] * s
    blended: Floats = upper * (1 - t) + lower * t
    return blended

"""Materials of glTF files: their base colours, and how these are laid over a mesh."""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taichi_softras.io.gltf_tree import GltfTree
from taichi_softras.io.mesh_parts import Floats
from taichi_softras.io.skin import GREY, MAX_COLOR, Material
from taichi_softras.io.texture_images import TextureImages
from taichi_softras.textures import Filter, Wrap

_WRAPS: dict[int, Wrap] = {10497: "wrap", 33071: "clamp", 33648: "mirror"}
_NEAREST = 9728
_WHITE = (1.0, 1.0, 1.0)


def _base_color(tree: GltfTree, index: int | None) -> tuple[list[float], dict[str, Any] | None]:
    """Return the factor and the textureInfo of a material's base colour."""
    material = {} if index is None else tree.item("materials", index)
    base = material.get("pbrMetallicRoughness", {})
    factor, info = base.get("baseColorFactor", _WHITE), base.get("baseColorTexture")
    old = material.get("extensions", {}).get("KHR_materials_pbrSpecularGlossiness")
    if old is not None and info is None:
        factor, info = old.get("diffuseFactor", _WHITE), old.get("diffuseTexture")
    if not np.abs(factor).max() < MAX_COLOR:  # NaN is not
        raise ValueError(f"material {index} has the colour {factor}")
    return list(factor), info


def coordinates(tree: GltfTree, material: int | None) -> tuple[int, Floats]:
    """Return which TEXCOORD a material reads, and what it does to it, v down. [3, 3].

    KHR_texture_transform scales, then rotates counter-clockwise as seen with v down, then moves:
    https://github.com/KhronosGroup/glTF/issues/1563 corrects the sign in its listing.
    """
    _, info = _base_color(tree, material)
    matrix = np.eye(3)
    if info is None:
        return 0, matrix
    change = info.get("extensions", {}).get("KHR_texture_transform", {})
    angle = change.get("rotation", 0.0)
    cos, sin = np.cos(angle), np.sin(angle)
    matrix[:2, :2] = np.array([[cos, sin], [-sin, cos]]) * change.get("scale", (1.0, 1.0))
    matrix[:2, 2] = change.get("offset", (0.0, 0.0))
    return change.get("texCoord", info.get("texCoord", 0)), matrix


class GltfMaterials:
    """The materials of a file, each opened where it is first needed."""

    def __init__(self, tree: GltfTree) -> None:
        self._tree, self._images = tree, TextureImages()
        self._opened: dict[int, Material] = {}

    def get(self, index: int | None, *, mapped: bool, colored: bool) -> Material:
        """Return a primitive's material.

        Args:
            index: Its number; None is grey, unless there are vertex colours.
            mapped: Whether the primitive has texture coordinates, without which there is no image.
            colored: Whether it has vertex colours.
        """
        if index is None:
            return Material("uncoloured", _WHITE if colored else GREY)
        if index not in self._opened:
            self._opened[index] = self._open(index)
        opened = self._opened[index]
        return opened if mapped else replace(opened, image=None)

    def _open(self, index: int) -> Material:
        raw = self._tree.item("materials", index)
        factor, info = _base_color(self._tree, index)
        r, g, b = (float(value) for value in factor[:3])
        plain = Material(str(raw.get("name") or f"material_{index}"), (r, g, b))
        if info is None:
            return plain
        texture = self._tree.item("textures", info["index"])
        texels = self._texels(texture)
        if texels is None:
            return plain
        sampler: dict[str, Any] = {}
        if "sampler" in texture:
            sampler = self._tree.item("samplers", texture["sampler"])
        wraps = [sampler.get(axis, 10497) for axis in ("wrapS", "wrapT")]
        if wraps[0] != wraps[1]:
            warnings.warn(f"`{self._tree.path}` wraps u and v in different ways; that of u is "
                          "taken for both.", stacklevel=2)  # fmt: skip
        chosen: Filter = "nearest" if sampler.get("magFilter") == _NEAREST else "bilinear"
        return replace(plain, image=texels, wrap=_WRAPS[wraps[0]], filter=chosen)

    def _texels(self, texture: dict[str, Any]) -> NDArray[Any] | None:
        """Decode the image of a texture; None, with a warning, where there is none to decode."""
        source = texture.get("source")
        webp = texture.get("extensions", {}).get("EXT_texture_webp", {}).get("source")
        index = webp if source is None else source
        path = self._tree.path
        if index is None:
            warnings.warn(f"`{path}` has a texture of a kind that is not read (only PNG, JPEG and "
                          "WebP are); the plain colour is taken.", stacklevel=2)  # fmt: skip
            return None
        image = self._tree.item("images", index)
        if "bufferView" in image:
            data: bytes | None = bytes(self._tree.view(image["bufferView"])[0])
            said = f"Image {index} in `{path}`"
        else:
            data = self._tree.linked(image["uri"])
            named = image["uri"].startswith("data:")
            said = f"Image {index} in `{path}`" if named else f"`{path.parent / image['uri']}`"
        if data is None:
            warnings.warn(f"`{path}` needs the texture `{image['uri'][:200]}`, which is not there; "
                          "the plain colour of its material is taken.", stacklevel=2)  # fmt: skip
            return None
        return self._images.get(index, lambda: data, said)

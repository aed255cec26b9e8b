"""Textured OBJ files: the mesh, its materials and their images."""

import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from taichi_softras.errors import FileError
from taichi_softras.io.mesh_parts import Part
from taichi_softras.io.skin import Material, Skin
from taichi_softras.io.texture_images import Texels


def obj_files(target: Path, part: Part, skin: Skin) -> dict[Path, bytes]:
    """Return the files to write: NAME_0.png ..., NAME.mtl, NAME.obj. Faces keep their order."""
    if re.search(r"[\x00-\x1f]", target.name):
        raise FileError(f"`{target.name!r}` has characters that OBJ files cannot name.")
    names = _names(skin.materials)
    lines = [f"mtllib {_named(target.with_suffix('.mtl').name)}"]
    lines += ["v {:.9g} {:.9g} {:.9g}".format(*row) for row in part.vertices.tolist()]
    lines += ["vt {:.9g} {:.9g}".format(*row) for row in skin.uvs.tolist()]
    current = -1
    corners = np.stack([part.faces, skin.uv_faces], -1).reshape(-1, 6) + 1
    for row, material in zip(corners.tolist(), skin.face_materials.tolist(), strict=True):
        if material != current:
            lines.append(f"usemtl {names[material]}")
            current = material
        lines.append("f {}/{} {}/{} {}/{}".format(*row))
    library, images = _library(target, skin.materials, names)
    text = "\n".join([*lines, ""])
    return {**images, target.with_suffix(".mtl"): library.encode(), target: text.encode()}


def _library(
    target: Path, materials: Sequence[Material], names: Sequence[str]
) -> tuple[str, dict[Path, bytes]]:
    """Write the materials; those that share an image share its file."""
    lines: list[str] = []
    images: dict[Path, bytes] = {}
    paths: dict[int, Path] = {}
    for i, (name, material) in enumerate(zip(names, materials, strict=True)):
        lines += [f"newmtl {name}", "Kd {:.9g} {:.9g} {:.9g}".format(*material.color)]
        if material.image is None:
            continue
        if id(material.image) not in paths:
            path = target.with_name(f"{target.stem}_{i}.png")
            paths[id(material.image)] = path
            images[path] = png(material.image)
        clamp = "-clamp on " if material.wrap == "clamp" else ""
        lines.append(f"map_Kd {clamp}{_named(paths[id(material.image)].name)}")
    return "\n".join([*lines, ""]), images


def png(texels: Texels) -> bytes:
    """Encode 8-bit texels. [H, W, 3]."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(texels).save(file, "PNG")
    return file.getvalue()


def _named(name: str) -> str:
    """Spell a file's name so that it cannot be taken for an option, a drive or nothing."""
    return f"./{name}" if re.match(r"[-~\s]|[^/]*:", name) else name


def _names(materials: Sequence[Material]) -> list[str]:
    """Return names that fit in a line and differ."""
    names: list[str] = []
    for i, material in enumerate(materials):
        name = " ".join(re.sub(r"[\x00-\x1f\x7f]", " ", material.name).split()) or f"material_{i}"
        names.append(name if name not in names else f"{name}_{i}")
    return names

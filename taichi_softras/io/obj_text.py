"""OBJ text, checked and brought into a plain form that is read without surprises.

A reader of raw OBJ text splits vertices wherever normals differ, counts negative indices from the
end of the file and takes a missing vertex for another one. Here every index is resolved and
checked, polygons become triangles in their own order, and what geometry and colour do not need
is left out.
"""

import re
import warnings
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from taichi_softras.errors import FileError

# Given to faces without texture coordinates; no material has it, so they stay uncoloured.
_NO_MATERIAL = "softras_no_texture_coordinates"
_GREY = "0.5 0.5 0.5"


@dataclass
class _Obj:
    """What has been read so far; faces keep (line, corners, material)."""

    positions: list[str] = field(default_factory=list)
    colors: list[str] = field(default_factory=list)  # "" where there is none
    uvs: list[str] = field(default_factory=list)
    faces: list[tuple[int, list[tuple[int, int]], str]] = field(default_factory=list)
    library: str = ""


def tidy_obj(path: Path, data: bytes) -> tuple[bytes, bool]:
    """Return the same triangles and colours as plain OBJ text, and whether it has textures.

    Vertices keep their order, unused ones included. Texture coordinates are kept only where the
    material library names a texture, because only then do they justify split vertices.

    Raises:
        FileError: A line cannot be read, or a face names a vertex that does not exist.
    """
    obj = _read(path, data.decode("utf-8", errors="replace"))
    for line, corners, _ in obj.faces:
        _check_range(path, line, [v for v, _ in corners], len(obj.positions), "vertex")
        _check_range(path, line, [t for _, t in corners], len(obj.uvs), "texture coordinate")
    textured = bool(obj.library) and _has_textures(path, obj.library)
    lines = [*_vertex_lines(obj, textured), *_face_lines(obj, textured), ""]
    return "\n".join(lines).encode(), textured


def _read(path: Path, text: str) -> _Obj:
    obj, material = _Obj(), ""
    text = re.sub(r"\\\r?\n", " ", text)
    for number, raw in enumerate(text.splitlines(), 1):
        key, _, rest = raw.split("#", 1)[0].strip().partition(" ")
        if "\t" in key:
            key, _, rest = raw.split("#", 1)[0].strip().partition("\t")
        try:
            if key == "v":
                words = _numbers(rest, 3)
                obj.positions.append(" ".join(words[:3]))
                obj.colors.append(" ".join(words[3:6]) if len(words) >= 6 else "")
            elif key == "vt":
                obj.uvs.append(" ".join([*_numbers(rest, 1), "0"][:2]))
            elif key == "f":
                obj.faces.append((number, _corners(rest, obj), material))
            elif key == "usemtl":
                material = rest.strip()
            elif key == "mtllib":
                obj.library = obj.library or rest.strip().replace("\\", "/")
        except ValueError as cause:
            raise FileError(
                f"`{path}` is not a whole OBJ file: line {number}, {raw.strip()[:60]!r}, {cause}."
            ) from cause
    return obj


def _numbers(rest: str, least: int) -> list[str]:
    words = rest.split()
    if len(words) < least:
        raise ValueError(f"has {len(words)} of at least {least} numbers")
    for word in words:
        float(word)
    return words


def _corners(rest: str, obj: _Obj) -> list[tuple[int, int]]:
    """Read "v", "v/vt", "v//vn" or "v/vt/vn" corners as 1-based indices; 0 is no texture."""
    corners = []
    for word in rest.split():
        v, t, *_ = [*word.split("/"), ""]
        corners.append((_absolute(v, len(obj.positions)), _absolute(t, len(obj.uvs)) if t else 0))
    if len(corners) < 3:
        raise ValueError(f"has {len(corners)} of at least 3 corners")
    if any(t == 0 for _, t in corners):
        return [(v, 0) for v, _ in corners]
    return corners


def _absolute(word: str, so_far: int) -> int:
    index = int(word)
    if index == 0:
        raise ValueError("has an index 0, and OBJ counts from 1")
    if index < -so_far:
        raise ValueError(f"has an index {index}, and only {so_far} came before")
    return index if index > 0 else so_far + 1 + index


def _check_range(path: Path, line: int, indices: list[int], count: int, what: str) -> None:
    if max(indices) > count:
        raise FileError(
            f"`{path}` is damaged or cut off: the face in line {line} refers to {what} "
            f"{max(indices)}, but the file has {count}."
        )


def _has_textures(path: Path, library: str) -> bool:
    """Look for textures in the material library, and warn about files that are not there."""
    try:
        text = (path.parent / library).read_text(errors="replace")
    except OSError:
        warnings.warn(f"`{path}` names the materials `{library}`, which cannot be read; its faces "
                      "get no material colours.", stacklevel=5)  # fmt: skip
        return False
    images = re.findall(r"(?im)^[ \t]*map_kd[ \t]+(.+?)[ \t]*$", text)
    missing = [image for image in images if not (path.parent / image).is_file()]
    if missing:
        warnings.warn(f"`{path}` needs the texture `{missing[0]}`, which is not there; the plain "
                      "colour of its material is taken.", stacklevel=5)  # fmt: skip
    return len(missing) < len(images)


def _vertex_lines(obj: _Obj, textured: bool) -> list[str]:
    lines = [f"mtllib {obj.library}"] if obj.library else []
    colored = any(obj.colors)
    for position, color in zip(obj.positions, obj.colors, strict=True):
        lines.append(f"v {position} {color or _GREY}" if colored else f"v {position}")
    if textured:
        lines += [f"vt {uv}" for uv in obj.uvs]
    return lines


def _face_lines(obj: _Obj, textured: bool) -> list[str]:
    mapped = {material for _, corners, material in obj.faces if corners[0][1] > 0}
    lines, current = [], ""
    for _, corners, material in obj.faces:
        keep_uv = textured and corners[0][1] > 0
        # One material with and without texture coordinates would confuse the two.
        named = _NO_MATERIAL if textured and not keep_uv and material in mapped else material
        if obj.library and named != current:
            lines.append(f"usemtl {named or _NO_MATERIAL}")
            current = named
        words = [f"{v}/{t}" if keep_uv else f"{v}" for v, t in corners]
        lines += [f"f {words[0]} {b} {c}" for b, c in pairwise(words[1:])]
    return lines

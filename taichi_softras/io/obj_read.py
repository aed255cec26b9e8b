"""OBJ files: every index resolved and checked, polygons cut into triangles in their own order.

Vertices keep their order, unused ones included; normals are not read. Texture coordinates stay
apart from the vertices, so seams split nothing. That is why trimesh does not read these files: it
gives each vertex one coordinate, and so splits vertices along seams.
"""

import re
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from taichi_softras.errors import FileError
from taichi_softras.io.mesh_parts import Floats, Ints, Part
from taichi_softras.io.mtl_read import MtlMaterial, dressed, read_libraries
from taichi_softras.io.skin import GREY, UNCOLORED, Material, Skin
from taichi_softras.io.texture_images import TextureImages


@dataclass
class _Obj:
    """What has been read so far; faces keep (line, corners (vertex, coordinate), material)."""

    positions: list[list[float]] = field(default_factory=list)
    colors: list[list[float] | None] = field(default_factory=list)
    uvs: list[list[float]] = field(default_factory=list)
    faces: list[tuple[int, list[tuple[int, int]], str]] = field(default_factory=list)
    libraries: list[str] = field(default_factory=list)


def read_obj(path: Path, data: bytes) -> tuple[Part, Skin | None]:
    """Read the triangles, and their texture where an image is used.

    Without one, colours are those of the vertices; or else those of the materials: one becomes
    vertex colours, several face colours. With one, vertex colours are left out.

    Raises:
        FileError: A line cannot be read, a face names a vertex that does not exist, or a file that
            it names is elsewhere or damaged.
    """
    obj = _read(path, data.decode("utf-8", errors="replace"))
    for line, corners, _ in obj.faces:
        _check_range(path, line, [v for v, _ in corners], len(obj.positions), "vertex")
        _check_range(path, line, [t for _, t in corners], len(obj.uvs), "texture coordinate")
    library = read_libraries(path, obj.libraries)
    triangles = [
        ((corners[0], b, c), polygon)
        for polygon, (_, corners, _) in enumerate(obj.faces)
        for b, c in pairwise(corners[1:])
    ]
    indices = np.array([t for t, _ in triangles], np.int64).reshape(-1, 3, 2) - 1
    polygon = np.array([i for _, i in triangles], np.int64)
    part = Part(np.array(obj.positions).reshape(-1, 3), np.ascontiguousarray(indices[..., 0]))
    materials, of_polygon = _materials(path, obj, library)
    uvs, uv_faces = np.array(obj.uvs).reshape(-1, 2), np.ascontiguousarray(indices[..., 1])
    if (uv_faces < 0).any():  # whatever they read, it is the same
        uvs, uv_faces = np.vstack([uvs, [0.0, 0.0]]), np.where(uv_faces < 0, len(uvs), uv_faces)
    skin = Skin(materials, uvs, uv_faces, of_polygon[polygon])
    if skin.textured:
        return part, skin
    return _plain(part, obj, skin, bool(library)), None


def _materials(
    path: Path, obj: _Obj, library: dict[str, MtlMaterial]
) -> tuple[list[Material], Ints]:
    """List the materials that faces have, in the library's order, and say which has which."""
    wanted = {name for _, _, name in obj.faces}
    mapped = {name for _, corners, name in obj.faces if corners[0][1] > 0}
    images = TextureImages()
    named = {
        name: dressed(path, found if name in mapped else replace(found, image=""), images)
        for name, found in library.items() if name in wanted
    }  # fmt: skip
    materials = [*named.values(), Material(UNCOLORED, GREY)]
    last = len(materials) - 1
    numbers = {name: i for i, name in enumerate(named)}
    of_polygon = []
    for _, corners, name in obj.faces:
        number = numbers.get(name, last)
        bare = materials[number].image is not None and corners[0][1] == 0
        of_polygon.append(last if bare else number)
    kept = np.array(of_polygon, np.int64)
    present, renumbered = np.unique(kept, return_inverse=True)
    return [materials[i] for i in present], renumbered.reshape(-1)


def _plain(part: Part, obj: _Obj, skin: Skin, has_library: bool) -> Part:
    """Colour what has no image: by its vertices, one material or several."""
    if any(color is not None for color in obj.colors):
        colors = np.array([GREY if color is None else color for color in obj.colors])
        return replace(part, vertex_colors=colors)
    if not has_library or {m.name for m in skin.materials} == {UNCOLORED}:
        return part
    shades: Floats = np.array([m.color for m in skin.materials])
    if (shades == shades[0]).all():
        return replace(part, vertex_colors=np.tile(shades[0], (len(part.vertices), 1)))
    return replace(part, face_colors=shades[skin.face_materials])


def _read(path: Path, text: str) -> _Obj:
    obj, material = _Obj(), ""
    text = re.sub(r"\\\r?\n", " ", text)
    for number, raw in enumerate(text.splitlines(), 1):
        key, rest = [*raw.split(None, 1), "", ""][:2]
        try:
            if key == "v":
                words = _numbers(rest, 3)
                obj.positions.append(words[:3])
                obj.colors.append(words[3:6] if len(words) >= 6 else None)
            elif key == "vt":
                obj.uvs.append([*_numbers(rest, 1), 0.0][:2])
            elif key == "f":
                obj.faces.append((number, _corners(rest, obj), material))
            elif key == "usemtl":
                material = rest.strip()
            elif key == "mtllib" and rest.strip():
                obj.libraries.append(rest.strip())
        except ValueError as cause:
            raise FileError(
                f"`{path}` is not a whole OBJ file: line {number}, {raw.strip()[:60]!r}, {cause}."
            ) from cause
    return obj


def _numbers(rest: str, least: int) -> list[float]:
    words = rest.split("#", 1)[0].split()
    if len(words) < least:
        raise ValueError(f"has {len(words)} of at least {least} numbers")
    return [float(word) for word in words]


def _corners(rest: str, obj: _Obj) -> list[tuple[int, int]]:
    """Read "v", "v/vt", "v//vn" or "v/vt/vn" corners as 1-based indices; 0 is no texture."""
    corners = []
    for word in rest.split("#", 1)[0].split():
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

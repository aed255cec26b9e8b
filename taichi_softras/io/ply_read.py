"""PLY files: polygons become triangles, and `TextureFile`s their texture."""

import re
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from taichi_softras.errors import FileError
from taichi_softras.io.linked_files import linked_bytes
from taichi_softras.io.mesh_parts import Floats, Ints, Part, fans, unit
from taichi_softras.io.ply_rows import TYPES, Element, Property, read_binary, read_text
from taichi_softras.io.skin import Material, Skin
from taichi_softras.io.texture_images import TextureImages

_CORNERS = ("vertex_indices", "vertex_index")
_COORDINATES = (("texture_u", "texture_v"), ("u", "v"), ("s", "t"))


def read_ply(path: Path, data: bytes) -> tuple[Part, Skin | None]:
    """Read the triangles, and their texture where the file has an image and coordinates.

    Coordinates are those of the vertices, or the list `texcoord` of each face with the image
    `texnumber`, as MeshLab writes them. With a texture, colours are left out.

    Raises:
        FileError: The header is not PLY's, the data end before what it promises, or an image is
            elsewhere or damaged.
    """
    found = re.match(rb"ply\s.*?\nend_header[ \t]*\r?\n", data, re.DOTALL)
    if not found:
        raise FileError(f"`{path}` has no whole PLY header (`ply` to `end_header`).")
    header = found.group().decode("utf-8", errors="replace")
    elements = _filled(path, header, data[found.end() :])
    vertex, face = elements.get("vertex"), elements.get("face")
    lists = {} if face is None else face.lists
    corners = next((lists[n] for n in _CORNERS if n in lists), next(iter(lists.values()), None))
    if vertex is None or face is None or corners is None:
        return Part(np.zeros((0, 3)), np.zeros((0, 3), np.int64)), None
    if not {"x", "y", "z"} <= set(vertex.numbers):
        raise FileError(f"`{path}` has vertices without x, y and z.")
    vertices = np.column_stack([vertex.numbers[axis] for axis in "xyz"]).astype(np.float64)
    places, of_face = fans(corners.counts)
    part = Part(vertices, corners.values.astype(np.int64)[places])
    if (
        skin := _skin(path, header, elements, corners.counts, places, of_face, part.faces)
    ) is not None:
        return part, skin
    colors, shades = _colors(vertex), _colors(face)
    if colors is None and shades is not None:
        return replace(part, face_colors=shades[of_face]), None
    return replace(part, vertex_colors=colors), None


def _filled(path: Path, header: str, body: bytes) -> dict[str, Element]:
    """Read all elements; of those that are called the same the first counts."""
    try:
        style, elements = _parse_header(header)
    except (KeyError, IndexError, ValueError) as cause:
        raise FileError(f"`{path}` has a PLY header that cannot be read: {cause}.") from cause
    try:
        if style == "ascii":
            read_text(body, elements)
        else:
            read_binary(body, elements, ">" if style.endswith("big_endian") else "<")
    except (IndexError, ValueError) as cause:
        promised = ", ".join(f"{e.rows} x {e.name}" for e in elements)
        bad = next((e.name for e in elements if not e.filled), elements[-1].name)
        raise FileError(
            f"`{path}` is cut off or damaged: its header promises {promised}, "
            f"but the data end within `{bad}`."
        ) from cause
    return {element.name: element for element in reversed(elements)}


def _parse_header(text: str) -> tuple[str, list[Element]]:
    style = ""
    elements: list[Element] = []
    for line in text.splitlines():
        words = line.split()
        if not words:
            continue
        if words[0] == "format":
            style = words[1]
        elif words[0] == "element":
            elements.append(Element(words[1], int(words[2])))
            if elements[-1].rows < 0:
                raise ValueError(f"{words[1]} has {words[2]} rows")
        elif words[0] == "property" and words[1] == "list":
            elements[-1].properties.append(Property(words[4], TYPES[words[3]], TYPES[words[2]]))
        elif words[0] == "property":
            elements[-1].properties.append(Property(words[2], TYPES[words[1]]))
    if style not in ("ascii", "binary_little_endian", "binary_big_endian"):
        raise ValueError(f"format {style!r} is not known")
    return style, elements


def _skin(
    path: Path,
    header: str,
    elements: dict[str, Element],
    counts: Ints,  # [polygons] their corners
    places: Ints,  # [F, 3] corners of the triangles, counted over all polygons
    of_face: Ints,  # [F] their polygons
    faces: Ints,  # [F, 3]
) -> Skin | None:
    names = re.findall(r"(?im)^comment[ \t]+texturefile[ \t]+(.*?)[ \t]*\r?$", header)
    vertex, face = elements["vertex"], elements["face"]
    wedges = face.lists.get("texcoord")
    pair = next((p for p in _COORDINATES if set(p) <= set(vertex.numbers)), None)
    if not names or (wedges is None and pair is None):
        return None
    if wedges is not None:
        if not np.array_equal(wedges.counts, 2 * counts):
            raise FileError(f"`{path}` is damaged: its `texcoord` lists do not fit its faces.")
        uvs, uv_faces = wedges.values.reshape(-1, 2), places
    else:
        assert pair is not None
        uvs, uv_faces = np.column_stack([vertex.numbers[name] for name in pair]), faces
    numbers = face.numbers.get("texnumber", np.zeros(face.rows, np.int64)).astype(np.int64)
    known = (numbers >= 0) & (numbers < len(names))
    chosen, of_polygon = np.unique(np.where(known, numbers, len(names)), return_inverse=True)
    materials = _materials(path, {i: names[i] if i < len(names) else "" for i in chosen.tolist()})
    skin = Skin(materials, uvs.astype(np.float64), uv_faces, of_polygon.reshape(-1)[of_face])
    return skin if skin.textured else None


def _materials(path: Path, names: dict[int, str]) -> list[Material]:
    """Open images by number, or say that one is not there; "" is of faces that have none."""
    images, materials = TextureImages(), []
    for i, name in names.items():
        data = linked_bytes(path, name) if name else None
        if data is not None:
            texels = images.get(name, partial(bytes, data), f"`{path.parent / name}`")
            materials.append(Material(f"material_{i}", (1.0, 1.0, 1.0), texels))
            continue
        if name:
            warnings.warn(f"`{path}` needs the texture `{name}`, which is not there.",
                          stacklevel=2)  # fmt: skip
        materials.append(Material(f"material_{i}" if name else "uncoloured"))
    return materials


def _colors(element: Element) -> Floats | None:
    channels = [element.numbers.get(name) for name in ("red", "green", "blue")]
    present = [channel for channel in channels if channel is not None]
    return unit(np.column_stack(present)) if len(present) == 3 else None

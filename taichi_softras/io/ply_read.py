"""PLY files, with the image that a `TextureFile` names."""

import io
import re
from pathlib import Path

import numpy as np

from taichi_softras.errors import FileError
from taichi_softras.io.files import warn_caller
from taichi_softras.io.linked_files import linked_bytes
from taichi_softras.io.mesh_parts import Part, unit
from taichi_softras.io.ply_tidy import Element, tidy_ply
from taichi_softras.io.skin import Material, Skin
from taichi_softras.io.texture_images import TextureImages

_COORDINATES = (("texture_u", "texture_v"), ("u", "v"), ("s", "t"))
_COLORS = ("red", "green", "blue")


def read_ply(path: Path, data: bytes) -> tuple[Part, Skin | None]:
    """Read the triangles, and their texture where the file has an image and coordinates.

    Coordinates are those of the vertices, or the list `texcoord` of each face: trimesh splits the
    vertices for these, and those at one place are joined again. With a texture, colours are left
    out; else those of vertices come before those of faces, both of 8 bits. Which image a face has
    (`texnumber`) is not read: where there is one, it is on all.

    Raises:
        FileError: The header is not PLY's, the data end before what it promises, or an image is
            elsewhere or damaged.
    """
    import trimesh

    header, elements, rows = tidy_ply(path, data)
    vertex, face = elements.get("vertex"), elements.get("face")
    if vertex is None or face is None:
        return Part(np.zeros((0, 3)), np.zeros((0, 3), np.int64)), None
    if not set("xyz") <= vertex.names or not face.cut:
        raise FileError(f"`{path}` has vertices without x, y and z, or faces without one list "
                        "`vertex_indices`.")  # fmt: skip
    wedges = "texcoord" in face.names
    mapped = wedges or any(set(pair) <= vertex.names for pair in _COORDINATES)
    material = _material(path, header, numbered="texnumber" in face.names) if mapped else None
    hidden = ["alpha", *_bad_colors(path, vertex, face)]
    hidden += [] if material is not None else ["texcoord", *np.ravel(_COORDINATES)]
    scene = trimesh.load_scene(
        io.BytesIO(_plain(header, hidden).encode() + rows),
        file_type="ply",
        process=False,
        fix_texture=wedges,
    )
    mesh = next((g for g in scene.geometry.values() if hasattr(g, "faces")), None)
    if mesh is None:
        return Part(np.zeros((0, 3)), np.zeros((0, 3), np.int64)), None
    part = Part(np.array(mesh.vertices, np.float64), np.array(mesh.faces, np.int64))
    if material is not None:
        skin = Skin([material], np.array(mesh.visual.uv, np.float64), part.faces,
                    np.zeros(len(part.faces), np.int64))  # fmt: skip
        return (part.welded() if wedges else part), skin
    kind, visual = mesh.visual.kind, mesh.visual
    colors = unit(np.asarray(visual.vertex_colors)) if kind == "vertex" else None
    shades = unit(np.asarray(visual.face_colors)) if kind == "face" else None
    return Part(part.vertices, part.faces, colors, shades), None


def _plain(header: str, hidden: list[str]) -> str:
    """Rename what trimesh is not to see, edges among it, and leave out comments."""
    header = re.sub(r"(?m)^(comment|obj_info)\b.*\n|^\s*\n", "", header)
    header = re.sub(r"(?m)^element\s+edge\b", "element _edge", header)
    return re.sub(rf"(?m)^(property\s.*\s)({'|'.join(hidden)})\s*$", r"\1_\2", header)


def _material(path: Path, header: str, *, numbered: bool) -> Material | None:
    """Open the image of a header; None, with a warning, where it is not there or one of several.

    Where faces have no number of an image (`texnumber`), all have the first.
    """
    names = re.findall(r"(?im)^comment[ \t]+texturefile[ \t]+(.*?)[ \t]*\r?$", header)
    if len(names) > 1 and numbered:
        warn_caller(
            f"`{path}` has {len(names)} textures, and of a PLY file only one is read: it gets none "
            "here. OBJ and GLB hold several."
        )
        return None
    if not names:
        return None
    data = linked_bytes(path, names[0])
    if data is None:
        warn_caller(f"`{path}` needs the texture `{names[0]}`, which is not there.")
        return None
    texels = TextureImages().get(names[0], lambda: data, f"`{path.parent / names[0]}`")
    return Material("material_0", (1.0, 1.0, 1.0), texels)


def _bad_colors(path: Path, *elements: Element) -> list[str]:
    """Return the names of colours if trimesh would read them wrongly, with a warning."""
    found = {k for e in elements for name, k, _ in e.properties if name in _COLORS}
    if not found - {"u1", "f4", "f8"}:
        return []
    warn_caller(f"`{path}` has colours that are integers of more than 8 bits, which are not read.")
    return list(_COLORS)

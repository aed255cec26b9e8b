"""Textured GLB files."""

import json
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taichi_softras.io.mesh_parts import Part
from taichi_softras.io.obj_save import png
from taichi_softras.io.skin import Material, Skin

_WRAPS = {"wrap": 10497, "clamp": 33071, "mirror": 33648}
_MAGNIFIED = {"nearest": 9728, "bilinear": 9729, "mipmap": 9729}
_REDUCED = {"nearest": 9728, "bilinear": 9729, "mipmap": 9987}
_VERTICES, _INDICES = 34962, 34963


class _Glb:
    """A GLB while it is put together."""

    def __init__(self) -> None:
        self.chunk = bytearray()
        self.tree: dict[str, Any] = {
            "asset": {"version": "2.0", "generator": "taichi_softras"},
            "scene": 0, "scenes": [{"nodes": [0]}], "nodes": [{"mesh": 0}],
            "accessors": [], "bufferViews": [],
        }  # fmt: skip

    def add(self, kind: str, item: dict[str, Any]) -> int:
        """Append to a list of the tree and return the index."""
        items = self.tree.setdefault(kind, [])
        items.append(item)
        return len(items) - 1

    def view(self, data: bytes, target: int | None = None) -> int:
        """Append bytes, at a multiple of 4."""
        self.chunk += b"\0" * (-len(self.chunk) % 4)
        view = {"buffer": 0, "byteOffset": len(self.chunk), "byteLength": len(data)}
        self.chunk += data
        return self.add("bufferViews", view | ({} if target is None else {"target": target}))

    def accessor(self, rows: NDArray[Any], component: int, target: int, **more: Any) -> int:
        """Append an array. [N] or [N, W]."""
        kind = "SCALAR" if rows.ndim == 1 else f"VEC{rows.shape[1]}"
        accessor = {"bufferView": self.view(rows.tobytes(), target), "componentType": component,
                    "count": len(rows), "type": kind}  # fmt: skip
        return self.add("accessors", accessor | more)

    def encoded(self) -> bytes:
        """Return the file."""
        self.chunk += b"\0" * (-len(self.chunk) % 4)
        self.tree["buffers"] = [{"byteLength": len(self.chunk)}]
        tree = json.dumps(self.tree, separators=(",", ":")).encode()
        tree += b" " * (-len(tree) % 4)
        chunks = struct.pack("<I4s", len(tree), b"JSON") + tree
        chunks += struct.pack("<I4s", len(self.chunk), b"BIN\0") + bytes(self.chunk)
        return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def glb_bytes(part: Part, skin: Skin) -> bytes:
    """Write one mesh with a primitive for each material that faces have.

    All share one set of vertices, split at the seams and sorted by the vertex they were, so that
    joining them gives the old numbers back.
    """
    rows, places = _split(part.faces, skin.uv_faces, len(part.vertices), len(skin.uvs))
    vertices = part.vertices[rows[:, 0]].astype("<f4")
    finite = vertices[np.isfinite(vertices).all(axis=1)]
    finite = finite if len(finite) else np.zeros((1, 3), "<f4")
    uvs = np.concatenate([skin.uvs, [[0.0, 1.0]]])[rows[:, 1]]
    uvs[:, 1] = 1.0 - uvs[:, 1]
    glb = _Glb()
    attributes = {
        "POSITION": glb.accessor(
            vertices, 5126, _VERTICES, min=finite.min(0).tolist(), max=finite.max(0).tolist()
        ),
        "TEXCOORD_0": glb.accessor(uvs.astype("<f4"), 5126, _VERTICES),
    }
    if part.vertex_colors is not None:
        levels = np.rint(part.vertex_colors[rows[:, 0]] * 255.0).astype(np.uint8)
        opaque = np.concatenate([levels, np.full((len(levels), 1), 255, np.uint8)], axis=1)
        attributes["COLOR_0"] = glb.accessor(opaque, 5121, _VERTICES, normalized=True)
    images: dict[int, int] = {}
    for material in skin.materials:
        glb.add("materials", _material(glb, material, images))
    primitives = []
    for i in np.unique(skin.face_materials).tolist():
        indices = places[skin.face_materials == i].ravel().astype("<u4")
        primitives.append({"attributes": attributes, "material": i,
                           "indices": glb.accessor(indices, 5125, _INDICES)})  # fmt: skip
    glb.add("meshes", {"primitives": primitives})
    return glb.encoded()


def _split(
    faces: NDArray[np.int64], uv_faces: NDArray[np.int64], n_vertices: int, n_uvs: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return each pair (vertex, coordinate) once [N, 2], and which the corners have [F, 3].

    Vertices without a face have the coordinate `n_uvs`.
    """
    unused = np.ones(n_vertices, bool)
    unused[faces] = False
    keys = faces * (n_uvs + 1) + uv_faces
    lone = np.flatnonzero(unused) * (n_uvs + 1) + n_uvs
    kept, places = np.unique(np.concatenate([keys.ravel(), lone]), return_inverse=True)
    rows = np.stack([kept // (n_uvs + 1), kept % (n_uvs + 1)], -1)
    return rows, places.reshape(-1)[: keys.size].reshape(-1, 3)


def _material(glb: _Glb, material: Material, images: dict[int, int]) -> dict[str, Any]:
    base: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": 1.0}
    if material.color != (1.0, 1.0, 1.0):
        base["baseColorFactor"] = [*material.color, 1.0]
    if material.image is not None:
        if id(material.image) not in images:
            image = {"bufferView": glb.view(png(material.image)), "mimeType": "image/png"}
            images[id(material.image)] = glb.add("images", image)
        wrap = _WRAPS[material.wrap]
        sampler = {"wrapS": wrap, "wrapT": wrap, "magFilter": _MAGNIFIED[material.filter],
                   "minFilter": _REDUCED[material.filter]}  # fmt: skip
        texture = {"source": images[id(material.image)], "sampler": glb.add("samplers", sampler)}
        base["baseColorTexture"] = {"index": glb.add("textures", texture)}
    return {"name": material.name, "pbrMetallicRoughness": base, "doubleSided": True}

"""The JSON of a glTF file, checked and reduced to what trimesh reads rightly.

trimesh takes an index of -1 for the last item, ignores `normalized` and sparse changes, reads
TEXCOORD_0 only, drops a node that has a camera, and opens images that nothing needs. So it gets a
new tree: a mesh for each primitive, called by its number; colours and coordinates as attributes of
the user's own (with an underscore), which it hands on as they are; and a material for each image.
"""

import json
import struct
from pathlib import Path
from typing import Any, NamedTuple

from taichi_softras.errors import FileError
from taichi_softras.io.files import warn_caller

_GLB_HEADER, _CHUNK_HEADER, _JSON_CHUNK, _BIN_CHUNK = 12, 8, 0x4E4F534A, 0x004E4942
_TRIANGLES, _STRIP, _FAN, _FLOAT = 4, 5, 6, 5126
_COMPRESSED = ("KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_meshopt_compression")
_TYPES = {
    "POSITION": ("VEC3",),
    "_UV": ("VEC2",),
    "_COLOR": ("VEC3", "VEC4"),
    "indices": ("SCALAR",),
}
_POSES = ("matrix", "translation", "rotation", "scale")
_WHOLE = {
    "accessors": ("bufferView", "byteOffset", "count"),
    "bufferViews": ("buffer", "byteOffset", "byteLength", "byteStride"),
}
# Nodes may repeat a mesh, so a small file can ask for any number of triangles.
_MAX_FACES = 10**8

CHUNK = "\0chunk"
"""What the reduced tree calls the binary chunk of a GLB file."""


class Primitive(NamedTuple):
    """What trimesh does not tell of a primitive."""

    material: int | None
    image: int | None
    """None where the material has none, or the primitive no coordinates for it."""
    faces: int
    """At least how many triangles."""


class GltfTree:
    """A glTF file before its arrays are read.

    Whatever is missing or of the wrong kind shows as KeyError, IndexError, TypeError or
    ValueError, which the caller tells of.
    """

    def __init__(self, path: Path, data: bytes) -> None:
        self.path = path
        self.chunk: bytes | None = None
        if path.suffix.lower() == ".glb":
            data, self.chunk = _glb_chunks(path, data)
        try:
            self.json: dict[str, Any] = json.loads(data)
        except ValueError as cause:
            raise FileError(
                f"`{path}` is cut off or no glTF: its JSON ends early ({cause})."
            ) from cause
        if not isinstance(self.json, dict):
            raise FileError(f"`{path}` is no glTF: its JSON is no object.")
        required = self.json.get("extensionsRequired", [])
        if needed := [name for name in _COMPRESSED if name in required]:
            raise FileError(
                f"`{path}` is compressed with {needed[0]}, which is not read; export it without."
            )
        for kind, keys in _WHOLE.items():
            for item in self.json.get(kind, []):
                if any(type(item.get(k, 0)) is not int or item.get(k, 0) < 0 for k in keys):
                    raise ValueError(f"{item} of {kind} has numbers that are no counts")
        self.split = False
        """Whether vertices may be split for normals or coordinates."""
        self.primitives: list[Primitive] = []
        self._meshes: list[dict[str, Any]] = []
        below = [
            [n for raw in mesh["primitives"] if (n := self._primitive(raw)) is not None]
            for mesh in self.json.get("meshes", [])
        ]
        used = {p.image for p in self.primitives}
        images = self.json.get("images", [])
        self.reduced = {
            "asset": {"version": "2.0"},
            "buffers": [self._buffer(i) for i in range(len(self.json.get("buffers", [])))],
            **{kind: self.json.get(kind, []) for kind in _WHOLE},
            "meshes": self._meshes,
            "images": [image if i in used else {} for i, image in enumerate(images)],
            "textures": [{"source": i} for i in range(len(images))],
            "materials": [
                {"pbrMetallicRoughness": {"baseColorTexture": {"index": i}}}
                for i in range(len(images))
            ],
            **self._scene(below),
        }

    def item(self, kind: str, index: object) -> dict[str, Any]:
        """Return element `index` of the list `kind`, such as "nodes"."""
        items = self.json.get(kind, [])
        if type(index) is not int or not 0 <= index < len(items):
            raise IndexError(f"{kind} {index!r} of {len(items)}")
        found: dict[str, Any] = items[index]
        return found

    def texture(self, material: int | None) -> dict[str, Any]:
        """Return the textureInfo of a material's base colour; {} where it has none."""
        found = {} if material is None else self.item("materials", material)
        info: dict[str, Any] = found.get("pbrMetallicRoughness", {}).get("baseColorTexture", {})
        return info

    def _primitive(self, raw: dict[str, Any]) -> int | None:
        """Add one primitive; return its number, or None where it has no triangles."""
        mode, attributes = raw.get("mode", _TRIANGLES), raw["attributes"]
        self.split |= not {"NORMAL", "TEXCOORD_0"}.isdisjoint(attributes)
        if mode == _FAN:
            raise FileError(
                f"`{self.path}` has triangle fans, which are not read; export it with triangles."
            )
        if mode not in (_TRIANGLES, _STRIP) or "POSITION" not in attributes:
            return None
        count = self.item("accessors", raw.get("indices", attributes["POSITION"]))["count"]
        if count < 3:
            return None
        info = self.texture(raw.get("material"))
        change = info.get("extensions", {}).get("KHR_texture_transform", {})
        channel = f"TEXCOORD_{change.get('texCoord', info.get('texCoord', 0))}"
        taken = {"POSITION": "POSITION", channel: "_UV", "COLOR_0": "_COLOR"}
        named = {new: attributes[old] for old, new in taken.items() if old in attributes}
        kept = {"mode": mode, "attributes": named}
        kept |= {"indices": raw["indices"]} if "indices" in raw else {}
        for name, index in {**named, **kept}.items():
            if name in _TYPES:
                self._check_accessor(name, index)
        image = self._image(info) if info and "_UV" in named else None
        if image is not None:
            kept["material"] = image
        number = len(self.primitives)
        self._meshes.append({"name": str(number), "primitives": [kept]})
        self.primitives.append(Primitive(raw.get("material"), image, count // 3))
        return number

    def _check_accessor(self, name: str, index: object) -> None:
        found = self.item("accessors", index)
        component, normalized = found["componentType"], bool(found.get("normalized", False))
        if found["type"] not in _TYPES[name] or (name == "indices" and component == _FLOAT):
            raise ValueError(f"accessor {index} has {found['type']} of type {component}")
        if "sparse" in found or "bufferView" not in found:
            raise FileError(
                f"`{self.path}` is damaged, sparse or compressed: accessor {index} does not hold "
                "all its data, which is not read."
            )
        self.item("buffers", self.item("bufferViews", found["bufferView"])["buffer"])
        of_a_whole = {"POSITION": False, "_UV": True}.get(name, normalized)
        if component != _FLOAT and normalized != of_a_whole:
            raise FileError(
                f"`{self.path}` has quantised vertices (accessor {index}) of a kind that is not "
                "read; export it without."
            )

    def _buffer(self, index: int) -> dict[str, Any]:
        uri = self.item("buffers", index).get("uri")
        if uri is None and (index or self.chunk is None):
            raise FileError(f"`{self.path}` is damaged: it has no data for buffer {index}.")
        return {"uri": CHUNK if uri is None else uri}

    def _image(self, info: dict[str, Any]) -> int | None:
        """Return the image of a texture; None, with a warning, where it is of an unknown kind."""
        texture = self.item("textures", info["index"])
        webp = texture.get("extensions", {}).get("EXT_texture_webp", {}).get("source")
        index: int | None = texture.get("source", webp)
        if index is None:
            warn_caller(
                f"`{self.path}` has a texture of a kind that is not read (only PNG, JPEG and WebP "
                "are); the plain colour is taken."
            )
            return None
        image = self.item("images", index)
        if "bufferView" in image:
            self.item("bufferViews", image["bufferView"])
        return index

    def _scene(self, primitives: list[list[int]]) -> dict[str, Any]:
        """Return the scene's nodes, and below each one for every primitive of its mesh."""
        nodes = self.json.get("nodes", [])
        below = [child for node in nodes for child in node.get("children", [])]
        if "scenes" in self.json:
            roots = self.item("scenes", self.json.get("scene", 0)).get("nodes", [])
        else:
            roots = sorted(set(range(len(nodes))) - set(below))
        for index in [*roots, *below]:
            self.item("nodes", index)
        if len({*roots, *below}) < len(roots) + len(below):
            raise FileError(f"`{self.path}` is damaged: a node of it has several parents.")
        kept = [{key: node[key] for key in _POSES if key in node} for node in nodes]
        total = 0
        for i, node in enumerate(nodes):
            kept[i]["children"] = list(node.get("children", []))
            if "mesh" not in node:
                continue
            self.item("meshes", node["mesh"])
            for number in primitives[node["mesh"]]:
                total += self.primitives[number].faces
                if total > _MAX_FACES:
                    raise FileError(f"`{self.path}` has more than {_MAX_FACES} triangles.")
                kept[i]["children"].append(len(kept))
                kept.append({"mesh": number})
        return {"nodes": kept, "scenes": [{"nodes": roots}], "scene": 0}


def _glb_chunks(path: Path, data: bytes) -> tuple[bytes, bytes | None]:
    """Return the JSON and the first binary chunk, if there is one."""
    if data[:4] != b"glTF":
        raise FileError(f"`{path}` is no GLB: it does not begin with `glTF`.")
    if len(data) < _GLB_HEADER + _CHUNK_HEADER:
        raise FileError(f"`{path}` is cut off: {len(data)} bytes are no GLB.")
    version, length, size, kind = struct.unpack_from("<IIII", data, 4)
    if version != 2:
        raise FileError(f"`{path}` is GLB version {version}; version 2 is read.")
    if len(data) < length:
        raise FileError(
            f"`{path}` is cut off: its header promises {length} bytes, the file has {len(data)}."
        )
    if kind != _JSON_CHUNK:
        raise FileError(f"`{path}` is damaged: its first chunk is not JSON.")
    at = _GLB_HEADER + _CHUNK_HEADER
    tree, at = data[at : at + size], at + size
    while at + _CHUNK_HEADER <= length:
        size, kind = struct.unpack_from("<II", data, at)
        at += _CHUNK_HEADER
        if kind == _BIN_CHUNK:
            return tree, data[at : at + size]
        at += size
    return tree, None

"""STL, OFF and glTF data, checked against the counts that they state about themselves."""

import json
import struct
from pathlib import Path
from typing import Any

from taichi_softras.errors import FileError

_STL_HEADER, _STL_FACE = 84, 50
_GLB_HEADER, _CHUNK_HEADER, _JSON_CHUNK = 12, 8, 0x4E4F534A
_TRIANGLE_FAN = 6
_COMPRESSED = ("KHR_draco_mesh_compression", "EXT_meshopt_compression")


def check_stl(path: Path, data: bytes) -> None:
    """Raise `FileError` unless all triangles that the STL promises are there."""
    promised = struct.unpack_from("<I", data, 80)[0] if len(data) >= _STL_HEADER else 0
    if len(data) >= _STL_HEADER and len(data) == _STL_HEADER + _STL_FACE * promised:
        return
    text = data.lower()
    if text.lstrip().startswith(b"solid") and (b"facet" in text or len(data) < _STL_HEADER):
        begun, ended = text.count(b"facet normal"), text.count(b"endfacet")
        corners = text.count(b"vertex ")
        if begun != ended or corners != 3 * begun or b"endsolid" not in text:
            raise FileError(
                f"`{path}` is cut off or damaged: a text STL with {begun} facets begun, {ended} "
                f"ended, {corners} vertices and {text.count(b'endsolid')} `endsolid`."
            )
        return
    held = max(0, len(data) - _STL_HEADER) // _STL_FACE
    raise FileError(
        f"`{path}` is cut off or no STL: read as binary it promises {promised} triangles "
        f"and its {len(data)} bytes hold {held}."
    )


def check_off(path: Path, data: bytes) -> None:
    """Raise `FileError` unless all rows that the OFF's first line promises are there."""
    lines = [line.split("#")[0].split() for line in data.decode(errors="replace").splitlines()]
    lines = [words for words in lines if words]
    if not lines or lines[0][0] not in ("OFF", "COFF"):
        raise FileError(f"`{path}` does not begin with OFF or COFF, the kinds that are read.")
    counts = lines[0][1:] or (lines[1] if len(lines) > 1 else [])
    rows = lines[1:] if lines[0][1:] else lines[2:]
    try:
        vertices, faces = int(counts[0]), int(counts[1])
        face_rows = rows[vertices : vertices + faces]
        short = any(len(row) < 3 for row in rows[:vertices])
        short = short or any(len(row) < 1 + int(row[0]) for row in face_rows)
    except (IndexError, ValueError) as cause:
        raise FileError(f"`{path}` is damaged: its counts cannot be read as numbers.") from cause
    if short or len(face_rows) < faces:
        raise FileError(
            f"`{path}` is cut off or damaged: it promises {vertices} vertices and {faces} faces, "
            f"and holds {len(rows)} rows{', some of them short' if short else ''}."
        )


def check_gltf(path: Path, data: bytes) -> bool:
    """Check what glTF says about itself; return whether it may split vertices for normals or UV.

    Raises:
        FileError: The file is cut off, or needs what is not read (compression, triangle fans).
    """
    tree = _gltf_tree(path, data)
    try:
        primitives = [p for mesh in tree.get("meshes", []) for p in mesh["primitives"]]
        fans = any(p.get("mode") == _TRIANGLE_FAN for p in primitives)
        split = any({"NORMAL", "TEXCOORD_0"} & set(p["attributes"]) for p in primitives)
        needed = [name for name in _COMPRESSED if name in tree.get("extensionsRequired", [])]
    except (AttributeError, KeyError, TypeError) as cause:
        raise FileError(f"`{path}` is damaged: its meshes cannot be read ({cause!r}).") from cause
    if needed or fans:
        what = f"is compressed with {needed[0]}" if needed else "has triangle fans"
        raise FileError(f"`{path}` {what}, which is not read; export it without.")
    return split


def _gltf_tree(path: Path, data: bytes) -> dict[str, Any]:
    if path.suffix.lower() == ".glb":
        data = _glb_json(path, data)
    try:
        tree = json.loads(data)
    except ValueError as cause:
        raise FileError(
            f"`{path}` is cut off or no glTF: its JSON ends early ({cause})."
        ) from cause
    if not isinstance(tree, dict):
        raise FileError(f"`{path}` is no glTF: its JSON is no object.")
    return tree


def _glb_json(path: Path, data: bytes) -> bytes:
    if data[:4] != b"glTF":
        raise FileError(f"`{path}` is no GLB: it does not begin with `glTF`.")
    if len(data) < _GLB_HEADER + _CHUNK_HEADER:
        raise FileError(f"`{path}` is cut off: {len(data)} bytes are no GLB.")
    version, length, chunk, kind = struct.unpack_from("<IIII", data, 4)
    if version != 2:
        raise FileError(f"`{path}` is GLB version {version}; version 2 is read.")
    if len(data) < length:
        raise FileError(
            f"`{path}` is cut off: its header promises {length} bytes, the file has {len(data)}."
        )
    if kind != _JSON_CHUNK:
        raise FileError(f"`{path}` is damaged: its first chunk is not JSON.")
    return data[_GLB_HEADER + _CHUNK_HEADER :][:chunk]

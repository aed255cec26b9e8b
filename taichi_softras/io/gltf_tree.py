"""glTF files as JSON and bytes: buffers, accessors and images, each checked against its counts."""

import base64
import json
import struct
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

import numpy as np
from numpy.typing import NDArray

from taichi_softras.errors import FileError
from taichi_softras.io.linked_files import linked_bytes

_GLB_HEADER, _CHUNK_HEADER, _JSON_CHUNK, _BIN_CHUNK = 12, 8, 0x4E4F534A, 0x004E4942
_COMPONENTS = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
# Accessors may be all zeros without any bytes: this many rows are believed.
_MAX_ZEROS = 2**24
_NOT_READ = ("KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_meshopt_compression")


class GltfTree:
    """The JSON of a glTF file, and the bytes that it refers to.

    Whatever is missing or of the wrong kind shows as KeyError, IndexError, TypeError or
    ValueError, which the caller tells of.
    """

    def __init__(self, path: Path, data: bytes) -> None:
        self.path = path
        self._chunk: bytes | None = None
        if path.suffix.lower() == ".glb":
            data, self._chunk = _glb_chunks(path, data)
        try:
            self.json: dict[str, Any] = json.loads(data)
        except ValueError as cause:
            raise FileError(
                f"`{path}` is cut off or no glTF: its JSON ends early ({cause})."
            ) from cause
        if not isinstance(self.json, dict):
            raise FileError(f"`{path}` is no glTF: its JSON is no object.")
        required = self.json.get("extensionsRequired", [])
        if needed := [name for name in _NOT_READ if name in required]:
            raise FileError(
                f"`{path}` is compressed with {needed[0]}, which is not read; export it without."
            )
        self._buffers: dict[int, bytes] = {}

    def item(self, kind: str, index: object) -> dict[str, Any]:
        """Return element `index` of the list `kind`, such as "nodes"."""
        items = self.json.get(kind, [])
        if not isinstance(index, int) or not 0 <= index < len(items):
            raise IndexError(f"{kind} {index!r} of {len(items)}")
        found: dict[str, Any] = items[index]
        return found

    def array(self, index: object, widths: tuple[int, ...]) -> NDArray[Any]:
        """Read an accessor; normalised integers become floats. [N, W], W one of `widths`."""
        accessor = self.item("accessors", index)
        count, width = accessor["count"], _WIDTHS.get(accessor["type"], 0)
        if width not in widths or not isinstance(count, int) or count < 0:
            raise ValueError(f"accessor {index} has {count!r} x {accessor['type']}")
        kind = np.dtype(_COMPONENTS[accessor["componentType"]])
        if "bufferView" in accessor:
            values = self._rows(accessor, kind, count, width)
        elif count > _MAX_ZEROS:
            raise ValueError(f"accessor {index} has {count} rows without data")
        else:
            values = np.zeros((count, width), kind)
        if sparse := accessor.get("sparse"):
            changed, places = sparse["count"], sparse["indices"]
            rows = self._rows(places, np.dtype(_COMPONENTS[places["componentType"]]), changed, 1)
            values = values.copy()
            values[rows[:, 0]] = self._rows(sparse["values"], kind, changed, width)
        if accessor.get("normalized") and kind.kind in "iu":
            return np.maximum(values / float(np.iinfo(kind).max), -1.0)
        return values

    def _rows(self, holder: Any, kind: np.dtype[Any], count: int, width: int) -> NDArray[Any]:
        if count == 0:
            return np.zeros((0, width), kind)
        data, stride = self.view(holder["bufferView"])
        stride = stride or kind.itemsize * width
        offset = holder.get("byteOffset", 0)
        last = offset + stride * (count - 1) + kind.itemsize * width
        if min(offset, stride) < 0 or last > len(data):
            raise ValueError(f"{last} bytes are needed, and there are {len(data)}")
        return np.ndarray((count, width), kind, data, offset, (stride, kind.itemsize))

    def view(self, index: object) -> tuple[memoryview, int]:
        """Return the bytes of a buffer view, and its stride (0: none)."""
        view = self.item("bufferViews", index)
        buffer = memoryview(self._buffer(view["buffer"]))
        start = view.get("byteOffset", 0)
        end = start + view["byteLength"]
        if not 0 <= start <= end <= len(buffer):
            raise ValueError(f"bytes {start} to {end} are needed, and there are {len(buffer)}")
        return buffer[start:end], view.get("byteStride", 0)

    def _buffer(self, index: int) -> bytes:
        if index not in self._buffers:
            uri: str | None = self.item("buffers", index).get("uri")
            if uri is None and (index or self._chunk is None):
                raise FileError(f"`{self.path}` is damaged: it has no data for buffer {index}.")
            data = self._chunk if uri is None else self.linked(uri)
            if data is None:
                raise FileError(
                    f"`{self.path}` cannot be read as a mesh: `{uri}`, which it needs, is "
                    "not there."
                )
            self._buffers[index] = data
        return self._buffers[index]

    def linked(self, uri: str) -> bytes | None:
        """Return what a URI stands for; None where the file that it names is not there."""
        if uri.startswith("data:"):
            head, comma, body = uri.partition(",")
            if not comma:
                raise ValueError("a data URI has no data")
            raw = unquote_to_bytes(body)
            return base64.b64decode(raw) if head.endswith(";base64") else raw
        return linked_bytes(self.path, unquote(uri))


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

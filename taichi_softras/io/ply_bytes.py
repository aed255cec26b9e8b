"""PLY data, checked against its own header, with polygons cut into triangles."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from taichi_softras.errors import FileError

_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2",
    "ushort": "u2", "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip


@dataclass(frozen=True)
class _Element:
    """One `element` of the header."""

    name: str
    rows: int
    properties: list[tuple[str, str]]
    """(type of a list's length or "", type), as NumPy spells them."""

    @property
    def list_at(self) -> int | None:
        """Which property is the list of corners, where it is clear."""
        lists = [i for i, (count_type, _) in enumerate(self.properties) if count_type]
        return lists[0] if self.name == "face" and len(lists) == 1 else None


def tidy_ply(path: Path, data: bytes) -> bytes:
    """Return the same PLY with triangles only, after checking that nothing is missing.

    Raises:
        FileError: The header is not PLY's, or the data end before what it promises.
    """
    found = re.match(rb"ply\s.*?\nend_header[ \t]*\r?\n", data, re.DOTALL)
    if not found:
        raise FileError(f"`{path}` has no whole PLY header (`ply` to `end_header`).")
    header, body = found.group(), data[found.end() :]
    try:
        style, elements = _parse_header(header.decode("ascii", errors="replace"))
    except (KeyError, IndexError, ValueError) as cause:
        raise FileError(f"`{path}` has a PLY header that cannot be read: {cause}.") from cause
    split = _ascii_rows(body, elements) if style == "ascii" else _binary_rows(body, elements, style)
    chunks = []
    for element in elements:
        try:
            rows, chunk = next(split)
        except (IndexError, ValueError) as cause:
            promised = ", ".join(f"{e.rows} x {e.name}" for e in elements)
            raise FileError(
                f"`{path}` is cut off or damaged: its header promises {promised}, "
                f"but the data end within `{element.name}`."
            ) from cause
        chunks.append(chunk)
        if rows != element.rows:
            old, new = f"element {element.name} {element.rows}", f"element {element.name} {rows}"
            header = re.sub(rb"(?m)^" + old.encode() + rb"\b", new.encode(), header)
    return header + b"".join(chunks)


def _parse_header(text: str) -> tuple[str, list[_Element]]:
    style, elements = "", []
    for line in text.splitlines():
        words = line.split()
        if not words:
            continue
        if words[0] == "format":
            style = words[1]
        elif words[0] == "element":
            elements.append(_Element(words[1], int(words[2]), []))
        elif words[0] == "property" and words[1] == "list":
            elements[-1].properties.append((_TYPES[words[2]], _TYPES[words[3]]))
        elif words[0] == "property":
            elements[-1].properties.append(("", _TYPES[words[1]]))
    if style not in ("ascii", "binary_little_endian", "binary_big_endian"):
        raise ValueError(f"format {style!r} is not known")
    return style, elements


def _ascii_rows(body: bytes, elements: list[_Element]) -> Iterator[tuple[int, bytes]]:
    """Yield each element's rows, faces as triangles: how many, and their text."""
    lines = [line for line in body.splitlines() if line.strip()]
    at = 0
    for element in elements:
        rows, at = lines[at : at + element.rows], at + element.rows
        if len(rows) < element.rows:
            raise IndexError("rows are missing")
        if rows and len(rows[-1].split()) < len(element.properties):
            raise IndexError("the last row is short")
        if element.list_at is not None:
            rows = [row for line in rows for row in _ascii_triangles(line.split(), element)]
        yield len(rows), b"".join(row + b"\n" for row in rows)


def _ascii_triangles(words: list[bytes], element: _Element) -> list[bytes]:
    start = element.list_at or 0
    end = start + 1 + int(words[start])
    before, items, after = words[:start], words[start + 1 : end], words[end:]
    if len(after) < len(element.properties) - start - 1 or len(words) < end:
        raise IndexError("a face is short")
    return [b" ".join([*before, b"3", *corners, *after]) for corners in _fan(items)]


def _binary_rows(body: bytes, elements: list[_Element], style: str) -> Iterator[tuple[int, bytes]]:
    """Yield each element's rows, faces as triangles: how many, and their bytes."""
    order = ">" if style.endswith("big_endian") else "<"
    at = 0
    for element in elements:
        size = _uniform_size(body, at, element, order)
        if size is not None:
            yield element.rows, body[at : at + element.rows * size]
            at += element.rows * size
            continue
        triangles = []
        for _ in range(element.rows):
            found, at = _binary_triangles(body, at, element, order)
            triangles += found
        yield len(triangles), b"".join(triangles)


def _uniform_size(body: bytes, at: int, element: _Element, order: str) -> int | None:
    """Return the bytes of a row if all rows are alike and faces triangles, else None."""
    fields, where = [], at
    for i, (count_type, kind) in enumerate(element.properties):
        count = 1
        if count_type and element.rows:
            width = np.dtype(count_type).itemsize
            count = _unsigned(body, where, width, order)
            fields.append((f"n{i}", f"{order}{count_type}"))
            where += width
        fields.append((f"p{i}", f"{order}{kind}", (count,)))  # type: ignore[arg-type]
        where += count * np.dtype(kind).itemsize
    row = np.dtype(fields)
    whole = len(body) - at >= element.rows * row.itemsize
    if element.list_at is None:
        if not whole:
            raise IndexError("bytes are missing")
        return row.itemsize
    if not whole or not element.rows:
        return None if element.rows else row.itemsize
    counts = np.frombuffer(body, row, element.rows, at)[f"n{element.list_at}"]
    return row.itemsize if (counts == 3).all() else None


def _binary_triangles(
    body: bytes, at: int, element: _Element, order: str
) -> tuple[list[bytes], int]:
    """Cut the polygon at byte `at` into triangles; return them and where the next row starts."""
    i = element.list_at or 0
    sizes = [np.dtype(kind).itemsize for _, kind in element.properties]
    counter, item = np.dtype(order + element.properties[i][0]), sizes[i]
    start = at + sum(sizes[:i])
    first = start + counter.itemsize
    last = first + _unsigned(body, start, counter.itemsize, order) * item
    end = last + sum(sizes[i + 1 :])
    if end > len(body):
        raise IndexError("bytes are missing")
    three = np.array(3, counter).tobytes()
    items = [body[k : k + item] for k in range(first, last, item)]
    head, tail = body[at:start] + three, body[last:end]
    return [head + b"".join(corners) + tail for corners in _fan(items)], end


def _unsigned(body: bytes, at: int, width: int, order: str) -> int:
    if at + width > len(body):
        raise IndexError("bytes are missing")
    return int.from_bytes(body[at : at + width], "little" if order == "<" else "big")


def _fan(items: list[bytes]) -> list[tuple[bytes, bytes, bytes]]:
    return [(items[0], b, c) for b, c in pairwise(items[1:])]

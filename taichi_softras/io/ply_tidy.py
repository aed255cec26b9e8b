"""PLY data, checked against its own header, with polygons cut into triangles.

trimesh reads a text file that is cut off as far as it goes, and of binary files only those whose
polygons all have as many corners; it takes polygons out of order, so that their colours go astray.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from taichi_softras.errors import FileError

_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2",
    "ushort": "u2", "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip
_CORNERS = ("vertex_indices", "vertex_index")
_ITEMS = {**dict.fromkeys(_CORNERS, 1), "texcoord": 2}
"""Lists of a face that have so many items a corner."""


@dataclass(frozen=True)
class Element:
    """One `element` of the header."""

    name: str
    rows: int
    properties: list[tuple[str, str, str]] = field(default_factory=list)
    """(name, type, type of a list's length or ""), types as NumPy spells them."""

    @property
    def names(self) -> set[str]:
        """Names of the properties."""
        return {name for name, _, _ in self.properties}

    @property
    def cut(self) -> bool:
        """Whether the rows are polygons."""
        corners = [name for name, _, counter in self.properties if counter and name in _CORNERS]
        return self.name == "face" and len(corners) == 1


class _Body:
    """The numbers of a file one after the other, as bytes; those of a text are converted."""

    def __init__(self, data: bytes, style: str) -> None:
        self.is_text = style == "ascii"
        self.order: Any = "big" if style == "binary_big_endian" else "little"
        self.items: Any = np.array(data.split(), np.float64) if self.is_text else data
        self.at = 0

    def take(self, count: int, kind: str) -> list[bytes]:
        """Read `count` numbers.

        Raises:
            IndexError: There are not so many.
        """
        size = np.dtype(kind).itemsize
        end = self.at + count * (1 if self.is_text else size)
        if end > len(self.items):
            raise IndexError("numbers are missing")
        chunk, self.at = self.items[self.at : end], end
        if self.is_text:
            chunk = chunk.astype("<" + kind).tobytes()
        return [chunk[k : k + size] for k in range(0, len(chunk), size)]

    def row(self, element: Element) -> list[list[bytes]]:
        """Read one row: the items of each property."""
        row = []
        for _, kind, counter in element.properties:
            count = int.from_bytes(self.take(1, counter)[0], self.order) if counter else 1
            row.append(self.take(count, kind))
        return row

    def written(self, element: Element, row: list[list[bytes]]) -> bytes:
        """Write a row."""
        words: list[bytes] = []
        for (_, _, counter), items in zip(element.properties, row, strict=True):
            if counter:
                words.append(len(items).to_bytes(np.dtype(counter).itemsize, self.order))
            words += items
        return b"".join(words)

    def alike(self, element: Element) -> bytes | None:
        """Read all rows at once if they are alike, and triangles where they are faces."""
        if self.is_text or not element.rows or not element.properties:
            return None
        start, fields = self.at, list[Any]()
        letter = ">" if self.order == "big" else "<"
        for i, ((_, kind, counter), items) in enumerate(
            zip(element.properties, self.row(element), strict=True)
        ):
            fields += [(f"n{i}", letter + counter)] if counter else []
            fields.append((f"p{i}", letter + kind, (len(items),)))
        row, self.at = np.dtype(fields), start
        if row.itemsize * element.rows > len(self.items) - start:
            return None
        table = np.frombuffer(self.items, row, element.rows, start)
        for i, (name, _, counter) in enumerate(element.properties):
            if not counter:
                continue
            wanted = 3 * _ITEMS[name] if element.cut and name in _ITEMS else table[f"n{i}"][0]
            if (table[f"n{i}"] != wanted).any():
                return None
        self.at += table.nbytes
        return table.tobytes()


def tidy_ply(path: Path, data: bytes) -> tuple[str, dict[str, Element], bytes]:
    """Return the header, its elements, and the rows: binary, with triangles only.

    Raises:
        FileError: The header is not PLY's, or there are fewer or more numbers than it promises.
    """
    found = re.match(rb"ply\s.*?\nend_header[ \t]*\r?\n", data, re.DOTALL)
    if not found:
        raise FileError(f"`{path}` has no whole PLY header (`ply` to `end_header`).")
    header = found.group().decode("utf-8", errors="replace")
    try:
        style, elements = _parse_header(header)
    except (KeyError, IndexError, ValueError) as cause:
        raise FileError(f"`{path}` has a PLY header that cannot be read: {cause}.") from cause
    try:
        body = _Body(data[found.end() :], style)
    except ValueError as cause:
        raise FileError(f"`{path}` is damaged: {cause}.") from cause
    promised = ", ".join(f"{e.rows} x {e.name}" for e in elements)
    chunks = []
    for element in elements:
        try:
            count, chunk = _rows(body, element)
        except (IndexError, ValueError) as cause:
            raise FileError(
                f"`{path}` is cut off or damaged: its header promises {promised}, "
                f"but the data end within `{element.name}`."
            ) from cause
        chunks.append(chunk)
        if element.cut:
            header = re.sub(r"(?m)^element\s+face\s+\d+", f"element face {count}", header)
    if body.is_text and body.at < len(body.items):
        raise FileError(f"`{path}` is damaged: its header promises {promised}, and there is more.")
    header = re.sub(r"(?m)^format\s+ascii", "format binary_little_endian", header)
    return header, {e.name: e for e in elements}, b"".join(chunks)


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
            elements[-1].properties.append((words[4], _TYPES[words[3]], _TYPES[words[2]]))
            if "f" in _TYPES[words[2]]:
                raise ValueError(f"{words[4]} has {_TYPES[words[2]]} as its length")
        elif words[0] == "property":
            elements[-1].properties.append((words[2], _TYPES[words[1]], ""))
    if style not in ("ascii", "binary_little_endian", "binary_big_endian"):
        raise ValueError(f"format {style!r} is not known")
    names = [e.name for e in elements], *([n for n, _, _ in e.properties] for e in elements)
    if twice := [each for each in names if len(set(each)) < len(each)]:
        raise ValueError(f"a name comes twice in {twice[0]}")
    return style, elements


def _rows(body: _Body, element: Element) -> tuple[int, bytes]:
    """Read an element; return how many rows it has, faces as triangles, and these."""
    if (chunk := body.alike(element)) is not None:
        return element.rows, chunk
    rows: list[bytes] = []
    for _ in range(element.rows if element.properties else 0):
        row = body.row(element)
        for each in _triangles(element, row) if element.cut else [row]:
            rows.append(body.written(element, each))
    return len(rows), b"".join(rows)


def _triangles(element: Element, row: list[list[bytes]]) -> Iterator[list[list[bytes]]]:
    """Yield the rows of the triangles round a polygon's first corner."""
    sizes = [_ITEMS.get(name, 0) if counter else 0 for name, _, counter in element.properties]
    corners = len(row[sizes.index(1)])
    if any(k and len(items) != k * corners for items, k in zip(row, sizes, strict=True)):
        raise ValueError("lists do not fit")
    for b in range(1, corners - 1):
        yield [
            [item for c in (0, b, b + 1) for item in items[k * c : k * c + k]] if k else items
            for items, k in zip(row, sizes, strict=True)
        ]

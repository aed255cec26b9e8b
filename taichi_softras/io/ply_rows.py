"""The rows of a PLY file, text or binary, checked against its own header."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2",
    "ushort": "u2", "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip
"""NumPy's names of PLY's types."""

Values = NDArray[Any]


class Property(NamedTuple):
    """One column: a number a row, or a list of them."""

    name: str
    kind: str
    """As NumPy spells it."""
    counter: str = ""
    """Type of a list's length; "" for a number."""


class Lists(NamedTuple):
    """A list for each row."""

    counts: NDArray[np.int64]  # [N]
    values: Values  # all rows, one after the other


@dataclass
class Element:
    """One `element` of the header, and its rows once they are read."""

    name: str
    rows: int
    properties: list[Property] = field(default_factory=list)
    numbers: dict[str, Values] = field(default_factory=dict)
    lists: dict[str, Lists] = field(default_factory=dict)

    @property
    def filled(self) -> bool:
        """Whether the rows are read."""
        return len(self.numbers) + len(self.lists) == len(self.properties)

    def keep(self, rows: list[list[Values]]) -> None:
        """Take rows of one array for each property."""
        for i, prop in enumerate(self.properties):
            parts = [row[i] for row in rows]
            values = np.concatenate(parts) if parts else np.zeros(0, prop.kind)
            if prop.counter:
                counts = np.array([len(part) for part in parts], np.int64)
                self.lists[prop.name] = Lists(counts, values)
            else:
                self.numbers[prop.name] = values

    def keep_columns(self, columns: list[Values]) -> None:
        """Take columns of one shape in all rows: [N] for numbers, [N, K] for lists."""
        for prop, values in zip(self.properties, columns, strict=True):
            if prop.counter:
                counts = np.full(len(values), values.shape[1], np.int64)
                self.lists[prop.name] = Lists(counts, values.reshape(-1))
            else:
                self.numbers[prop.name] = values


def read_text(body: bytes, elements: list[Element]) -> None:
    """Fill elements from text, a line a row.

    Raises:
        IndexError: Rows or words are missing, in the first element without rows.
        ValueError: A word is no number.
    """
    lines = [line for line in body.splitlines() if line.strip()]
    at = 0
    for element in elements:
        rows, at = [line.split() for line in lines[at : at + element.rows]], at + element.rows
        if len(rows) < element.rows:
            raise IndexError("rows are missing")
        if len({len(row) for row in rows}) == 1 and _text_columns(np.array(rows), element):
            continue
        element.keep([_text_row(row, element) for row in rows])


def _text_columns(words: Values, element: Element) -> bool:
    """Fill an element whose rows are alike; return False where they are not."""
    columns, at = [], 0
    for prop in element.properties:
        count = int(words[0, at]) if prop.counter else 1
        if prop.counter:
            if not (words[:, at] == words[0, at]).all():
                return False
            at += 1
        if count < 0 or at + count > words.shape[1]:
            raise IndexError("words are missing")
        block = words[:, at : at + count].astype(np.float64).astype(prop.kind)
        columns.append(block if prop.counter else block[:, 0])
        at += count
    element.keep_columns(columns)
    return True


def _text_row(words: list[bytes], element: Element) -> list[Values]:
    row, at = [], 0
    for prop in element.properties:
        count = int(words[at]) if prop.counter else 1
        at += bool(prop.counter)
        if count < 0 or at + count > len(words):
            raise IndexError("words are missing")
        row.append(np.array(words[at : at + count], np.float64).astype(prop.kind))
        at += count
    return row


def read_binary(body: bytes, elements: list[Element], order: str) -> None:
    """Fill elements from bytes.

    Args:
        body: What comes after the header.
        elements: In the order of the file.
        order: "<" where the least significant byte is first, ">" where it is last.

    Raises:
        IndexError: Bytes are missing, in the first element without rows.
    """
    at = 0
    for element in elements:
        size = _binary_columns(body, at, element, order)
        if size is not None:
            at += element.rows * size
            continue
        rows = []
        for _ in range(element.rows):
            row, at = _binary_row(body, at, element, order)
            rows.append(row)
        element.keep(rows)


def _binary_columns(body: bytes, at: int, element: Element, order: str) -> int | None:
    """Fill an element whose rows are alike and return their bytes; None where they are not."""
    fields: list[Any] = []
    where = at
    for i, prop in enumerate(element.properties):
        count = 1
        if prop.counter and element.rows:
            count, where = _count(body, where, prop, order)
            fields.append((f"n{i}", order + prop.counter))
        where += count * np.dtype(prop.kind).itemsize
        if where > len(body) and element.rows:
            raise IndexError("bytes are missing")
        fields.append((f"p{i}", order + prop.kind, (count,)))
    row = np.dtype(fields)
    if row.itemsize * element.rows > len(body) - at:
        if any(prop.counter for prop in element.properties):
            return None  # later rows may be shorter
        raise IndexError("bytes are missing")
    empty = element.rows == 0 or row.itemsize == 0
    table = np.zeros(0, row) if empty else np.frombuffer(body, row, element.rows, at)
    for i, prop in enumerate(element.properties):
        if prop.counter and not empty and not (table[f"n{i}"] == table[f"n{i}"][0]).all():
            return None
    columns = [table[f"p{i}"].astype(p.kind) for i, p in enumerate(element.properties)]
    element.keep_columns(
        [c if p.counter else c[:, 0] for c, p in zip(columns, element.properties, strict=True)]
    )
    return row.itemsize


def _binary_row(
    body: bytes, at: int, element: Element, order: str
) -> tuple[list[Values], int]:  # fmt: skip
    row = []
    for prop in element.properties:
        count = 1
        if prop.counter:
            count, at = _count(body, at, prop, order)
        size = count * np.dtype(prop.kind).itemsize
        if at + size > len(body):
            raise IndexError("bytes are missing")
        values = np.frombuffer(body, order + prop.kind, count, at).astype(prop.kind)
        row.append(values)
        at += size
    return row, at


def _count(body: bytes, at: int, prop: Property, order: str) -> tuple[int, int]:
    """Read a list's length at byte `at`; return it and where the list begins."""
    width = np.dtype(prop.counter).itemsize
    if at + width > len(body):
        raise IndexError("bytes are missing")
    count = int.from_bytes(body[at : at + width], "little" if order == "<" else "big")
    return count, at + width

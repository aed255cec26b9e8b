"""STL and OFF files, checked against the counts that they state about themselves."""

import io
import struct
from pathlib import Path

import numpy as np

from taichi_softras.errors import FileError
from taichi_softras.io.mesh_parts import Floats, Part

_STL_HEADER, _STL_FACE = 84, 50


def read_stl(path: Path, data: bytes) -> Part:
    """Read text or binary STL; corners at one place become one vertex.

    Raises:
        FileError: The file does not hold all triangles that it promises.
    """
    import trimesh

    _check_stl(path, data)
    scene = trimesh.load_scene(io.BytesIO(data), file_type="stl", process=False)
    solids = [g for g in scene.geometry.values() if len(getattr(g, "faces", ())) > 0]
    corners = [np.asarray(g.vertices)[np.asarray(g.faces)].reshape(-1, 3) for g in solids]
    vertices = np.concatenate([np.zeros((0, 3)), *corners])
    return Part(vertices, np.arange(len(vertices)).reshape(-1, 3)).welded()


def _check_stl(path: Path, data: bytes) -> None:
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


def read_off(path: Path, data: bytes) -> Part:
    """Read OFF, or COFF with a colour after each vertex: 0..1 as floats, 0..255 as integers.

    Not by trimesh: it leaves colours out and fails on polygons of five corners among others. To
    check counts and cut polygons the rows are split anyway, and then all that is left is arrays.

    Raises:
        FileError: A row is missing, short, or no numbers.
    """
    lines = [line.split("#")[0].split() for line in data.decode(errors="replace").splitlines()]
    lines = [words for words in lines if words]
    if not lines or lines[0][0] not in ("OFF", "COFF"):
        raise FileError(f"`{path}` does not begin with OFF or COFF, the kinds that are read.")
    counts = lines[0][1:] or (lines[1] if len(lines) > 1 else [])
    rows = lines[1:] if lines[0][1:] else lines[2:]
    try:
        vertices, faces = int(counts[0]), int(counts[1])
        vertex_rows, face_rows = rows[:vertices], rows[vertices : vertices + faces]
        corners = [int(row[0]) for row in face_rows]
    except (IndexError, ValueError) as cause:
        raise FileError(f"`{path}` is damaged: its counts cannot be read as numbers.") from cause
    short = any(len(row) < 3 for row in vertex_rows)
    short = short or any(len(row) < 1 + n for row, n in zip(face_rows, corners, strict=True))
    if short or len(face_rows) < faces or min(vertices, faces, *corners, 0) < 0:
        raise FileError(
            f"`{path}` is cut off or damaged: it promises {vertices} vertices and {faces} faces, "
            f"and holds {len(rows)} rows{', some of them short' if short else ''}."
        )
    polygons = zip(face_rows, corners, strict=True)
    triangles = [(row[1], row[b], row[b + 1]) for row, n in polygons for b in range(2, n)]
    try:
        return Part(
            np.array([row[:3] for row in vertex_rows], np.float64).reshape(-1, 3),
            np.array(triangles, np.int64).reshape(-1, 3),
            _off_colors(vertex_rows) if lines[0][0] == "COFF" else None,
        )
    except ValueError as cause:
        raise FileError(f"`{path}` is damaged: {cause}.") from cause


def _off_colors(rows: list[list[str]]) -> Floats | None:
    """Return RGB in 0..1, or None where a row has none. [V, 3]."""
    words = [row[3:6] for row in rows]
    if any(len(row) < 3 for row in words):
        return None
    whole = all("." not in word and "e" not in word.lower() for row in words for word in row)
    return np.array([[float(word) for word in row] for row in words]) / (255.0 if whole else 1.0)

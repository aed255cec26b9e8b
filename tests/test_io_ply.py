"""What is read from PLY files, and how damage is told."""

import struct

import numpy as np
import pytest
import torch
from mesh_files import tetrahedron, write_text

from taichi_softras.errors import FileError
from taichi_softras.io import load_mesh, save_mesh


def _ply(style, rows, faces="uchar int", face_rows=None):
    head = f"ply\nformat {style} 1.0\ncomment made by hand\nelement vertex 5\n"
    head += "property float x\nproperty float y\nproperty float z\n"
    head += f"element face {rows}\nproperty list {faces} vertex_indices\nproperty uchar red\n"
    return (head + "property uchar green\nproperty uchar blue\nend_header\n").encode()


CORNERS = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [2, 2, 2]], np.float32)
POLYGONS = [([0, 1, 2, 3], (255, 0, 0)), ([0, 1, 4], (0, 255, 0)), ([0, 4, 2, 3, 1], (0, 0, 255))]
FANS = [[0, 1, 2], [0, 2, 3], [0, 1, 4], [0, 4, 2], [0, 2, 3], [0, 3, 1]]


def _mixed_ply(style):
    if style == "ascii":
        lines = [" ".join(map(str, row)) for row in CORNERS.tolist()]
        lines += [" ".join(map(str, [len(p), *p, *c])) for p, c in POLYGONS]
        return _ply(style, 3) + ("\n".join(lines) + "\n").encode()
    order = ">" if style == "binary_big_endian" else "<"
    body = CORNERS.astype(order + "f4").tobytes()
    for polygon, color in POLYGONS:
        body += struct.pack(f"{order}B{len(polygon)}i3B", len(polygon), *polygon, *color)
    return _ply(style, 3) + body


@pytest.mark.parametrize("style", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_ply_polygons_become_fans_with_their_face_colors(tmp_path, style):
    (tmp_path / "a.ply").write_bytes(_mixed_ply(style))
    mesh = load_mesh(tmp_path / "a.ply")
    assert mesh.vertices.tolist() == CORNERS.tolist()
    assert mesh.faces.tolist() == FANS
    assert mesh.face_colors.tolist() == [[1, 0, 0]] * 2 + [[0, 1, 0]] + [[0, 0, 1]] * 3


def _triangle_ply(colors="uchar", before="", after="", row="255 0 0"):
    head = f"ply\n{before}format ascii 1.0\n{after}element vertex 3\nproperty float x\n"
    head += "property float y\nproperty float z\n"
    head += "".join(f"property {colors} {name}\n" for name in ("red", "green", "blue"))
    head += "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    return head + "".join(f"{x} {y} 0 {row}\n" for x, y in ((0, 0), (1, 0), (0, 1))) + "3 0 1 2\n"


def test_a_ply_may_have_comments_anywhere_and_lines_that_end_in_two_bytes(tmp_path):
    text = _triangle_ply(before="comment format binary\n", after="obj_info element\n\n")
    for ply in (text, text.replace("\n", "\r\n")):
        (tmp_path / "a.ply").write_bytes(ply.encode())
        mesh = load_mesh(tmp_path / "a.ply")
        assert mesh.faces.tolist() == [[0, 1, 2]]
        assert mesh.vertex_colors.tolist() == [[1, 0, 0]] * 3


def test_ply_colors_are_bytes_or_floats(tmp_path):
    path = write_text(tmp_path / "a.ply", _triangle_ply("float", row="1 0.2 0"))
    wanted = torch.tensor([[1.0, 0.2, 0.0]] * 3)
    torch.testing.assert_close(load_mesh(path).vertex_colors, wanted)
    for kind in ("ushort", "int"):
        with pytest.warns(UserWarning, match="more than 8 bits"):
            mesh = load_mesh(write_text(tmp_path / "a.ply", _triangle_ply(kind)))
        assert mesh.vertex_colors is None
        assert mesh.n_faces == 1


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("255 0 0\n", "255 red 0\n", "could not convert"),
        ("3 0 1 2\n", "3 0 1 2\n0\n", "there is more"),
        ("3 0 1 2\n", "-3 0 1 2\n", "data end within `face`"),
        ("float y", "float x", "a name comes twice"),
        ("float y", "float w", "vertices without x, y and z"),
        ("vertex_indices", "corners", "vertex_indices"),
        ("uchar int", "float int", "has f4 as its length"),
    ],
)
def test_damaged_ply_files_are_told(tmp_path, old, new, why):
    with pytest.raises(FileError, match=rf"bad\.ply.*{why}"):
        load_mesh(write_text(tmp_path / "bad.ply", _triangle_ply().replace(old, new, 1)))


@pytest.mark.parametrize("style", ["ascii", "binary_little_endian", "binary_big_endian"])
@pytest.mark.parametrize("cut", [1, 12, 30, 60])
def test_a_ply_cut_anywhere_is_told(tmp_path, style, cut):
    whole = _mixed_ply(style).rstrip(b"\n") if style == "ascii" else _mixed_ply(style)
    (tmp_path / "cut.ply").write_bytes(whole[: -cut - (5 if style == "ascii" else 0)])
    with pytest.raises(FileError, match=r"cut\.ply.*promises 5 x vertex, 3 x face.*end within"):
        load_mesh(tmp_path / "cut.ply")


def test_a_saved_ply_cut_in_its_vertices_or_header_is_told(tmp_path):
    save_mesh(tetrahedron(), tmp_path / "a.ply")
    whole = (tmp_path / "a.ply").read_bytes()
    body = whole.index(b"end_header\n") + 11
    for length, why in [
        (body + 30, "end within `vertex`"),
        (body + 60, "within `face`"),
        (body - 20, "header"),
    ]:
        (tmp_path / "cut.ply").write_bytes(whole[:length])
        with pytest.raises(FileError, match=rf"cut\.ply.*{why}"):
            load_mesh(tmp_path / "cut.ply")


@pytest.mark.parametrize("index", [5, -1])
def test_a_ply_face_out_of_range_is_told(tmp_path, index):
    data = (
        _ply("binary_little_endian", 1)
        + CORNERS.tobytes()
        + struct.pack("<B3i3B", 3, 0, 1, index, 1, 2, 3)
    )
    (tmp_path / "bad.ply").write_bytes(data)
    with pytest.raises(FileError, match=rf"bad\.ply.*vertex {index}.*has 5"):
        load_mesh(tmp_path / "bad.ply")


def test_a_ply_without_faces_contains_no_triangles(tmp_path):
    text = "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\n"
    with pytest.raises(FileError, match="no triangles"):
        load_mesh(write_text(tmp_path / "a.ply", text + "property float z\nend_header\n1 2 3\n"))

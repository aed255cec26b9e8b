"""Meshes come back as they were written, and come in as other programs write them."""

import json
import struct

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from taichi_softras.errors import ArgumentError, FileError
from taichi_softras.io import load_mesh, save_mesh
from taichi_softras.mesh import Mesh

SUFFIXES = [".obj", ".ply", ".glb", ".stl", ".off"]
TETRAHEDRON = torch.tensor([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])


def _tetrahedron(scale=1.0, **colors):
    rng = torch.Generator().manual_seed(3)
    return Mesh(vertices=scale * torch.randn(4, 3, generator=rng), faces=TETRAHEDRON, **colors)


def _write(path, text):
    path.write_text(text)
    return path


# --- What was saved comes back ---


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_positions_and_faces_come_back_to_float32_precision(tmp_path, suffix, scale):
    mesh = _tetrahedron(scale)
    save_mesh(mesh, tmp_path / "new" / f"a{suffix}")
    loaded = load_mesh(tmp_path / "new" / f"a{suffix}")
    torch.testing.assert_close(loaded.corners, mesh.corners, rtol=0, atol=2e-7 * scale * 3)
    if suffix != ".stl":  # which stores corners only, and so numbers vertices anew
        assert loaded.faces.equal(mesh.faces)
        assert loaded.n_vertices == 4
    assert loaded.vertex_colors is None
    assert loaded.face_colors is None


@pytest.mark.parametrize("suffix", [".obj", ".ply", ".glb"])
def test_vertex_colors_come_back_to_half_a_level(tmp_path, suffix):
    colors = torch.rand(4, 3, generator=torch.Generator().manual_seed(1))
    save_mesh(_tetrahedron(vertex_colors=colors), tmp_path / f"a{suffix}")
    loaded = load_mesh(tmp_path / f"a{suffix}")
    torch.testing.assert_close(loaded.vertex_colors, colors, rtol=0, atol=0.5 / 255 + 1e-5)
    assert loaded.faces.equal(TETRAHEDRON)


@pytest.mark.parametrize("suffix", [".obj", ".ply", ".glb"])
def test_face_colors_look_the_same_when_they_come_back(tmp_path, suffix):
    colors = torch.rand(4, 3, generator=torch.Generator().manual_seed(1))
    mesh = _tetrahedron(face_colors=colors)
    save_mesh(mesh, tmp_path / f"a{suffix}")
    loaded = load_mesh(tmp_path / f"a{suffix}")
    torch.testing.assert_close(loaded.corners, mesh.corners, rtol=0, atol=1e-6)
    if suffix == ".ply":
        at_corners = loaded.face_colors[:, None].expand(4, 3, 3)
    else:
        at_corners = loaded.vertex_colors[loaded.faces]
    wanted = colors[:, None].expand(4, 3, 3)
    torch.testing.assert_close(at_corners, wanted, rtol=0, atol=0.5 / 255 + 1e-5)


def test_grey_and_rgba_colors_are_written_as_rgb(tmp_path):
    for colors in (torch.full((4, 1), 0.2), torch.full((4, 4), 0.2)):
        save_mesh(_tetrahedron(vertex_colors=colors), tmp_path / "a.ply")
        torch.testing.assert_close(
            load_mesh(tmp_path / "a.ply").vertex_colors, colors.new_full((4, 3), 0.2)
        )


@pytest.mark.parametrize("suffix", [".obj", ".ply", ".off"])
def test_vertices_keep_their_order_unused_and_double_ones_included(tmp_path, suffix):
    vertices = torch.tensor([[9.0, 9, 9], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0], [7, 7, 7]])
    mesh = Mesh(vertices=vertices, faces=[[4, 3, 2], [1, 2, 3]])
    save_mesh(mesh, tmp_path / f"a{suffix}")
    loaded = load_mesh(tmp_path / f"a{suffix}", dtype=torch.float64)
    assert loaded.vertices.dtype == torch.float64
    assert loaded.vertices.equal(vertices.double())
    assert loaded.faces.tolist() == [[4, 3, 2], [1, 2, 3]]


def test_meshes_that_no_file_can_hold_are_refused(tmp_path):
    batch = Mesh(vertices=torch.zeros(2, 4, 3), faces=TETRAHEDRON)
    with pytest.raises(ArgumentError, match=r"vertices.*batch of shape \[2, 4, 3\]"):
        save_mesh(batch, tmp_path / "a.ply")
    with pytest.raises(ArgumentError, match=r"vertex_colors.*batch"):
        save_mesh(_tetrahedron(vertex_colors=torch.zeros(2, 4, 3)), tmp_path / "a.ply")
    with pytest.raises(ArgumentError, match="7 channels"):
        save_mesh(_tetrahedron(vertex_colors=torch.zeros(4, 7)), tmp_path / "a.ply")
    with pytest.raises(ArgumentError, match="no faces"):
        save_mesh(
            Mesh(vertices=torch.zeros(4, 3), faces=torch.zeros(0, 3, dtype=torch.int64)),
            tmp_path / "a.ply",
        )
    with pytest.raises(FileError, match=r"\.fbx.*\.obj, \.ply"):
        save_mesh(_tetrahedron(), tmp_path / "a.fbx")
    assert not list(tmp_path.iterdir())


# --- OBJ ---


def test_obj_normals_do_not_split_vertices(tmp_path):
    text = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\n" + "vn 0 0 1\nvn 0 1 0\nvt 0 0\nvt 1 1\n"
    text += "f 1/1/1 2/2/1 3/1/1\nf 1/2/2 2/1/2 4/2/2\n"
    mesh = load_mesh(_write(tmp_path / "a.obj", text))
    assert mesh.n_vertices == 4
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 1, 3]]


def test_obj_polygons_become_fans_in_order_and_negative_indices_count_back(tmp_path):
    text = "# mtllib none\nv 0 0 0\nv 1 0 0\nv 1 1 0\nf -3 -2 -1\nv\t0 1 0\n"
    text += "f 1 2 3 \\\n 4\nf -1 1 3\nv 5 5 5\n"
    mesh = load_mesh(_write(tmp_path / "a.obj", text))
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 1, 2], [0, 2, 3], [3, 0, 2]]
    assert mesh.n_vertices == 5


def test_obj_vertices_without_color_are_grey_beside_colored_ones(tmp_path):
    text = "v 0 0 0 1 0 0\nv 1 0 0\nv 0 1 0 0 0 1\nf 1 2 3\n"
    colors = load_mesh(_write(tmp_path / "a.obj", text)).vertex_colors
    assert colors.tolist() == [[1, 0, 0], pytest.approx([0.5] * 3, abs=0.003), [0, 0, 1]]


def test_obj_materials_without_texture_become_face_colors_on_shared_vertices(tmp_path):
    _write(tmp_path / "a.mtl", "newmtl red\nKd 1 0 0\nnewmtl blue\nKd 0 0 1\n")
    text = "mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\n"
    text += "usemtl red\nf 1 2 3\nusemtl blue\nf 1 2 4\nusemtl red\nf 2 3 4\n"
    mesh = load_mesh(_write(tmp_path / "a.obj", text))
    assert mesh.n_vertices == 4
    colored = {
        tuple(f): tuple(c)
        for f, c in zip(mesh.faces.tolist(), mesh.face_colors.tolist(), strict=True)
    }
    assert colored == {(0, 1, 2): (1, 0, 0), (0, 1, 3): (0, 0, 1), (1, 2, 3): (1, 0, 0)}


def test_obj_with_one_plain_material_gets_vertex_colors(tmp_path):
    _write(tmp_path / "a.mtl", "newmtl red\nKd 1 0 0\n")
    text = "mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nusemtl red\nf 1 2 3\n"
    assert load_mesh(_write(tmp_path / "a.obj", text)).vertex_colors.tolist() == [[1, 0, 0]] * 3


def _textured_obj(folder, faces="f 1/1 2/2 3/3 4/4\n", image="a.png"):
    """A square under a 2x2 texture: red, green above blue, white."""
    texels = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)
    Image.fromarray(texels).save(folder / "a.png")
    _write(folder / "a.mtl", f"newmtl m\nKd 0.2 0.2 0.2\nmap_Kd {image}\n")
    text = "mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"
    return _write(folder / "a.obj", text + "vt 0.5 0.5\nusemtl m\n" + faces)


def _colors_at(mesh):
    return {
        tuple(v): [round(x, 2) for x in c]
        for v, c in zip(mesh.vertices.tolist(), mesh.vertex_colors.tolist(), strict=True)
    }


def test_textures_are_baked_with_row_0_at_v_1(tmp_path):
    colors = _colors_at(load_mesh(_textured_obj(tmp_path), textures="vertices"))
    assert colors == {
        (0, 1, 0): [1, 0, 0],
        (1, 1, 0): [0, 1, 0],
        (0, 0, 0): [0, 0, 1],
        (1, 0, 0): [1, 1, 1],
    }


def test_texture_seams_split_vertices_and_equal_ones_stay_together(tmp_path):
    mesh = load_mesh(_textured_obj(tmp_path, "f 1/1 2/2 3/3\nf 1/2 3/3 4/4\n"), textures="vertices")
    assert mesh.n_vertices == 5  # vertex 1 twice; vertex 3 once
    centre = load_mesh(
        _textured_obj(tmp_path, "f 1/5 2/5 3/5\n"), textures="vertices"
    ).vertex_colors
    torch.testing.assert_close(centre, torch.full((3, 3), 0.5))


def test_faces_without_texture_coordinates_are_grey_beside_textured_ones(tmp_path):
    mesh = load_mesh(_textured_obj(tmp_path, "f 1/1 2/2 3/3\nf 1 3 4\n"), textures="vertices")
    colors = _colors_at(mesh)
    assert colors[(0, 1, 0)] == [0.5, 0.5, 0.5]
    assert colors[(1, 0, 0)] == [1, 1, 1]
    assert mesh.n_faces == 2


def test_missing_materials_and_textures_are_warned_of(tmp_path):
    path = _textured_obj(tmp_path, image="gone.png")
    with pytest.warns(UserWarning, match=r"gone\.png"):
        colors = load_mesh(path).vertex_colors
    torch.testing.assert_close(colors, torch.full((4, 3), 0.2))
    (tmp_path / "a.mtl").unlink()
    with pytest.warns(UserWarning, match=r"a\.mtl.*cannot be read"):
        assert load_mesh(path).vertex_colors is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 4\n", r"line 4 refers to vertex 4, but the file has 3"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 0 1 2\n", r"index 0, and OBJ counts from 1"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf -4 1 2\n", r"index -4, and only 3 came before"),
        ("v 0 0 0\nv 1 0\nv 0 1 0\nf 1 2 3\n", r"line 2, 'v 1 0', has 2 of at least 3 numbers"),
        ("v 0 0 zero\nf 1 1 1\n", r"line 1.*could not convert"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2\n", r"has 2 of at least 3 corners"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nf 1/1 2/1 3/2\n", r"coordinate 2, but the file has 1"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\n", r"contains no triangles"),
        ("garbage\x00\x01\n" * 5, r"contains no triangles"),
    ],
)  # fmt: skip
def test_damaged_obj_files_are_told_by_line(tmp_path, text, why):
    with pytest.raises(FileError, match=rf"bad\.obj.*{why}"):
        load_mesh(_write(tmp_path / "bad.obj", text))


# --- PLY ---


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
    path = _write(tmp_path / "a.ply", _triangle_ply("float", row="1 0.2 0"))
    wanted = torch.tensor([[1.0, 0.2, 0.0]] * 3)
    torch.testing.assert_close(load_mesh(path).vertex_colors, wanted)
    for kind in ("ushort", "int"):
        with pytest.warns(UserWarning, match="more than 8 bits"):
            mesh = load_mesh(_write(tmp_path / "a.ply", _triangle_ply(kind)))
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
        load_mesh(_write(tmp_path / "bad.ply", _triangle_ply().replace(old, new, 1)))


@pytest.mark.parametrize("style", ["ascii", "binary_little_endian", "binary_big_endian"])
@pytest.mark.parametrize("cut", [1, 12, 30, 60])
def test_a_ply_cut_anywhere_is_told(tmp_path, style, cut):
    whole = _mixed_ply(style).rstrip(b"\n") if style == "ascii" else _mixed_ply(style)
    (tmp_path / "cut.ply").write_bytes(whole[: -cut - (5 if style == "ascii" else 0)])
    with pytest.raises(FileError, match=r"cut\.ply.*promises 5 x vertex, 3 x face.*end within"):
        load_mesh(tmp_path / "cut.ply")


def test_a_saved_ply_cut_in_its_vertices_or_header_is_told(tmp_path):
    save_mesh(_tetrahedron(), tmp_path / "a.ply")
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
        load_mesh(_write(tmp_path / "a.ply", text + "property float z\nend_header\n1 2 3\n"))


# --- STL, OFF ---


def test_text_and_binary_stl_merge_their_corners(tmp_path):
    box = trimesh.creation.box()
    box.export(tmp_path / "a.stl")
    box.export(tmp_path / "b.stl", file_type="stl_ascii")
    for name in ("a.stl", "b.stl"):
        mesh = load_mesh(tmp_path / name)
        assert (mesh.n_vertices, mesh.n_faces) == (8, 12)
        assert np.allclose(mesh.corners.numpy(), box.triangles)


def test_cut_stl_files_are_told_with_their_counts(tmp_path):
    box = trimesh.creation.box()
    whole = box.export(file_type="stl")
    (tmp_path / "a.stl").write_bytes(whole[:-60])
    with pytest.raises(FileError, match=r"a\.stl.*promises 12 triangles.*hold 10"):
        load_mesh(tmp_path / "a.stl")
    text = box.export(file_type="stl_ascii")
    for part in (text[: len(text) // 2], text.replace("endsolid", "")):
        with pytest.raises(FileError, match=r"b\.stl.*cut off or damaged.*facets"):
            load_mesh(_write(tmp_path / "b.stl", part))


def test_off_polygons_and_comments_are_read_and_cuts_are_told(tmp_path):
    text = "OFF # a quad\n4 1 0\n0 0 0\n1 0 0 # corner\n1 1 0\n0 1 0\n4 0 1 2 3\n"
    mesh = load_mesh(_write(tmp_path / "a.off", text))
    assert sorted(map(sorted, mesh.faces.tolist())) in (
        [[0, 1, 2], [0, 2, 3]],
        [[0, 1, 3], [1, 2, 3]],
    )
    for cut, why in [
        (text[:-10], "holds 4 rows"),
        (text[:-3], "some of them short"),
        ("4 4", "begin with OFF"),
    ]:
        with pytest.raises(FileError, match=rf"b\.off.*{why}"):
            load_mesh(_write(tmp_path / "b.off", cut))
    with pytest.raises(FileError, match=r"b\.off"):
        load_mesh(_write(tmp_path / "b.off", text.replace("4 0 1 2 3", "4 0 1 2 9")))


def test_off_polygons_of_any_size_are_cut(tmp_path):
    rows = "OFF\n5 2 0\n0 0 0\n1 0 0\n2 1 0\n1 2 0\n0 1 0\n5 0 1 2 3 4\n3 0 1 2\n"
    faces = load_mesh(_write(tmp_path / "a.off", rows)).faces.tolist()
    assert faces == [[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 1, 2]]


def test_coff_colors_are_read(tmp_path):
    rows = "COFF\n3 1 0\n0 0 0 {}\n1 0 0 {}\n0 1 0 {}\n3 0 1 2 255 0 0\n"
    for colors in (["255 0 0 255", "0 255 0 255", "0 0 255 255"], ["1.0 0 0", "0 1 0", "0 0 1"]):
        path = _write(tmp_path / "a.off", rows.format(*colors))
        assert load_mesh(path).vertex_colors.tolist() == torch.eye(3).tolist()
    path = _write(tmp_path / "a.off", rows.format("", "", ""))
    assert load_mesh(path).vertex_colors is None
    with pytest.raises(FileError, match=r"a\.off.*damaged"):
        load_mesh(_write(tmp_path / "a.off", rows.format("red red red", "0 1 0", "0 0 1")))


# --- GLB ---


def _scene(**second):
    scene = trimesh.Scene()
    first = trimesh.Trimesh(
        np.eye(3), [[0, 1, 2]], process=False, vertex_colors=[[255, 0, 0, 255]] * 3
    )
    move = np.eye(4)
    move[:3, 3] = [10, 20, 30]
    scene.add_geometry(first, transform=move)
    scene.add_geometry(
        trimesh.Trimesh(np.eye(3), [[0, 1, 2]], process=False), transform=np.diag([-2.0, 1, 1, 1])
    )
    return scene


def test_glb_nodes_are_put_in_place_and_uncolored_parts_become_grey(tmp_path):
    _scene().export(tmp_path / "a.glb")
    mesh = load_mesh(tmp_path / "a.glb")
    colored = {
        tuple(c): mesh.vertices[f].tolist()
        for f, c in zip(mesh.faces, mesh.vertex_colors[mesh.faces[:, 0]].tolist(), strict=True)
    }
    assert colored[(1, 0, 0)] == (torch.eye(3) + torch.tensor([10.0, 20, 30])).tolist()
    # A mirror along x: the corners run the other way round, so that the front stays in front.
    assert colored[(0.5, 0.5, 0.5)] in ([[0, 0, 1], [0, 1, 0], [-2, 0, 0]],)


def test_glb_splits_for_normals_are_undone(tmp_path):
    box = trimesh.creation.box()
    split = trimesh.Trimesh(
        box.triangles.reshape(-1, 3), np.arange(36).reshape(-1, 3), process=False
    )
    split.vertex_normals = np.repeat(box.face_normals, 3, axis=0)
    split.export(tmp_path / "a.glb", include_normals=True)
    assert load_mesh(tmp_path / "a.glb").n_vertices == 8
    split.export(tmp_path / "b.glb", include_normals=False)
    assert load_mesh(tmp_path / "b.glb").n_vertices == 36


def test_glb_textures_are_baked_and_multiplied_by_the_base_color(tmp_path):
    texels = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)
    material = trimesh.visual.material.PBRMaterial(
        baseColorTexture=Image.fromarray(texels), baseColorFactor=[51, 255, 255, 255]
    )
    corners = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    visual = trimesh.visual.TextureVisuals(uv=corners[:, :2], material=material)
    trimesh.Trimesh(corners, [[0, 1, 2], [0, 2, 3]], visual=visual, process=False).export(
        tmp_path / "a.glb"
    )
    assert _colors_at(load_mesh(tmp_path / "a.glb", textures="vertices")) == {
        (0, 1, 0): [0.2, 0, 0],
        (1, 1, 0): [0, 1, 0],
        (0, 0, 0): [0, 0, 1],
        (1, 0, 0): [0.2, 1, 1],
    }


def test_glb_plain_materials_become_vertex_colors(tmp_path):
    material = trimesh.visual.material.PBRMaterial(baseColorFactor=[255, 0, 51, 255])
    visual = trimesh.visual.TextureVisuals(material=material)
    trimesh.Trimesh(np.eye(3), [[0, 1, 2]], visual=visual, process=False).export(tmp_path / "a.glb")
    torch.testing.assert_close(
        load_mesh(tmp_path / "a.glb").vertex_colors, torch.tensor([[1, 0, 0.2]] * 3)
    )


def test_damaged_glb_files_are_told(tmp_path):
    save_mesh(_tetrahedron(), tmp_path / "a.glb")
    whole = (tmp_path / "a.glb").read_bytes()
    for data, why in [
        (whole[:-40], rf"promises {len(whole)} bytes, the file has {len(whole) - 40}"),
        (whole[:16], "16 bytes are no GLB"),
        (b"nothing at all" * 9, "does not begin with"),
        (whole[:4] + struct.pack("<I", 1) + whole[8:], "version 1"),
        (
            whole[:8] + struct.pack("<I", len(whole) - 40) + whole[12:-40],
            "cannot be read as a mesh",
        ),
    ]:
        (tmp_path / "bad.glb").write_bytes(data)
        with pytest.raises(FileError, match=rf"bad\.glb.*{why}"):
            load_mesh(tmp_path / "bad.glb")


def test_gltf_without_its_buffer_or_with_compression_is_told(tmp_path):
    for name, data in _scene().export(file_type="gltf").items():
        (tmp_path / name).write_bytes(data)
    assert load_mesh(tmp_path / "model.gltf").n_faces == 2
    tree = json.loads((tmp_path / "model.gltf").read_text())
    tree["extensionsRequired"] = ["KHR_draco_mesh_compression"]
    with pytest.raises(FileError, match=r"b\.gltf.*compressed with KHR_draco"):
        load_mesh(_write(tmp_path / "b.gltf", json.dumps(tree)))
    with pytest.raises(FileError, match=r"c\.gltf.*cut off"):
        load_mesh(_write(tmp_path / "c.gltf", json.dumps(tree)[:-40]))
    for path in tmp_path.glob("*.bin"):
        path.unlink()
    with pytest.raises(FileError, match=r"model\.gltf.*cannot be read"):
        load_mesh(tmp_path / "model.gltf")


# --- All kinds ---


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".gltf"])
def test_missing_empty_and_garbage_files_are_told_by_name(tmp_path, suffix):
    path = tmp_path / f"bad{suffix}"
    with pytest.raises(FileError, match=rf"bad\{suffix}.*does not exist"):
        load_mesh(path)
    path.touch()
    with pytest.raises(FileError, match=rf"bad\{suffix}.*is empty"):
        load_mesh(path)
    path.write_bytes(bytes(np.random.default_rng(0).integers(0, 256, 500, dtype=np.uint8)))
    with pytest.raises(FileError, match=rf"bad\{suffix}"):
        load_mesh(path)


def test_unknown_extensions_list_the_known_ones(tmp_path):
    with pytest.raises(FileError, match=r"'\.blend'.*\.obj, \.ply, \.glb, \.gltf, \.stl, \.off"):
        load_mesh(_write(tmp_path / "a.blend", "x"))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_coordinates_may_be_nan(tmp_path, suffix):
    vertices = torch.eye(3).repeat(2, 1)
    vertices[4, 1] = torch.nan
    save_mesh(Mesh(vertices=vertices, faces=[[0, 1, 2], [3, 4, 5]]), tmp_path / f"a{suffix}")
    loaded = load_mesh(tmp_path / f"a{suffix}")
    assert loaded.n_faces == 2
    assert int(torch.isnan(loaded.vertices).sum()) == 1

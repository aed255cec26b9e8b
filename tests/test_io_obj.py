"""What is read from OBJ files, and how damage is told."""

import numpy as np
import pytest
import torch
from mesh_files import colors_at, write_text
from PIL import Image

from taichi_softras.errors import FileError
from taichi_softras.io import load_mesh


def test_obj_normals_do_not_split_vertices(tmp_path):
    text = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\n" + "vn 0 0 1\nvn 0 1 0\nvt 0 0\nvt 1 1\n"
    text += "f 1/1/1 2/2/1 3/1/1\nf 1/2/2 2/1/2 4/2/2\n"
    mesh = load_mesh(write_text(tmp_path / "a.obj", text))
    assert mesh.n_vertices == 4
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 1, 3]]


def test_obj_polygons_become_fans_in_order_and_negative_indices_count_back(tmp_path):
    text = "# mtllib none\nv 0 0 0\nv 1 0 0\nv 1 1 0\nf -3 -2 -1\nv\t0 1 0\n"
    text += "f 1 2 3 \\\n 4\nf -1 1 3\nv 5 5 5\n"
    mesh = load_mesh(write_text(tmp_path / "a.obj", text))
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 1, 2], [0, 2, 3], [3, 0, 2]]
    assert mesh.n_vertices == 5


def test_obj_vertices_without_color_are_grey_beside_colored_ones(tmp_path):
    text = "v 0 0 0 1 0 0\nv 1 0 0\nv 0 1 0 0 0 1\nf 1 2 3\n"
    colors = load_mesh(write_text(tmp_path / "a.obj", text)).vertex_colors
    assert colors.tolist() == [[1, 0, 0], pytest.approx([0.5] * 3, abs=0.003), [0, 0, 1]]


def test_obj_materials_without_texture_become_face_colors_on_shared_vertices(tmp_path):
    write_text(tmp_path / "a.mtl", "newmtl red\nKd 1 0 0\nnewmtl blue\nKd 0 0 1\n")
    text = "mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\n"
    text += "usemtl red\nf 1 2 3\nusemtl blue\nf 1 2 4\nusemtl red\nf 2 3 4\n"
    mesh = load_mesh(write_text(tmp_path / "a.obj", text))
    assert mesh.n_vertices == 4
    colored = {
        tuple(f): tuple(c)
        for f, c in zip(mesh.faces.tolist(), mesh.face_colors.tolist(), strict=True)
    }
    assert colored == {(0, 1, 2): (1, 0, 0), (0, 1, 3): (0, 0, 1), (1, 2, 3): (1, 0, 0)}


def test_obj_with_one_plain_material_gets_vertex_colors(tmp_path):
    write_text(tmp_path / "a.mtl", "newmtl red\nKd 1 0 0\n")
    text = "mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nusemtl red\nf 1 2 3\n"
    assert load_mesh(write_text(tmp_path / "a.obj", text)).vertex_colors.tolist() == [[1, 0, 0]] * 3


def _textured_obj(folder, faces="f 1/1 2/2 3/3 4/4\n", image="a.png"):
    """A square under a 2x2 texture: red, green above blue, white."""
    texels = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)
    Image.fromarray(texels).save(folder / "a.png")
    write_text(folder / "a.mtl", f"newmtl m\nKd 0.2 0.2 0.2\nmap_Kd {image}\n")
    text = "mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"
    return write_text(folder / "a.obj", text + "vt 0.5 0.5\nusemtl m\n" + faces)


def test_textures_are_baked_with_row_0_at_v_1(tmp_path):
    colors = colors_at(load_mesh(_textured_obj(tmp_path), textures="vertices"))
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
    colors = colors_at(mesh)
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
        load_mesh(write_text(tmp_path / "bad.obj", text))

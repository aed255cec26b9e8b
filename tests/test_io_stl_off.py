"""What is read from STL and OFF files, and how damage is told."""

import numpy as np
import pytest
import torch
import trimesh
from mesh_files import write_text

from taichi_softras.errors import FileError
from taichi_softras.io import load_mesh


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
            load_mesh(write_text(tmp_path / "b.stl", part))


def test_off_polygons_and_comments_are_read_and_cuts_are_told(tmp_path):
    text = "OFF # a quad\n4 1 0\n0 0 0\n1 0 0 # corner\n1 1 0\n0 1 0\n4 0 1 2 3\n"
    mesh = load_mesh(write_text(tmp_path / "a.off", text))
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
            load_mesh(write_text(tmp_path / "b.off", cut))
    with pytest.raises(FileError, match=r"b\.off"):
        load_mesh(write_text(tmp_path / "b.off", text.replace("4 0 1 2 3", "4 0 1 2 9")))


def test_off_polygons_of_any_size_are_cut(tmp_path):
    rows = "OFF\n5 2 0\n0 0 0\n1 0 0\n2 1 0\n1 2 0\n0 1 0\n5 0 1 2 3 4\n3 0 1 2\n"
    faces = load_mesh(write_text(tmp_path / "a.off", rows)).faces.tolist()
    assert faces == [[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 1, 2]]


def test_coff_colors_are_read(tmp_path):
    rows = "COFF\n3 1 0\n0 0 0 {}\n1 0 0 {}\n0 1 0 {}\n3 0 1 2 255 0 0\n"
    for colors in (["255 0 0 255", "0 255 0 255", "0 0 255 255"], ["1.0 0 0", "0 1 0", "0 0 1"]):
        path = write_text(tmp_path / "a.off", rows.format(*colors))
        assert load_mesh(path).vertex_colors.tolist() == torch.eye(3).tolist()
    path = write_text(tmp_path / "a.off", rows.format("", "", ""))
    assert load_mesh(path).vertex_colors is None
    with pytest.raises(FileError, match=r"a\.off.*damaged"):
        load_mesh(write_text(tmp_path / "a.off", rows.format("red red red", "0 1 0", "0 0 1")))

"""Meshes come back as they were written, and come in as other programs write them."""

import numpy as np
import pytest
import torch
from mesh_files import SUFFIXES, TETRAHEDRON, tetrahedron, write_text

from taichi_softras.errors import ArgumentError, FileError
from taichi_softras.io import load_mesh, save_mesh
from taichi_softras.mesh import Mesh


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_positions_and_faces_come_back_to_float32_precision(tmp_path, suffix, scale):
    mesh = tetrahedron(scale)
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
    save_mesh(tetrahedron(vertex_colors=colors), tmp_path / f"a{suffix}")
    loaded = load_mesh(tmp_path / f"a{suffix}")
    torch.testing.assert_close(loaded.vertex_colors, colors, rtol=0, atol=0.5 / 255 + 1e-5)
    assert loaded.faces.equal(TETRAHEDRON)


@pytest.mark.parametrize("suffix", [".obj", ".ply", ".glb"])
def test_face_colors_look_the_same_when_they_come_back(tmp_path, suffix):
    colors = torch.rand(4, 3, generator=torch.Generator().manual_seed(1))
    mesh = tetrahedron(face_colors=colors)
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
        save_mesh(tetrahedron(vertex_colors=colors), tmp_path / "a.ply")
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
        save_mesh(tetrahedron(vertex_colors=torch.zeros(2, 4, 3)), tmp_path / "a.ply")
    with pytest.raises(ArgumentError, match="7 channels"):
        save_mesh(tetrahedron(vertex_colors=torch.zeros(4, 7)), tmp_path / "a.ply")
    with pytest.raises(ArgumentError, match="no faces"):
        save_mesh(
            Mesh(vertices=torch.zeros(4, 3), faces=torch.zeros(0, 3, dtype=torch.int64)),
            tmp_path / "a.ply",
        )
    with pytest.raises(FileError, match=r"\.fbx.*\.obj, \.ply"):
        save_mesh(tetrahedron(), tmp_path / "a.fbx")
    assert not list(tmp_path.iterdir())


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
        load_mesh(write_text(tmp_path / "a.blend", "x"))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_coordinates_may_be_nan(tmp_path, suffix):
    vertices = torch.eye(3).repeat(2, 1)
    vertices[4, 1] = torch.nan
    save_mesh(Mesh(vertices=vertices, faces=[[0, 1, 2], [3, 4, 5]]), tmp_path / f"a{suffix}")
    loaded = load_mesh(tmp_path / f"a{suffix}")
    assert loaded.n_faces == 2
    assert int(torch.isnan(loaded.vertices).sum()) == 1

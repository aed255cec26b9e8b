"""What is read from GLB files, and how damage is told."""

import json
import struct

import numpy as np
import pytest
import torch
import trimesh
from mesh_files import colors_at, tetrahedron, write_text
from PIL import Image

from taichi_softras.errors import FileError
from taichi_softras.io import load_mesh, save_mesh


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
    assert colors_at(load_mesh(tmp_path / "a.glb", textures="vertices")) == {
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
    save_mesh(tetrahedron(), tmp_path / "a.glb")
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
        load_mesh(write_text(tmp_path / "b.gltf", json.dumps(tree)))
    with pytest.raises(FileError, match=r"c\.gltf.*cut off"):
        load_mesh(write_text(tmp_path / "c.gltf", json.dumps(tree)[:-40]))
    for path in tmp_path.glob("*.bin"):
        path.unlink()
    with pytest.raises(FileError, match=r"model\.gltf.*cannot be read"):
        load_mesh(tmp_path / "model.gltf")

"""Textures that are saved come back, and other programs read them."""

import numpy as np
import pytest
import torch
import trimesh
from textured_files import as_bytes, corner_uvs, textured_mesh, textured_obj

from taichi_softras.errors import ArgumentError, FileError
from taichi_softras.io import load_mesh, save_mesh
from taichi_softras.mesh import Mesh
from taichi_softras.textures import SurfaceTexture, UVTexture


@pytest.mark.parametrize("suffix", [".obj", ".glb"])
@pytest.mark.parametrize("wrap", ["wrap", "clamp"])
def test_a_texture_comes_back_as_it_was_saved(tmp_path, suffix, wrap):
    mesh, path = textured_mesh(wrap), tmp_path / "new folder" / f"my mesh #1{suffix}"
    save_mesh(mesh, path)
    loaded = load_mesh(path)
    order = [mesh.faces.tolist().index(face) for face in loaded.faces.tolist()]
    assert sorted(order) == [0, 1, 2, 3]
    if suffix == ".obj":  # GLB sorts faces by material
        assert order == [0, 1, 2, 3]
        assert loaded.texture.uvs.equal(mesh.texture.uvs)
        assert loaded.texture.uv_faces.equal(mesh.texture.uv_faces)
    assert loaded.vertices.equal(mesh.vertices)
    torch.testing.assert_close(corner_uvs(loaded), corner_uvs(mesh)[order], atol=1e-6, rtol=0)
    assert loaded.texture.face_materials.equal(mesh.texture.face_materials[order])
    assert loaded.texture.material_names == ["wood", "red paint", "sky"]
    assert loaded.texture.wrap == wrap
    assert loaded.vertex_colors is None
    assert loaded.face_colors is None
    for image, saved in zip(loaded.texture.images, mesh.texture.images, strict=True):
        torch.testing.assert_close(image, saved, atol=1e-6, rtol=0)


def test_an_obj_has_one_image_a_material_and_plain_ones_have_none(tmp_path):
    save_mesh(textured_mesh(), tmp_path / "a.obj")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mtl", "a.obj", "a_0.png", "a_2.png"]
    materials = (tmp_path / "a.mtl").read_text()
    assert materials.count("newmtl") == 3
    assert materials.count("map_Kd") == 2


def test_other_programs_read_what_is_saved(tmp_path):
    mesh = textured_mesh()
    for suffix in (".obj", ".glb"):
        save_mesh(mesh, tmp_path / f"a{suffix}")
        scene = trimesh.load_scene(tmp_path / f"a{suffix}", process=False)
        parts = {part.visual.material.name: part for part in scene.geometry.values()}
        assert set(parts) == {"wood", "red paint", "sky"}
        uvs = parts["sky"].visual.uv[parts["sky"].faces]
        assert np.allclose(uvs, corner_uvs(mesh)[:1], atol=1e-6)
        material = parts["sky"].visual.material
        image = material.image if suffix == ".obj" else material.baseColorTexture
        assert np.array_equal(np.asarray(image), as_bytes(mesh.texture.images[2]))


def test_materials_may_share_an_image(tmp_path):
    image = torch.rand(3, 3, 3)
    texture = UVTexture(images=[image, image], uvs=torch.rand(3, 2), face_materials=[1, 0])
    mesh = Mesh(vertices=torch.eye(3), faces=[[0, 1, 2], [2, 1, 0]], texture=texture)
    for suffix in (".obj", ".glb"):
        save_mesh(mesh, tmp_path / f"a{suffix}")
        loaded = load_mesh(tmp_path / f"a{suffix}").texture
        assert len(loaded.images) == 2
        assert loaded.images[0] is loaded.images[1]
    assert len(list(tmp_path.glob("*.png"))) == 1


@pytest.mark.parametrize("names", [("a\nKd 0 0 0", "", " "), ("same", "same", "same")])
def test_odd_material_names_stay_apart_and_in_their_lines(tmp_path, names):
    mesh = textured_mesh(names=names)
    save_mesh(mesh, tmp_path / "a.obj")
    loaded = load_mesh(tmp_path / "a.obj").texture
    assert len(set(loaded.material_names)) == 3
    assert loaded.face_materials.equal(mesh.texture.face_materials)


@pytest.mark.parametrize("name", ["-o 1", "c:d", "#1", " a", "~", "ä €", "a.b"])
def test_odd_file_names_can_be_read_back(tmp_path, name):
    save_mesh(textured_mesh(), tmp_path / f"{name}.obj")
    assert load_mesh(tmp_path / f"{name}.obj").texture.images[0].shape == (3, 5, 3)
    with pytest.raises(FileError, match="cannot name"):
        save_mesh(textured_mesh(), tmp_path / "a\nb.obj")


def test_colors_multiply_a_texture_in_glb_and_cannot_in_obj(tmp_path):
    colors = torch.rand(6, 3)
    mesh = textured_mesh(vertex_colors=colors)
    save_mesh(mesh, tmp_path / "a.glb")
    loaded = load_mesh(tmp_path / "a.glb")
    torch.testing.assert_close(loaded.vertex_colors, colors, atol=0.51 / 255, rtol=0)
    assert loaded.vertices.equal(mesh.vertices)
    with pytest.raises(ArgumentError, match="OBJ cannot say"):
        save_mesh(mesh, tmp_path / "a.obj")
    faces = torch.rand(4, 3)
    save_mesh(textured_mesh(face_colors=faces), tmp_path / "b.glb")
    loaded = load_mesh(tmp_path / "b.glb")
    found = loaded.vertex_colors[loaded.faces]  # sorted by material: 1 and 3, 2, 0
    wanted = faces[[1, 3, 2, 0], None].expand(4, 3, 3)
    torch.testing.assert_close(found, wanted, atol=0.51 / 255, rtol=0)


def test_a_ply_has_the_texture_at_its_vertices_and_stl_and_off_have_none(tmp_path):
    path = textured_obj(tmp_path)
    mesh = load_mesh(path)
    save_mesh(mesh, tmp_path / "b.ply")
    ply, wanted = load_mesh(tmp_path / "b.ply"), load_mesh(path, textures="vertices")
    assert ply.texture is None
    assert ply.vertices.equal(wanted.vertices)
    torch.testing.assert_close(ply.vertex_colors, wanted.vertex_colors)
    for suffix in (".stl", ".off"):
        save_mesh(mesh, tmp_path / f"b{suffix}")
        assert load_mesh(tmp_path / f"b{suffix}").n_faces == 2


def test_mirrored_textures_are_warned_of_in_obj_and_kept_in_glb(tmp_path):
    mesh = textured_mesh("mirror")
    with pytest.warns(UserWarning, match="mirror"):
        save_mesh(mesh, tmp_path / "a.obj")
    save_mesh(mesh, tmp_path / "a.glb")
    assert load_mesh(tmp_path / "a.glb").texture.wrap == "mirror"


def test_grey_and_rgba_images_are_written_as_rgb(tmp_path):
    for channels in (1, 4):
        texture = UVTexture(images=torch.full((2, 2, channels), 0.2), uvs=torch.rand(3, 2))
        mesh = Mesh(vertices=torch.eye(3), faces=[[0, 1, 2]], texture=texture)
        save_mesh(mesh, tmp_path / "a.obj")
        image = load_mesh(tmp_path / "a.obj").texture.images[0]
        torch.testing.assert_close(image, torch.full((2, 2, 3), 0.2))
    texture = UVTexture(images=torch.rand(2, 2, 2), uvs=torch.rand(3, 2))
    with pytest.raises(ArgumentError, match=r"texture\.images\[0\].* has 2 channels"):
        save_mesh(Mesh(vertices=torch.eye(3), faces=[[0, 1, 2]], texture=texture), "a.obj")


def test_a_write_that_fails_leaves_the_old_files(tmp_path):
    save_mesh(textured_mesh(), tmp_path / "a.obj")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.name != "a.mtl"}
    (tmp_path / "a.mtl").unlink()
    (tmp_path / "a.mtl").mkdir()
    changed = textured_mesh()
    changed = changed.replace(vertices=changed.vertices + 1)
    with pytest.raises(FileError, match=r"a\.mtl.*cannot be written"):
        save_mesh(changed, tmp_path / "a.obj")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == before


def _read_at(texture, uv):
    """Read a texture at one place, to the nearest texel."""
    height, width = texture.images[0].shape[:2]
    x, y = uv[0] * width, (1 - uv[1]) * height
    return texture.images[0][int(y), int(x)].tolist()


@pytest.mark.parametrize(("side", "kind"), [(1, "nearest"), (3, "nearest"), (3, "bilinear")])
@pytest.mark.parametrize("suffix", [".obj", ".glb"])
def test_texels_of_faces_are_saved_as_an_atlas(tmp_path, side, kind, suffix):
    texels = torch.randint(0, 256, (5, side * side, 3)) / 255
    mesh = Mesh(
        vertices=torch.rand(7, 3),
        faces=[[i, i + 1, i + 2] for i in range(5)],
        texture=SurfaceTexture(texels=texels, filter=kind),
    )
    save_mesh(mesh, tmp_path / f"a{suffix}")
    loaded = load_mesh(tmp_path / f"a{suffix}")
    assert loaded.faces.equal(mesh.faces)
    for corners, colors in zip(corner_uvs(loaded), texels, strict=True):
        for a in range(side):
            for b in range(side - a):
                if kind == "bilinear":  # the middle of a texel of the square
                    w, wanted = (a + 0.5, b + 0.5), b * side + a
                    if a + b + 1 > side:
                        continue
                else:  # the middle of the triangle towards the third corner
                    w, wanted = (a + 1 / 3, b + 1 / 3), b * side + a
                weights = torch.tensor([w[0] / side, w[1] / side, 1 - sum(w) / side])
                found = _read_at(loaded.texture, weights @ corners)
                assert found == pytest.approx(colors[wanted].tolist(), abs=1e-6)
                if kind == "nearest" and a + b + 2 <= side:  # the one beyond the cell's diagonal
                    w = torch.tensor([a + 2 / 3, b + 2 / 3]) / side
                    found = _read_at(
                        loaded.texture, torch.tensor([w[0], w[1], 1 - w.sum()]) @ corners
                    )
                    flipped = (side - 1 - b) * side + side - 1 - a
                    assert found == pytest.approx(colors[flipped].tolist(), abs=1e-6)


def test_texels_of_several_views_cannot_be_saved(tmp_path):
    texture = SurfaceTexture(texels=torch.rand(2, 1, 4, 3))
    mesh = Mesh(vertices=torch.eye(3), faces=[[0, 1, 2]], texture=texture)
    with pytest.raises(ArgumentError, match=r"batch of shape \[2, 1, 4, 3\]"):
        save_mesh(mesh, tmp_path / "a.obj")

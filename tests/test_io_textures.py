"""Textures come in as files have them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from textured_files import (
    TEXELS,
    as_bytes,
    corner_uvs,
    data_uri,
    png,
    textured_gltf,
    textured_obj,
    textured_ply,
)

from taichi_softras import Camera, RasterSettings, render
from taichi_softras.errors import FileError
from taichi_softras.io import load_mesh, save_mesh

# --- OBJ and MTL ---


def test_an_obj_keeps_its_vertices_and_has_its_seams_in_the_texture(tmp_path):
    path = textured_obj(tmp_path, "usemtl m\nf 1/1 2/2 3/3\nf 1/2 3/3 4/4\n")
    mesh = load_mesh(path, dtype=torch.float64)
    assert mesh.vertices.tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert corner_uvs(mesh).tolist() == [[[0, 0], [1, 0], [1, 1]], [[1, 0], [1, 1], [0, 1]]]
    assert mesh.texture.images[0].dtype == torch.float64
    assert np.array_equal(as_bytes(mesh.texture.images[0]), TEXELS)
    assert mesh.texture.material_names == ["m"]
    assert mesh.vertex_colors is None


def test_negative_indices_and_polygons_keep_their_coordinates(tmp_path):
    path = textured_obj(tmp_path, "usemtl m\nf -4/-1 -3/-2 -2/-3 -1/-4\n")
    mesh = load_mesh(path)
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert mesh.texture.uv_faces.tolist() == [[3, 2, 1], [3, 1, 0]]


def test_coordinates_outside_of_the_image_are_kept(tmp_path):
    path = textured_obj(tmp_path)
    path.write_text(path.read_text().replace("vt 1 1", "vt 7.5 -3"))
    assert [7.5, -3] in load_mesh(path).texture.uvs.tolist()


def test_materials_without_image_are_one_texel_and_unused_ones_are_left_out(tmp_path):
    mtl = "newmtl unused\nmap_Kd gone.png\nnewmtl plain\nKd 1 0 0.25\nnewmtl m\nKd 0 0 0\n"
    faces = "usemtl m\nf 1/1 2/2 3/3\nusemtl plain\nf 1 3 4\nusemtl other\nf 1/1 2/2 4/4\n"
    texture = load_mesh(
        textured_obj(tmp_path, faces + "usemtl m\nf 4 3 2\n", mtl + "map_Kd a.png")
    ).texture
    assert texture.material_names == ["plain", "m", "uncoloured"]
    assert texture.face_materials.tolist() == [1, 0, 2, 2]
    assert [tuple(image.shape) for image in texture.images] == [(1, 1, 3), (2, 2, 3), (1, 1, 3)]
    assert texture.images[0].flatten().tolist() == [1, 0, 0.25]
    # The image stands in place of Kd: that of many files is 0 or 0.8 beside it.
    assert np.array_equal(as_bytes(texture.images[1]), TEXELS)
    assert texture.images[2].flatten().tolist() == [0.5] * 3


def test_an_image_without_any_coordinates_is_its_material_s_plain_color(tmp_path):
    mtl = "newmtl m\nKd 0.2 0.4 0.6\nmap_Kd a.png\n"
    mesh = load_mesh(textured_obj(tmp_path, "usemtl m\nf 1 2 3\n", mtl))
    assert mesh.texture is None
    torch.testing.assert_close(mesh.vertex_colors, torch.tensor([[0.2, 0.4, 0.6]] * 4))


@pytest.mark.parametrize(
    ("line", "wrap"),
    [
        ("map_Kd my image.png", "wrap"),
        ("\tmap_kd\tmy image.png  ", "wrap"),
        ("map_Kd -blendu on -clamp on -mm 0 1 my image.png", "clamp"),
        ("map_Kd rock:my image.png", "wrap"),
        ("map_Kd -bm 0.2 sub\\..\\my image.png", "wrap"),
    ],
)
def test_file_names_may_have_spaces_and_options_before_them(tmp_path, line, wrap):
    (tmp_path / "sub").mkdir()
    for name in ("my image.png", "rock:my image.png"):
        (tmp_path / name).write_bytes(png())
    path = textured_obj(tmp_path, mtl=f"newmtl m\n{line}\n")
    (tmp_path / "a.mtl").rename(tmp_path / "my materials #1.mtl")
    path.write_text(path.read_text().replace("a.mtl", "my materials #1.mtl"))
    texture = load_mesh(path).texture
    assert texture.images[0].shape == (2, 2, 3)
    assert texture.wrap == wrap


def test_moved_textures_are_warned_of(tmp_path):
    path = textured_obj(tmp_path, mtl="newmtl m\nmap_Kd -s 2 2 -o 0.5 a.png\n")
    with pytest.warns(UserWarning, match=r"moves a texture in line 2 \(-s -o\)"):
        assert load_mesh(path).texture.images[0].shape == (2, 2, 3)


def test_several_libraries_are_read(tmp_path):
    path = textured_obj(tmp_path, "usemtl n\nf 1/1 2/2 3/3\nusemtl m\nf 1/1 2/2 3/3\n")
    (tmp_path / "b.mtl").write_text("newmtl n\nKd 0 0 1\nnewmtl m\nKd 0 0 0\n")
    for line in ("mtllib a.mtl b.mtl", "mtllib a.mtl\nmtllib b.mtl"):
        path.write_text(path.read_text().replace("mtllib a.mtl", line))
        assert load_mesh(path).texture.material_names == ["m", "n"]


def test_what_is_missing_is_warned_of_and_the_rest_is_read(tmp_path):
    path = textured_obj(tmp_path, mtl="newmtl m\nKd 0.2 0.2 0.2\nmap_Kd gone.png\n")
    with pytest.warns(UserWarning, match=r"gone\.png.*not there; the plain colour"):
        mesh = load_mesh(path)
    assert mesh.texture is None
    assert mesh.vertex_colors.tolist() == [[pytest.approx(0.2)] * 3] * 4
    (tmp_path / "a.mtl").unlink()
    with pytest.warns(UserWarning, match=r"a\.mtl.*cannot be read"):
        mesh = load_mesh(path)
    assert mesh.texture is None
    assert mesh.vertex_colors is None


def test_a_damaged_material_is_told_by_line(tmp_path):
    for value in ("1 two 3", "nan 0 0", "1 0 1e99", "1 2"):
        path = textured_obj(tmp_path, mtl=f"newmtl m\nKd {value}\n")
        with pytest.raises(FileError, match=r"a\.mtl.*line 2, Kd"):
            load_mesh(path)


# --- PLY ---


@pytest.mark.parametrize("style", ["ascii", "binary_little_endian", "binary_big_endian"])
@pytest.mark.parametrize("wedges", [False, True])
def test_ply_textures_are_read_at_vertices_and_at_corners(tmp_path, style, wedges):
    mesh = load_mesh(textured_ply(tmp_path, style, wedges))
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3], [3, 2, 0]]
    assert corner_uvs(mesh).equal(mesh.corners[..., :2])
    assert mesh.n_vertices == 4
    assert mesh.texture.face_materials.tolist() == [0, 0, 0]
    assert np.array_equal(as_bytes(mesh.texture.images[0]), TEXELS)
    (tmp_path / "my image.png").unlink()
    with pytest.warns(UserWarning, match=r"my image\.png.*not there"):
        mesh = load_mesh(tmp_path / "a.ply")
    assert mesh.texture is None
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3], [3, 2, 0]]


@pytest.mark.parametrize("style", ["ascii", "binary_little_endian"])
def test_a_ply_of_several_textures_is_read_without_them(tmp_path, style):
    with pytest.warns(UserWarning, match="2 textures, and of a PLY file only one is read"):
        mesh = load_mesh(textured_ply(tmp_path, style, wedges=True, several=True))
    assert mesh.texture is None
    assert mesh.vertices.tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3], [3, 2, 0]]
    path = textured_ply(tmp_path, style, wedges=False, several=True)  # no face says which
    assert np.array_equal(as_bytes(load_mesh(path).texture.images[0]), TEXELS)


# --- glTF ---


def test_gltf_factors_multiply_the_image_and_vertex_colors_stay_beside_it(tmp_path):
    def change(tree):
        tree["materials"][0]["pbrMetallicRoughness"]["baseColorFactor"] = [0.5, 1, 0, 1]

    colors = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0.5]]
    mesh = load_mesh(textured_gltf(tmp_path, change, colors))
    assert mesh.vertex_colors.tolist() == colors
    wanted = torch.from_numpy(TEXELS / 255.0).float() * torch.tensor([0.5, 1, 0])
    torch.testing.assert_close(mesh.texture.images[0], wanted)
    assert corner_uvs(mesh).equal(mesh.corners[..., :2])
    baked = load_mesh(tmp_path / "a.gltf", textures="vertices")
    texel = torch.tensor([[0, 0, 255], [255, 255, 255], [0, 255, 0], [255, 0, 0]]) / 255
    wanted = texel * torch.tensor([0.5, 1, 0]) * torch.tensor(colors)
    torch.testing.assert_close(baked.vertex_colors, wanted)


@pytest.mark.parametrize("where", ["beside", "percent", "data", "buffer", "glb"])
def test_gltf_images_are_found_wherever_they_are(tmp_path, where):
    (tmp_path / "my image.png").write_bytes(png())
    uri = {"percent": "my%20image.png", "data": data_uri(png(), "image/png")}.get(where, "a.png")

    def change(tree):
        if where == "buffer":
            tree["images"] = [{"bufferView": 3, "mimeType": "image/png"}]
            tree["bufferViews"].append({"buffer": 1, "byteLength": len(png())})
            tree["buffers"].append({"byteLength": len(png()), "uri": "a.png"})

    path = textured_gltf(tmp_path, change, image=uri)
    if where == "glb":
        save_mesh(load_mesh(path), tmp_path / "b.glb")
        path = tmp_path / "b.glb"
    assert np.array_equal(as_bytes(load_mesh(path).texture.images[0]), TEXELS)


@pytest.mark.parametrize(
    ("codes", "wrap"),
    [({}, "wrap"), ({"wrapS": 33071, "wrapT": 33071}, "clamp"), ({"wrapS": 33648, "wrapT": 33648},
                                                                 "mirror")],
)  # fmt: skip
def test_gltf_samplers_say_how_textures_wrap(tmp_path, codes, wrap):
    def change(tree):
        tree["textures"][0]["sampler"] = 0
        tree["samplers"] = [codes]

    assert load_mesh(textured_gltf(tmp_path, change)).texture.wrap == wrap


def test_samplers_that_differ_are_warned_of(tmp_path):
    def change(tree):
        tree["textures"][0]["sampler"] = 0
        tree["samplers"] = [{"wrapS": 33071, "magFilter": 9728}]

    with pytest.warns(UserWarning, match="u and v in different ways"):
        texture = load_mesh(textured_gltf(tmp_path, change)).texture
    assert (texture.wrap, texture.filter) == ("clamp", "nearest")

    def second(tree):
        change(tree)
        tree["samplers"][0]["wrapT"] = 33071
        tree["textures"].append({"source": 0})
        tree["materials"].append(
            {"pbrMetallicRoughness": {"baseColorTexture": {"index": 1}}, "name": "n"}
        )
        tree["meshes"][0]["primitives"].append(
            {**tree["meshes"][0]["primitives"][0], "material": 1}
        )

    with pytest.warns(UserWarning, match="clamp and nearest, wrap and bilinear"):
        mesh = load_mesh(textured_gltf(tmp_path, second))
    assert mesh.texture.wrap == "clamp"
    assert mesh.n_vertices == 4
    assert mesh.texture.face_materials.tolist() == [0, 0, 1, 1]


def test_gltf_texture_transforms_are_applied(tmp_path):
    extension = {"offset": [0.5, 0.25], "scale": [2, 1], "rotation": np.pi / 2}

    def change(tree):
        info = tree["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"]
        info["extensions"] = {"KHR_texture_transform": extension}

    found = corner_uvs(load_mesh(textured_gltf(tmp_path, change)))
    # With v down: (u, v) -> (2 u, v), a quarter turn counter-clockwise on the screen, which takes
    # right (1, 0) to up (0, -1) and down (0, 1) to right (1, 0), and then the offset.
    u, v = corner_uvs(load_mesh(textured_gltf(tmp_path, name="b.gltf"))).unbind(-1)
    down = 1 - v
    wanted = torch.stack([down + 0.5, 1 - (-2 * u + 0.25)], -1)
    torch.testing.assert_close(found, wanted)


def test_gltf_reads_the_coordinates_that_a_material_names(tmp_path):
    def change(tree):
        attributes = tree["meshes"][0]["primitives"][0]["attributes"]
        attributes["TEXCOORD_1"] = attributes.pop("TEXCOORD_0")
        tree["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"]["texCoord"] = 1

    mesh = load_mesh(textured_gltf(tmp_path, change))
    assert corner_uvs(mesh).equal(mesh.corners[..., :2])


def test_gltf_parts_without_image_have_one_texel(tmp_path):
    def change(tree):
        first = tree["meshes"][0]["primitives"][0]
        tree["materials"].append({"pbrMetallicRoughness": {"baseColorFactor": [1, 0, 0.5, 1]}})
        tree["meshes"][0]["primitives"] += [
            {**first, "material": 1},
            {"attributes": {"POSITION": 0}, "indices": 2},
        ]

    texture = load_mesh(textured_gltf(tmp_path, change)).texture
    assert texture.material_names == ["material_0", "material_1", "uncoloured"]
    assert [image.flatten().tolist() for image in texture.images[1:]] == [[1, 0, 0.5], [0.5] * 3]
    assert texture.face_materials.tolist() == [0, 0, 1, 1, 2, 2]


def test_gltf_strips_become_triangles(tmp_path):
    def change(tree):
        primitive = tree["meshes"][0]["primitives"][0]
        primitive["mode"] = 5
        del primitive["indices"]

    first, second = load_mesh(textured_gltf(tmp_path, change)).faces.tolist()
    assert first == [0, 1, 2]
    assert second in ([2, 1, 3], [1, 3, 2], [3, 2, 1])  # the same way round


def test_gltf_rotations_turn_counter_clockwise(tmp_path):
    def change(tree):
        half = np.sqrt(0.5)
        tree["nodes"][0] |= {"rotation": [0, 0, half, half], "scale": [2, 1, 1]}
        tree["nodes"].append({"translation": [10, 0, 0], "children": [0]})

    mesh = load_mesh(textured_gltf(tmp_path, change))
    wanted = torch.tensor([[10, 0, 0], [10, 2, 0], [9, 2, 0], [9, 0, 0]]).float()
    torch.testing.assert_close(mesh.vertices, wanted)


@pytest.mark.parametrize("kind", ["u1", "<u2"])
def test_gltf_coordinates_and_colors_may_be_parts_of_a_whole(tmp_path, kind):
    whole = np.iinfo(kind).max
    colors = np.array([[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 1], [0.2, 0.4, 0.6, 1]])

    def change(tree):
        uvs = np.array([[0, 1], [1, 1], [1, 0], [0, 0]])
        code = {"u1": 5121, "<u2": 5123}[kind]
        for name, values in (("TEXCOORD_0", uvs), ("COLOR_0", colors)):
            data = np.rint(values * whole).astype(kind).tobytes()
            accessor = {
                "componentType": code,
                "normalized": True,
                "count": 4,
                "type": f"VEC{values.shape[1]}",
                "bufferView": len(tree["bufferViews"]),
            }
            tree["bufferViews"].append({"buffer": len(tree["buffers"]), "byteLength": len(data)})
            tree["buffers"].append({"byteLength": len(data), "uri": data_uri(data)})
            tree["meshes"][0]["primitives"][0]["attributes"][name] = len(tree["accessors"])
            tree["accessors"].append(accessor)

    mesh = load_mesh(textured_gltf(tmp_path, change))
    assert corner_uvs(mesh).equal(mesh.corners[..., :2])
    wanted = torch.from_numpy(colors[:, :3]).float()
    torch.testing.assert_close(mesh.vertex_colors, wanted, atol=1e-6, rtol=0)


NOT_READ = {
    "triangle fans": lambda tree: tree["meshes"][0]["primitives"][0].update(mode=6),
    "sparse": lambda tree: tree["accessors"][0].update(sparse={"count": 1}),
    "quantised": lambda tree: tree["accessors"][1].update(componentType=5123),
}


@pytest.mark.parametrize("what", NOT_READ)
def test_gltf_of_rare_kinds_is_refused(tmp_path, what):
    with pytest.raises(FileError, match=rf"a\.gltf.*{what}.*not read"):
        load_mesh(textured_gltf(tmp_path, NOT_READ[what]))


def test_gltf_morph_targets_may_be_of_any_kind(tmp_path):
    def change(tree):
        tree["accessors"].append({"componentType": 5126, "count": 4, "type": "VEC3", "sparse": {}})
        tree["meshes"][0]["primitives"][0]["targets"] = [{"POSITION": 3}]

    assert load_mesh(textured_gltf(tmp_path, change)).n_faces == 2


def test_gltf_nodes_with_cameras_keep_their_meshes(tmp_path):
    def change(tree):
        tree["cameras"] = [{"type": "perspective", "perspective": {"yfov": 1.0, "znear": 0.1}}]
        tree["nodes"] = [{"camera": 0, "mesh": 0, "children": [1], "name": "world"},
                         {"mesh": 0, "translation": [5, 0, 0], "name": "world"}]  # fmt: skip

    mesh = load_mesh(textured_gltf(tmp_path, change))
    assert sorted(mesh.vertices[:, 0].tolist()) == [0, 0, 1, 1, 5, 5, 6, 6]


def test_gltf_colors_of_the_old_kind_are_warned_of(tmp_path):
    def change(tree):
        old = {"diffuseFactor": [1, 0, 0, 1]}
        tree["materials"] = [{"extensions": {"KHR_materials_pbrSpecularGlossiness": old}}]

    with pytest.warns(UserWarning, match="SpecularGlossiness, which are not read"):
        mesh = load_mesh(textured_gltf(tmp_path, change))
    assert mesh.vertex_colors.tolist() == [[1, 1, 1]] * 4


def test_warnings_point_at_the_caller(tmp_path):
    for path in (
        textured_obj(tmp_path, mtl="newmtl m\nmap_Kd gone.png\n"),
        textured_gltf(tmp_path, image="gone.png"),
    ):
        with pytest.warns(UserWarning, match=r"gone\.png") as caught:
            load_mesh(path)
        assert [warning.filename for warning in caught] == [__file__]


# --- Kinds of images ---


@pytest.mark.parametrize("kind", ["1", "L", "LA", "P", "RGBA", "I;16", "CMYK.jpg", "RGB.webp"])
def test_images_of_any_kind_become_rgb(tmp_path, kind):
    mode, _, suffix = kind.partition(".")
    grey = np.array([[0, 255], [255, 0]], np.uint8).repeat(8, 0).repeat(8, 1)
    if mode == "I;16":
        image = Image.fromarray(grey.astype(np.uint16) * 257)
    else:
        image = Image.fromarray(grey).convert("RGB" if mode in ("P", "CMYK") else "L").convert(mode)
    name = f"b.{suffix or 'png'}"
    image.save(tmp_path / name)
    path = textured_obj(tmp_path, mtl=f"newmtl m\nmap_Kd {name}\n")
    texture = load_mesh(path).texture
    assert texture.images[0].shape == (16, 16, 3)
    wanted = torch.from_numpy(grey / 255.0)[..., None].expand(16, 16, 3).float()
    torch.testing.assert_close(texture.images[0], wanted, atol=0.05, rtol=0)


def test_sixteen_bits_of_grey_are_kept(tmp_path):
    levels = np.array([[0, 1], [32768, 65535]], np.uint16)
    Image.fromarray(levels).save(tmp_path / "b.png")
    image = load_mesh(textured_obj(tmp_path, mtl="newmtl m\nmap_Kd b.png\n")).texture.images[0]
    assert image[..., 0].mul(65535).round().tolist() == levels.tolist()


# --- As they are drawn ---


@pytest.mark.parametrize("suffix", [".obj", ".ply", ".gltf", "saved.obj", "saved.glb"])
def test_a_loaded_square_shows_its_image_upright(arch, tmp_path, suffix):
    path = textured_obj(tmp_path)
    if suffix == ".ply":
        path = textured_ply(tmp_path, "ascii", wedges=False)
    elif suffix == ".gltf":
        path = textured_gltf(tmp_path)
    mesh = load_mesh(path)
    if suffix.startswith("saved"):
        save_mesh(mesh, tmp_path / suffix)
        mesh = load_mesh(tmp_path / suffix)
    camera = Camera.look_at(
        eye=(0.5, 0.5, 3.0), at=(0.5, 0.5, 0.0), up=(0.0, 1.0, 0.0), orthographic_height=1.0
    )
    hard = RasterSettings(distance="hard", alpha="hard", color="hard", near=0.1)
    wanted = torch.from_numpy(TEXELS / 255.0).float()
    image = render(mesh, camera, 2, settings=hard).image[0]  # one pixel a texel
    torch.testing.assert_close(image, wanted, atol=1e-5, rtol=0)
    nearest = mesh.replace(texture=replace(mesh.texture, filter="nearest"))
    image = render(nearest, camera, 8, settings=hard).image[0]
    wanted = wanted.repeat_interleave(4, 0).repeat_interleave(4, 1)
    torch.testing.assert_close(image, wanted, atol=1e-5, rtol=0)

"""Files that mean no good are refused in a sentence."""

import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import ImageFile
from textured_files import (
    data_uri,
    png,
    textured_gltf,
    textured_mesh,
    textured_obj,
    textured_ply,
)

from taichi_softras.errors import ArgumentError, FileError
from taichi_softras.io import load_mesh, save_mesh
from taichi_softras.io.meshes import READABLE

OUTSIDE = [
    "../secret.png",
    "sub/../../secret.png",
    "..\\secret.png",
    "/etc/secret.png",
    "C:\\secret.png",
    "c:secret.png",
    "\\\\host\\secret.png",
    "file:///etc/secret.png",
    "http://example.com/secret.png",
    "~/secret.png",
]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("kind", ["map_Kd", "mtllib", "ply", "image", "buffer"])
@pytest.mark.parametrize("textures", ["images", "vertices"])
def test_files_outside_of_the_folder_are_refused(tmp_path, name, kind, textures):
    (tmp_path / "secret.png").write_bytes(png())
    folder = tmp_path / "mesh"
    (folder / "sub").mkdir(parents=True)
    if kind == "map_Kd":
        path = textured_obj(folder, mtl=f"newmtl m\nmap_Kd {name}\n")
    elif kind == "mtllib":
        path = textured_obj(folder)
        path.write_text(path.read_text().replace("a.mtl", name))
    elif kind == "ply":
        path = textured_ply(folder, "ascii", wedges=False)
        path.write_text(path.read_text().replace("my image.png", name))
    else:

        def change(tree):
            if kind == "buffer":
                tree["buffers"][0]["uri"] = name

        path = textured_gltf(folder, change, image=name)
    with pytest.raises(FileError, match=r"(?s)names the file.*secret\.png.*not in the folder"):
        load_mesh(path, textures=textures)


def test_links_out_of_the_folder_are_refused_and_stores_of_links_read(tmp_path):
    folder, store = tmp_path / "mesh", tmp_path / "store"
    folder.mkdir()
    store.mkdir()
    path = textured_obj(folder)
    (folder / "a.png").rename(store / "1")
    (folder / "a.png").symlink_to(store / "1")
    with pytest.raises(FileError, match=r"a\.png.*not in the folder"):
        load_mesh(path)
    (folder / "a.mtl").rename(store / "2")
    (folder / "a.mtl").symlink_to(store / "2")
    path.rename(store / "3")
    path.symlink_to(store / "3")
    assert load_mesh(path).texture.images[0].shape == (2, 2, 3)


def _bomb(width, height):
    """A PNG of a few bytes that claims any size."""

    def chunk(kind, data):
        whole = kind + data
        return struct.pack(">I", len(data)) + whole + struct.pack(">I", zlib.crc32(whole))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("size", [(12000, 12000), (2**14, 2**14), (2**20, 2**20)])
@pytest.mark.parametrize("kind", ["obj", "ply", "gltf", "data"])
def test_absurd_images_are_refused_by_their_headers(tmp_path, size, kind, monkeypatch):
    if kind == "obj":
        path = textured_obj(tmp_path)
    elif kind == "ply":
        path = textured_ply(tmp_path, "ascii", wedges=False)
    else:
        image = data_uri(_bomb(*size), "image/png") if kind == "data" else "a.png"
        path = textured_gltf(tmp_path, image=image)
    for name in ("a.png", "my image.png"):
        (tmp_path / name).write_bytes(_bomb(*size))
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("decoded"))
    what = r"(a\.png|my image\.png|Image 0 in).* (has .*all textures of a mesh|is .*too large)"
    with pytest.raises(FileError, match=what):
        load_mesh(path)


@pytest.mark.parametrize("data", [b"no image at all", png()[:40], b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_images_that_are_none_are_told(tmp_path, data):
    for path in (textured_obj(tmp_path), textured_gltf(tmp_path)):
        (tmp_path / "a.png").write_bytes(data)
        with pytest.raises(FileError, match=r"a\.png` cannot be read as an image"):
            load_mesh(path)


# What is put where in a glTF.
ABSURD = {
    "count": ("accessors", 0, "count", 10**15),
    "negative count": ("accessors", 0, "count", -1),
    "count that is none": ("accessors", 0, "count", 4.0),
    "zeros": ("accessors", 0, {"componentType": 5126, "count": 10**15, "type": "VEC3"}),
    "offset": ("accessors", 0, "byteOffset", -8),
    "too few coordinates": ("accessors", 1, "count", 3),
    "view": ("bufferViews", 0, "byteLength", 10**12),
    "view that is none": ("accessors", 0, "bufferView", -1),
    "circle": ("nodes", [{"children": [1]}, {"mesh": 0, "children": [2]}, {"children": [1]}]),
    "two parents": ("nodes", [{"children": [1, 1]}, {"mesh": 0}]),
    "texture": ("textures", []),
    "image": ("images", 0, {"bufferView": 99}),
    "color": ("materials", 0, "pbrMetallicRoughness", "baseColorFactor", [1e99, 0, 0, 1]),
    "meshes": ("meshes", {"not": "a list"}),
}


@pytest.mark.parametrize("what", ABSURD)
def test_absurd_gltf_is_refused(tmp_path, what):
    def change(tree):
        *way, last, value = ABSURD[what]
        for key in way:
            tree = tree[key]
        tree[last] = value

    with pytest.raises(FileError, match=r"a\.gltf.* is damaged"):
        load_mesh(textured_gltf(tmp_path, change))


def test_a_gltf_that_repeats_its_mesh_too_often_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("taichi_softras.io.gltf_tree._MAX_FACES", 100)
    path = textured_gltf(tmp_path, lambda tree: tree.update(nodes=[{"mesh": 0}] * 51))
    with pytest.raises(FileError, match="more than 100 triangles"):
        load_mesh(path)


@pytest.mark.parametrize("what", ["element vertex 4000000000000", "element face 99999999999"])
def test_absurd_ply_counts_are_refused(tmp_path, what):
    for style in ("ascii", "binary_little_endian"):
        path = textured_ply(tmp_path, style, wedges=True)
        kind, _, _ = what.rpartition(" ")
        data = path.read_bytes()
        start = data.index(kind.encode())
        path.write_bytes(data[:start] + what.encode() + data[data.index(b"\n", start) :])
        with pytest.raises(FileError, match="is cut off or damaged"):
            load_mesh(path)


def test_unknown_ways_of_reading_are_refused(tmp_path):
    with pytest.raises(ArgumentError, match=r"`textures` must be one of 'images', 'vertices'"):
        load_mesh(textured_obj(tmp_path), textures="pictures")


@pytest.mark.parametrize("suffix", READABLE)
def test_flipped_bytes_never_end_in_anything_but_a_mesh_or_a_sentence(tmp_path, suffix):
    if suffix == ".gltf":
        path = textured_gltf(tmp_path)
    elif suffix == ".ply":
        path = textured_ply(tmp_path, "binary_little_endian", wedges=True)
    else:
        path = tmp_path / f"a{suffix}"
        save_mesh(textured_mesh(), path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    outcomes = set()
    for _ in range(80):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), 2):
            data[place] = whole[rng.integers(0, len(whole))]
        path.write_bytes(bytes(data))
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                load_mesh(path)
                outcomes.add("mesh")
            except FileError:
                outcomes.add("sentence")
    assert outcomes == {"mesh", "sentence"}

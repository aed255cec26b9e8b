"""Scenes of glTF files: nodes put in place and joined, with their materials."""

import io
import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from taichi_softras.errors import FileError, SoftRasError
from taichi_softras.io.files import warn_caller
from taichi_softras.io.gltf_tree import CHUNK, GltfTree
from taichi_softras.io.linked_files import LinkedFiles
from taichi_softras.io.mesh_parts import Floats, Ints, Part, unit
from taichi_softras.io.skin import GREY, MAX_COLOR, UNCOLORED, Material, Skin
from taichi_softras.io.texture_images import TextureImages
from taichi_softras.texture_maps import Filter, Wrap

_WRAPS: dict[int, Wrap] = {10497: "wrap", 33071: "clamp", 33648: "mirror"}
_NEAREST = 9728
_WHITE = (1.0, 1.0, 1.0)
_GLOSSY = "KHR_materials_pbrSpecularGlossiness"


@dataclass(frozen=True, eq=False)
class _Piece:
    """Triangles of one material, in world coordinates."""

    vertices: Floats  # [V, 3]
    faces: Ints  # [F, 3]
    colors: Floats | None  # [V, 3]
    uvs: Floats | None  # [V, 2], u right, v up
    look: Material
    bare: bool
    """Whether it has no material."""


def read_gltf(path: Path, data: bytes) -> tuple[Part, Skin | None]:
    """Read the triangles of the scene, and their texture where an image is used.

    Vertex colours multiply the colours and images of materials; without any image, materials
    become vertex colours. Vertices that are split for normals or textures are joined again.

    Raises:
        FileError: The file is cut off or damaged, needs what is not read, or names a file that is
            elsewhere.
    """
    try:
        tree = GltfTree(path, data)
        part, skin = _dressed(list(_pieces(tree)) if tree.primitives else [])
    except SoftRasError:
        raise
    except Exception as cause:  # trimesh asserts, and raises whatever NumPy makes of the arrays
        raise FileError(f"`{path}` is damaged, and cannot be read as a mesh: {cause!r}.") from cause
    return (part.welded() if tree.split else part), skin


def _pieces(tree: GltfTree) -> Iterator[_Piece]:
    """Yield the primitives of each node, in the order of the file."""
    scene, files = _scene(tree)
    materials = _Materials(tree, files)
    local: dict[str, _Piece] = {}
    for frame in sorted(scene.graph.nodes_geometry, key=int):
        matrix, name = scene.graph[frame]
        if name not in local:
            local[name] = _piece(tree, int(name), scene.geometry[name], materials)
        piece = local[name]
        faces, vertices = piece.faces, piece.vertices
        if not np.array_equal(matrix, np.eye(4)):
            vertices = vertices @ matrix[:3, :3].T + matrix[:3, 3]
            if np.linalg.det(matrix[:3, :3]) < 0.0:
                faces = faces[:, ::-1]  # a mirror turns faces inside out
        yield replace(piece, vertices=vertices, faces=faces)


def _scene(tree: GltfTree) -> tuple[Any, LinkedFiles]:
    """Hand the reduced tree to trimesh; return its scene, and the files that it asked for."""
    import trimesh
    from PIL import Image

    resolver: Any  # trimesh wants no more of it than `resolver[uri]`
    resolver = files = LinkedFiles(tree.path, {} if tree.chunk is None else {CHUNK: tree.chunk})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # measured by TextureImages
        try:
            scene = trimesh.load_scene(
                io.BytesIO(json.dumps(tree.reduced).encode()),
                file_type="gltf",
                resolver=resolver,
                process=False,
            )
        except KeyError as cause:
            if not files.missing & {buffer["uri"] for buffer in tree.reduced["buffers"]}:
                raise
            raise FileError(f"`{tree.path}` cannot be read as a mesh: {cause.args[0]}.") from cause
    files.check()
    return scene, files


def _piece(tree: GltfTree, number: int, geometry: Any, materials: "_Materials") -> _Piece:
    """Take a primitive's arrays, and check that they fit together."""
    known = tree.primitives[number]
    vertices = np.array(geometry.vertices, np.float64)
    faces = np.array(geometry.faces, np.int64).reshape(-1, 3)
    if not 0 <= faces.min(initial=0) <= faces.max(initial=0) < len(vertices):
        bad = faces.min() if faces.min() < 0 else faces.max()
        raise FileError(f"`{tree.path}` is damaged: a face refers to vertex {bad} (counted from "
                        f"0), but there are {len(vertices)}.")  # fmt: skip
    stored = geometry.vertex_attributes
    colors = unit(np.asarray(stored["_COLOR"])) if "_COLOR" in stored else None
    uvs = _uvs(tree, known.material, stored["_UV"]) if "_UV" in stored else None
    for values in (colors, uvs):
        if values is not None and len(values) != len(vertices):
            raise ValueError(f"{len(values)} colours or coordinates for {len(vertices)} vertices")
    picture = getattr(getattr(geometry.visual, "material", None), "baseColorTexture", None)
    look = materials.get(known.material, known.image, picture, colored=colors is not None)
    return _Piece(vertices, faces, colors, uvs, look, known.material is None)


def _uvs(tree: GltfTree, material: int | None, stored: Any) -> Floats:
    """Move texture coordinates as KHR_texture_transform says, and turn v up.

    It scales, then rotates counter-clockwise as seen with v down, then moves:
    https://github.com/KhronosGroup/glTF/issues/1563 corrects the sign in its listing.
    """
    change = tree.texture(material).get("extensions", {}).get("KHR_texture_transform", {})
    cos, sin = np.cos(change.get("rotation", 0.0)), np.sin(change.get("rotation", 0.0))
    turn = np.array([[cos, sin], [-sin, cos]]) * change.get("scale", (1.0, 1.0))
    moved: Floats = unit(np.asarray(stored)) @ turn.T + change.get("offset", (0.0, 0.0))
    return np.stack([moved[:, 0], 1.0 - moved[:, 1]], -1)


class _Materials:
    """The materials of a file, each opened where it is first needed."""

    def __init__(self, tree: GltfTree, files: LinkedFiles) -> None:
        self._tree, self._files, self._images = tree, files, TextureImages()
        self._opened: dict[tuple[int, int | None], Material] = {}

    def get(
        self, index: int | None, image: int | None, picture: Any, *, colored: bool
    ) -> Material:  # fmt: skip
        """Return a primitive's material.

        Args:
            index: Its number; None is grey, unless there are vertex colours.
            image: The number of its image, where it needs one.
            picture: What trimesh opened of it.
            colored: Whether the primitive has vertex colours.
        """
        if index is None:
            return Material(UNCOLORED, _WHITE if colored else GREY)
        if (index, image) not in self._opened:
            self._opened[index, image] = self._open(index, image, picture)
        return self._opened[index, image]

    def _open(self, index: int, image: int | None, picture: Any) -> Material:
        path, found = self._tree.path, self._tree.item("materials", index)
        base = found.get("pbrMetallicRoughness", {})
        factor = base.get("baseColorFactor", _WHITE)
        if not np.abs(factor).max() < MAX_COLOR:  # NaN is not
            raise ValueError(f"material {index} has the colour {factor}")
        if _GLOSSY in found.get("extensions", {}) and not base:
            warn_caller(f"`{path}` has colours of the kind {_GLOSSY}, which are not read; they "
                        "become white.")  # fmt: skip
        r, g, b = (float(value) for value in factor[:3])
        plain = Material(str(found.get("name") or f"material_{index}"), (r, g, b))
        if image is None:
            return plain
        uri = self._tree.item("images", image).get("uri", "data:")
        if uri in self._files.missing:
            warn_caller(f"`{path}` needs the texture `{uri[:200]}`, which is not there; the plain "
                        "colour of its material is taken.")  # fmt: skip
            return plain
        said = f"Image {image} in `{path}`" if uri[:5] == "data:" else f"`{path.parent / uri}`"
        if picture is None:
            raise FileError(f"{said} cannot be read as an image: it is damaged, or too large.")
        texels = self._images.get(image, lambda: picture, said)
        texture = self._tree.item("textures", self._tree.texture(index)["index"])
        sampler: dict[str, Any] = {}
        if "sampler" in texture:
            sampler = self._tree.item("samplers", texture["sampler"])
        wraps = [sampler.get(axis, 10497) for axis in ("wrapS", "wrapT")]
        if wraps[0] != wraps[1]:
            warn_caller(f"`{path}` wraps u and v in different ways; that of u is taken for both.")
        chosen: Filter = "nearest" if sampler.get("magFilter") == _NEAREST else "bilinear"
        return replace(plain, image=texels, wrap=_WRAPS[wraps[0]], filter=chosen)


def _dressed(pieces: list[_Piece]) -> tuple[Part, Skin | None]:
    """Join pieces: with a texture, or with colours at the vertices, or with neither."""
    looks = [p.look for p in pieces]
    starts = np.cumsum([0, *(len(p.vertices) for p in pieces)])
    part = Part(
        np.concatenate([np.zeros((0, 3)), *(p.vertices for p in pieces)]),
        np.concatenate([np.zeros((0, 3), np.int64),
                        *(p.faces + start for p, start in zip(pieces, starts, strict=False))]),
    )  # fmt: skip
    stored = [np.ones_like(p.vertices) if p.colors is None else p.colors for p in pieces]
    if not any(m.image is not None for m in looks):
        if all(p.colors is None and p.bare for p in pieces):
            return part, None
        shades = [c * np.array(m.color) for c, m in zip(stored, looks, strict=True)]
        return replace(part, vertex_colors=np.concatenate(shades)), None
    if any(p.colors is not None for p in pieces):
        part = replace(part, vertex_colors=np.concatenate(stored))
    uvs = [np.zeros((len(p.vertices), 2)) if p.uvs is None else p.uvs for p in pieces]
    used, uv_faces = np.unique(part.faces, return_inverse=True)
    keys = [(m.name, m.look, m.wrap, m.filter) for m in looks]
    listed = dict(zip(keys, looks, strict=True))
    number = {key: i for i, key in enumerate(listed)}
    of_face = [np.full(len(p.faces), number[key]) for p, key in zip(pieces, keys, strict=True)]
    skin = Skin(
        list(listed.values()),
        np.concatenate(uvs)[used],
        uv_faces.reshape(-1, 3),
        np.concatenate(of_face),
    )
    return part, skin

"""Scenes of glTF files: nodes put in place and joined, with their materials."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from taichi_softras.errors import FileError, SoftRasError
from taichi_softras.io.gltf_materials import GltfMaterials, coordinates
from taichi_softras.io.gltf_tree import GltfTree
from taichi_softras.io.mesh_parts import Floats, Ints, Part, unit
from taichi_softras.io.skin import Material, Skin

_TRIANGLES, _STRIP, _FAN = 4, 5, 6
# Nodes may repeat a mesh, so a small file can ask for any number of triangles.
_MAX_FACES = 10**8


@dataclass(frozen=True)
class _Primitive:
    """Triangles of one material."""

    vertices: Floats  # [V, 3]
    faces: Ints  # [F, 3]
    colors: Floats | None  # [V, 3]
    uvs: Floats | None  # [V, 2], u right, v up
    material: int | None
    source: tuple[object, ...]
    """Equal for primitives with the same vertices."""


def read_gltf(path: Path, data: bytes) -> tuple[Part, Skin | None]:
    """Read the triangles of the scene, and their texture where an image is used.

    Vertex colours multiply the colours and images of materials; without any image, materials
    become vertex colours. Vertices that are split for normals or textures are joined again.

    Raises:
        FileError: The file is cut off or damaged, needs what is not read, or names a file that is
            elsewhere.
    """
    tree = GltfTree(path, data)
    try:
        placed = list(_placed(tree))
        split = any(
            {"NORMAL", "TEXCOORD_0"} & set(p["attributes"])
            for mesh in tree.json.get("meshes", []) for p in mesh["primitives"]
        )  # fmt: skip
        materials = GltfMaterials(tree)
        opened = [
            materials.get(p.material, mapped=p.uvs is not None, colored=p.colors is not None)
            for p in placed
        ]
        part, skin = _dressed(placed, opened)
    except SoftRasError:
        raise
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as cause:
        raise FileError(f"`{path}` is damaged, and cannot be read as a mesh: {cause!r}.") from cause
    return (part.welded() if split else part), skin


def _placed(tree: GltfTree) -> Iterator[_Primitive]:
    """Yield the triangles of each node, in world coordinates."""
    read: dict[int, list[_Primitive]] = {}
    total = 0
    for node, (number, matrix) in enumerate(_nodes(tree)):
        if number not in read:
            primitives = tree.item("meshes", number)["primitives"]
            read[number] = [p for raw in primitives if (p := _primitive(tree, raw)) is not None]
        for primitive in read[number]:
            total += len(primitive.faces)
            if total > _MAX_FACES:
                raise FileError(f"`{tree.path}` has more than {_MAX_FACES} triangles.")
            faces, vertices = primitive.faces, primitive.vertices
            if not np.array_equal(matrix, np.eye(4)):
                vertices = vertices @ matrix[:3, :3].T + matrix[:3, 3]
                if np.linalg.det(matrix[:3, :3]) < 0.0:
                    faces = faces[:, ::-1]  # a mirror turns faces inside out
            source = (node, *primitive.source)
            yield replace(primitive, vertices=vertices, faces=faces, source=source)


def _nodes(tree: GltfTree) -> Iterator[tuple[int, Floats]]:
    """Walk the scene: yield the mesh and the world matrix of each node that has one."""
    nodes = tree.json.get("nodes", [])
    if "scenes" in tree.json:
        roots = tree.item("scenes", tree.json.get("scene", 0)).get("nodes", [])
    else:
        children = {child for node in nodes for child in node.get("children", [])}
        roots = [i for i in range(len(nodes)) if i not in children]
    seen: set[int] = set()
    waiting = [(root, np.eye(4)) for root in reversed(roots)]
    while waiting:
        index, matrix = waiting.pop()
        node = tree.item("nodes", index)
        if index in seen:
            raise FileError(f"`{tree.path}` is damaged: its node {index} has several parents.")
        seen.add(index)
        matrix = matrix @ _local(node)
        if "mesh" in node:
            yield node["mesh"], matrix
        waiting += [(child, matrix) for child in reversed(node.get("children", []))]


def _local(node: dict[str, Any]) -> Floats:
    """Return a node's own matrix: given column by column, or as scale, rotation, translation."""
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    x, y, z, w = np.array(node.get("rotation", (0, 0, 0, 1)), np.float64)
    length = x * x + y * y + z * z + w * w
    s = 2.0 / length if length > 0.0 else 0.0
    matrix = np.eye(4)
    matrix[:3, :3] = [
        [1 - s * (y * y + z * z), s * (x * y - z * w), s * (x * z + y * w)],
        [s * (x * y + z * w), 1 - s * (x * x + z * z), s * (y * z - x * w)],
        [s * (x * z - y * w), s * (y * z + x * w), 1 - s * (x * x + y * y)],
    ]
    matrix[:3, :3] *= np.array(node.get("scale", (1, 1, 1)), np.float64)
    matrix[:3, 3] = node.get("translation", (0, 0, 0))
    return matrix


def _primitive(tree: GltfTree, raw: dict[str, Any]) -> _Primitive | None:
    """Read one primitive; None where it has no triangles."""
    mode, attributes = raw.get("mode", _TRIANGLES), raw["attributes"]
    if mode not in (_TRIANGLES, _STRIP, _FAN) or "POSITION" not in attributes:
        return None
    vertices = tree.array(attributes["POSITION"], (3,)).astype(np.float64)
    if "indices" in raw:
        indices = tree.array(raw["indices"], (1,))[:, 0].astype(np.int64)
    else:
        indices = np.arange(len(vertices))
    if len(indices) and not 0 <= indices.min() <= indices.max() < len(vertices):
        bad = indices.min() if indices.min() < 0 else indices.max()
        raise FileError(f"`{tree.path}` is damaged: a face refers to vertex {bad} (counted from "
                        f"0), but there are {len(vertices)}.")  # fmt: skip
    faces = _triangles(mode, indices)
    if len(faces) == 0:
        return None
    colors = uvs = None
    if "COLOR_0" in attributes:
        colors = unit(tree.array(attributes["COLOR_0"], (3, 4)))
    channel, transform = coordinates(tree, raw.get("material"))
    if (name := f"TEXCOORD_{channel}") in attributes:
        uvs = tree.array(attributes[name], (2,)) @ transform[:2, :2].T + transform[:2, 2]
        uvs[:, 1] = 1.0 - uvs[:, 1]
    for values in (colors, uvs):
        if values is not None and len(values) != len(vertices):
            raise ValueError(f"{len(values)} colours or coordinates for {len(vertices)} vertices")
    source = tuple(attributes.get(key) for key in ("POSITION", "COLOR_0", name))
    source += tuple(transform.ravel().tolist())
    return _Primitive(vertices, faces, colors, uvs, raw.get("material"), source)


def _triangles(mode: int, indices: Ints) -> Ints:
    if mode == _TRIANGLES:
        return indices[: len(indices) // 3 * 3].reshape(-1, 3)
    a, b, c = indices[:-2], indices[1:-1], indices[2:]
    if mode == _FAN:
        return np.stack([np.broadcast_to(indices[:1], b.shape), b, c], -1)
    faces = np.stack([a, b, c], -1)
    faces[1::2] = faces[1::2, [1, 0, 2]]  # every second triangle of a strip runs backwards
    return faces


def _dressed(placed: list[_Primitive], opened: list[Material]) -> tuple[Part, Skin | None]:
    """Join primitives: with a texture, or with colours at the vertices, or with neither.

    Args:
        placed: In world coordinates.
        opened: The material of each.
    """
    pairs = list(zip(placed, opened, strict=True))
    if not any(m.image is not None for m in opened):
        if all(p.colors is None and p.material is None for p in placed):
            return Part(*_joined(placed, shared=True)), None
        colors = [_flat(p, m) for p, m in pairs]
        return Part(*_joined(placed, shared=False), np.concatenate(colors)), None
    vertices, faces = _joined(placed, shared=True)
    blocks = list({p.source: p for p in placed}.values())
    uvs = [np.zeros((len(p.vertices), 2)) if p.uvs is None else p.uvs for p in blocks]
    looks = [(m.name, m.look, m.wrap, m.filter) for m in opened]
    listed = dict(zip(looks, opened, strict=True))
    number = {look: i for i, look in enumerate(listed)}
    of_face = [np.full(len(p.faces), number[look]) for p, look in zip(placed, looks, strict=True)]
    skin = Skin(list(listed.values()), np.concatenate(uvs), faces, np.concatenate(of_face))
    if all(p.colors is None for p in blocks):
        return Part(vertices, faces), skin
    colors = [np.ones((len(p.vertices), 3)) if p.colors is None else p.colors for p in blocks]
    return Part(vertices, faces, np.concatenate(colors)), skin


def _joined(placed: list[_Primitive], *, shared: bool) -> tuple[Floats, Ints]:
    """Return all vertices and faces.

    Args:
        placed: In world coordinates.
        shared: Primitives that share their vertices keep doing so.
    """
    sources: list[object] = [p.source if shared else i for i, p in enumerate(placed)]
    starts: dict[object, int] = {}
    vertices, count = [np.zeros((0, 3))], 0
    for source, primitive in zip(sources, placed, strict=True):
        if source not in starts:
            starts[source] = count
            vertices.append(primitive.vertices)
            count += len(primitive.vertices)
    faces = [p.faces + starts[source] for source, p in zip(sources, placed, strict=True)]
    return np.concatenate(vertices), np.concatenate([np.zeros((0, 3), np.int64), *faces])


def _flat(primitive: _Primitive, material: Material) -> Floats:
    """Return vertex colours times the material's."""
    shade = np.tile(np.array(material.color), (len(primitive.vertices), 1))
    return shade if primitive.colors is None else shade * primitive.colors

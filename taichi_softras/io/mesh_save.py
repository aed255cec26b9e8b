"""Meshes to OBJ, PLY, GLB, STL and OFF files."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from taichi_softras.errors import ArgumentError
from taichi_softras.io.files import (
    AnyPath,
    known_suffix,
    make_parent,
    told_as_file_error,
)
from taichi_softras.io.images import to_bytes
from taichi_softras.mesh import Mesh

WRITABLE = (".obj", ".ply", ".glb", ".stl", ".off")


def save_mesh(mesh: Mesh, path: AnyPath) -> None:
    """Write a mesh as OBJ, PLY, GLB, STL or OFF; the folder is created where it is missing.

    Positions are written to float32 precision. OBJ, PLY and GLB hold vertex colours, rounded to
    8 bits. Face colours are held by PLY; in OBJ and GLB each face gets corners of its own, so
    that it looks the same. STL and OFF hold no colours: they are left out.

    Args:
        mesh: One mesh with at least one face; colours have 1 (grey) or 3 channels in 0..1, or 4
            (alpha is dropped), and are clipped.
        path: Where to; the extension says which format.

    Raises:
        ArgumentError: `mesh` is a batch, has no faces, or colours that are no colours.
        FileError: The extension is not known or the file cannot be written.
    """
    target = Path(path)
    suffix = known_suffix(target, WRITABLE, "a mesh that can be written")
    if mesh.n_faces == 0:
        raise ArgumentError(f"`mesh` has no faces; nothing was written to `{target}`.")
    vertices = _single("vertices", mesh.vertices).double().numpy()
    faces = mesh.faces.cpu().numpy()
    colors: dict[str, Any] = {}
    if suffix not in (".stl", ".off"):
        given = {"vertex_colors": mesh.vertex_colors, "face_colors": mesh.face_colors}
        colors = {k: _rgb_bytes(k, v) for k, v in given.items() if v is not None}
    if "face_colors" in colors and suffix != ".ply":
        vertices = vertices[faces].reshape(-1, 3)
        faces = np.arange(len(vertices)).reshape(-1, 3)
        colors = {"vertex_colors": colors["face_colors"].repeat(3, axis=0)}
    make_parent(target)
    with told_as_file_error(target, "written"):
        target.write_bytes(_encode(suffix, vertices, faces, colors))


def _single(name: str, values: torch.Tensor) -> torch.Tensor:
    if values.ndim != 2:
        raise ArgumentError(
            f"`mesh.{name}` is a batch of shape {list(values.shape)}, and a file holds one mesh: "
            f"save mesh.replace({name}=mesh.{name}[i], ...) for each i."
        )
    return values.detach().cpu()


def _rgb_bytes(name: str, colors: torch.Tensor) -> Any:
    """Round colours to 8 bits. [N, C] -> [N, 3]."""
    if (single := _single(name, colors)).shape[-1] not in (1, 3, 4):
        raise ArgumentError(
            f"`mesh.{name}` has {colors.shape[-1]} channels; a file holds colours of 1, 3 or 4."
        )
    return np.broadcast_to(to_bytes(f"mesh.{name}", single[None, :, :3])[0], (len(single), 3))


def _encode(suffix: str, vertices: Any, faces: Any, colors: dict[str, Any]) -> bytes:
    import trimesh

    tri = trimesh.Trimesh(vertices, faces, process=False, **colors)
    options: dict[str, Any] = {}
    if suffix in (".obj", ".off"):
        # Text has a fixed number of decimals: enough for the size of this mesh.
        size = float(np.abs(vertices[np.isfinite(vertices)]).max(initial=0.0)) or 1.0
        options["digits"] = min(max(9 - math.floor(math.log10(size)), 6), 60)
    if suffix == ".obj":
        options |= {"include_normals": False, "header": "taichi_softras"}
    exported = tri.export(file_type=suffix[1:], **options)
    return exported.encode() if isinstance(exported, str) else bytes(exported)

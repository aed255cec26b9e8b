"""Meshes from and to OBJ, PLY, GLB, STL and OFF files."""

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from taichi_softras.errors import ArgumentError, FileError
from taichi_softras.io.files import (
    AnyPath,
    existing_file,
    known_suffix,
    make_parent,
    told_as_file_error,
)
from taichi_softras.io.images import to_bytes
from taichi_softras.io.mesh_checks import check_gltf, check_off, check_stl
from taichi_softras.io.mesh_parts import Part, joined, scene_parts
from taichi_softras.io.obj_text import tidy_obj
from taichi_softras.io.ply_bytes import tidy_ply
from taichi_softras.mesh import Mesh

READABLE = (".obj", ".ply", ".glb", ".gltf", ".stl", ".off")
WRITABLE = (".obj", ".ply", ".glb", ".stl", ".off")


def load_mesh(path: AnyPath, *, dtype: torch.dtype = torch.float32) -> Mesh:
    """Read all triangles of an OBJ, PLY, GLB, GLTF, STL or OFF file as one mesh.

    Polygons are cut into triangles; the nodes of a scene are put in place and joined. Untextured
    OBJ, PLY and OFF files keep their vertices in order. STL stores corners only: equal ones
    become one vertex. A textured mesh has its vertices split along the seams of the texture;
    that, and the splits of glTF files with normals, is undone where position and colour agree.

    Colours are RGB in 0..1, as stored (sRGB stays sRGB; alpha is dropped). Vertex colours are
    kept; textures are sampled at the vertices, so detail finer than the triangles is lost.
    PLY face colours become `face_colors`, and so do the plain material colours of an OBJ file with
    several materials; elsewhere plain colours become vertex colours. Parts without any colour are
    grey if others have some. STL and OFF are read without colours.

    Args:
        path: The file; its extension says what it is.
        dtype: Floating-point type of vertices and colours.

    Raises:
        FileError: The file is missing, empty, of an unknown kind, cut off or damaged, or it
            holds no triangle. Coordinates may be NaN or infinite. (OBJ states no counts: a cut
            between two lines shows only where a face refers to a vertex that is gone.)
    """
    found = existing_file(path, "a mesh")
    suffix = known_suffix(found, READABLE, "a mesh that can be read")
    with told_as_file_error(found, f"read as a mesh ({suffix[1:].upper()})"):
        part = _read(found, suffix)
    if len(part.faces) == 0:
        raise FileError(f"`{found}` contains no triangles; a mesh was expected.")
    if part.faces.min() < 0 or part.faces.max() >= len(part.vertices):
        raise FileError(
            f"`{found}` is damaged: a face refers to vertex "
            f"{part.faces.min() if part.faces.min() < 0 else part.faces.max()} (counted from 0), "
            f"but the file has {len(part.vertices)}."
        )

    def tensor(colors: Any) -> torch.Tensor | None:
        return None if colors is None else torch.as_tensor(colors, dtype=dtype)

    return Mesh(
        vertices=torch.as_tensor(part.vertices, dtype=dtype),
        faces=torch.as_tensor(part.faces),
        vertex_colors=tensor(part.vertex_colors),
        face_colors=tensor(part.face_colors),
    )


def _read(path: Path, suffix: str) -> Part:
    """Check a file, hand it to trimesh and join what comes."""
    import trimesh

    data = path.read_bytes()
    options: dict[str, Any] = {"process": False}
    weld = textured = False
    if suffix == ".obj":
        data, textured = tidy_obj(path, data)
        options["maintain_order"] = not textured
    elif suffix == ".ply":
        data = tidy_ply(path, data)
    elif suffix == ".stl":
        check_stl(path, data)
        weld = True
    elif suffix == ".off":
        check_off(path, data)
    else:
        weld = check_gltf(path, data)
    scene = trimesh.load_scene(
        io.BytesIO(data),
        file_type=suffix[1:],
        resolver=trimesh.resolvers.FilePathResolver(str(path)),
        **options,
    )
    parts = scene_parts(scene)
    if not parts:
        raise FileError(f"`{path}` contains no triangles; a mesh was expected.")
    part = joined(parts, shared=suffix == ".obj" and not textured)
    textured = textured or any(
        getattr(geometry.visual, "uv", None) is not None for geometry in scene.geometry.values()
    )
    return part.welded() if weld or textured else part


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

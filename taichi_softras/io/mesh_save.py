"""Meshes to OBJ, PLY, GLB, STL and OFF files."""

import math
from dataclasses import replace
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
    warn_caller,
    write_together,
)
from taichi_softras.io.gltf_save import glb_bytes
from taichi_softras.io.images import to_bytes
from taichi_softras.io.mesh_parts import Part
from taichi_softras.io.obj_save import obj_files
from taichi_softras.io.skin import Material, Skin, baked
from taichi_softras.io.surface_atlas import atlas
from taichi_softras.mesh import Mesh
from taichi_softras.textures import Texture, UVTexture

WRITABLE = (".obj", ".ply", ".glb", ".stl", ".off")


def save_mesh(mesh: Mesh, path: AnyPath) -> None:
    """Write a mesh as OBJ, PLY, GLB, STL or OFF; the folder is created where it is missing.

    Positions are written to float32 precision. OBJ, PLY and GLB hold vertex colours, rounded to
    8 bits. Face colours are held by PLY; in OBJ and GLB each face gets corners of its own, so
    that it looks the same.

    A texture is written with 8 bits a channel, its images of one texel as plain colours beside
    larger ones:

    - NAME.obj with NAME.mtl and NAME_0.png, NAME_1.png ... by the number of the material. OBJ
      has colours or a texture, not both. It knows wrap="clamp", and not "mirror" or filters.
    - GLB with the images inside, vertices split at the seams, and faces sorted by material.
      Colours multiply the texture.
    - PLY has the texture's colours at the vertices, split where they meet.
    - A `SurfaceTexture` becomes an image with a square for each face. With filter="nearest" and
      R > 1 its texels are triangles, and their edges become stairs of a quarter of a texel.

    STL and OFF hold no colours: they are left out. What is there under these names is replaced,
    all files or none.

    Args:
        mesh: One mesh with at least one face; colours have 1 (grey) or 3 channels in 0..1, or 4
            (alpha is dropped), and are clipped.
        path: Where to; the extension says which format.

    Raises:
        ArgumentError: `mesh` is a batch, has no faces, colours that are no colours, or colours
            and a texture that are to be an OBJ.
        FileError: The extension is not known or a file cannot be written.
    """
    target = Path(path)
    suffix = known_suffix(target, WRITABLE, "a mesh that can be written")
    if mesh.n_faces == 0:
        raise ArgumentError(f"`mesh` has no faces; nothing was written to `{target}`.")
    colored = suffix not in (".stl", ".off")
    part = _part(mesh, colored=colored)
    skin = _skin(mesh.texture, part) if mesh.texture is not None and colored else None
    has_colors = part.vertex_colors is not None or part.face_colors is not None
    if skin is not None and suffix == ".obj" and has_colors:
        raise ArgumentError(
            "`mesh` has colours and a texture that multiplies them, which OBJ cannot say; save a "
            ".glb, or mesh.replace(vertex_colors=None, face_colors=None)."
        )
    if skin is not None and suffix == ".obj" and skin.materials[0].wrap == "mirror":
        warn_caller("OBJ cannot say wrap='mirror': outside [0, 1] the texture in "
                      f"`{target}` begins again.")  # fmt: skip
    if part.face_colors is not None and (suffix != ".ply" or skin is not None):
        part = _faceted(part)
    if skin is not None and suffix == ".ply":
        part, skin = baked(part, skin), None
    make_parent(target)
    with told_as_file_error(target, "written"):
        if skin is None:
            files = {target: _encode(suffix, part)}
        elif suffix == ".obj":
            files = obj_files(target, part, skin)
        else:
            files = {target: glb_bytes(part, skin)}
    write_together(files)


def _part(mesh: Mesh, *, colored: bool) -> Part:
    vertices = _single("vertices", mesh.vertices).double().numpy()
    faces = mesh.faces.cpu().numpy()
    if not colored:
        return Part(vertices, faces)
    return Part(
        vertices,
        faces,
        None if mesh.vertex_colors is None else _rgb("vertex_colors", mesh.vertex_colors),
        None if mesh.face_colors is None else _rgb("face_colors", mesh.face_colors),
    )


def _faceted(part: Part) -> Part:
    """Give each face corners of its own, with its colour."""
    assert part.face_colors is not None
    faces = np.arange(part.faces.size).reshape(-1, 3)
    return Part(part.vertices[part.faces].reshape(-1, 3), faces, part.face_colors.repeat(3, axis=0))


def _skin(texture: Texture, part: Part) -> Skin:
    """Round a texture's images to what files hold; equal ones stay one."""
    layout = texture if isinstance(texture, UVTexture) else atlas(texture)
    names = list(layout.material_names) or [f"material_{i}" for i in range(len(layout.images))]
    all_plain = all(image.shape[:2] == (1, 1) for image in layout.images)
    found: dict[int, Material] = {}
    materials = []
    for i, (name, image) in enumerate(zip(names, layout.images, strict=True)):
        if id(image) not in found:
            plain = image.shape[:2] == (1, 1) and not all_plain
            found[id(image)] = _material(f"texture.images[{i}]", image, plain=plain)
        materials.append(replace(found[id(image)], name=name, wrap=layout.wrap,
                                 filter=layout.filter))  # fmt: skip
    faces = part.faces if layout.uv_faces is None else layout.uv_faces.cpu().numpy()
    if layout.face_materials is None:
        face_materials = np.zeros(len(faces), np.int64)
    else:
        face_materials = layout.face_materials.cpu().numpy()
    return Skin(materials, layout.uvs.detach().double().cpu().numpy(), faces, face_materials)


def _material(name: str, image: torch.Tensor, *, plain: bool) -> Material:
    height, width, channels = image.shape
    _check_channels(name, channels)
    rgb = image.detach().cpu()[..., :3].expand(height, width, 3)
    if plain:
        r, g, b = rgb[0, 0].double().clamp(0.0, 1.0).tolist()
        return Material("", (r, g, b))
    return Material("", (1.0, 1.0, 1.0), to_bytes(f"mesh.{name}", rgb))


def _single(name: str, values: torch.Tensor) -> torch.Tensor:
    if values.ndim != 2:
        raise ArgumentError(
            f"`mesh.{name}` is a batch of shape {list(values.shape)}, and a file holds one mesh: "
            f"save mesh.replace({name}=mesh.{name}[i], ...) for each i."
        )
    return values.detach().cpu()


def _rgb(name: str, colors: torch.Tensor) -> Any:
    """Round colours to 8 bits, as numbers in 0..1. [N, C] -> [N, 3]."""
    single = _single(name, colors)
    _check_channels(name, single.shape[-1])
    levels = to_bytes(f"mesh.{name}", single[None, :, :3])[0] / 255.0
    return np.broadcast_to(levels, (len(single), 3))


def _check_channels(name: str, channels: int) -> None:
    if channels not in (1, 3, 4):
        raise ArgumentError(
            f"`mesh.{name}` has {channels} channels; a file holds colours of 1, 3 or 4."
        )


def _encode(suffix: str, part: Part) -> bytes:
    import trimesh

    colors: dict[str, Any] = {}
    for name in ("vertex_colors", "face_colors"):
        if (values := getattr(part, name)) is not None:
            colors[name] = np.rint(values * 255.0).astype(np.uint8)
    tri = trimesh.Trimesh(part.vertices, part.faces, process=False, **colors)
    options: dict[str, Any] = {}
    if suffix in (".obj", ".off"):
        # Text has a fixed number of decimals: enough for the size of this mesh.
        size = float(np.abs(part.vertices[np.isfinite(part.vertices)]).max(initial=0.0)) or 1.0
        options["digits"] = min(max(9 - math.floor(math.log10(size)), 6), 60)
    if suffix == ".obj":
        options |= {"include_normals": False, "header": "taichi_softras"}
    exported = tri.export(file_type=suffix[1:], **options)
    return exported.encode() if isinstance(exported, str) else bytes(exported)

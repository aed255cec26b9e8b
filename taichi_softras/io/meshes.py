"""Meshes from OBJ, PLY, GLB, GLTF, STL and OFF files."""

from pathlib import Path
from typing import Any, Literal, get_args

import torch

from taichi_softras.errors import FileError, check_choice
from taichi_softras.io.files import AnyPath, existing_file, known_suffix, told_as_file_error
from taichi_softras.io.gltf_read import read_gltf
from taichi_softras.io.mesh_parts import Part
from taichi_softras.io.obj_read import read_obj
from taichi_softras.io.ply_read import read_ply
from taichi_softras.io.skin import Skin, baked
from taichi_softras.io.stl_off import read_off, read_stl
from taichi_softras.mesh import Mesh

READABLE = (".obj", ".ply", ".glb", ".gltf", ".stl", ".off")

Textures = Literal["images", "vertices"]


def load_mesh(
    path: AnyPath, *, dtype: torch.dtype = torch.float32, textures: Textures = "images"
) -> Mesh:
    """Read all triangles of an OBJ, PLY, GLB, GLTF, STL or OFF file as one mesh.

    Polygons are cut into triangles; the nodes of a scene are put in place and joined. OBJ, PLY and
    OFF files keep their vertices in order. STL stores corners only: equal ones become one vertex.
    glTF files split vertices for normals and along the seams of textures; that is undone where
    position and colour agree.

    Colours are RGB, stored 0..1 as they are (sRGB stays sRGB; alpha is dropped).

    - Where faces of an OBJ, PLY or glTF file have images, `Mesh.texture` is a `UVTexture` of all
      materials that faces have; those without an image have one texel of their plain colour. In
      glTF the material's colour multiplies the image, and vertex colours are kept, which multiply
      too. In OBJ and PLY the image stands in place of colours. A PLY file has one image; where
      faces say which of several, all are left out, with a warning.
    - Otherwise vertex colours are kept, PLY face colours become `face_colors`, and so do the
      colours of an OBJ file with several materials; elsewhere those become vertex colours, and
      COFF's are. Parts without any colour are grey if others have some. STL has no colours.

    What a file names (materials, images, buffers) is read from its folder and below only. A
    material or image that is not there is warned about.

    Args:
        path: The file; its extension says what it is.
        dtype: Floating-point type of vertices, colours and images.
        textures: "vertices" samples textures at the vertices, which are split where colours
            meet: no texture is left, and detail finer than the triangles is lost.

    Raises:
        FileError: The file is missing, empty, of an unknown kind, cut off or damaged, or it
            holds no triangle; or an image is damaged, too large or elsewhere. Coordinates may be
            NaN or infinite. (OBJ states no counts: a cut between two lines shows only where a
            face refers to a vertex that is gone.)
    """
    check_choice("textures", textures, get_args(Textures))
    found = existing_file(path, "a mesh")
    suffix = known_suffix(found, READABLE, "a mesh that can be read")
    with told_as_file_error(found, f"read as a mesh ({suffix[1:].upper()})"):
        part, skin = _read(found, suffix)
    if len(part.faces) == 0:
        raise FileError(f"`{found}` contains no triangles; a mesh was expected.")
    if part.faces.min() < 0 or part.faces.max() >= len(part.vertices):
        raise FileError(
            f"`{found}` is damaged: a face refers to vertex "
            f"{part.faces.min() if part.faces.min() < 0 else part.faces.max()} (counted from 0), "
            f"but the file has {len(part.vertices)}."
        )
    if skin is not None and textures == "vertices":
        part, skin = baked(part, skin), None

    def tensor(colors: Any) -> torch.Tensor | None:
        return None if colors is None else torch.as_tensor(colors, dtype=dtype)

    return Mesh(
        vertices=torch.as_tensor(part.vertices, dtype=dtype),
        faces=torch.as_tensor(part.faces),
        vertex_colors=tensor(part.vertex_colors),
        face_colors=tensor(part.face_colors),
        texture=None if skin is None else skin.texture(found, dtype),
    )


def _read(path: Path, suffix: str) -> tuple[Part, Skin | None]:
    data = path.read_bytes()
    if suffix == ".obj":
        return read_obj(path, data)
    if suffix == ".ply":
        return read_ply(path, data)
    if suffix == ".stl":
        return read_stl(path, data), None
    if suffix == ".off":
        return read_off(path, data), None
    return read_gltf(path, data)

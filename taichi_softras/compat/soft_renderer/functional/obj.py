"""OBJ files with the original's textures: texels on faces, or colours at vertices."""

import math
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from taichi_softras.compat.soft_renderer.functional import texels
from taichi_softras.errors import ArgumentError, FileError, check_choice, check_shape
from taichi_softras.io import load_mesh, save_image
from taichi_softras.io.files import make_parent, told_as_file_error
from taichi_softras.mesh import Mesh
from taichi_softras.texture_lookup import shade_fragments

AnyPath = str | PathLike[str]


def load_obj(
    filename_obj: AnyPath,
    normalization: bool = False,
    load_texture: bool = False,
    texture_res: int = 4,
    texture_type: str = "surface",
) -> tuple[Tensor, ...]:
    """Read the triangles of an OBJ file, or of any kind that `taichi_softras.load_mesh` reads.

    Args:
        filename_obj: The file.
        normalization: Move the bounding box to the origin and make its longest side 2.
        load_texture: Read colours too, from the file, its materials and images.
        texture_res: R of surface textures: R² texels a face.
        texture_type: "surface" reads colours at the texels' centroids, "vertex" at vertices.

    Returns:
        Vertices [V, 3] float32, faces [F, 3] int32, and with `load_texture` the textures,
        [F, R², 3] or [V, 3].

    Raises:
        FileError: The file cannot be read, or has no such colours.
    """
    check_choice("texture_type", texture_type, ("surface", "vertex"))
    mesh = load_mesh(filename_obj)
    vertices = mesh.vertices
    if normalization:
        low, high = mesh.bounds
        vertices = (vertices - 0.5 * (low + high)) * (2.0 / (high - low).max())
    if not load_texture:
        return vertices, mesh.faces.int()
    if texture_type == "surface":
        return vertices, mesh.faces.int(), _texels(filename_obj, mesh, texture_res)
    if mesh.vertex_colors is None:
        raise FileError(
            f"`{filename_obj}` has no colours at its vertices; try texture_type='surface'."
        )
    return vertices, mesh.faces.int(), mesh.vertex_colors


def load_textures(
    filename_obj: AnyPath, filename_mtl: AnyPath | None = None, texture_res: int = 4
) -> Tensor:
    """Read the surface textures of an OBJ file alone.

    Args:
        filename_obj: The file; its `mtllib` names the materials.
        filename_mtl: Not needed; must be that file where it is given.
        texture_res: R: there are R² texels a face.

    Returns:
        RGB in 0..1. [F, R², 3]
    """
    if filename_mtl is not None and Path(filename_mtl).name not in Path(filename_obj).read_text(
        errors="replace"
    ):
        raise ArgumentError(
            f"`filename_mtl` must be what `{filename_obj}` names, got `{filename_mtl}`."
        )
    return _texels(filename_obj, load_mesh(filename_obj), texture_res)


def _texels(path: AnyPath, mesh: Mesh, side: int) -> Tensor:
    """Read a mesh's colours at the texels' centroids. [F, R², 3]"""
    if side < 1:
        raise ArgumentError(f"`texture_res` must be positive, got {side}.")
    at = torch.from_numpy(texels.centres(side)).to(mesh.vertices)  # [R², 3]
    if mesh.vertex_colors is not None:
        corners = mesh.vertex_colors[mesh.faces]
    elif mesh.face_colors is not None:
        corners = mesh.face_colors[:, None].expand(-1, 3, -1)
    elif mesh.texture is not None:
        corners = mesh.vertices.new_ones((mesh.n_faces, 3, mesh.texture.channels))
    else:
        raise FileError(
            f"`{path}` has no materials, textures or colours to load; use load_texture=False."
        )
    texture = None
    if mesh.texture is not None:
        places, texture = mesh.texture.at_faces(mesh.faces, mesh.vertices)
        corners = torch.cat([corners, places[0]], dim=-1)
    colors = torch.einsum("rk,fkc->rfc", at, corners)
    if texture is not None:
        colors = shade_fragments(texture, colors)
    return colors[..., :3].expand(-1, -1, 3).transpose(0, 1).contiguous()


def save_obj(
    filename_obj: AnyPath,
    vertices: Any,
    faces: Any,
    textures: Any = None,
    texture_res: int = 16,
    texture_type: str = "surface",
) -> None:
    """Write an OBJ file; surface textures go into a PNG and an MTL of the same name beside it.

    Args:
        filename_obj: The file.
        vertices: World coordinates. [V, 3]
        faces: Vertex indices. [F, 3]
        textures: RGB in 0..1, as `texture_type` says; none by default. [F, R², 3] or [V, 3]
        texture_res: Pixels along the side of each face's square in the PNG, at least 2; 3 R or
            more keep all texels.
        texture_type: "surface" or "vertex".

    Raises:
        ShapeError: A shape does not fit.
        FileError: A file cannot be written.
    """
    check_choice("texture_type", texture_type, ("surface", "vertex"))
    points, index = _array(vertices, np.float64), _array(faces, np.int64)
    count = check_shape("vertices", points.shape, "V 3")["V"]
    index = index.reshape(-1, 3) if index.size == 0 else index
    n_faces = check_shape("faces", index.shape, "F 3")["F"]
    path, head = make_parent(filename_obj), []
    corners = (index + 1).astype(str)
    if textures is None:
        rows = points
    elif texture_type == "vertex":
        colors = _array(textures, np.float64)
        check_shape("textures", colors.shape, f"{count} 3")
        rows = np.hstack([points, colors])
    else:
        values = _array(textures, np.float64)
        check_shape("textures", values.shape, f"{n_faces} R² 3")
        image, uvs = _atlas(values, texture_res)
        save_image(path.with_suffix(".png"), torch.from_numpy(image))
        material = f"newmtl texels\nKd 1 1 1\nmap_Kd {path.stem}.png\n"
        with told_as_file_error(path.with_suffix(".mtl"), "written"):
            path.with_suffix(".mtl").write_text(material, encoding="utf-8")
        head = [f"mtllib {path.stem}.mtl", *_lines("vt", uvs.reshape(-1, 2)), "usemtl texels"]
        places = (np.arange(3 * n_faces).reshape(-1, 3) + 1).astype(str)
        corners = np.char.add(np.char.add(corners, "/"), places)
        rows = points
    text = [*_lines("v", rows), *head, *(f"f {a} {b} {c}" for a, b, c in corners), ""]
    with told_as_file_error(path, "written"):
        path.write_text("\n".join(text), encoding="utf-8")


def save_voxel(filename: AnyPath, voxel: Any) -> None:
    """Write the filled voxels of a grid [N, N, N] as points of an OBJ file, in the unit cube."""
    solid = _array(voxel, np.int64)
    check_shape("voxel", solid.shape, "X Y Z")
    points = np.argwhere(solid == 1) / np.array(solid.shape)
    save_obj(filename, points, np.zeros((0, 3), np.int64))


def _atlas(values: Any, pixels: int) -> tuple[Any, Any]:
    """Paint each face's texels into a square of its own, its first corner right and second below.

    Args:
        values: Texels. [F, R², 3]
        pixels: Side of a square.

    Returns:
        Image [H, W, 3], and texture coordinates of the faces' corners [F, 3, 2].
    """
    if pixels < 2:
        raise ArgumentError(f"`texture_res` must be at least 2 pixels a face, got {pixels}.")
    n_faces, side = len(values), math.isqrt(values.shape[1])
    columns = max(math.ceil(math.sqrt(n_faces)), 1)
    rows = max(math.ceil(n_faces / columns), 1)
    steps = np.arange(pixels) / (pixels - 1)
    w0, w1 = np.meshgrid(steps, steps)
    # Beyond the diagonal is no face: there the nearest of its points is painted.
    beyond = np.maximum(w0 + w1 - 1.0, 0.0) / 2.0
    number = texels.texel_at((w0 - beyond).clip(0.0, 1.0), (w1 - beyond).clip(0.0, 1.0), side)
    squares = np.zeros((rows * columns, pixels, pixels, 3))
    squares[:n_faces] = values[:, number].clip(0.0, 1.0)
    image = squares.reshape(rows, columns, pixels, pixels, 3).swapaxes(1, 2)
    place = np.arange(n_faces)
    left = np.stack([place % columns, place // columns], axis=-1)[:, None] * pixels
    corners = left + np.array([[1, 0], [0, 1], [0, 0]]) * (pixels - 1) + 0.5
    uvs = corners / (np.array([columns, rows]) * pixels)
    uvs[..., 1] = 1.0 - uvs[..., 1]
    return image.reshape(rows * pixels, columns * pixels, 3), uvs


def _lines(key: str, rows: Any) -> list[str]:
    return [" ".join([key, *(f"{x:.9g}" for x in row)]) for row in rows.tolist()]


def _array(values: Any, dtype: Any) -> Any:
    given = values.detach().cpu() if isinstance(values, Tensor) else values
    return np.asarray(given).astype(dtype)

"""Batches of triangle meshes with textures, as the original's programs hold them."""

import copy
import math
from os import PathLike
from typing import Any

import torch
from torch import Tensor

from taichi_softras.compat.soft_renderer import functional as srf
from taichi_softras.compat.soft_renderer.functional import texels
from taichi_softras.errors import ArgumentError, ShapeError, check_choice, check_shape
from taichi_softras.transforms import promote


class Mesh:
    """B meshes of V vertices and F faces each, with a texture on every face or vertex.

    Arrays and lists become float32 tensors; float64 tensors stay what they are, on their device.
    A missing batch axis is added, and a batch of one is repeated to fit the others. Lighting,
    transforms and renderers return new meshes, and change none; what is assigned to a mesh stays
    until `reset_`.

    Args:
        vertices: World coordinates. [V, 3] or [B, V, 3]
        faces: Vertex indices; the front is where they run counter-clockwise. [F, 3] or [B, F, 3]
        textures: RGB of R² texels a face [F, R², 3] or [B, F, R², 3], or with
            texture_type="vertex" of each vertex [V, 3] or [B, V, 3]; white by default.
        texture_res: R of white texels.
        texture_type: "surface" or "vertex".

    Raises:
        ShapeError: A shape does not fit the others.
        ArgumentError: A value cannot be used.
    """

    def __init__(
        self,
        vertices: Any,
        faces: Any,
        textures: Any = None,
        texture_res: int = 1,
        texture_type: str = "surface",
    ) -> None:
        check_choice("texture_type", texture_type, ("surface", "vertex"))
        self.texture_type = texture_type
        (points,) = promote(vertices=vertices)
        index = torch.as_tensor(faces, device=points.device)
        if index.is_floating_point() or index.is_complex() or index.dtype == torch.bool:
            raise ArgumentError(f"`faces` must be integers, got {index.dtype}.")
        points, index = _batched(points, 3), _batched(index, 3)
        if textures is None:
            rows = (
                points.shape[1:2] if texture_type == "vertex" else (index.shape[1], texture_res**2)
            )
            values = points.new_ones((1, *rows, 3))
        else:
            _, values = promote(vertices=points, textures=textures)
        self._set(points, index.int(), values.to(points))
        self._origin = (self._vertices, self._faces, self._textures)
        self._fill_back = False
        # How faces are turned on the screen: a mirroring camera shows fronts clockwise.
        self._clockwise_front = True

    def _set(self, vertices: Tensor, faces: Tensor, textures: Tensor) -> None:
        """Check shapes and indices, and give all the same batch axis."""
        on_vertices = self.texture_type == "vertex"
        vertices, faces = _batched(vertices, 3), _batched(faces, 3)
        textures = _batched(textures, 3 if on_vertices else 4)
        size = check_shape("vertices", vertices.shape, "B V 3") | {
            "F": check_shape("faces", faces.shape, "B F 3")["F"]
        }
        check_shape(
            "textures", textures.shape, f"B {size['V']} 3" if on_vertices else f"B {size['F']} R² 3"
        )
        if not on_vertices and math.isqrt(textures.shape[2]) ** 2 != textures.shape[2]:
            raise ShapeError(
                f"`textures` must have R² texels a face, got {list(textures.shape)}: "
                f"{textures.shape[2]} is no square."
            )
        _check_indices(faces, size["V"])
        counts = {"vertices": len(vertices), "faces": len(faces), "textures": len(textures)}
        batch = next((count for count in counts.values() if count != 1), 1)
        if set(counts.values()) - {1, batch}:
            said = ", ".join(f"`{name}` {count}" for name, count in counts.items())
            raise ShapeError(f"Batches must have one length, or be 1, got {said}.")
        self._vertices = vertices.expand(batch, -1, -1)
        self._faces = faces.expand(batch, -1, -1)
        self._textures = textures.expand(batch, *textures.shape[1:])

    def replaced(
        self,
        *,
        vertices: Tensor | None = None,
        textures: Tensor | None = None,
        clockwise_front: bool | None = None,
    ) -> "Mesh":
        """Return a mesh with other vertices or textures that `reset_` leads back to the same."""
        other = copy.copy(self)
        other._set(
            self._vertices if vertices is None else vertices,
            self._faces,
            self._textures if textures is None else textures,
        )
        if clockwise_front is not None:
            other._clockwise_front = clockwise_front
        return other

    @property
    def vertices(self) -> Tensor:
        """Coordinates. [B, V, 3]"""
        return self._vertices

    @vertices.setter
    def vertices(self, vertices: Tensor) -> None:
        self._set(vertices, self._faces, self._textures)

    @property
    def faces(self) -> Tensor:
        """Vertex indices, int32. [B, F, 3]"""
        return self._faces

    @faces.setter
    def faces(self, faces: Tensor) -> None:
        self._set(self._vertices, faces.int(), self._textures)

    @property
    def textures(self) -> Tensor:
        """RGB of texels [B, F, R², 3], or of vertices [B, V, 3]."""
        return self._textures

    @textures.setter
    def textures(self, textures: Tensor) -> None:
        self._set(self._vertices, self._faces, textures)

    @property
    def batch_size(self) -> int:
        """Number B of meshes."""
        return self._vertices.shape[0]

    @property
    def num_vertices(self) -> int:
        """Number V of vertices."""
        return self._vertices.shape[1]

    @property
    def num_faces(self) -> int:
        """Number F of faces."""
        return self._faces.shape[1]

    @property
    def texture_res(self) -> int:
        """Number R: a face has R² texels; 1 for vertex textures."""
        return 1 if self.texture_type == "vertex" else math.isqrt(self._textures.shape[2])

    @property
    def device(self) -> torch.device:
        """Where the vertices are."""
        return self._vertices.device

    @property
    def fill_back(self) -> bool:
        """Whether `fill_back_` has doubled the faces."""
        return self._fill_back

    @property
    def clockwise_front(self) -> bool:
        """Whether fronts show clockwise on the screen: True unless a `Projection` came last."""
        return self._clockwise_front

    @property
    def face_vertices(self) -> Tensor:
        """Coordinates of each face's corners. [B, F, 3, 3]"""
        return srf.face_vertices(self._vertices, self._faces)

    @property
    def surface_normals(self) -> Tensor:
        """Unit normals in front of the faces; zero for degenerate ones. [B, F, 3]"""
        return srf.surface_normals(self._vertices, self._faces)

    @property
    def vertex_normals(self) -> Tensor:
        """Unit normals, averaged over the faces by area. [B, V, 3]"""
        return srf.vertex_normals(self._vertices, self._faces)

    @property
    def face_textures(self) -> Tensor:
        """Texels [B, F, R², 3], or colours at the faces' corners [B, F, 3, 3]."""
        if self.texture_type == "surface":
            return self._textures
        return srf.face_vertices(self._textures, self._faces)

    def fill_back_(self) -> None:
        """Add every face once more, seen from behind; a second call does nothing."""
        if self._fill_back:
            return
        textures = self._textures
        if self.texture_type == "surface":
            order = torch.from_numpy(texels.reversed_order(self.texture_res)).to(self.device)
            textures = torch.cat([textures, textures[:, :, order]], dim=1)
        self._set(self._vertices, torch.cat([self._faces, self._faces.flip(-1)], dim=1), textures)
        self._fill_back = True

    def reset_(self) -> None:
        """Return to the vertices, faces and textures that the mesh was made with."""
        self._set(*self._origin)
        self._fill_back, self._clockwise_front = False, True

    @classmethod
    def from_obj(
        cls,
        filename_obj: str | PathLike[str],
        normalization: bool = False,
        load_texture: bool = False,
        texture_res: int = 1,
        texture_type: str = "surface",
    ) -> "Mesh":
        """Read an OBJ file; see `functional.load_obj`."""
        vertices, faces, *rest = srf.load_obj(
            filename_obj, normalization, load_texture, texture_res, texture_type
        )
        return cls(vertices, faces, rest[0] if rest else None, texture_res, texture_type)

    def save_obj(
        self,
        filename_obj: str | PathLike[str],
        save_texture: bool = False,
        texture_res_out: int = 16,
    ) -> None:
        """Write the one mesh of this batch as OBJ; see `functional.save_obj`."""
        if self.batch_size != 1:
            raise ArgumentError(
                f"An OBJ file holds one mesh, got a batch of {self.batch_size}; save "
                "`Mesh(mesh.vertices[i], mesh.faces[i], ...)` for each i."
            )
        textures = self._textures[0] if save_texture else None
        srf.save_obj(
            filename_obj,
            self._vertices[0],
            self._faces[0],
            textures,
            texture_res_out,
            self.texture_type,
        )

    def voxelize(self, voxel_size: int = 32) -> Tensor:
        """Fill the grid of `voxel_size` voxels a side that is (N - 1) / N wide round the origin.

        Returns:
            1 inside and 0 outside, along x, y and z, int32; voxels that the surface only touches
            are outside unless their centre is in. [B, N, N, N]
        """
        if voxel_size < 2:
            raise ArgumentError(f"`voxel_size` must be at least 2, got {voxel_size}.")
        corners = self.face_vertices * (voxel_size / (voxel_size - 1)) + 0.5
        return srf.voxelization(corners, voxel_size, False)


def _batched(values: Tensor, axes: int) -> Tensor:
    """Add the batch axis where it is missing."""
    return values[None] if values.ndim == axes - 1 else values


def _check_indices(faces: Tensor, count: int) -> None:
    """Raise `ArgumentError` unless all faces index so many vertices."""
    single = faces[:1] if faces.stride(0) == 0 else faces  # one mesh's, repeated for the batch
    if single.numel():
        low, high = (int(end) for end in torch.aminmax(single))
        if low < 0 or high >= count:
            raise ArgumentError(
                f"`faces` must index the {count} vertices from 0, got index "
                f"{low if low < 0 else high}."
            )

"""The triangle mesh: what is drawn and what is optimised."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from taichi_softras import topology
from taichi_softras.errors import ArgumentError, ShapeError, check_shape
from taichi_softras.textures import SurfaceTexture, Texture, UVTexture
from taichi_softras.transforms import normalize, promote, take_corners


@dataclass(frozen=True, kw_only=True, eq=False)
class Mesh:
    """Triangles over shared vertices, one mesh or B meshes with the same faces.

    Lists and NumPy arrays are converted (to float32, and int64 for faces); tensors are kept as
    they are, with their autograd graph. Nothing is copied without need or changed in place. The
    front of a face is where its corners run counter-clockwise. Vertices may be NaN or infinite:
    whatever touches them is skipped. A mesh may be empty.
    """

    vertices: Tensor
    """World coordinates. [V, 3] or [B, V, 3]"""
    faces: Tensor
    """Vertex indices, int64. [F, 3]"""
    vertex_colors: Tensor | None = None
    """Any number of channels at each vertex. [V, C] or [B, V, C]"""
    face_colors: Tensor | None = None
    """Any number of channels for each face, instead of vertex colours. [F, C] or [B, F, C]"""
    texture: Texture | None = None
    """Images or texels, which multiply the colours where the mesh has any."""

    def __post_init__(self) -> None:
        """Convert what is not a tensor, and refuse what is not a mesh."""
        names = ("vertices", "vertex_colors", "face_colors")
        given = {name: v for name in names if (v := getattr(self, name)) is not None}
        for name, value in given.items():
            _check_float(name, value)
        converted = promote(**given)
        for name, value in zip(given, converted, strict=True):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "faces", _faces_tensor(self.faces, self.vertices))
        self._check()

    def _check(self) -> None:
        batched = self.vertices.ndim == 3
        check_shape("vertices", self.vertices.shape, "B V 3" if batched else "V 3")
        check_shape("faces", self.faces.shape, "F 3")
        if self.faces.device != self.vertices.device:
            raise ArgumentError(
                f"`vertices` and `faces` must be on one device, got {self.vertices.device} and "
                f"{self.faces.device}."
            )
        if self.vertices.device.type == "meta":
            raise ArgumentError("`vertices` must have values; tensors on `meta` have only shapes.")
        low, high = topology.index_range(self.faces)
        if low < 0 or high >= self.n_vertices:
            raise ArgumentError(
                f"`faces` must index the {self.n_vertices} vertices from 0, got index "
                f"{low if low < 0 else high}."
            )
        if self.vertex_colors is not None and self.face_colors is not None:
            raise ArgumentError("`vertex_colors` and `face_colors` must not be given both.")
        for name, count in (("vertex_colors", self.n_vertices), ("face_colors", self.n_faces)):
            colors: Tensor | None = getattr(self, name)
            if colors is None:
                continue
            views = self.vertices.shape[0] if batched else "B"
            check_shape(
                name, colors.shape, f"{views} {count} C" if colors.ndim == 3 else f"{count} C"
            )
        self._check_texture()

    def _check_texture(self) -> None:
        if self.texture is None:
            return
        if not isinstance(self.texture, UVTexture | SurfaceTexture):
            raise ArgumentError(
                "`texture` must be a UVTexture or a SurfaceTexture, "
                f"got {type(self.texture).__name__}."
            )
        self.texture.check(self.n_vertices, self.n_faces)
        colors = self.vertex_colors if self.face_colors is None else self.face_colors
        if colors is not None and colors.shape[-1] != self.texture.channels:
            raise ShapeError(
                f"`texture` must have the {colors.shape[-1]} channels of the colours that it "
                f"multiplies, got {self.texture.channels}."
            )

    @property
    def n_vertices(self) -> int:
        """Number V of vertices."""
        return self.vertices.shape[-2]

    @property
    def n_faces(self) -> int:
        """Number F of faces."""
        return self.faces.shape[0]

    @property
    def edges(self) -> Tensor:
        """Each undirected edge once. [E, 2]."""
        return topology.unique_edges(self.faces)

    @property
    def corners(self) -> Tensor:
        """World coordinates of each face's corners. [..., F, 3, 3]."""
        return self.at_corners(self.vertices)

    def at_corners(self, values: Tensor) -> Tensor:
        """Copy vertex values to each face's corners. [..., V, C] -> [..., F, 3, C]."""
        return take_corners(values, self.faces)

    @property
    def face_areas(self) -> Tensor:
        """Areas in squared world units; zero for faces with non-finite corners. [..., F]."""
        doubled = self._doubled_areas()
        flat = (doubled == 0.0).all(dim=-1, keepdim=True)
        length = torch.where(flat, torch.ones_like(doubled), doubled).norm(dim=-1)
        return torch.where(flat[..., 0], torch.zeros_like(length), 0.5 * length)

    @property
    def face_normals(self) -> Tensor:
        """Unit normals in front of the faces; zero for degenerate ones. [..., F, 3]."""
        return normalize(self._doubled_areas())

    @property
    def vertex_normals(self) -> Tensor:
        """Unit normals, averaged over the faces by area; zero where undefined. [..., V, 3]."""
        at_corners = self._doubled_areas().repeat_interleave(3, dim=-2)
        total = torch.zeros(
            *self.vertices.shape, dtype=self.vertices.dtype, device=self.vertices.device
        )
        return normalize(total.index_add(-2, self.faces.flatten(), at_corners))

    @property
    def surface_area(self) -> Tensor:
        """Sum of the faces' areas in squared world units. [...]."""
        return self.face_areas.sum(dim=-1)

    @property
    def bounds(self) -> Tensor:
        """Smallest and largest coordinates of the finite vertices. [..., 2, 3]."""
        if self.n_vertices == 0:
            raise ArgumentError("`mesh` has no vertices, and so no bounds.")
        finite = torch.isfinite(self.vertices).all(dim=-1, keepdim=True)
        low = torch.where(finite, self.vertices, torch.inf).amin(dim=-2)
        high = torch.where(finite, self.vertices, -torch.inf).amax(dim=-2)
        return torch.stack([low, high], dim=-2)

    def normalized(self) -> "Mesh":
        """Move the bounding box's centre to the origin and scale to fit the unit sphere.

        The finite vertex that is furthest from the centre comes to lie on the sphere. A mesh
        whose vertices all coincide is only moved; an empty one stays as it is.
        """
        if self.n_vertices == 0:
            return self
        moved = self.vertices - self.bounds.mean(dim=-2, keepdim=True)
        distances = moved.detach().norm(dim=-1)
        distances = torch.where(torch.isfinite(distances), distances, 0.0)
        furthest = distances.argmax(dim=-1, keepdim=True)[..., None].expand(*moved.shape[:-2], 1, 3)
        radius = moved.gather(-2, furthest).norm(dim=-1, keepdim=True)
        return self.replace(vertices=moved / torch.where(radius > 0.0, radius, 1.0))

    def sample_surface(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw points uniformly from the surface, differentiable in the vertices.

        Args:
            count: Number N of points, for each mesh of a batch.
            generator: Source of randomness, on the mesh's device; torch's global one by default.

        Returns:
            World coordinates. [..., N, 3]
        """
        cumulative = self.face_areas.detach().double().cumsum(dim=-1)
        if self.n_faces == 0 or not bool((cumulative[..., -1] > 0.0).all()):
            raise ArgumentError("`mesh` has no area to sample points from.")
        random = torch.rand(
            *cumulative.shape[:-1], count, 3,
            dtype=torch.float64, device=cumulative.device, generator=generator,
        )  # fmt: skip
        where = random[..., 0] * cumulative[..., -1:]
        face = torch.searchsorted(cumulative, where.contiguous(), right=True)
        face = face.clamp(max=self.n_faces - 1)
        # a square root spreads points evenly between the first corner and the opposite edge
        far, along = random[..., 1].sqrt(), random[..., 2]
        weights = torch.stack([1.0 - far, far * (1.0 - along), far * along], dim=-1)
        chosen = face[..., None, None].expand(*face.shape, 3, 3)
        corners = self.corners.gather(-3, chosen)
        points: Tensor = (weights.to(corners.dtype)[..., None] * corners).sum(dim=-2)
        return points

    def replace(self, **changes: Any) -> "Mesh":
        """Return a mesh with some fields changed, as in `mesh.replace(vertices=moved)`."""
        return replace(self, **changes)

    def to(self, *args: Any, **kwargs: Any) -> "Mesh":
        """Move to a device or floating-point dtype: the arguments of `torch.Tensor.to`."""
        vertices = self.vertices.to(*args, **kwargs)
        return Mesh(
            vertices=vertices,
            faces=self.faces.to(vertices.device),
            vertex_colors=None if self.vertex_colors is None else self.vertex_colors.to(vertices),
            face_colors=None if self.face_colors is None else self.face_colors.to(vertices),
            texture=None if self.texture is None else self.texture.to(vertices),
        )

    def detach(self) -> "Mesh":
        """Return the same mesh cut from the autograd graph."""
        colors = {"vertex_colors": self.vertex_colors, "face_colors": self.face_colors}
        cut = {name: None if c is None else c.detach() for name, c in colors.items()}
        texture = None if self.texture is None else self.texture.detach()
        return self.replace(vertices=self.vertices.detach(), texture=texture, **cut)

    def _doubled_areas(self) -> Tensor:
        """Normals as long as twice the area; zero, with zero gradient, if not finite."""
        corners = self.corners
        finite = torch.isfinite(corners.detach()).all(dim=-1).all(dim=-1)[..., None, None]
        a, b, c = torch.where(finite, corners, torch.zeros_like(corners)).unbind(dim=-2)
        doubled: Tensor = torch.linalg.cross(b - a, c - a, dim=-1)
        return doubled


def _check_float(name: str, value: Any) -> None:
    if isinstance(value, np.ndarray) and value.dtype == np.uint8:
        raise ArgumentError(f"`{name}` must be floating point, got uint8; divide it by 255.")
    if isinstance(value, Tensor) and value.dtype not in (torch.float32, torch.float64):
        raise ArgumentError(
            f"`{name}` must be float32 or float64, got {value.dtype}; call .float() on it."
        )


def _faces_tensor(faces: Any, vertices: Tensor) -> Tensor:
    """Convert faces to int64; only what is not a tensor follows the vertices' device."""
    if isinstance(faces, Tensor) and faces.dtype == torch.int64:
        return faces
    try:
        tensor = torch.as_tensor(faces)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ArgumentError(f"`faces` must be an array of integers: {error}") from error
    if tensor.numel() == 0 and not isinstance(faces, Tensor):
        tensor = tensor.reshape(-1, 3)  # an empty list has neither a second axis nor a dtype
    elif tensor.dtype.is_floating_point or tensor.dtype.is_complex or tensor.dtype == torch.bool:
        raise ArgumentError(f"`faces` must be integers, got {tensor.dtype}.")
    tensor = tensor.to(torch.int64)
    return tensor if isinstance(faces, Tensor) else tensor.to(vertices.device)

"""Textures on the surface of a mesh."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from taichi_softras.errors import ArgumentError, ShapeError, check_choice, check_shape
from taichi_softras.texture_maps import MAP_ROW, FaceTexture, Filter, Wrap, packed
from taichi_softras.transforms import check_finite, promote, take_corners


@dataclass(frozen=True, kw_only=True, eq=False)
class UVTexture:
    """Images spread over a mesh by texture coordinates: one image, or one for each material.

    What is read multiplies the mesh's vertex or face colours, where it has any. Gradients reach
    the images, the coordinates and, through the place where it is read, the geometry.
    """

    images: Tensor | Sequence[Tensor]
    """Row 0 on top, values as the colours' (not bytes). [H, W, C], or one for each material"""
    uvs: Tensor
    """u right, v up, (0, 0) the bottom left corner of the image, (1, 1) its top right. [T, 2]"""
    uv_faces: Tensor | None = None
    """Row of `uvs` at each corner, int64; by default that of its vertex. [F, 3]"""
    face_materials: Tensor | None = None
    """Number of the image on each face, int64; by default 0. [F]"""
    material_names: Sequence[str] = ()
    """What files call the materials; invented where it is empty."""
    filter: Filter = "bilinear"
    """The nearest texel, or four by distance; "mipmap" reads images reduced to the pixels' size."""
    wrap: Wrap = "wrap"
    """Outside [0, 1]: begin again, hold the border, or turn back at every border."""

    def __post_init__(self) -> None:
        """Convert what is not a tensor, and refuse what is not a texture."""
        check_choice("filter", self.filter, get_args(Filter))
        check_choice("wrap", self.wrap, get_args(Wrap))
        single = not isinstance(self.images, list | tuple)
        images = [self.images] if single else list(self.images)
        if not images:
            raise ArgumentError("`images` must hold at least one image, got an empty sequence.")
        names = ["images"] if single else [f"images[{i}]" for i in range(len(images))]
        for name, image in zip(names, images, strict=True):
            _check_values(name, image)
        *converted, uvs = promote(**dict(zip(names, images, strict=True)), uvs=self.uvs)
        channels = {image.shape[-1] for image in converted if image.ndim == 3}
        for name, image in zip(names, converted, strict=True):
            check_shape(name, image.shape, "H W C")
            if 0 in image.shape:
                raise ShapeError(f"`{name}` must not be empty, got {list(image.shape)}.")
        if len(channels) > 1:
            raise ShapeError(f"`images` must have equal channels, got {sorted(channels)}.")
        check_shape("uvs", uvs.shape, "T 2")
        object.__setattr__(self, "images", tuple(converted))
        object.__setattr__(self, "uvs", uvs)
        for name, pattern in (("uv_faces", "F 3"), ("face_materials", "F")):
            if (value := getattr(self, name)) is not None:
                indices = torch.as_tensor(value).to(torch.int64)
                check_shape(name, indices.shape, pattern)
                count = len(uvs) if name == "uv_faces" else len(converted)
                _check_index(name, indices, count)
                object.__setattr__(self, name, indices.to(uvs.device))
        if self.material_names and len(self.material_names) != len(converted):
            raise ShapeError(
                f"`material_names` must name all {len(converted)} images, "
                f"got {len(self.material_names)} names."
            )

    @property
    def channels(self) -> int:
        """Number C of colour channels."""
        return int(self.images[0].shape[-1])

    def check(self, n_vertices: int, n_faces: int) -> None:
        """Raise `ShapeError` unless the texture fits a mesh of so many vertices and faces."""
        if self.uv_faces is None and len(self.uvs) != n_vertices:
            raise ShapeError(
                f"`texture.uvs` must be one for each of the {n_vertices} vertices where "
                f"`uv_faces` is not given, got {len(self.uvs)}."
            )
        for name in ("uv_faces", "face_materials"):
            value = getattr(self, name)
            if value is not None and len(value) != n_faces:
                raise ShapeError(
                    f"`texture.{name}` must have a row for each of the {n_faces} faces, "
                    f"got {len(value)}."
                )

    def at_corners(self, faces: Tensor, like: Tensor) -> Tensor:
        """Return texture coordinates at the corners, u right and v up. [F, 3, 2]."""
        chosen = faces if self.uv_faces is None else self.uv_faces.to(faces.device)
        return take_corners(self.uvs.to(like), chosen)

    def at_faces(self, faces: Tensor, like: Tensor) -> tuple[Tensor, "FaceTexture"]:
        """Return texture coordinates at the corners [1, F, 3, 2], and what they are read from."""
        u, v = self.at_corners(faces, like)[None].unbind(-1)
        # Materials that share an image share its texels.
        images = {id(image): image for image in self.images}
        texture = packed([image.to(like) for image in images.values()], self.filter, self.wrap)
        places = dict(zip(images, texture.first_rows.tolist(), strict=True))
        rows = texture.maps.new_tensor([places[id(image)] for image in self.images])
        if self.face_materials is None:
            of_face = rows[:1].expand(len(faces))
        else:
            of_face = rows[self.face_materials.to(rows.device)]
        return torch.stack([u, 1.0 - v], -1), replace(texture, face_maps=of_face)

    def to(self, *args: Any, **kwargs: Any) -> "UVTexture":
        """Move to a device or floating-point dtype: the arguments of `torch.Tensor.to`."""
        uvs = self.uvs.to(*args, **kwargs)
        return replace(self, images=[image.to(uvs) for image in self.images], uvs=uvs)

    def detach(self) -> "UVTexture":
        """Return the same texture cut from the autograd graph."""
        return replace(
            self, images=[image.detach() for image in self.images], uvs=self.uvs.detach()
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class SurfaceTexture:
    """R² texels on each face, as in Liu et al.'s Soft Rasterizer; no coordinates are needed.

    What is read multiplies the mesh's vertex or face colours, where it has any. With w0 and w1
    the barycentric coordinates at a face's first two corners, the filters read

    - "nearest": the original's layout. The face is cut into R² equal triangles. In the cell a =
      int(w0 R), b = int(w1 R) the triangle towards the third corner is texel b R + a, the other
      one is texel (R - 1 - b) R + (R - 1 - a). No gradient reaches the geometry through it.
    - "bilinear": the texels are an image of R rows and columns over the square of w0 (right) and
      w1 (down), half of which is the face; continuous, with gradients to the geometry.
    """

    texels: Tensor
    """Values as the colours'; R² must be a square. [F, R², C], or one set a view [B, F, R², C]"""
    filter: Literal["nearest", "bilinear"] = "nearest"

    def __post_init__(self) -> None:
        """Convert what is not a tensor, and refuse what is not a texture."""
        check_choice("filter", self.filter, ("nearest", "bilinear"))
        _check_values("texels", self.texels)
        (texels,) = promote(texels=self.texels)
        check_shape("texels", texels.shape, "B F T C" if texels.ndim == 4 else "F T C")
        side = math.isqrt(texels.shape[-2])
        if side * side != texels.shape[-2] or 0 in texels.shape[-2:]:
            raise ShapeError(
                f"`texels` must have shape [F, R², C] with a square R², got {list(texels.shape)}."
            )
        object.__setattr__(self, "texels", texels)

    @property
    def channels(self) -> int:
        """Number C of colour channels."""
        return self.texels.shape[-1]

    @property
    def side(self) -> int:
        """Number R."""
        return math.isqrt(self.texels.shape[-2])

    def check(self, n_vertices: int, n_faces: int) -> None:
        """Raise `ShapeError` unless the texture fits a mesh of so many vertices and faces."""
        if self.texels.shape[-3] != n_faces:
            raise ShapeError(
                f"`texture.texels` must have a row for each of the {n_faces} faces, "
                f"got {self.texels.shape[-3]}."
            )

    def at_faces(self, faces: Tensor, like: Tensor) -> tuple[Tensor, "FaceTexture"]:
        """Return texture coordinates at the corners [1, F, 3, 2], and what they are read from."""
        texels = self.texels.to(like)
        count, squared = texels.shape[-3:-1]
        maps = int(texels.shape[0] * count) if texels.ndim == 4 else int(count)
        table = torch.zeros((maps, MAP_ROW), dtype=torch.int64, device=like.device)
        table[:, 0] = torch.arange(maps, device=like.device) * squared
        table[:, 1], table[:, 2] = self.side, self.side
        table[:, 3], table[:, 4] = get_args(Wrap).index("clamp"), 1
        corners = like.new_tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
        return corners.expand(1, len(faces), 3, 2), FaceTexture(
            texels=texels.reshape(-1, self.channels),
            maps=table,
            face_maps=torch.arange(maps, device=like.device).reshape(texels.shape[:-2]),
            lookup="triangles" if self.filter == "nearest" else "bilinear",
        )

    def to(self, *args: Any, **kwargs: Any) -> "SurfaceTexture":
        """Move to a device or floating-point dtype: the arguments of `torch.Tensor.to`."""
        return replace(self, texels=self.texels.to(*args, **kwargs))

    def detach(self) -> "SurfaceTexture":
        """Return the same texture cut from the autograd graph."""
        return replace(self, texels=self.texels.detach())


Texture = UVTexture | SurfaceTexture


def _check_values(name: str, value: Any) -> None:
    dtype = str(getattr(value, "dtype", "float32")).removeprefix("torch.")
    if dtype == "uint8":
        raise ArgumentError(f"`{name}` must be floating point, got uint8; divide it by 255.")
    if isinstance(value, Tensor) and dtype not in ("float32", "float64"):
        raise ArgumentError(f"`{name}` must be float32 or float64, got {dtype}.")
    check_finite(name, torch.as_tensor(value))


def _check_index(name: str, indices: Tensor, count: int) -> None:
    if indices.numel() and not 0 <= int(indices.min()) <= int(indices.max()) < count:
        low, high = int(indices.min()), int(indices.max())
        raise ArgumentError(f"`{name}` must lie in 0..{count - 1}, got {low if low < 0 else high}.")

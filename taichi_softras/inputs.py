"""What a rasterizer is given and what it returns: checked once, in one layout for every driver."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from taichi_softras import topology
from taichi_softras.constants import view_rows, zeros
from taichi_softras.errors import ArgumentError, ShapeError, check_shape
from taichi_softras.intrinsics import check_size
from taichi_softras.settings import RasterSettings
from taichi_softras.skipped import SkippedFaces
from taichi_softras.texture_maps import MAP_ROW, FaceTexture
from taichi_softras.transforms import take_corners


class Rendering(NamedTuple):
    """What one render produced."""

    image: Tensor | None
    """Attributes blended over the background; None with color="none". [B, H, W, C]"""
    alpha: Tensor
    """Soft silhouette. [B, H, W]"""
    depth: Tensor | None
    """View depth under the image's weights, `far` in the background. [B, H, W]"""
    skipped: SkippedFaces = SkippedFaces()
    """Faces that were left out because they could not be rendered."""
    normal: Tensor | None = None
    """World normals under the image's weights, 0 in the background: shorter than 1 where surfaces
    or the background blend. This and all below only where `render` was asked. [B, H, W, 3]"""
    position: Tensor | None = None
    """World coordinates under the image's weights, 0 in the background. [B, H, W, 3]"""
    uv: Tensor | None = None
    """Texture coordinates under the image's weights, 0 in the background. [B, H, W, 2]"""
    features: Tensor | None = None
    """The vertices' features under the image's weights, 0 in the background. [B, H, W, K]"""
    face_index: Tensor | None = None
    """Row in `mesh.faces` of the nearest face at the pixel's centre, or -1. int64 [B, H, W]"""
    barycentric: Tensor | None = None
    """Where on that face the pixel's centre lies, 0 where there is none. [B, H, W, 3]"""


@dataclass(frozen=True)
class RasterInputs:
    """Triangles of B views, packed: view b owns records [first : first + count]."""

    points: Tensor
    """x right, y up, view depth, as they were given: corners [B, F, 3, 3] or [N, 3, 3], or with
    `faces` vertices [B, V, 3]."""
    n_faces: int
    """Records N of all views."""
    attributes: Tensor
    """Corner attributes, shared between views where that is possible: colour channels, then
    texture coordinates where there is a texture. [M, 3, C + coordinates]"""
    views: Tensor
    """First corner record, first attribute record, number of faces. [B, 3] int32"""
    background: Tensor
    """Constant [1, C] or one row a pixel [B * H * W, C]."""
    size: tuple[int, int]
    """Image height and width in pixels."""
    faces: Tensor | None = None
    """Vertices of each view's faces, int64. [F, 3]"""
    texture: FaceTexture | None = None
    """With `face_maps` [M]."""

    @property
    def corners(self) -> Tensor:
        """The corners of all records, gathered where the points are vertices. [N, 3, 3]."""
        if self.faces is None:
            return self.points.reshape(-1, 3, 3)
        return take_corners(self.points, self.faces).flatten(0, 1)

    @property
    def n_vertices(self) -> int:
        """Vertices of each view; 0 where the points are corners."""
        return 0 if self.faces is None else self.points.shape[1]

    @property
    def channels(self) -> int:
        """Number C of colour channels."""
        return self.attributes.shape[-1] - (self.texture.coordinates if self.texture else 0)

    @property
    def table(self) -> Tensor:
        """For each attribute record the place in this table where its map begins; then the maps.

        int32, [M + 5 L] or [1] without a texture.
        """
        if self.texture is None:
            return zeros(1, like=self.attributes, dtype=torch.int32)
        maps, rows = self.texture.maps, self.texture.face_maps
        places = rows * maps.shape[1] + rows.shape[0]
        return torch.cat([places, maps.flatten()]).to(torch.int32)

    @property
    def texels(self) -> Tensor:
        """Texels of all maps. [X, texture channels], or [1, 0] without a texture."""
        return zeros(1, 0, like=self.attributes) if self.texture is None else self.texture.texels

    def groups(self, most: int) -> Iterator["RasterInputs"]:
        """Part the colour channels into groups of at most `most`, each to be drawn on its own."""
        channels, texture = self.channels, self.texture
        if channels <= most:
            yield self
            return
        # A face with one bad channel is left out of every group, not only of its own.
        finite = self.attributes.detach().isfinite().all(-1, keepdim=True).all(1, keepdim=True)
        attributes = self.attributes.masked_fill(~finite, torch.nan)
        for first in range(0, channels, most):
            some = slice(first, min(first + most, channels))
            part = replace(
                self, attributes=attributes[..., some], background=self.background[:, some]
            )
            if texture is not None and texture.texels.shape[-1] > first:
                with_coordinates = torch.cat([part.attributes, attributes[..., channels:]], -1)
                texels = texture.texels[:, some].contiguous()
                part = replace(
                    part, attributes=with_coordinates, texture=replace(texture, texels=texels)
                )
            else:
                part = replace(part, texture=None)
            yield part


def pack_inputs(
    corners_ndc: Tensor,
    corner_attributes: Tensor | None,
    *,
    size: int | Sequence[int],
    settings: RasterSettings,
    background: float | Sequence[float] | Tensor | None,
    face_counts: Sequence[int] | None,
    faces: Tensor | None = None,
    texture: FaceTexture | None = None,
) -> RasterInputs:
    """Check the arguments of `rasterize` and bring them into the packed layout.

    Raises:
        ShapeError: A shape does not fit the others.
        ArgumentError: A dtype, device, vertex or background cannot be used.
    """
    _check_floating("corners_ndc", corners_ndc, corners_ndc)
    height_width = check_size("size", size)
    if faces is not None:
        counts = _indexed_counts(corners_ndc, faces, face_counts)
    elif face_counts is None:
        axes = check_shape("corners_ndc", corners_ndc.shape, "B F 3 3")
        counts = [axes["F"]] * axes["B"]
    else:
        axes = check_shape("corners_ndc", corners_ndc.shape, "N 3 3")
        counts = [int(n) for n in face_counts]
        if min(counts, default=0) < 0 or sum(counts) != axes["N"]:
            raise ShapeError(
                f"`face_counts` must be non-negative and sum to the {axes['N']} faces of "
                f"`corners_ndc`, got {counts}."
            )
    if not counts:
        raise ShapeError("`corners_ndc` must hold at least one view, got a batch of 0.")
    attributes, shared = _pack_attributes(corner_attributes, corners_ndc, counts, face_counts)
    if settings.color == "none":
        attributes, texture = zeros(*attributes.shape[:-1], 0, like=attributes), None
    if texture is not None:
        attributes, shared, texture = _pack_texture(texture, attributes, shared, counts)
    channels = attributes.shape[-1] - (texture.coordinates if texture else 0)
    return RasterInputs(
        points=corners_ndc,
        n_faces=sum(counts),
        attributes=attributes,
        views=view_rows(counts, shared, corners_ndc.device),
        background=pack_background(background, corners_ndc, len(counts), height_width, channels),
        size=height_width,
        faces=faces,
        texture=texture,
    )


_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def _indexed_counts(
    vertices_ndc: Tensor, faces: Tensor, face_counts: Sequence[int] | None
) -> list[int]:
    """Check vertices and faces; return how many faces each view has."""
    if face_counts is not None:
        raise ArgumentError("`faces` are shared by all views; `face_counts` cannot be given too.")
    axes = check_shape("corners_ndc", vertices_ndc.shape, "B V 3")
    is_tensor = isinstance(faces, Tensor)
    if not (is_tensor and faces.dtype in _INTEGERS and faces.device == vertices_ndc.device):
        given = f"{faces.dtype} on {faces.device}" if is_tensor else type(faces).__name__
        raise ArgumentError(
            f"`faces` must be an integer tensor (int64, int32, int16, int8 or uint8) on the device "
            f"of `corners_ndc` {vertices_ndc.device}, got {given}."
        )
    check_shape("faces", faces.shape, "F 3")
    # A compiled graph cannot look at values; there the gather refuses wrong ones.
    low, high = (0, -1) if torch.compiler.is_compiling() else topology.index_range(faces)
    if low < 0 or high >= axes["V"]:
        raise ArgumentError(
            f"`faces` must name vertices 0 to {axes['V'] - 1} of `corners_ndc`, "
            f"got {low} to {high}."
        )
    return [faces.shape[0]] * axes["B"]


def _pack_texture(
    texture: FaceTexture, attributes: Tensor, shared: bool, counts: list[int]
) -> tuple[Tensor, bool, FaceTexture]:
    """Bring a texture's `face_maps` to the attribute records [M]; expand those where they differ.

    Returns:
        The attributes, whether all views share them, and the texture.
    """
    texels, rows = texture.texels, texture.face_maps
    _check_floating("texture.texels", texels, attributes)
    axes = check_shape("texture.texels", texels.shape, "X C")
    channels = attributes.shape[-1] - texture.coordinates
    if not 0 < axes["C"] <= channels:
        raise ShapeError(
            f"`corner_attributes` must have at least the {axes['C']} channels of the texture and "
            f"then {texture.coordinates} coordinates, got {attributes.shape[-1]} channels."
        )
    faces, views = attributes.shape[0] if shared else sum(counts), len(counts)
    if rows.ndim == 2 and rows.shape[0] == views and shared:
        attributes, shared = attributes.repeat(views, 1, 1), False
    elif rows.ndim == 1 and not shared and rows.shape[0] * views == faces:
        rows = rows.repeat(views)
    rows = rows.reshape(-1)
    if rows.shape[0] != attributes.shape[0]:
        raise ShapeError(
            "`texture.face_maps` must have one row for each face of `corner_attributes`, "
            f"{attributes.shape[0]} in all, got shape {list(texture.face_maps.shape)}."
        )
    check_shape("texture.maps", texture.maps.shape, f"L {MAP_ROW}")
    texture = replace(texture, face_maps=rows.long(), maps=texture.maps.long())
    # A compiled graph cannot look at values; its operator does.
    if not torch.compiler.is_compiling():
        check_maps(texture.maps, texture.face_maps, texels.shape[0])
    return attributes, shared, texture


def check_maps(maps: Tensor, face_maps: Tensor, n_texels: int) -> None:
    """Raise `ArgumentError` where a map would be read beyond its texels or its table."""
    first, height, width, wrap, levels = maps.unbind(1)
    row = torch.arange(maps.shape[0], device=maps.device)
    good = (first >= 0) & (height > 0) & (width > 0) & (first + height * width <= n_texels)
    good &= (wrap >= 0) & (wrap <= 2) & (levels > 0) & (row + levels <= maps.shape[0])
    if not bool(good.all()):
        bad = maps[~good][0].tolist()
        raise ArgumentError(
            f"`texture.maps` must be rows of (first texel, height, width, wrap, levels) within "
            f"the {n_texels} texels, got {bad}."
        )
    if face_maps.numel() and not 0 <= int(face_maps.min()) <= int(face_maps.max()) < len(maps):
        raise ArgumentError(
            f"`texture.face_maps` must lie in 0..{len(maps) - 1}, "
            f"got {int(face_maps.min())}..{int(face_maps.max())}."
        )


def _check_floating(name: str, value: Tensor, like: Tensor) -> None:
    if not isinstance(value, Tensor) or value.dtype not in (torch.float32, torch.float64):
        given = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise ArgumentError(f"`{name}` must be a float32 or float64 tensor, got {given}.")
    if value.dtype != like.dtype or value.device != like.device:
        raise ArgumentError(
            f"`{name}` must have the dtype and device of `corners_ndc` ({like.dtype} on "
            f"{like.device}), got {value.dtype} on {value.device}."
        )


def _pack_attributes(
    attributes: Tensor | None,
    corners_ndc: Tensor,
    counts: list[int],
    face_counts: Sequence[int] | None,
) -> tuple[Tensor, bool]:
    """Return attributes [M, 3, C], and whether all views share one set."""
    if attributes is None:
        records = counts[0] if face_counts is None else sum(counts)
        return zeros(records, 3, 0, like=corners_ndc), face_counts is None
    _check_floating("corner_attributes", attributes, corners_ndc)
    packed = face_counts is not None
    wanted = "N 3 C" if packed else "F 3 C" if attributes.ndim == 3 else "B F 3 C"
    axes = check_shape("corner_attributes", attributes.shape, wanted)
    shared = not packed and (attributes.ndim == 3 or axes["B"] == 1)
    faces, views = (sum(counts), 1) if packed else (counts[0], len(counts))
    if axes.get("N", axes.get("F")) != faces or axes.get("B", 1) not in (1, views):
        raise ShapeError(
            f"`corner_attributes` must have shape [{wanted.replace(' ', ', ')}] with the faces and "
            f"views of `corners_ndc` {list(corners_ndc.shape)}, got {list(attributes.shape)}."
        )
    return (attributes.flatten(0, 1) if attributes.ndim == 4 else attributes), shared


def pack_background(
    background: float | Sequence[float] | Tensor | None,
    like: Tensor,
    views: int,
    size: tuple[int, int],
    channels: int,
) -> Tensor:
    """Check a background and lay it out in rows. [1, C] or [B * H * W, C]."""
    if background is None:
        return zeros(1, channels, like=like)
    value = torch.as_tensor(background, dtype=like.dtype, device=like.device)
    # A compiled graph cannot look at values; its operator does.
    if not torch.compiler.is_compiling() and not bool(torch.isfinite(value.detach()).all()):
        raise ArgumentError("`background` must be finite, got NaN or infinite values.")
    if channels == 0:
        return zeros(1, 0, like=like)
    if value.ndim <= 1:
        if value.ndim == 1 and value.shape[0] not in (1, channels):
            raise ShapeError(
                f"`background` must have {channels} channels as the attributes, "
                f"got {value.shape[0]}."
            )
        return value.expand(channels).reshape(1, channels)
    full = (views, *size, channels)
    if value.shape not in (full, full[1:], (1, *full[1:])):
        raise ShapeError(
            f"`background` must be a number, [C] or [B, H, W, C] = {list(full)}, "
            f"got {list(value.shape)}."
        )
    return value.expand(full).reshape(-1, channels)

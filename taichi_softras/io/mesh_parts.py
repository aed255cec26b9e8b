"""From the parts of a trimesh scene to the arrays of one mesh."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_GREY = 0.5


@dataclass(frozen=True)
class Part:
    """A piece with one kind of colour, or none."""

    vertices: Floats  # [V, 3]
    faces: Ints  # [F, 3]
    vertex_colors: Floats | None = None  # [V, 3]
    face_colors: Floats | None = None  # [F, 3]

    def welded(self) -> "Part":
        """Merge vertices that are equal in position and colour; the first of them stays."""
        blocks = [b for b in (self.vertices, self.vertex_colors) if b is not None]
        rows = np.ascontiguousarray(np.hstack(blocks) + 0.0)  # -0.0 becomes 0.0
        # Compared as bytes, so that NaN equals NaN.
        keys = rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1]))).ravel()
        _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        order = np.argsort(first)
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        keep = first[order]
        colors = None if self.vertex_colors is None else self.vertex_colors[keep]
        return Part(
            self.vertices[keep], rank[inverse.ravel()][self.faces], colors, self.face_colors
        )


def scene_parts(scene: Any) -> list[Part]:
    """Collect the triangles of a scene, each node in place; points and lines are left out."""
    parts = []
    for node in scene.graph.nodes_geometry:
        matrix, name = scene.graph[node]
        geometry = scene.geometry[name]
        if not hasattr(geometry, "faces") or len(geometry.faces) == 0:
            continue
        vertices = np.array(geometry.vertices, np.float64)
        faces = np.array(geometry.faces, np.int64).reshape(-1, 3)
        if not np.array_equal(matrix, np.eye(4)):
            vertices = vertices @ matrix[:3, :3].T + matrix[:3, 3]
            if np.linalg.det(matrix[:3, :3]) < 0.0:
                faces = np.ascontiguousarray(faces[:, ::-1])  # a mirror turns faces inside out
        parts.append(Part(vertices, faces, *_colors(geometry)))
    return parts


def joined(parts: Sequence[Part], *, shared: bool) -> Part:
    """Make one part of many; where only some have colours the others become grey.

    Args:
        parts: At least one.
        shared: All parts index the same vertices, which are kept once.
    """
    if len(parts) == 1:
        return parts[0]
    colored = any(p.vertex_colors is not None for p in parts)
    colors = [_vertex_colors(p) for p in parts]
    if shared:
        faces = np.concatenate([p.faces for p in parts])
        if not colored:
            return Part(parts[0].vertices, faces)
        if all(np.array_equal(c, colors[0]) for c in colors):
            return Part(parts[0].vertices, faces, colors[0])
        # Parts that share vertices differ only by the plain colours of their materials.
        plain = [np.tile(c[:1], (len(p.faces), 1)) for c, p in zip(colors, parts, strict=True)]
        return Part(parts[0].vertices, faces, face_colors=np.concatenate(plain))
    starts = np.cumsum([0, *(len(p.vertices) for p in parts)])
    return Part(
        np.concatenate([p.vertices for p in parts]),
        np.concatenate([p.faces + start for p, start in zip(parts, starts, strict=False)]),
        np.concatenate(colors) if colored else None,
    )


def _vertex_colors(part: Part) -> Floats:
    missing = np.full((len(part.vertices), 3), _GREY)
    return missing if part.vertex_colors is None else part.vertex_colors


def _colors(geometry: Any) -> tuple[Floats | None, Floats | None]:
    """Return a geometry's vertex colours and face colours, at most one of them not None."""
    visual = geometry.visual
    if visual.kind == "face":
        return None, _unit(visual.face_colors)
    if visual.kind == "vertex":
        return _unit(visual.vertex_colors), None
    return (_material_colors(geometry) if visual.kind == "texture" else None), None


def _material_colors(geometry: Any) -> Floats:
    """Bake a material: glTF multiplies texture, colour and vertex colours, OBJ and PLY choose."""
    visual, material, stored = geometry.visual, geometry.visual.material, _stored_colors(geometry)
    is_gltf = hasattr(material, "baseColorFactor")
    image = material.baseColorTexture if is_gltf else material.image
    factor = material.baseColorFactor if is_gltf else material.diffuse
    plain = np.ones(3) if factor is None else _unit(np.atleast_2d(factor))[0]
    sampled = None
    if image is not None and visual.uv is not None:
        sampled = sample_texture(np.asarray(image.convert("RGB")), np.asarray(visual.uv))
    if not is_gltf:
        chosen = sampled if sampled is not None else stored
        return np.tile(plain, (len(geometry.vertices), 1)) if chosen is None else chosen
    baked = np.tile(plain, (len(geometry.vertices), 1))
    for layer in (sampled, stored):
        baked = baked if layer is None else baked * layer
    return baked


def _stored_colors(geometry: Any) -> Floats | None:
    """Vertex colours that a file has beside its material."""
    for attributes in (geometry.visual.vertex_attributes, geometry.vertex_attributes):
        colors = attributes.get("color", None)
        if colors is not None and np.shape(colors)[:1] == (len(geometry.vertices),):
            return _unit(colors)
    return None


def _unit(colors: Any) -> Floats:
    """Bring colours of any stored type to 0..1 and drop alpha. [N, 3 or 4] -> [N, 3]."""
    values = np.asarray(colors)
    scale = np.iinfo(values.dtype).max if np.issubdtype(values.dtype, np.integer) else 1.0
    result: Floats = values[:, :3].astype(np.float64) / scale
    return result


def sample_texture(texels: NDArray[np.uint8], uv: Floats) -> Floats:
    """Interpolate a texture bilinearly.

    Coordinates outside [0, 1] repeat the texture. Within it the outer half texel is constant, so
    that a vertex on the border never takes colour from the opposite side.

    Args:
        texels: Row 0 on top. [H, W, 3]
        uv: u right, v up, (0, 0) at the bottom left corner of the texture. [V, 2]

    Returns:
        Colours in 0..1; NaN coordinates read the corner. [V, 3]
    """
    height, width = texels.shape[:2]
    uv = np.nan_to_num(uv, nan=0.0, posinf=0.0, neginf=0.0)
    uv = np.where((uv < 0.0) | (uv > 1.0), uv - np.floor(uv), uv)
    x = np.clip(uv[:, 0] * width - 0.5, 0, width - 1)
    y = np.clip((1.0 - uv[:, 1]) * height - 0.5, 0, height - 1)
    left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    s, t = (x - left)[:, None], (y - top)[:, None]
    upper = texels[top, left] * (1 - s) + texels[top, right] * s
    lower = texels[bottom, left] * (1 - s) + texels[bottom, right] * s
    blended: Floats = (upper * (1 - t) + lower * t) / 255.0
    return blended

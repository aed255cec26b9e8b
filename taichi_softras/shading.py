"""Shading of mesh colours at vertices or faces, differentiable in the mesh and in the lights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from taichi_softras.camera import Camera
from taichi_softras.errors import ArgumentError, ShapeError, check_choice, check_shape
from taichi_softras.illumination import Surface, illuminate
from taichi_softras.lights import AmbientLight, DirectionalLight, LightSource, Material, Numbers
from taichi_softras.mesh import Mesh
from taichi_softras.transforms import check_finite, normalize, promote

# What a mesh without colours looks like.
_GREY = 0.7


@dataclass(frozen=True, kw_only=True, eq=False)
class Light:
    """Ambient light, and one directional light or L of them.

    Each field takes numbers, sequences or tensors; tensors that require grad receive one.
    """

    ambient_intensity: Numbers = 0.5
    """Light from everywhere. []"""
    ambient_color: Numbers = (1.0, 1.0, 1.0)
    """Red, green, blue. [3]"""
    directional_intensity: Numbers = 0.5
    """Light from each direction. [] or [L]"""
    directional_color: Numbers = (1.0, 1.0, 1.0)
    """Red, green, blue. [3] or [L, 3]"""
    direction: Numbers = (0.3, 1.0, 0.6)
    """World direction *towards* the light, of any length above zero. [3] or [L, 3]"""


Lights = Light | LightSource | Sequence[Light | LightSource]
Shading = Literal["gouraud", "flat"]


class LitMesh(NamedTuple):
    """A mesh under light, its highlights apart: a texture multiplies colours, and not them."""

    mesh: Mesh
    """With the lit colours."""
    highlights: Tensor | None
    """What is to be added to them; None where there are none. [1 or B, V or F or 1, 3]"""

    @property
    def joined(self) -> Mesh:
        """The mesh with its highlights added to its colours."""
        mesh, highlights = self
        if highlights is None:
            return mesh
        if mesh.face_colors is not None:
            return mesh.replace(face_colors=_added(mesh.face_colors, highlights))
        return mesh.replace(vertex_colors=_added(vertex_colors(mesh), highlights))


def lambert(colors: Tensor, normals: Tensor, light: Light | None = None) -> Tensor:
    """Light colours: colour * (ambient + sum over lights of directional * relu(n . direction)).

    Nothing is clamped, so that gradients live: bright lights give values above 1.

    Args:
        colors: RGB, or RGBA whose alpha stays as it is. [..., N, 3 or 4]
        normals: Unit normals in world coordinates; zero ones see ambient light only. [..., N, 3]
        light: The light; by default `Light()`.

    Returns:
        Lit colours, broadcast over the leading axes of both. [..., N, 3 or 4]
    """
    check_lit_channels(colors)
    if normals.ndim == 0 or normals.shape[-1] != 3:
        raise ShapeError(f"`normals` must have shape [..., 3], got {list(normals.shape)}.")
    ambient, directional, direction = _light_tensors(light or Light(), normals)
    facing = (normals @ direction.mT).relu()  # [..., N, L]
    return with_alpha_of(colors, colors[..., :3] * (ambient + facing @ directional))


def shade(
    mesh: Mesh,
    light: Lights | None = None,
    *,
    material: Material | None = None,
    camera: Camera | None = None,
    shading: Shading = "gouraud",
) -> Mesh:
    """Replace a mesh's colours by lit ones.

    Vertex colours are lit by smooth vertex normals (Gouraud shading), face colours by flat face
    normals at the faces' centroids. A mesh without colours becomes grey, or keeps its texture's
    colours, times the light. With shading="flat" vertex colours become face colours, the mean of
    each face's corners. Lit colours are not clamped. Light at every pixel (shading="phong") is
    `render`'s.

    Args:
        mesh: With 3 or 4 colour channels, or none.
        light: One light or any number of them, which add up; by default `Light()`.
        material: Highlights; by default none.
        camera: Whose eye sees the highlights; nothing else needs it.
        shading: Where light is computed: at vertices, or once for each face.

    Returns:
        The lit mesh. Lights, materials or highlights of B views make it B meshes: vertices
        [B, V, 3] and colours [B, V or F, C].

    Raises:
        ShapeError: A light has another shape, or mesh, camera and lights other numbers of views.
        ArgumentError: A value cannot be used, highlights lack a camera, or a texture would
            multiply them.
    """
    check_choice("shading", shading, get_args(Shading))
    lit = light_mesh(mesh, light, material=material, camera=camera, flat=shading == "flat")
    if mesh.texture is not None and lit.highlights is not None:
        raise ArgumentError(
            "`material` has highlights, and `mesh` a texture, which would multiply them; give "
            "light and material to `render`, which adds them afterwards."
        )
    return lit.joined


def light_mesh(
    mesh: Mesh,
    light: Lights | None,
    *,
    material: Material | None,
    camera: Camera | None,
    flat: bool,
) -> LitMesh:
    """Light a mesh's colours as `shade` does, and leave the highlights apart."""
    if not flat and material is None and (light is None or isinstance(light, Light)):
        if mesh.face_colors is not None:
            lit = lambert(mesh.face_colors, mesh.face_normals, light)
            return LitMesh(mesh.replace(face_colors=lit), None)
        lit = lambert(vertex_colors(mesh), mesh.vertex_normals, light)
        return LitMesh(mesh.replace(vertex_colors=lit), None)
    flat = flat or mesh.face_colors is not None
    if mesh.face_colors is not None:
        colors = mesh.face_colors
    else:
        colors = vertex_colors(mesh)
        colors = mesh.at_corners(colors).mean(dim=-2) if flat else colors
    check_lit_channels(colors)
    surface = Surface.of_mesh(mesh, flat=flat, camera=camera)
    if colors.ndim == 3:
        surface.agree("colors", colors.shape[0])
    lights = light_sources(light, mesh.vertices)
    factor, highlights = illuminate(surface, lights, material or Material())
    lit = with_alpha_of(colors, colors[..., :3] * factor)
    views = max(lit.shape[0], 1 if highlights is None else highlights.shape[0])
    if views > 1:
        mesh = mesh.replace(vertices=mesh.vertices.expand(views, -1, -1))
        lit = lit.expand(views, -1, -1)
    elif colors.ndim == 2:
        lit = lit[0]
    if flat:
        return LitMesh(mesh.replace(vertex_colors=None, face_colors=lit), highlights)
    return LitMesh(mesh.replace(vertex_colors=lit), highlights)


def _added(colors: Tensor, highlights: Tensor) -> Tensor:
    """Add highlights [1 or B, N or 1, 3] to colours [N, C] or [B, N, C]."""
    lit = colors[..., :3] + highlights
    return with_alpha_of(colors, lit if colors.ndim == 3 else lit[0])


def light_sources(light: object, like: Tensor) -> list[LightSource]:
    """Return one light or many as a list, each `Light` taken apart."""
    given = list(light) if isinstance(light, list | tuple) else [light]
    sources: list[LightSource] = []
    for i, item in enumerate(given):
        if isinstance(item, LightSource):
            sources.append(item)
        elif item is None or isinstance(item, Light):
            ambient, colors, directions = _light_tensors(item or Light(), like)
            sources.append(AmbientLight(intensity=1.0, color=ambient))
            sources += [
                DirectionalLight(intensity=1.0, color=color, direction=direction)
                for color, direction in zip(colors, directions, strict=True)
            ]
        else:
            name = f"light[{i}]" if isinstance(light, list | tuple) else "light"
            raise ArgumentError(
                f"`{name}` must be a Light, AmbientLight, DirectionalLight, PointLight or "
                f"SphericalHarmonics, got {type(item).__name__}."
            )
    return sources


def vertex_colors(mesh: Mesh) -> Tensor:
    """Return colours to be lit: grey where there are none, 1 under a texture. [..., V, C]."""
    if mesh.vertex_colors is not None:
        return mesh.vertex_colors
    value = _GREY if mesh.texture is None else 1.0
    channels = 3 if mesh.texture is None else mesh.texture.channels
    return mesh.vertices.new_full((mesh.n_vertices, channels), value)


def check_lit_channels(colors: Tensor) -> None:
    """Refuse colours that are neither RGB nor RGBA."""
    if colors.ndim == 0 or colors.shape[-1] not in (3, 4):
        raise ShapeError(
            f"`colors` must have 3 or 4 channels to be lit, got shape {list(colors.shape)}."
        )


def with_alpha_of(colors: Tensor, lit: Tensor) -> Tensor:
    """Join lit RGB with the colours' alpha where they have one. [..., N, 3 or 4]."""
    if colors.shape[-1] == 3:
        return lit
    return torch.cat([lit, colors[..., 3:].expand(*lit.shape[:-1], 1)], dim=-1)


def _light_tensors(light: Light, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the ambient [3] and directional [L, 3] colours, and unit directions [L, 3]."""
    fields = {
        "ambient_intensity": light.ambient_intensity,
        "ambient_color": light.ambient_color,
        "directional_intensity": light.directional_intensity,
        "directional_color": light.directional_color,
        "direction": light.direction,
    }
    tensors = [value.to(like) for value in promote(**fields)]
    for name, value in zip(fields, tensors, strict=True):
        check_finite(name, value)
    ambient_intensity, ambient_color, intensity, color, direction = tensors
    check_shape("ambient_intensity", ambient_intensity.shape, "")
    check_shape("ambient_color", ambient_color.shape, "3")
    check_shape("directional_color", color.shape, "L 3" if color.ndim == 2 else "3")
    check_shape("direction", direction.shape, "L 3" if direction.ndim == 2 else "3")
    if intensity.ndim > 1:
        check_shape("directional_intensity", intensity.shape, "L")
    if bool((direction == 0.0).all(dim=-1).any()):
        raise ArgumentError("`direction` must point towards the light, got a zero vector.")
    count = max(t.shape[0] for t in (direction.reshape(-1, 3), color.reshape(-1, 3)))
    count = max(count, intensity.numel())
    try:
        color = color.expand(count, 3) * intensity.reshape(-1, 1).expand(count, 1)
        direction = normalize(direction).expand(count, 3)
    except RuntimeError as error:
        raise ShapeError(
            "`directional_intensity`, `directional_color` and `direction` must agree on the "
            f"number of lights, got shapes {[list(t.shape) for t in tensors[2:]]}."
        ) from error
    return ambient_intensity * ambient_color, color, direction

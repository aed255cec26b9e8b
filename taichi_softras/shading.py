"""Shading of mesh colours at vertices or faces, differentiable in the mesh and in the lights."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from taichi_softras.camera import Camera
from taichi_softras.errors import ArgumentError, ShapeError, check_shape
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
    _check_colors(colors)
    if normals.ndim == 0 or normals.shape[-1] != 3:
        raise ShapeError(f"`normals` must have shape [..., 3], got {list(normals.shape)}.")
    ambient, directional, direction = _light_tensors(light or Light(), normals)
    facing = (normals @ direction.mT).relu()  # [..., N, L]
    return _with_alpha_of(colors, colors[..., :3] * (ambient + facing @ directional))


def shade(
    mesh: Mesh,
    light: Lights | None = None,
    *,
    material: Material | None = None,
    camera: Camera | None = None,
) -> Mesh:
    """Replace a mesh's colours by lit ones.

    Vertex colours are lit by smooth vertex normals (Gouraud shading), face colours by flat face
    normals at the faces' centroids; a mesh without colours becomes grey at its vertices, or keeps
    its texture's colours, times the light. Under a
    material with `flat=True` vertex colours become face colours, the mean of each face's corners.
    Lit colours are not clamped.

    Args:
        mesh: With 3 or 4 colour channels, or none.
        light: One light or any number of them, which add up; by default `Light()`.
        material: Highlights, and flat faces; by default neither.
        camera: Whose eye sees the highlights; nothing else needs it.

    Returns:
        The lit mesh. Lights, materials or highlights of B views make it B meshes: vertices
        [B, V, 3] and colours [B, V or F, C].

    Raises:
        ShapeError: A light has another shape, or mesh, camera and lights other numbers of views.
        ArgumentError: A value cannot be used, or highlights lack a camera.
    """
    if material is not None or not (light is None or isinstance(light, Light)):
        return _illuminated(mesh, light, material or Material(), camera)
    if mesh.face_colors is not None:
        return mesh.replace(face_colors=lambert(mesh.face_colors, mesh.face_normals, light))
    return mesh.replace(vertex_colors=lambert(_vertex_colors(mesh), mesh.vertex_normals, light))


def _illuminated(mesh: Mesh, light: object, material: Material, camera: Camera | None) -> Mesh:
    """Light a mesh by any lights."""
    lights = _light_sources(light, mesh.vertices)
    flat = material.flat or mesh.face_colors is not None
    if mesh.face_colors is not None:
        colors = mesh.face_colors
    else:
        colors = _vertex_colors(mesh)
        colors = mesh.at_corners(colors).mean(dim=-2) if flat else colors
    _check_colors(colors)
    surface = Surface(mesh, flat=flat, camera=camera)
    if colors.ndim == 3:
        surface.agree("colors", colors.shape[0])
    factor, highlights = illuminate(surface, lights, material)
    lit = colors[..., :3] * factor
    lit = _with_alpha_of(colors, lit if highlights is None else lit + highlights)
    if lit.shape[0] > 1:
        mesh = mesh.replace(vertices=mesh.vertices.expand(lit.shape[0], -1, -1))
    elif colors.ndim == 2:
        lit = lit[0]
    if flat:
        return mesh.replace(vertex_colors=None, face_colors=lit)
    return mesh.replace(vertex_colors=lit)


def _light_sources(light: object, like: Tensor) -> list[LightSource]:
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


def _vertex_colors(mesh: Mesh) -> Tensor:
    """Return the vertices' colours; where the mesh has none, grey or its texture's. [..., V, C]."""
    if mesh.vertex_colors is not None:
        return mesh.vertex_colors
    if mesh.texture is not None:
        return mesh.vertices.new_ones((*mesh.vertices.shape[:-1], mesh.texture.channels))
    return torch.full_like(mesh.vertices, _GREY, requires_grad=False)


def _check_colors(colors: Tensor) -> None:
    if colors.ndim == 0 or colors.shape[-1] not in (3, 4):
        raise ShapeError(
            f"`colors` must have 3 or 4 channels to be lit, got shape {list(colors.shape)}."
        )


def _with_alpha_of(colors: Tensor, lit: Tensor) -> Tensor:
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

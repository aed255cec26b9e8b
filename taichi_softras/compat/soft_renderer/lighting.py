"""Lamps as modules; `Lighting` multiplies a mesh's textures by what falls on it."""

from typing import Any

import torch
from torch import Tensor, nn

from taichi_softras.compat.soft_renderer import functional as srf
from taichi_softras.compat.soft_renderer.mesh import Mesh
from taichi_softras.errors import ArgumentError, check_choice


class AmbientLighting(nn.Module):
    """Light from everywhere."""

    def __init__(self, light_intensity: Any = 0.5, light_color: Any = (1.0, 1.0, 1.0)) -> None:
        super().__init__()
        self.light_intensity = light_intensity
        self.light_color = light_color

    def forward(self, light: Tensor) -> Tensor:
        """Add to the light on faces or vertices. [B, N, 3]"""
        return srf.ambient_lighting(light, self.light_intensity, self.light_color)


class DirectionalLighting(nn.Module):
    """Light from one direction; `light_direction` points towards the lamp."""

    def __init__(
        self,
        light_intensity: Any = 0.5,
        light_color: Any = (1.0, 1.0, 1.0),
        light_direction: Any = (0.0, 1.0, 0.0),
    ) -> None:
        super().__init__()
        self.light_intensity = light_intensity
        self.light_color = light_color
        self.light_direction = light_direction

    def forward(self, light: Tensor, normals: Tensor) -> Tensor:
        """Add to the light on faces or vertices, by their normals. [B, N, 3] both."""
        return srf.directional_lighting(
            light, normals, self.light_intensity, self.light_color, self.light_direction
        )


class Lighting(nn.Module):
    """An ambient lamp and directional ones: textures *= sum of what they give.

    `directionals` is a ModuleList; append more lamps to it.

    Args:
        light_mode: "surface" lights faces by their normals, for surface textures; "vertex"
            vertices, for vertex textures.
        intensity_ambient: Of the ambient lamp.
        color_ambient: RGB of the ambient lamp.
        intensity_directionals: Of the directional lamp.
        color_directionals: RGB of the directional lamp.
        directions: Towards the directional lamp.
    """

    def __init__(
        self,
        light_mode: str = "surface",
        intensity_ambient: Any = 0.5,
        color_ambient: Any = (1.0, 1.0, 1.0),
        intensity_directionals: Any = 0.5,
        color_directionals: Any = (1.0, 1.0, 1.0),
        directions: Any = (0.0, 1.0, 0.0),
    ) -> None:
        super().__init__()
        check_choice("light_mode", light_mode, ("surface", "vertex"))
        self.light_mode = light_mode
        self.ambient = AmbientLighting(intensity_ambient, color_ambient)
        self.directionals = nn.ModuleList(
            [DirectionalLighting(intensity_directionals, color_directionals, directions)]
        )

    def forward(self, mesh: Mesh) -> Mesh:
        """Return the mesh with lit textures."""
        if self.light_mode != mesh.texture_type:
            raise ArgumentError(
                f"`light_mode` must be the mesh's texture_type {mesh.texture_type!r}, got "
                f"{self.light_mode!r}."
            )
        on_faces = self.light_mode == "surface"
        normals = mesh.surface_normals if on_faces else mesh.vertex_normals
        light = self.ambient(torch.zeros_like(normals))
        for lamp in self.directionals:
            light = lamp(light, normals)
        return mesh.replaced(textures=mesh.textures * (light[:, :, None] if on_faces else light))

"""Light, camera and rasterizer in one module."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from taichi_softras.compat.soft_renderer.lighting import Lighting
from taichi_softras.compat.soft_renderer.mesh import Mesh
from taichi_softras.compat.soft_renderer.rasterizer import SoftRasterizer
from taichi_softras.compat.soft_renderer.transform import Transform
from taichi_softras.errors import check_choice


class SoftRenderer(nn.Module):
    """Render meshes in one call; `lighting`, `transform` and `rasterizer` are its parts.

    The first arguments are those of `SoftRasterizer`, then come those of `Transform` and of
    `Lighting`.
    """

    def __init__(
        self,
        image_size: int | Sequence[int] = 256,
        background_color: Any = (0.0, 0.0, 0.0),
        near: float = 1,
        far: float = 100,
        anti_aliasing: bool = False,
        fill_back: bool = True,
        eps: float = 1e-3,
        sigma_val: float | Tensor = 1e-5,
        dist_func: str = "euclidean",
        dist_eps: float = 1e-4,
        gamma_val: float | Tensor = 1e-4,
        aggr_func_rgb: str = "softmax",
        aggr_func_alpha: str = "prod",
        texture_type: str = "surface",
        camera_mode: str = "projection",
        P: Any = None,
        dist_coeffs: Any = None,
        orig_size: float = 512,
        perspective: bool = True,
        viewing_angle: float = 30,
        viewing_scale: float = 1.0,
        eye: Any = None,
        camera_direction: Any = (0.0, 0.0, 1.0),
        light_mode: str = "surface",
        light_intensity_ambient: Any = 0.5,
        light_color_ambient: Any = (1.0, 1.0, 1.0),
        light_intensity_directionals: Any = 0.5,
        light_color_directionals: Any = (1.0, 1.0, 1.0),
        light_directions: Any = (0.0, 1.0, 0.0),
    ) -> None:
        super().__init__()
        self.lighting = Lighting(
            light_mode,
            light_intensity_ambient,
            light_color_ambient,
            light_intensity_directionals,
            light_color_directionals,
            light_directions,
        )
        self.transform = Transform(
            camera_mode,
            P,
            dist_coeffs,
            orig_size,
            perspective,
            viewing_angle,
            viewing_scale,
            eye,
            camera_direction,
        )
        self.rasterizer = SoftRasterizer(
            image_size,
            background_color,
            near,
            far,
            anti_aliasing,
            fill_back,
            eps,
            sigma_val,
            dist_func,
            dist_eps,
            gamma_val,
            aggr_func_rgb,
            aggr_func_alpha,
            texture_type,
        )

    def set_sigma(self, sigma: float | Tensor) -> None:
        """Set the softness of edges, in squared NDC."""
        self.rasterizer.set_sigma(sigma)

    def set_gamma(self, gamma: float | Tensor) -> None:
        """Set the softness in depth."""
        self.rasterizer.set_gamma(gamma)

    def set_texture_mode(self, mode: str) -> None:
        """Light and read textures of faces ("surface") or of vertices ("vertex")."""
        check_choice("mode", mode, ("surface", "vertex"))
        self.lighting.light_mode = mode
        self.rasterizer.texture_type = mode

    def render_mesh(self, mesh: Mesh, mode: Any = None) -> Tensor:
        """Light, transform and rasterize a mesh in the world, which stays as it is.

        Returns:
            RGBA, row 0 on top. [B, 4, H, W]
        """
        self.set_texture_mode(mesh.texture_type)
        images: Tensor = self.rasterizer(self.transform(self.lighting(mesh)), mode)
        return images

    def forward(
        self,
        vertices: Any,
        faces: Any,
        textures: Any = None,
        mode: Any = None,
        texture_type: str = "surface",
    ) -> Tensor:
        """Render tensors: `render_mesh(Mesh(vertices, faces, textures, ...))`. [B, 4, H, W]"""
        return self.render_mesh(Mesh(vertices, faces, textures, texture_type=texture_type), mode)

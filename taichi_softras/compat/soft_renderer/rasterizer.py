"""The rasterizer as a module, with the settings of its pictures."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from taichi_softras.compat.soft_renderer import functional as srf
from taichi_softras.compat.soft_renderer.mesh import Mesh


class SoftRasterizer(nn.Module):
    """Turn meshes on the screen into RGBA images.

    Arguments are those of `functional.soft_rasterize`, and are attributes that may be changed.
    `anti_aliasing` renders at twice the size and averages. Textures are of the mesh's type;
    `texture_type` is kept for programs that read it.
    """

    def __init__(
        self,
        image_size: int | Sequence[int] = 256,
        background_color: Any = (0.0, 0.0, 0.0),
        near: float = 1,
        far: float = 100,
        anti_aliasing: bool = False,
        fill_back: bool = False,
        eps: float = 1e-3,
        sigma_val: float | Tensor = 1e-5,
        dist_func: str = "euclidean",
        dist_eps: float = 1e-4,
        gamma_val: float | Tensor = 1e-4,
        aggr_func_rgb: str = "softmax",
        aggr_func_alpha: str = "prod",
        texture_type: str = "surface",
    ) -> None:
        super().__init__()
        self.image_size = image_size
        self.background_color = background_color
        self.near = near
        self.far = far
        self.anti_aliasing = anti_aliasing
        self.fill_back = fill_back
        self.eps = eps
        self.sigma_val = sigma_val
        self.dist_func = dist_func
        self.dist_eps = dist_eps
        self.gamma_val = gamma_val
        self.aggr_func_rgb = aggr_func_rgb
        self.aggr_func_alpha = aggr_func_alpha
        self.texture_type = texture_type

    def set_sigma(self, sigma: float | Tensor) -> None:
        """Set the softness of edges, in squared NDC."""
        self.sigma_val = sigma

    def set_gamma(self, gamma: float | Tensor) -> None:
        """Set the softness in depth."""
        self.gamma_val = gamma

    def forward(self, mesh: Mesh, mode: Any = None) -> Tensor:
        """Render a mesh whose vertices are NDC and depth.

        Args:
            mesh: What a `Transform` returned.
            mode: Not used, as in the original.

        Returns:
            RGBA, row 0 on top. [B, 4, H, W]
        """
        size = self.image_size
        height, width = (size, size) if isinstance(size, int) else size
        scale = 2 if self.anti_aliasing else 1
        images = srf.soft_rasterize(
            mesh.face_vertices,
            mesh.face_textures,
            (scale * height, scale * width),
            self.background_color,
            self.near,
            self.far,
            self.fill_back,
            self.eps,
            self.sigma_val,
            self.dist_func,
            self.dist_eps,
            self.gamma_val,
            self.aggr_func_rgb,
            self.aggr_func_alpha,
            mesh.texture_type,
            clockwise_front=mesh.clockwise_front,
        )
        return avg_pool2d(images, 2) if self.anti_aliasing else images

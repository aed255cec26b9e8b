"""From projected corners and their textures to RGBA."""

from collections.abc import Sequence
from typing import Any, get_args

import torch
from torch import Tensor

from taichi_softras.errors import check_choice, check_shape
from taichi_softras.settings import Alpha, Distance, RasterSettings
from taichi_softras.texture_maps import FaceTexture
from taichi_softras.textures import SurfaceTexture
from taichi_softras.torch_bridge import rasterize


def soft_rasterize(
    face_vertices: Tensor,
    textures: Tensor,
    image_size: int | Sequence[int] = 256,
    background_color: Any = (0.0, 0.0, 0.0),
    near: float = 1,
    far: float = 100,
    fill_back: bool = True,
    eps: float = 1e-3,
    sigma_val: float | Tensor = 1e-5,
    dist_func: str = "euclidean",
    dist_eps: float = 1e-4,
    gamma_val: float | Tensor = 1e-4,
    aggr_func_rgb: str = "softmax",
    aggr_func_alpha: str = "prod",
    texture_type: str = "surface",
    *,
    clockwise_front: bool = True,
) -> Tensor:
    """Blend soft triangles into RGBA images, with exact gradients.

    Args:
        face_vertices: x right and y up in NDC, and depth. [B, F, 3, 3]
        textures: R² texels of each face [B, F, R², 3], or colours at its corners [B, F, 3, 3].
        image_size: Side in pixels, or (height, width); NDC span the shorter one.
        background_color: RGB, or images row 0 on top. [3] or [B, H, W, 3]
        near: Depth below which nothing has colour.
        far: Depth above which nothing has colour.
        fill_back: Back faces have colour too.
        eps: The background weighs exp(2 eps / gamma).
        sigma_val: Softness of edges, in squared NDC.
        dist_func: "euclidean", "barycentric" or "hard".
        dist_eps: A face is skipped where it covers less.
        gamma_val: Softness in depth.
        aggr_func_rgb: "softmax", or "hard": the nearest face.
        aggr_func_alpha: "prod", "sum" (divided by F) or "hard".
        texture_type: "surface" or "vertex": which textures are given.
        clockwise_front: Whether a face's front is seen where its corners run clockwise on the
            screen, as `look_at` and `look` have it.

    Returns:
        RGB and alpha, row 0 on top. [B, 4, H, W]
    """
    check_choice("dist_func", dist_func, get_args(Distance))
    check_choice("aggr_func_rgb", aggr_func_rgb, ("softmax", "hard"))
    check_choice("aggr_func_alpha", aggr_func_alpha, get_args(Alpha))
    check_choice("texture_type", texture_type, ("surface", "vertex"))
    axes = check_shape("face_vertices", face_vertices.shape, "B F 3 3")
    settings = RasterSettings(
        sigma=sigma_val,
        gamma=gamma_val,
        eps=2.0 * eps,  # the running sum begins at exp(eps / gamma), the running maximum at eps
        dist_eps=dist_eps,
        near=near,
        far=far,
        distance=dist_func,  # type: ignore[arg-type]
        alpha=aggr_func_alpha,  # type: ignore[arg-type]
        color=aggr_func_rgb,  # type: ignore[arg-type]
        clip="clamp",
        perspective_correct=False,
        cull="none" if fill_back else "front" if clockwise_front else "back",
        unseen="alpha",
    )
    colors, texture = _surface(face_vertices, textures, texture_type)
    rendering = rasterize(
        face_vertices,
        colors,
        size=image_size,
        settings=settings,
        background=background_color,
        texture=texture,
    )
    assert rendering.image is not None
    alpha = rendering.alpha / max(axes["F"], 1) if aggr_func_alpha == "sum" else rendering.alpha
    return torch.cat([rendering.image.permute(0, 3, 1, 2), alpha[:, None]], dim=1)


def _surface(
    face_vertices: Tensor, textures: Tensor, texture_type: str
) -> tuple[Tensor, FaceTexture | None]:
    """Attributes of the faces' corners [B or 1, F, 3, C], and the texture that they point into."""
    views, faces = face_vertices.shape[:2]
    if texture_type == "vertex":
        check_shape("textures", textures.shape, f"{views} {faces} 3 3")
        return textures, None
    check_shape("textures", textures.shape, f"{views} {faces} R² 3")
    if textures.shape[2] == 1:
        return textures.expand(-1, -1, 3, -1), None
    index = torch.empty((faces, 0), device=textures.device)  # only counted
    places, texture = SurfaceTexture(texels=textures).at_faces(index, face_vertices)
    white = face_vertices.new_ones((1, faces, 3, 3))
    return torch.cat([white, places], dim=-1), texture

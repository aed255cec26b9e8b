"""Pictures of a mesh without jagged edges, with their poses."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from taichi_softras.appearance import Shading
from taichi_softras.camera import Camera
from taichi_softras.errors import ArgumentError
from taichi_softras.intrinsics import Size, check_size
from taichi_softras.io import PosedImages
from taichi_softras.lights import Material
from taichi_softras.mesh import Mesh
from taichi_softras.renderer import render
from taichi_softras.scenes.meshes import GREY, bounding_sphere
from taichi_softras.settings import RasterSettings
from taichi_softras.shading import Light
from taichi_softras.textures import UVTexture

_CRISP = RasterSettings(distance="hard", alpha="hard", color="hard")
_DAYLIGHT = Light()


def render_rgba(
    mesh: Mesh,
    camera: Camera,
    size: Size | None = None,
    *,
    light: Light | None = _DAYLIGHT,
    material: Material | None = None,
    shading: Shading = "gouraud",
    supersample: int = 4,
    settings: RasterSettings | None = None,
) -> Tensor:
    """Render straight RGBA: colours are those of the mesh alone, whatever will be behind.

    Not differentiable.

    Args:
        mesh: With grey, RGB or RGBA colours, or none (grey; its own alpha is not used).
        camera: B views.
        size: (height, width) in pixels, or the side of a square; by default the camera's.
        light: Fixed in the world; None shows colours as they are.
        material: How the mesh shines under it; matte by default.
        shading: Where light is computed, as for `render`.
        supersample: Samples along each pixel's side; they are averaged.
        settings: Soft edges and depths; by default hard ones.

    Returns:
        Values in 0..1. [B, H, W, 4]
    """
    size = camera.image_size if size is None else size
    height, width = check_size("size", size)
    if supersample < 1:
        raise ArgumentError(f"`supersample` must be at least 1, got {supersample}.")
    radius = bounding_sphere(mesh).radius
    settings = settings or replace(_CRISP, near=1e-3 * radius, far=1e4 * radius)
    with torch.no_grad():
        fine = (height * supersample, width * supersample)
        out = render(
            _opaque(mesh), camera, fine, settings=settings, light=light, material=material,
            shading=shading,
        )  # fmt: skip
        assert out.image is not None
        alpha = avg_pool2d(out.alpha, supersample)[..., None].clamp(0.0, 1.0)
        # Clipped before the mean, as a display would. In place, as a fine image is large.
        image = avg_pool2d(out.image.clamp_(0.0, 1.0).movedim(-1, 1), supersample).movedim(1, -1)
        # The fourth attribute is 1 on every face: its image is what is not background.
        weight = image[..., 3:]
        color = torch.where(weight > 0.0, image[..., :3] / weight.clamp_min(1e-12), 0.0)
        return torch.cat([color.clamp(0.0, 1.0), alpha], dim=-1)


def render_posed(
    mesh: Mesh,
    cameras: Camera,
    size: Size | None = None,
    *,
    light: Light | None = _DAYLIGHT,
    material: Material | None = None,
    shading: Shading = "gouraud",
    supersample: int = 4,
    settings: RasterSettings | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PosedImages:
    """Render pictures with poses, one view at a time so that memory stays that of one.

    Args:
        mesh: See `render_rgba`, as for the arguments not named here.
        cameras: N perspective views.
        size: (height, width) in pixels, or the side of a square; by default the cameras'.
        light: Fixed in the world; None shows colours as they are.
        material: How the mesh shines under it; matte by default.
        shading: Where light is computed, as for `render`.
        supersample: Samples along each pixel's side; they are averaged.
        settings: Soft edges and depths; by default hard ones.
        progress: Called after each view with the number done and N.
    """
    size = check_size("size", cameras.image_size if size is None else size)
    images = []
    for i, camera in enumerate(cameras):
        image = render_rgba(
            mesh, camera, size, light=light, material=material, shading=shading,
            supersample=supersample, settings=settings,
        )  # fmt: skip
        images.append(image)
        if progress is not None:
            progress(i + 1, len(cameras))
    names = tuple(f"images/view_{i:03d}.png" for i in range(len(cameras)))
    return PosedImages(
        images=torch.cat(images), cameras=replace(cameras, image_size=size), names=names
    )


def _opaque(mesh: Mesh) -> Mesh:
    """Give a mesh RGB colours, and images, with a fourth channel of ones."""
    name = "vertex_colors" if mesh.face_colors is None else "face_colors"
    colors = mesh.vertex_colors if mesh.face_colors is None else mesh.face_colors
    if colors is None:
        colors = torch.full_like(mesh.vertices, GREY if mesh.texture is None else 1.0)
    texture = mesh.texture
    if isinstance(texture, UVTexture):
        images = [_with_ones("texture.images", image) for image in texture.images]
        texture = replace(texture, images=images)
    elif texture is not None:
        texture = replace(texture, texels=_with_ones("texture.texels", texture.texels))
    return replace(mesh, **{name: _with_ones(name, colors)}, texture=texture)


def _with_ones(name: str, colors: Tensor) -> Tensor:
    """Turn grey, RGB or RGBA into RGB and 1. [..., C] -> [..., 4]."""
    if colors.shape[-1] not in (1, 3, 4):
        raise ArgumentError(
            f"`mesh.{name}` must have 1, 3 or 4 channels to make a picture, got {colors.shape[-1]}."
        )
    rgb = colors[..., :3].expand(*colors.shape[:-1], 3)
    return torch.cat([rgb, torch.ones_like(rgb[..., :1])], dim=-1)

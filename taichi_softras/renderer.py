"""Render meshes: light, project, clip at the near plane, gather corners, rasterize, average."""

import math
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from taichi_softras.appearance import Look, Shading
from taichi_softras.camera import Camera
from taichi_softras.errors import ArgumentError
from taichi_softras.inputs import Rendering, pack_background
from taichi_softras.intrinsics import Size, check_size
from taichi_softras.lights import Material
from taichi_softras.mesh import Mesh
from taichi_softras.outputs import Output, averaged, joined, parted, repeated
from taichi_softras.phong import light_pixels
from taichi_softras.settings import RasterSettings
from taichi_softras.shading import Lights, with_alpha_of
from taichi_softras.skipped import warn_about_skipped
from taichi_softras.torch_bridge import rasterize
from taichi_softras.triangles import Triangles, project, project_each, with_level_of_detail
from taichi_softras.visibility import visible


def render(
    mesh: Mesh | Sequence[Mesh],
    camera: Camera,
    size: Size | None = None,
    *,
    settings: RasterSettings | None = None,
    background: float | Sequence[float] | Tensor | None = None,
    light: Lights | None = None,
    material: Material | None = None,
    shading: Shading = "gouraud",
    outputs: Sequence[Output] = (),
    features: Tensor | Sequence[Tensor] | None = None,
    antialias: int = 1,
) -> Rendering:
    """Render a mesh from a batch of cameras, differentiably.

    Gradients reach vertices, colours, textures, features, every tensor of the camera, the lights
    and the material, the background, sigma and gamma. Faces that cross the near plane are clipped
    there; faces wholly nearer contribute nothing.

    Args:
        mesh: One mesh for all views, one with vertices [B, V, 3], or B different meshes.
        camera: B cameras, or one for all meshes.
        size: Image height and width in pixels, or one side of a square; by default the camera's.
        settings: How triangles become pixels.
        background: What is behind the mesh: a number, [C], or an image [B, H, W, C]; 0 if None.
        light: One light or any number of them, which shade the mesh's colours; None draws them as
            they are.
        material: How lit surfaces shine; matte by default.
        shading: Where light is computed: once a face ("flat"), at vertices, or for faces that have
            colours of their own at these ("gouraud"), or at every pixel ("phong").
        outputs: What else is wanted: "normal", "position" and "uv" are blended as the image is;
            "face_index" and "barycentric" are those of the nearest face at the pixel's centre.
        features: Values of the vertices to be blended as the image is; for B different meshes one
            tensor each. [V, K] or [B, V, K]
        antialias: Samples a pixel along each side, which image, alpha, depth and all that is
            blended are averages of.

    Returns:
        image [B, H, W, C] with the mesh's colour channels (3 if it has no colours: white, or
        grey under a light), alpha [B, H, W], depth [B, H, W] in world units, and what `outputs`
        and `features` asked for.

    Raises:
        ShapeError: Meshes, cameras, features and background do not fit each other.
        ArgumentError: A value, dtype or device cannot be used.
    """
    settings = settings or RasterSettings()
    size = camera.image_size if size is None else size
    if size is None:
        raise ArgumentError("`size` must be given: this camera has no `image_size`.")
    height_width = check_size("size", size)
    samples = _sample_size(height_width, antialias)
    look = Look(light=light, material=material, shading=shading, outputs=outputs, settings=settings)
    if settings.color == "none" and (outputs or features is not None):
        raise ArgumentError('`outputs` and `features` need colour, got settings with color="none".')
    triangles, widths = _project(mesh, camera, samples, look, features)
    channels = triangles.channels - sum(widths.values())
    behind = _behind(background, triangles, height_width, channels, antialias)
    all_behind: Tensor | None = behind
    if background is None or look.deferred:  # pixels are lit before they are put in front of it
        all_behind = None
    elif widths:
        nothing = behind.new_zeros((*behind.shape[:-1], sum(widths.values())))
        all_behind = torch.cat([behind, nothing], dim=-1)
    rendering = rasterize(
        triangles.points_ndc,
        triangles.attributes,
        size=samples,
        settings=settings,
        background=all_behind,
        face_counts=triangles.face_counts,
        faces=triangles.faces,
        orthographic=camera.orthographic,
        texture=triangles.texture,
    )
    soft = {"alpha": rendering.alpha}
    if rendering.image is not None and rendering.depth is not None:
        image, beside = parted(rendering.image, channels, widths)
        if look.deferred:
            image = light_pixels(
                image, beside, behind, light, material=material or Material(), camera=camera
            )
        elif "highlights" in beside:
            image = with_alpha_of(image, image[..., :3] + beside["highlights"])
        asked = {name: beside[name] for name in (*outputs, "features") if name in beside}
        soft |= {"image": image, "depth": rendering.depth, **asked}
    results: dict[str, Any] = {name: averaged(value, antialias) for name, value in soft.items()}
    if look.hard:
        found = visible(
            triangles, size=height_width, settings=settings, orthographic=camera.orthographic
        )
        results |= {name: value for name, value in found._asdict().items() if name in outputs}
    # Lights of B views may have made B pictures of one.
    views = max(value.shape[0] for value in results.values())
    results = {name: value.expand(views, *value.shape[1:]) for name, value in results.items()}
    skipped = rendering.skipped._replace(behind=rendering.skipped.behind + triangles.behind)
    warn_about_skipped(skipped)
    return Rendering(**{"image": None, "depth": None, **results, "skipped": skipped})


def _sample_size(size: tuple[int, int], antialias: int) -> tuple[int, int]:
    if not isinstance(antialias, Integral) or antialias < 1:
        raise ArgumentError(
            f"`antialias` must be a number of samples, 1 or more, got {antialias!r}."
        )
    return size[0] * antialias, size[1] * antialias


def _project(
    mesh: Mesh | Sequence[Mesh],
    camera: Camera,
    size: tuple[int, int],
    look: Look,
    features: Any,
) -> tuple[Triangles, dict[str, int]]:
    """Project what is drawn; also return how many channels each thing beside the colours has."""
    # Where faces behind the eye count in alpha, nothing is cut.
    near = -math.inf if look.settings.unseen == "alpha" else look.settings.near
    colored = look.settings.color != "none"
    if isinstance(mesh, Mesh):
        drawn = [look.draw(mesh, camera, features)]
        triangles = project(
            drawn[0].mesh, camera, size, near,
            more=joined(drawn[0].beside), trace=look.hard, colored=colored,
        )  # fmt: skip
    else:
        drawn = look.draw_each(mesh, camera, features)
        triangles = project_each(
            [one.mesh for one in drawn], camera, size, near,
            more=[joined(one.beside) for one in drawn], trace=look.hard, colored=colored,
        )  # fmt: skip
    widths = [{name: v.shape[-1] for name, v in one.beside.items()} for one in drawn]
    linear = camera.orthographic or not look.settings.perspective_correct
    return with_level_of_detail(triangles, size, linear=linear), widths[0]


def _behind(
    background: float | Sequence[float] | Tensor | None,
    triangles: Triangles,
    size: tuple[int, int],
    channels: int,
    antialias: int,
) -> Tensor:
    """What is behind each sample. [C] or [B, n H, n W, C]."""
    views = len(triangles.face_counts or triangles.points_ndc)
    rows = pack_background(background, triangles.points_ndc, views, size, channels)
    if rows.shape[0] == 1:
        return rows[0]
    return repeated(rows.reshape(views, *size, channels), antialias)

"""Render meshes: project the vertices, clip at the near plane, gather corners, rasterize."""

import math
from collections.abc import Sequence

from torch import Tensor

from taichi_softras.camera import Camera
from taichi_softras.errors import ArgumentError, ShapeError
from taichi_softras.inputs import Rendering
from taichi_softras.intrinsics import Size, check_size
from taichi_softras.lights import Material
from taichi_softras.mesh import Mesh
from taichi_softras.settings import RasterSettings
from taichi_softras.shading import Lights, shade
from taichi_softras.skipped import warn_about_skipped
from taichi_softras.torch_bridge import rasterize
from taichi_softras.triangles import project, project_each, with_level_of_detail


def render(
    mesh: Mesh | Sequence[Mesh],
    camera: Camera,
    size: Size | None = None,
    *,
    settings: RasterSettings | None = None,
    background: float | Sequence[float] | Tensor | None = None,
    light: Lights | None = None,
    material: Material | None = None,
) -> Rendering:
    """Render a mesh from a batch of cameras, differentiably.

    Gradients reach vertices, colours, every tensor of the camera, the lights and the material,
    the background, sigma and gamma. Faces that cross the near plane are clipped there; faces
    wholly nearer contribute nothing.

    Args:
        mesh: One mesh for all views, one with vertices [B, V, 3], or B different meshes.
        camera: B cameras, or one for all meshes.
        size: Image height and width in pixels, or one side of a square; by default the camera's.
        settings: How triangles become pixels.
        background: What is behind the mesh: a number, [C], or an image [B, H, W, C]; 0 if None.
        light: One light or any number of them, which shade the mesh's colours at its vertices or
            faces before rendering, as `shade` does; None draws them as they are.
        material: How lit surfaces shine; matte by default.

    Returns:
        image [B, H, W, C] with the mesh's colour channels (3 if it has no colours: white, or
        grey under a light), alpha [B, H, W], depth [B, H, W] in world units.

    Raises:
        ShapeError: Meshes, cameras and background do not fit each other.
        ArgumentError: A value, dtype or device cannot be used.
    """
    settings = settings or RasterSettings()
    size = camera.image_size if size is None else size
    if size is None:
        raise ArgumentError("`size` must be given: this camera has no `image_size`.")
    height_width = check_size("size", size)
    if light is None and material is not None:
        raise ArgumentError("`material` shows under a light only; give a `light` too.")
    # Faces behind the eye count in alpha there, so nothing is cut.
    near = -math.inf if settings.unseen == "alpha" else settings.near
    if isinstance(mesh, Mesh):
        lit = mesh if light is None else shade(mesh, light, material=material, camera=camera)
        parts = project(lit, camera, height_width, near)
    else:
        parts = project_each(
            _lit_one_by_one(mesh, camera, light, material), camera, height_width, near
        )
    linear = camera.orthographic or not settings.perspective_correct
    parts = with_level_of_detail(parts, height_width, linear=linear)
    rendering = rasterize(
        parts.corners_ndc,
        parts.attributes,
        size=height_width,
        settings=settings,
        background=background,
        face_counts=parts.face_counts,
        orthographic=camera.orthographic,
        texture=parts.texture,
    )
    skipped = rendering.skipped._replace(behind=rendering.skipped.behind + parts.behind)
    warn_about_skipped(skipped)
    return rendering._replace(skipped=skipped)


def _lit_one_by_one(
    meshes: Sequence[Mesh],
    camera: Camera,
    light: Lights | None,
    material: Material | None,
) -> list[Mesh]:
    """Light different meshes, each as its own view sees it; refuse another number of views."""
    if not meshes:
        raise ArgumentError("`mesh` must hold at least one mesh, got an empty sequence.")
    if len(camera) not in (1, len(meshes)):
        raise ShapeError(
            f"`mesh` holds {len(meshes)} meshes, but `camera` holds {len(camera)} views; give one "
            "camera for all meshes or one for each."
        )
    if light is None:
        return list(meshes)
    lit = [
        shade(mesh, light, material=material, camera=camera[i % len(camera)])
        for i, mesh in enumerate(meshes)
    ]
    if any(a.vertices.ndim != b.vertices.ndim for a, b in zip(lit, meshes, strict=True)):
        raise ShapeError(
            "`light` and `material` must be the same for all of a sequence of meshes, got one a "
            "view; shade each mesh by its own with `shade`."
        )
    return lit

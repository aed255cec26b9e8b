"""From a mesh and a state to bytes, and how much work that was."""

import math
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from taichi_softras.camera import Camera
from taichi_softras.inputs import Rendering
from taichi_softras.mesh import Mesh
from taichi_softras.renderer import render
from taichi_softras.settings import RasterSettings
from taichi_softras.viewer.state import COLORS, ViewState


def draw(
    mesh: Mesh, state: ViewState, size: tuple[int, int], *, lit: bool = True
) -> NDArray[np.uint8]:
    """Render what the state says, over its background.

    Args:
        mesh: RGB, grey or no colours, in world coordinates.
        state: Camera, softness, light and background.
        size: Height and width in pixels.
        lit: Whether the light shines, or colours are drawn as they are.

    Returns:
        Bytes. [H, W, 3]
    """
    settings = state.raster_settings
    if state.show == "silhouette":
        settings = replace(settings, color="none")
    behind = torch.tensor(COLORS[state.background])
    with torch.no_grad():
        out = render(
            displayable(mesh),
            state.camera,
            size,
            settings=settings,
            background=behind if state.show == "color" else None,
            light=state.light if lit else None,
        )
        return to_rgb(out, state, behind)


def hardened(settings: RasterSettings) -> RasterSettings:
    """Return what an ordinary rasterizer does: inside or outside, and the nearest face."""
    return replace(settings, distance="hard", alpha="hard", color="hard")


def to_rgb(out: Rendering, state: ViewState, behind: Tensor) -> NDArray[np.uint8]:
    """Lay colour, silhouette or depth over the background. [H, W, 3] bytes."""
    alpha = out.alpha[0, ..., None].clamp(0.0, 1.0)
    if state.show == "depth" and out.depth is not None:
        near, far = state.depths
        # in units of what the mesh can span, whatever near and far are
        depth = (out.depth[0, ..., None] - state.eye_distance).clamp(-1.05, 1.05)
        shown = (0.5 - depth / 2.1).expand(-1, -1, 3)
        shown = torch.where(out.depth[0, ..., None] < far - 1e-6 * (far - near), shown, 0.0)
    elif out.image is None or state.show != "color":
        return np.asarray((alpha * 255.0).round_().byte().expand(-1, -1, 3).numpy())
    else:
        shown = torch.lerp(behind.expand_as(out.image[0]), out.image[0], alpha)
    return np.asarray(shown.clamp(0.0, 1.0).mul(255.0).round_().byte().numpy())


def displayable(mesh: Mesh) -> Mesh:
    """Give a mesh three colour channels, dropping alpha and repeating grey."""
    for name in ("vertex_colors", "face_colors"):
        colors: Tensor | None = getattr(mesh, name)
        if colors is not None and colors.shape[-1] != 3:
            rgb = colors[..., :3] if colors.shape[-1] > 3 else colors[..., :1]
            return mesh.replace(**{name: rgb.expand(*colors.shape[:-1], 3)})
    return mesh


def count_pairs(mesh: Mesh, camera: Camera, size: tuple[int, int], settings: RasterSettings) -> int:
    """Count (pixel, face) pairs that may matter: pixels in each face's box and its soft border.

    An upper bound of the pairs with a coverage above `dist_eps`, for the euclidean metric exact
    up to the corners of the boxes; all pixels for each face where dist_eps is 0.

    Args:
        mesh: V vertices, one set.
        camera: One view.
        size: Height and width in pixels.
        settings: Their sigma and dist_eps make the border.
    """
    reach = 0.0
    if settings.distance != "hard":
        share = settings.dist_eps
        reach = math.sqrt(float(settings.sigma) * math.log(1.0 / share - 1.0)) if share else 1e9
    pixels = 0.5 * min(size) * reach
    with torch.no_grad():
        points = camera.view_from_points(mesh.vertices)
        corners = mesh.at_corners(camera.pixels_from_points(mesh.vertices, size))[0]  # [F, 3, 2]
        in_front = mesh.at_corners(points[..., 2:])[0, ..., 0].amin(dim=-1) >= settings.near
        limit = corners.new_tensor([size[1], size[0]])
        low = (corners.amin(dim=-2) - pixels).clamp_min(0.0)
        high = (corners.amax(dim=-2) + pixels).minimum(limit)
        # pixel centres, at halves, between the two
        sides = ((high - 0.5).floor() - (low - 0.5).ceil() + 1.0).clamp_min(0.0).double()
        return int(sides.prod(dim=-1)[in_front].nan_to_num(0.0).sum())

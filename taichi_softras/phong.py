"""Light at every pixel: albedo, normals and positions are blended softly, and then lit.

The blend of each quantity q at a pixel is sum_j w_j q_j over the faces, without the background. The
quantities are what light needs to know of the surface; `coverage`, the blend of 1, is what the
background leaves of the weights. With E the factor and S the highlights that `illumination` gives
for the normalised normal and the mean position, a pixel is

    sum_j w_j albedo_j * E + coverage * S + (1 - coverage) * background
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from taichi_softras.camera import Camera
from taichi_softras.illumination import Surface, illuminate
from taichi_softras.lights import Material, PointLight
from taichi_softras.shading import Lights, check_lit_channels, light_sources, with_alpha_of
from taichi_softras.transforms import normalize

# Less of a pixel than this has no position: its light would be rounding noise, times nothing.
_LEAST_COVERAGE = 1e-12


def blended_inputs(light: Lights | None, material: Material) -> tuple[str, ...]:
    """Name the outputs that `light_pixels` needs beside the image."""
    lights = list(light) if isinstance(light, list | tuple) else [light]
    near = material.shiny or any(isinstance(item, PointLight) for item in lights)
    return ("normal", "position", "coverage") if near else ("normal", "coverage")


def light_pixels(
    albedo: Tensor,
    blended: Mapping[str, Tensor],
    background: Tensor,
    light: Lights | None,
    *,
    material: Material,
    camera: Camera,
) -> Tensor:
    """Light each pixel of B views by itself.

    Args:
        albedo: Colours blended over nothing, 3 or 4 channels. [B, H, W, C]
        blended: What `blended_inputs` names, over nothing. [B, H, W, 3 or 1] each
        background: What is behind. [C] or [B, H, W, C]
        light: One light or any number of them; values may be one a view.
        material: Highlights.
        camera: One, or one a view.

    Returns:
        Lit colours over the background; alpha channels are blended and not lit. Lights of B views
        make B pictures of one. [B, H, W, C]
    """
    check_lit_channels(albedo)
    views, height, width = albedo.shape[:3]
    coverage = blended["coverage"]

    def points() -> Tensor:
        seen = coverage.detach() > _LEAST_COVERAGE
        mean = blended["position"] / torch.where(seen, coverage, torch.ones_like(coverage))
        return torch.where(seen, mean, torch.zeros_like(mean)).flatten(1, 2)

    surface = Surface(
        albedo,
        normals=lambda: normalize(blended["normal"]).flatten(1, 2),
        points=points,
        camera=camera,
        views=views,
    )
    factor, highlights = illuminate(surface, light_sources(light, albedo), material)
    lit = albedo[..., :3].flatten(1, 2) * factor
    if highlights is not None:
        lit = lit + coverage.flatten(1, 2) * highlights
    lit = with_alpha_of(albedo, lit.reshape(lit.shape[0], height, width, 3))
    return lit + (1.0 - coverage) * background

"""How good a fit is: on views it has not seen, and against the true surface where it is known."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from taichi_softras import scenes
from taichi_softras.io import PosedImages
from taichi_softras.mesh import Mesh
from taichi_softras.renderer import render
from taichi_softras.settings import RasterSettings

BACKGROUND = 1.0
"""Pictures are compared over white."""


@dataclass(frozen=True)
class ViewScores:
    """Scores of each view."""

    hard_iou: tuple[float, ...]
    """Intersection over union of the silhouettes' pixels, hard edges, alpha > 0.5 in the image."""
    psnr: tuple[float, ...]
    """Peak signal-to-noise ratio of the whole picture over white, in dB."""


def score_views(mesh: Mesh, posed: PosedImages, *, supersample: int = 3) -> ViewScores:
    """Compare hard renders of a mesh, colours unlit, with posed images at their full size."""
    near = 1e-3 * scenes.bounding_sphere(mesh).radius
    crisp = RasterSettings(distance="hard", alpha="hard", color="none", near=near, far=1e6 * near)
    ious, psnrs = [], []
    for i in range(len(posed)):
        view = posed.subset([i])
        with torch.no_grad():
            covered = render(mesh, view.cameras, settings=crisp).alpha > 0.5
        wanted = view.alpha > 0.5
        union = int((covered | wanted).sum())
        ious.append(int((covered & wanted).sum()) / union if union else 1.0)
        error = (picture(mesh, view, supersample=supersample) - view.composite(BACKGROUND)).square()
        psnrs.append(-10.0 * float(error.mean().clamp_min(1e-12).log10()))
    return ViewScores(tuple(ious), tuple(psnrs))


def picture(mesh: Mesh, view: PosedImages, *, supersample: int = 3) -> Tensor:
    """Render a mesh over white as a view shows it. [N, H, W, 3]."""
    rgba = scenes.render_rgba(mesh, view.cameras, light=None, supersample=supersample)
    return rgba[..., :3] * rgba[..., 3:] + BACKGROUND * (1.0 - rgba[..., 3:])


def chamfer_distance(mesh: Mesh, truth: Mesh, *, samples: int = 20_000, seed: int = 0) -> float:
    """Mean distance from points of either surface to the other's nearest point, in world units.

    Half the sum of both directions' means, from random points on the surfaces.
    """
    from scipy.spatial import cKDTree

    generator = torch.Generator().manual_seed(seed)
    a, b = (m.detach().sample_surface(samples, generator).numpy() for m in (mesh, truth))
    there, _ = cKDTree(b).query(a)
    back, _ = cKDTree(a).query(b)
    return 0.5 * float(np.mean(there) + np.mean(back))

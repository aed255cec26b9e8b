"""Colours of a known shape from pictures all round.

    python demos/06_texture_fit.py

The shape is given and grey; its vertex colours are optimised until renders look like the
pictures. Softness in depth (gamma) lets colours that are just hidden learn too. Writes the mesh
before, after and as it should be, and returns the PSNR, in dB, on views that were not fitted.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

import taichi_softras as tsr
from taichi_softras import scenes
from taichi_softras.io import contact_sheet


@dataclass
class Args:
    shape: str = "duck"
    """Built-in shape or mesh file with colours."""
    out: Path = Path("out/06_texture_fit.png")
    """Picture to write."""
    steps: int = 120
    """Optimiser steps."""
    views: int = 16
    """Pictures from all round; every eighth is kept for judging."""
    size: int = 128
    """Pixels along a picture's side."""
    headless: bool = True
    """This demo has no window."""


def main(args: Args) -> float:
    torch.set_num_threads(1)
    truth = scenes.open_mesh(args.shape).normalized()
    cameras = scenes.sphere_cameras(args.views, image_size=args.size)
    posed = scenes.render_posed(truth, cameras, light=None, supersample=2)
    kept = [i for i in range(args.views) if i % 8]
    distance = float(cameras.eye[0].norm())
    settings = tsr.RasterSettings(sigma=1e-5, gamma=1e-2, near=distance - 1.05, far=distance + 1.05)
    # logits keep colours between black and white
    logits = torch.zeros(truth.n_vertices, 3, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.1)
    generator = torch.Generator().manual_seed(0)
    for _ in range(args.steps):
        order = torch.randperm(len(kept), generator=generator)[:3].tolist()
        views = posed.subset([kept[i] for i in order])
        mesh = truth.replace(vertex_colors=logits.sigmoid())
        out = tsr.render(mesh, views.cameras, settings=settings)
        loss = tsr.losses.photometric(out.image, views.images[..., :3], views.alpha)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    fitted = truth.replace(vertex_colors=logits.detach().sigmoid())
    psnr = judge(fitted, posed.subset(range(0, args.views, 8)))
    grey = truth.replace(vertex_colors=torch.full_like(truth.vertices, 0.5))
    shown = torch.stack([show(mesh) for mesh in (grey, fitted, truth)])
    tsr.save_image(args.out, contact_sheet(shown, columns=3))
    print(f"{args.out}: PSNR {psnr:.1f} dB on views that were not fitted")
    return psnr


def judge(mesh: tsr.Mesh, posed: tsr.PosedImages) -> float:
    """Compare colours where the mesh is, in dB."""
    seen = scenes.render_rgba(mesh, posed.cameras, posed.size, light=None, supersample=2)
    inside = posed.alpha > 0.99
    error = (seen[..., :3] - posed.images[..., :3])[inside].square().mean()
    return -10.0 * math.log10(float(error))


def show(mesh: tsr.Mesh) -> torch.Tensor:
    camera = tsr.Camera.orbit(3.3, 20.0, 35.0, 40.0, image_size=256)
    rgba = scenes.render_rgba(mesh, camera, light=None, supersample=2)[0]
    return rgba[..., :3] * rgba[..., 3:] + 1.0 - rgba[..., 3:]


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))

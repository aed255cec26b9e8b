"""A sphere is pulled into a shape by silhouettes alone.

    python demos/04_deform_sphere.py

Soft edges give every vertex near an outline a gradient. Sigma shrinks while the sphere takes
shape: first the coarse form, then the outline. A Laplacian keeps the surface smooth. Writes a GIF
of the sphere beside the target, and returns 1 - IoU of the final silhouettes, hard edges.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

import taichi_softras as tsr
from taichi_softras import scenes


@dataclass
class Args:
    shape: str = "duck"
    """Built-in shape or mesh file to become."""
    out: Path = Path("out/04_deform_sphere.gif")
    """GIF to write."""
    steps: int = 200
    """Optimiser steps."""
    views: int = 8
    """Silhouettes from all round."""
    size: int = 64
    """Pixels along the side of a silhouette."""
    headless: bool = True
    """This demo has no window; `softras view --view fit --fit shape` does the same in one."""


def main(args: Args) -> float:
    torch.set_num_threads(1)
    goal = scenes.open_mesh(args.shape).normalized()
    cameras = scenes.sphere_cameras(args.views, image_size=args.size)
    target = scenes.render_posed(goal, cameras).alpha
    mesh = tsr.shapes.icosphere(3, radius=0.7)
    optimizer = torch.optim.Adam([mesh.vertices.requires_grad_()], lr=0.01, betas=(0.5, 0.95))
    frames = []
    for step in range(args.steps):
        sigma = 3e-3 * (1e-4 / 3e-3) ** (step / args.steps)
        settings = tsr.RasterSettings(sigma=sigma, color="none", dist_eps=1e-2)
        alpha = tsr.render(mesh, cameras, settings=settings).alpha
        loss = tsr.losses.silhouette_iou(alpha, target) + 0.03 * tsr.losses.laplacian(mesh)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % max(1, args.steps // 24) == 0:
            frames.append(side_by_side(mesh.detach(), goal))
    frames.append(side_by_side(mesh.detach(), goal))
    tsr.save_video(args.out, frames, fps=12.0)
    missing = hard_loss(mesh.detach(), cameras, target)
    print(f"{args.out}: 1 - IoU {missing:.3f} after {args.steps} steps")
    return missing


def side_by_side(mesh: tsr.Mesh, goal: tsr.Mesh) -> torch.Tensor:
    """Show a mesh and what it should become. [H, 2 W, 3]"""
    camera = tsr.Camera.orbit(3.3, 20.0, 35.0, 40.0, image_size=192)
    pictures = [scenes.render_rgba(m, camera, supersample=2)[0] for m in (mesh, goal)]
    rgba = torch.cat(pictures, dim=1)
    return rgba[..., :3] * rgba[..., 3:] + 1.0 - rgba[..., 3:]


def hard_loss(mesh: tsr.Mesh, cameras: tsr.Camera, target: torch.Tensor) -> float:
    hard = tsr.RasterSettings(distance="hard", alpha="hard", color="none")
    with torch.no_grad():
        alpha = tsr.render(mesh, cameras, settings=hard).alpha
        return float(tsr.losses.silhouette_iou(alpha, (target > 0.5).float()))


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))

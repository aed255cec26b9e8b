"""The original's second demo, through its own names: silhouettes pull a sphere into shape.

    python demos/22_compat_deform.py

The loss is the paper's, (1 - IoU) + 0.03 Laplacian + 0.0003 flatten, with Adam at 0.01 and soft
edges of sigma 1e-4. At that sigma even the true shape meets its own sharp silhouettes with an IoU
of 0.97 only, so the last two thirds cut sigma by 0.3 each. Writes a GIF of the sphere beside what
it should become, and returns the IoU of soft silhouettes with the targets.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

import taichi_softras as tsr
import taichi_softras.compat.soft_renderer as sr
from taichi_softras import scenes


@dataclass
class Args:
    shape: str = "duck"
    """Built-in shape or mesh file to become."""
    out: Path = Path("out/22_compat_deform.gif")
    """GIF to write."""
    steps: int = 300
    """Optimiser steps."""
    views: int = 24
    """Silhouettes from all round."""
    size: int = 64
    """Pixels along the side of a silhouette."""
    quick: bool = False
    """A few small views and few steps, as for a test."""
    headless: bool = True
    """This demo has no window."""


def main(args: Args) -> float:
    torch.set_num_threads(1)
    views, steps, size, level = args.views, args.steps, args.size, 3
    if args.quick:
        views, steps, size, level = 8, 60, 32, 2
    goal = scenes.open_mesh(args.shape).normalized()
    goal = sr.Mesh(0.65 * goal.vertices, goal.faces)
    sphere = tsr.shapes.icosphere(level, radius=0.5)
    sphere = sr.Mesh(sphere.vertices, sphere.faces)

    renderer = sr.SoftRenderer(
        image_size=size,
        sigma_val=1e-4,
        aggr_func_rgb="hard",
        camera_mode="look_at",
        viewing_angle=15,
    )
    view = torch.arange(views)
    elevations = torch.tensor([-30.0, 0.0, 30.0, 60.0])[view % 4]
    renderer.transform.set_eyes_from_angles(2.732, elevations, view * (360.0 / views))
    target = (renderer.render_mesh(goal)[:, 3] > 0.5).float()

    displace = torch.zeros_like(sphere.vertices, requires_grad=True)
    laplacian = sr.LaplacianLoss(sphere.vertices[0], sphere.faces[0])
    flatten = sr.FlattenLoss(sphere.faces[0])
    optimizer = torch.optim.Adam([displace], lr=0.01, betas=(0.5, 0.99))
    frames = []
    for step in range(steps):
        renderer.set_sigma(1e-4 * 0.3 ** (3 * step // steps))
        mesh = sr.Mesh(sphere.vertices + displace, sphere.faces)
        silhouettes = renderer.render_mesh(mesh)[:, 3]
        rough = 0.03 * laplacian(mesh.vertices) + 0.0003 * flatten(mesh.vertices)
        loss = 1.0 - iou(silhouettes, target) + rough.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % max(1, steps // 24) == 0:
            frames.append(side_by_side(mesh, goal))
    tsr.save_video(args.out, [*frames, side_by_side(mesh, goal)], fps=12.0)
    reached = iou(silhouettes, target).item()
    print(f"{args.out}: soft IoU {reached:.3f} after {steps} steps")
    return reached


def iou(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    both = (predicted * target).sum(dim=(1, 2))
    return (both / (predicted + target - predicted * target).sum(dim=(1, 2))).mean()


@torch.no_grad()
def side_by_side(mesh: sr.Mesh, goal: sr.Mesh) -> torch.Tensor:
    """Show a mesh and what it should become. [H, 2 W, 3]"""
    renderer = sr.SoftRenderer(
        image_size=192, anti_aliasing=True, camera_mode="look_at", viewing_angle=15
    )
    renderer.transform.set_eyes_from_angles(2.732, 20.0, 35.0)
    rgb, alpha = torch.cat([renderer.render_mesh(m)[0] for m in (mesh, goal)], dim=2).split(3)
    return (rgb * alpha + 1.0 - alpha).clamp(0.0, 1.0).permute(1, 2, 0)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))

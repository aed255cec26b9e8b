"""The picture on a duck's skin, texel by texel, from 12 photographs of it.

    python demos/09_texture.py          # the duck's pose is known
    python demos/09_texture.py --pose   # it is 8 degrees off, and found on the way

The skin is an image spread by texture coordinates (`UVTexture`); gradients reach its texels, and
through the coordinates the place where they are read, so that patterns help to find the pose.
Writes the duck and its image before, after and as they should be, and returns the PSNR, in dB, on
views that were not fitted.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
import tyro
from painted_duck import painted_duck, pattern
from torch.nn.functional import avg_pool2d, interpolate, pad

import taichi_softras as tsr
from taichi_softras import scenes

CRISP = tsr.RasterSettings(distance="hard", alpha="hard", color="hard")


@dataclass
class Args:
    out: Path = Path("out/09_texture.png")
    """Picture to write."""
    steps: int = 200
    """Optimiser steps."""
    views: int = 14
    """Photographs from all round; every seventh is kept for judging."""
    size: int = 160
    """Pixels along a photograph's side."""
    texels: int = 128
    """Rows of the skin's image; it is twice as wide."""
    filter: Literal["bilinear", "mipmap"] = "mipmap"
    """How texels are read."""
    pose: bool = False
    """Find the pose, too."""
    quick: bool = False
    """60 steps, a coarser duck, 64 rows of texels, 80 pixels."""
    headless: bool = True
    """This demo has no window."""


def main(args: Args) -> float:
    torch.set_num_threads(1)
    if args.quick:
        args = replace(args, steps=60, size=80, texels=64)
    truth = painted_duck(3 if args.quick else 4, pattern(args.texels), args.filter)
    cameras = scenes.sphere_cameras(args.views, image_size=args.size)
    photos, masks = photograph(truth, cameras)
    fitted_views = [i for i in range(args.views) if i % 7]
    logits = torch.zeros(args.texels, 2 * args.texels, 3, requires_grad=True)
    off = torch.tensor([0.05, 0.12, -0.05]) * args.pose
    turn = off.clone().requires_grad_(args.pose)
    optimizer = torch.optim.Adam([{"params": [logits], "lr": 0.1}, {"params": [turn], "lr": 0.01}])
    generator = torch.Generator().manual_seed(0)
    for step in range(args.steps):
        # wide edges find the pose, sharp ones the texels
        sigma = 1e-3 * 1e-2 ** min(1.0, 2.0 * step / args.steps) if args.pose else 1e-5
        settings = tsr.RasterSettings(sigma=sigma, gamma=1e-2, near=1.5, far=4.5)
        order = torch.randperm(len(fitted_views), generator=generator)[:3].tolist()
        views = [fitted_views[i] for i in order]
        mesh = posed(truth, turn, logits.sigmoid())
        out = tsr.render(mesh, cameras[views], settings=settings)
        loss = tsr.losses.photometric(out.image, photos[views], masks[views])
        if args.pose:
            loss = loss + 3.0 * tsr.losses.silhouette_iou(out.alpha, masks[views])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    fitted = posed(truth, turn, logits.sigmoid()).detach()
    judged = slice(0, None, 7)
    inside = masks[judged] > 0.99
    error = (photograph(fitted, cameras[judged])[0] - photos[judged])[inside]
    psnr = -10.0 * math.log10(float(error.square().mean()))
    before = posed(truth, off, torch.full((1, 2, 3), 0.5))
    tsr.save_image(args.out, torch.cat([show(mesh) for mesh in (before, fitted, truth)], dim=1))
    left = f", pose {math.degrees(turn.detach().norm()):.2f} degrees off" if args.pose else ""
    print(f"{args.out}: PSNR {psnr:.1f} dB on views that were not fitted{left}")
    return psnr


def posed(mesh: tsr.Mesh, turn: torch.Tensor, image: torch.Tensor) -> tsr.Mesh:
    """Give it another image, and turn it about an axis by that one's length in radians. [3]"""
    skew = torch.linalg.cross(turn.expand(3, 3), torch.eye(3), dim=-1)
    vertices = mesh.vertices @ torch.linalg.matrix_exp(skew)
    return mesh.replace(vertices=vertices, texture=replace(mesh.texture, images=image))


def photograph(
    mesh: tsr.Mesh, cameras: tsr.Camera, size: int | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Render colours over black [B, H, W, 3] and masks [B, H, W], four samples a pixel."""
    side = 2 * (size or cameras.image_size[0])
    with torch.no_grad():
        out = tsr.render(mesh, cameras, side, settings=CRISP)
    return avg_pool2d(out.image.movedim(-1, 1), 2).movedim(1, -1), avg_pool2d(out.alpha, 2)


def show(mesh: tsr.Mesh) -> torch.Tensor:
    """Show a mesh over white, and its image below. [384, 256, 3]"""
    camera = tsr.Camera.orbit(3.3, 20.0, 35.0, 40.0)
    picture, mask = photograph(mesh, camera, 256)
    skin = mesh.texture.images[0].movedim(-1, 0)[None]
    skin = interpolate(skin, size=(120, 240), mode="area")[0]
    skin = pad(skin, (8, 8, 4, 4), value=1.0).movedim(0, -1)
    return torch.cat([picture[0] + 1.0 - mask[0, ..., None], skin])


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))

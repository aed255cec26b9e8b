"""The pose of a coloured cube from one picture, with and without annealing sigma.

    python demos/05_cube_pose.py

The cube starts turned away by 70 degrees about random axes. With sharp edges the way down is
short of breath: most starts end in a wrong pose. With sigma and gamma that begin large and shrink,
nearly all find home. Writes a GIF of the first start, annealed beside sharp, and returns how many
more of the starts annealing solves, as a share of all: 1 if it solves all and sharp edges none.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

import taichi_softras as tsr
from taichi_softras import scenes
from taichi_softras.transforms import rotation_from_axis_angle

CAMERA = tsr.Camera.orbit(3.0, 20.0, 35.0, 45.0)
SIGMAS, GAMMAS = (3e-2, 1e-5), (1e-1, 1e-3)
COLORS = torch.tensor([
    [0.86, 0.2, 0.18], [0.98, 0.6, 0.1], [0.95, 0.9, 0.85],
    [0.97, 0.86, 0.15], [0.15, 0.6, 0.3], [0.15, 0.35, 0.8],
])  # fmt: skip


@dataclass
class Args:
    out: Path = Path("out/05_cube_pose.gif")
    """GIF to write."""
    starts: int = 8
    """Random first poses."""
    steps: int = 120
    """Optimiser steps from each."""
    size: int = 64
    """Pixels along the picture's side."""
    headless: bool = True
    """This demo has no window; `softras view --view fit --fit pose` has the annealed one."""


def main(args: Args) -> float:
    torch.set_num_threads(1)
    cube = tsr.shapes.cube(2.0 / math.sqrt(3.0))
    cube = cube.replace(face_colors=COLORS.repeat_interleave(2, dim=0))
    solved, films = {}, {}
    for annealed in (True, False):
        ends = []
        for seed in range(args.starts):
            turns = fit(cube, args, seed, annealed=annealed)
            ends.append(degrees(rotation(turns[-1])))
            films.setdefault(annealed, turns)
        solved[annealed] = sum(end < 5.0 for end in ends)
        print("annealed" if annealed else "sharp", [f"{end:.0f}" for end in ends])
    pairs = zip(films[True][::5], films[False][::5], strict=True)
    tsr.save_video(args.out, [torch.cat([show(cube, t) for t in pair], 1) for pair in pairs], 12.0)
    print(f"{args.out}: {solved[True]} of {args.starts} solved annealed, {solved[False]} sharp")
    return (solved[True] - solved[False]) / args.starts


def fit(cube: tsr.Mesh, args: Args, seed: int, *, annealed: bool) -> list[torch.Tensor]:
    """Turn the cube until it looks like the picture; return the turns on the way. Each [3]"""
    axis = torch.randn(3, generator=torch.Generator().manual_seed(seed))
    turn = (math.radians(70.0) * axis / axis.norm()).requires_grad_()
    target = look(cube, torch.eye(3), args.size, 1e-6, 1e-3)
    optimizer = torch.optim.Adam([turn], lr=0.05)
    turns = [turn.detach().clone()]
    for step in range(args.steps):
        t = step / (args.steps - 1) if annealed else 1.0
        sigma, gamma = (a * (b / a) ** t for a, b in (SIGMAS, GAMMAS))
        image = look(cube, rotation(turn), args.size, sigma, gamma)
        loss = tsr.losses.photometric(image, target, norm="l2")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        turns.append(turn.detach().clone())
    return turns


def look(cube: tsr.Mesh, turn: torch.Tensor, size: int, sigma: float, gamma: float) -> torch.Tensor:
    """Render the turned cube over black. [1, H, W, 3]"""
    settings = tsr.RasterSettings(sigma=sigma, gamma=gamma, near=1.9, far=4.1)
    mesh = cube.replace(vertices=cube.vertices @ turn.mT)
    out = tsr.render(mesh, CAMERA, size, settings=settings)
    return out.image * out.alpha[..., None]


def rotation(turn: torch.Tensor) -> torch.Tensor:
    """Rotate about an axis by its length in radians. [3] -> [3, 3]"""
    return rotation_from_axis_angle(turn, turn.norm() * (180.0 / math.pi))


def degrees(turn: torch.Tensor) -> float:
    """Angle of a rotation matrix."""
    cosine = 0.5 * (float(turn.trace()) - 1.0)
    return math.degrees(math.acos(min(max(cosine, -1.0), 1.0)))


def show(cube: tsr.Mesh, turn: torch.Tensor) -> torch.Tensor:
    mesh = cube.replace(vertices=cube.vertices @ rotation(turn).mT)
    rgba = scenes.render_rgba(mesh, CAMERA, 160, light=None, supersample=2)[0]
    return rgba[..., :3] * rgba[..., 3:] + 1.0 - rgba[..., 3:]


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))

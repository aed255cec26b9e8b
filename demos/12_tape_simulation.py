"""A soft ball is thrown: its velocity and stiffness are read off the film, without torch.

    python demos/12_tape_simulation.py [--show]

A mass-spring ball (`mass_spring.py`) falls, and bounces off a floor that pushes back softly.
Simulation, rendering and comparison with the film sit on one tape. All frames are one render, with
one set of vertices a view. Writes a GIF of fitted (above) and true film; returns the worse relative
error of the two.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import taichi as ti
import tyro
from mass_spring import Ball
from taped import Screen, row_of

import taichi_softras as tsr


@dataclass
class Args:
    steps: int = 100
    """Optimiser steps."""
    frames: int = 8
    """Pictures of the film, 0.12 s apart."""
    size: int = 64
    """Pixels along the side of a picture."""
    show: bool = False
    """Open a window instead of writing a GIF."""
    out: Path = Path("out/12_tape_simulation.gif")
    """GIF to write."""


THROW, STIFFNESS = (1.5, -1.0), 3.0  # what the film shows; velocity along x and y


def main(args: Args) -> float:
    tsr.init()
    ball = Ball(args.frames)
    settings = tsr.RasterSettings(sigma=1e-3, color="none")
    renderer = tsr.tape.Renderer(
        vertices=ball.film, faces=ball.faces, size=args.size, views=args.frames, settings=settings
    )
    for frame in range(args.frames):
        renderer.camera.look_at(frame, (0.0, 0.0, 3.5), fov=50.0)
    ball.throw[None], ball.log_stiffness[None] = THROW, np.log(STIFFNESS)
    ball.simulate()
    renderer.render()
    seen = ti.field(ti.f32, renderer.alpha.shape)
    seen.copy_from(renderer.alpha)
    loss = ti.field(ti.f32, (), needs_grad=True)

    @ti.kernel
    def compare():
        for i in ti.grouped(seen):
            loss[None] += (renderer.alpha[i] - seen[i]) ** 2

    ball.throw[None], ball.log_stiffness[None] = (1.0, 0.0), np.log(6.0)
    adam = tsr.tape.Adam([ball.throw, ball.log_stiffness], lr=0.08)
    screen = Screen("simulation", args.out, args.show)
    for step in range(args.steps):
        adam.lr = 0.08 * 0.1 ** (step / args.steps)
        with ti.ad.Tape(loss):
            ball.simulate()
            renderer.render()
            compare()
        adam.step()
        if step % 3 == 0 or step == args.steps - 1:
            screen.draw(
                np.concatenate([row_of(part.to_numpy()) for part in (renderer.alpha, seen)])
            )
    screen.close()
    found, stiffness = ball.throw.to_numpy(), float(np.exp(ball.log_stiffness[None]))
    print(f"{args.out}: velocity {found.round(3)} {THROW}, stiffness {stiffness:.2f} ({STIFFNESS})")
    off = float(np.linalg.norm(found - THROW) / np.linalg.norm(THROW))
    return max(off, abs(stiffness / STIFFNESS - 1.0))


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))

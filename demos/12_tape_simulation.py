"""A soft ball is thrown: its velocity and stiffness are read off the film, without torch.

    python demos/12_tape_simulation.py [--show]

A mass-spring ball falls, and bounces off a floor that pushes back softly. Simulation, rendering and
comparison with the film sit on one tape, so pixels tell how the throw must change: `time steps
-> frames -> loss`, and back. All frames are one render, with one set of vertices a view. Writes a
GIF of fitted (above) and true film, and returns the relative error of velocity and stiffness.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import taichi as ti
import tyro
from taped import Screen, edges_of, row_of, sphere

import taichi_softras as tsr


@dataclass
class Args:
    steps: int = 60
    """Optimiser steps."""
    frames: int = 6
    """Pictures of the film."""
    steps_a_frame: int = 12
    """Time steps from one picture to the next."""
    size: int = 64
    """Pixels along the side of a picture."""
    show: bool = False
    """Open a window instead of writing a GIF."""
    out: Path = Path("out/12_tape_simulation.gif")
    """GIF to write."""


DT, GRAVITY, FLOOR, DAMPING = 0.01, 4.0, -0.9, 1.0
THROW, STIFFNESS = (1.3, 0.4), 3.0  # what the film shows; velocity along x and y


def main(args: Args) -> float:
    tsr.init()
    directions, faces = sphere(8, 12)
    start = (0.35 * directions + [-0.9, 0.5, 0.0]).astype(np.float32)
    # Struts through the middle keep the ball round.
    opposite = np.argmin(directions @ directions.T, axis=1)
    struts = np.stack([np.arange(len(start)), opposite], 1)
    springs = np.unique(np.sort(np.concatenate([edges_of(faces), struts]), 1), axis=0)
    ends = ti.Vector.field(2, ti.i32, len(springs))
    ends.from_numpy(springs.astype(np.int32))
    n_steps = (args.frames - 1) * args.steps_a_frame
    rest = ti.Vector.field(3, ti.f32, len(start))
    rest.from_numpy(start)
    x, v, force = (
        ti.Vector.field(3, ti.f32, (n_steps + 1, len(start)), needs_grad=True) for _ in range(3)
    )
    throw = ti.Vector.field(2, ti.f32, (), needs_grad=True)
    log_stiffness = ti.field(ti.f32, (), needs_grad=True)
    loss = ti.field(ti.f32, (), needs_grad=True)
    vertices = ti.Vector.field(3, ti.f32, (args.frames, len(start)), needs_grad=True)
    renderer = tsr.tape.Renderer(
        vertices=vertices,
        faces=faces,
        size=args.size,
        views=args.frames,
        settings=tsr.RasterSettings(sigma=1e-3, color="none"),
    )
    for frame in range(args.frames):
        renderer.camera.look_at(frame, (0.0, 0.0, 3.5), fov=50.0)

    @ti.kernel
    def begin():
        for i in rest:
            x[0, i] = rest[i]
            v[0, i] = ti.Vector([throw[None][0], throw[None][1], 0.0])

    @ti.kernel
    def pull(t: ti.i32):
        for s in ends:
            a, b = ends[s][0], ends[s][1]
            length = (rest[b] - rest[a]).norm()
            apart = x[t, b] - x[t, a]
            tension = 100.0 * ti.exp(log_stiffness[None]) * (1.0 - length / apart.norm(1e-6))
            force[t, a] += tension * apart
            force[t, b] -= tension * apart

    @ti.kernel
    def advance(t: ti.i32):
        for i in rest:
            depth = ti.max(FLOOR - x[t, i][1], 0.0)
            push = ti.Vector([0.0, 2000.0 * depth - GRAVITY, 0.0])
            v[t + 1, i] = (1.0 - DAMPING * DT) * v[t, i] + DT * (force[t, i] + push)
            x[t + 1, i] = x[t, i] + DT * v[t + 1, i]

    @ti.kernel
    def film(steps_a_frame: ti.i32):
        for f, i in vertices:
            vertices[f, i] = x[f * steps_a_frame, i]

    def run():
        force.fill(0.0)
        begin()
        for t in range(n_steps):
            pull(t)
            advance(t)
        film(args.steps_a_frame)
        renderer.render()

    throw[None], log_stiffness[None] = THROW, np.log(STIFFNESS)
    run()
    seen = ti.field(ti.f32, renderer.alpha.shape)
    seen.copy_from(renderer.alpha)

    @ti.kernel
    def compare():
        for i in ti.grouped(seen):
            loss[None] += (renderer.alpha[i] - seen[i]) ** 2

    throw[None], log_stiffness[None] = (0.6, 1.0), np.log(6.0)
    adam = tsr.tape.Adam([throw, log_stiffness], lr=0.06)
    screen = Screen("simulation", args.out, args.show)
    for step in range(args.steps):
        adam.lr = 0.06 * 0.1 ** (step / args.steps)
        with ti.ad.Tape(loss):
            run()
            compare()
        adam.step()
        both = np.stack([renderer.alpha.to_numpy(), seen.to_numpy()])
        if step % 3 == 0 or step == args.steps - 1:
            screen.draw(np.concatenate([row_of(part) for part in both]))
    found, stiffness = throw.to_numpy(), float(np.exp(log_stiffness[None]))
    off = float(np.linalg.norm(found - THROW) / np.linalg.norm(THROW))
    print(
        f"{args.out}: velocity {found.round(3)} {THROW}, stiffness {stiffness:.2f} "
        f"({STIFFNESS}), loss {loss[None]:.3f}"
    )
    screen.close()
    return max(off, abs(stiffness / STIFFNESS - 1.0))


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))

"""A sphere takes the shape of its silhouettes, with fields and a tape alone: no torch.

    python demos/11_tape_silhouettes.py [--show]

The mesh is a field of vertices, the loss two Taichi kernels: squared differences of silhouettes,
and the stretch of what the edges moved. `ti.ad.Tape` runs them and the renderer backwards, and
`tape.Adam` moves the vertices. Sigma, a field too, is made smaller as the shape comes. Writes a GIF
of fitted (above) and wanted silhouettes, and returns their intersection over union.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import taichi as ti
import tyro
from taped import Screen, edges_of, orbit, row_of, sphere

import taichi_softras as tsr


@dataclass
class Args:
    steps: int = 150
    """Optimiser steps."""
    views: int = 6
    """Silhouettes from all round."""
    size: int = 64
    """Pixels along the side of a silhouette."""
    stiffness: float = 30.0
    """Weight of smoothness."""
    show: bool = False
    """Open a window instead of writing a GIF."""
    out: Path = Path("out/11_tape_silhouettes.gif")
    """GIF to write."""


def main(args: Args) -> float:
    tsr.init()
    start, faces = sphere()
    renderer = tsr.tape.Renderer(
        n_vertices=len(start),
        faces=faces,
        size=args.size,
        views=args.views,
        settings=tsr.RasterSettings(sigma=1e-4, color="none"),
    )
    for view in range(args.views):
        elevation = 25.0 if view % 2 else -25.0
        renderer.camera.look_at(view, orbit(3.6, elevation, 360.0 * view / args.views), fov=45.0)
    renderer.vertices.from_numpy(blob(start))
    renderer.render()
    wanted = ti.field(ti.f32, renderer.alpha.shape)
    wanted.copy_from(renderer.alpha)

    rest = ti.Vector.field(3, ti.f32, len(start))
    rest.from_numpy(0.8 * start)
    edges = ti.Vector.field(2, ti.i32, len(edges_of(faces)))
    edges.from_numpy(edges_of(faces))
    loss = ti.field(ti.f32, (), needs_grad=True)

    @ti.kernel
    def compare():
        for i in ti.grouped(wanted):
            loss[None] += (renderer.alpha[i] - wanted[i]) ** 2

    @ti.kernel
    def stretch(weight: ti.f32):
        for e in edges:
            a, b = edges[e][0], edges[e][1]
            apart = (renderer.vertices[a] - rest[a]) - (renderer.vertices[b] - rest[b])
            loss[None] += weight * apart.norm_sqr()

    renderer.vertices.copy_from(rest)
    adam = tsr.tape.Adam([renderer.vertices], lr=0.02)
    screen = Screen("silhouettes", args.out, args.show)
    for step in range(args.steps):
        renderer.sigma[None] = 3e-3 * (3e-4 / 3e-3) ** (step / args.steps)
        with ti.ad.Tape(loss):
            renderer.render()
            compare()
            stretch(args.stiffness)
        adam.step()
        if step % 5 == 0 or step == args.steps - 1:
            both = np.stack([renderer.alpha.to_numpy(), wanted.to_numpy()])
            screen.draw(np.concatenate([row_of(part) for part in both]))
    renderer.sigma[None] = 1e-4
    renderer.render()
    iou = overlap(renderer.alpha.to_numpy() > 0.5, wanted.to_numpy() > 0.5)
    print(f"{args.out}: IoU {iou:.3f} after {args.steps} steps")
    screen.close()
    return iou


def blob(directions: np.ndarray) -> np.ndarray:
    """Bulge a sphere: a pear with a waist, leaning over. [V, 3]"""
    x, y, z = directions.T
    radius = 0.7 + 0.3 * y**2 - 0.2 * y + 0.3 * x * z + 0.15 * np.sin(4.0 * x + z)
    return (directions * radius[:, None]).astype(np.float32)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union."""
    return float((a & b).sum() / (a | b).sum())


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))

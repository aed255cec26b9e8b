"""Where was the camera, and where the lamp? Both are recovered from one picture, without torch.

    python demos/13_tape_light_camera.py [--show]

The shape and its colours are known. The fields `camera.eye` and `light.direction` get gradients
from every pixel, and move until the rendering looks like the picture; a wide sigma helps at first.
Writes a GIF of rendering and picture, and returns the worse of two errors in degrees: of the
direction that the eye looks from, and of the light's.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import taichi as ti
import tyro
from taped import Screen, orbit, row_of, sphere

import taichi_softras as tsr


@dataclass
class Args:
    steps: int = 150
    """Optimiser steps."""
    size: int = 96
    """Pixels along the side of the picture."""
    show: bool = False
    """Open a window instead of writing a GIF."""
    out: Path = Path("out/13_tape_light_camera.gif")
    """GIF to write."""


EYE, LAMP = orbit(3.0, 25.0, 35.0), (0.8, 0.9, 0.1)
FIRST_EYE, FIRST_LAMP = orbit(3.4, 0.0, 0.0), (-0.5, 0.3, 1.0)


def main(args: Args) -> float:
    tsr.init()
    directions, faces = sphere(16, 24)
    renderer = tsr.tape.Renderer(
        n_vertices=len(directions),
        faces=faces,
        size=args.size,
        lit=True,
        settings=tsr.RasterSettings(sigma=1e-5, gamma=1e-3, near=1.0, far=6.0),
    )
    renderer.vertices.from_numpy(potato(directions))
    renderer.colors.from_numpy(patches(directions))
    camera, light = renderer.camera, renderer.light
    camera.look_at(0, EYE, fov=45.0)
    light.set(0.25, directional_intensity=0.75, direction=LAMP)
    renderer.render()
    picture = ti.Vector.field(3, ti.f32, renderer.image.shape)
    loss = ti.field(ti.f32, (), needs_grad=True)

    @ti.kernel
    def take_picture():
        for i in ti.grouped(picture):
            picture[i] = renderer.image[i] * renderer.alpha[i]

    @ti.kernel
    def compare():
        for i in ti.grouped(picture):
            loss[None] += (renderer.image[i] * renderer.alpha[i] - picture[i]).norm_sqr()

    take_picture()
    camera.look_at(0, FIRST_EYE, fov=45.0)
    light.set(0.25, directional_intensity=0.75, direction=FIRST_LAMP)
    adam = tsr.tape.Adam([camera.eye, light.direction], lr=0.1)
    screen = Screen("light and camera", args.out, args.show)
    for step in range(args.steps):
        progress = step / args.steps
        renderer.sigma[None] = 3e-3 * (1e-5 / 3e-3) ** progress
        adam.lr = 0.1 * 0.03**progress
        with ti.ad.Tape(loss):
            renderer.render()
            compare()
        adam.step()
        if step % 5 == 0 or step == args.steps - 1:
            both = np.concatenate([renderer.image.to_numpy(), picture.to_numpy()])
            screen.draw(row_of(both))
    looked, lit = camera.eye.to_numpy()[0], light.direction.to_numpy()
    errors = angle(looked, EYE), angle(lit, LAMP)
    print(
        f"{args.out}: eye off by {errors[0]:.2f} and light by {errors[1]:.2f} degrees, "
        f"distance {np.linalg.norm(looked):.3f} (3.000) after {args.steps} steps"
    )
    screen.close()
    return max(errors)


def angle(a: np.ndarray, b: tuple[float, float, float]) -> float:
    """Degrees between two directions."""
    cosine = np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def potato(directions: np.ndarray) -> np.ndarray:
    """Bulge a sphere so that no two sides look alike. [V, 3]"""
    x, y, z = directions.T
    radius = 0.8 + 0.2 * x * y + 0.15 * z - 0.15 * np.cos(2.5 * y + x)
    return (directions * radius[:, None]).astype(np.float32)


def patches(directions: np.ndarray) -> np.ndarray:
    """Smooth patches of colour. [V, 3]"""
    x, y, z = directions.T
    waves = np.stack([np.sin(2.0 * x + y), np.sin(2.0 * y - z), np.sin(2.0 * z + x)], 1)
    return (0.65 + 0.3 * waves).astype(np.float32)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))

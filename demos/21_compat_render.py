"""The original's first demo, through its own names: turn a mesh, then blur it.

    python demos/21_compat_render.py --out out/21_compat_render

What stands in `main` is a program for the original with another import. Writes two GIFs into a
folder: rotation.gif, where the camera walks round a textured mesh, and blur.gif, where gamma grows
from 1e-4 to 10**-2.2 and sigma is a tenth of it, so that edges soften and farther surfaces shine
through. Any mesh file will do; without one it is a duck whose colours are read at 5² texels a face.
Returns how much of the sharpness of the first silhouette of blur.gif the last one keeps.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro

import taichi_softras as tsr
import taichi_softras.compat.soft_renderer as sr


@dataclass
class Args:
    mesh: Path | None = None
    """OBJ file with materials or colours, or any mesh file; a duck by default."""
    out: Path = Path("out/21_compat_render")
    """Folder to write the GIFs in."""
    size: int = 256
    """Pixels along each side."""
    quick: bool = False
    """A few small pictures, as for a test."""
    headless: bool = True
    """This demo has no window."""


def main(args: Args) -> float:
    size, step = (48, 90) if args.quick else (args.size, 6)
    mesh = sr.Mesh.from_obj(
        args.mesh or duck(args.out / "duck.obj"),
        load_texture=True,
        texture_res=5,
        normalization=True,
    )
    renderer = sr.SoftRenderer(image_size=size, camera_mode="look_at", background_color=[1, 1, 1])

    rotation = []
    for azimuth in range(0, 360, step):
        mesh.reset_()
        renderer.transform.set_eyes_from_angles(2.5, 30, azimuth)
        rotation.append(renderer.render_mesh(mesh)[0])
    save(args.out / "rotation.gif", rotation)

    blur = []
    renderer.transform.set_eyes_from_angles(2.5, 30, 215)
    for power in np.arange(-4, -2.1, 0.9 if args.quick else 0.1):
        mesh.reset_()
        renderer.set_gamma(10**power)
        renderer.set_sigma(10 ** (power - 1))
        blur.append(renderer.render_mesh(mesh)[0])
    save(args.out / "blur.gif", blur)

    ratio = sharpness(blur[-1][3]) / sharpness(blur[0][3])
    print(f"{args.out}: the last picture keeps {100 * ratio:.0f} % of the sharpness of edges")
    return ratio


def duck(path: Path) -> Path:
    """Write the built-in duck where `from_obj` can read it."""
    mesh = tsr.shapes.duck(4)
    colored = sr.Mesh(mesh.vertices, mesh.faces, mesh.vertex_colors, texture_type="vertex")
    colored.save_obj(path, save_texture=True)
    return path


def save(path: Path, images: list[torch.Tensor]) -> None:
    """Write RGBA pictures [4, H, W] as an animation over white."""
    frames = [
        (rgb * a + 1 - a).clamp(0, 1).permute(1, 2, 0) for rgb, a in (i.split(3) for i in images)
    ]
    tsr.save_video(path, frames, fps=12.0)


def sharpness(alpha: torch.Tensor) -> float:
    """Sum the squared differences of neighbouring pixels."""
    return float(alpha.diff(dim=0).square().sum() + alpha.diff(dim=1).square().sum())


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))

"""The paper's figure: edges blur with sigma, surfaces turn transparent with gamma.

    python demos/01_render_effects.py --out out/01_render_effects.png

Writes a sheet of pictures, sigma growing downwards and gamma to the right. With a small gamma only
the nearest surface counts; with a large one those behind it, and the background, shine through.
The number it returns is how much less sharp the bottom row is than the top one: the ratio of
their summed squared differences between neighbouring pixels.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

import taichi_softras as tsr
from taichi_softras.io import contact_sheet

SIGMAS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
GAMMAS = (1e-3, 3e-2, 1e-1, 3e-1, 1.0)


@dataclass
class Args:
    out: Path = Path("out/01_render_effects.png")
    """Picture to write."""
    size: int = 192
    """Pixels along each side of a cell."""
    level: int = 4
    """Splits of the duck's icosphere."""
    headless: bool = True
    """This demo has no window."""


def main(args: Args) -> float:
    mesh = tsr.shapes.duck(args.level)
    camera = tsr.Camera.orbit(3.3, 20.0, 35.0, 36.0)
    cells = [picture(mesh, camera, args.size, s, g) for s in SIGMAS for g in GAMMAS]
    tsr.save_image(args.out, contact_sheet(torch.stack(cells), columns=len(GAMMAS)))
    ratio = sharpness(cells[-len(GAMMAS)]) / sharpness(cells[0])
    print(f"{args.out}: the softest edges have {100 * ratio:.1f} % of the sharpest ones' contrast")
    return ratio


def picture(
    mesh: tsr.Mesh, camera: tsr.Camera, size: int, sigma: float, gamma: float
) -> torch.Tensor:
    """Render over white. [H, W, 3]"""
    # near and far close round the mesh, so that gamma means something
    settings = tsr.RasterSettings(sigma=sigma, gamma=gamma, near=2.2, far=4.4)
    with torch.no_grad():
        out = tsr.render(mesh, camera, size, settings=settings, light=tsr.Light(), background=1.0)
    alpha = out.alpha[0, ..., None]
    return (out.image[0] * alpha + 1.0 - alpha).clamp(0.0, 1.0)


def sharpness(image: torch.Tensor) -> float:
    """Sum the squared differences of neighbouring pixels."""
    return float(image.diff(dim=0).square().sum() + image.diff(dim=1).square().sum())


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))

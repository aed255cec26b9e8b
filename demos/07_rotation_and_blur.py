"""A mesh turns once, and then loses its edges: the original's first demo, with two GIFs.

    python demos/07_rotation_and_blur.py --mesh duck

`rotation.gif` is drawn with edges as sharp as sigma = 1e-5. In `blur.gif` the mesh stands still
while p goes from -4 to -2.2 and back: gamma = 10^p, so that hidden surfaces shine through, and
sigma = 10^(p-1), so that edges melt. The number it returns is how much contrast the softest frame
has left, as a share of the sharpest one's: summed squared differences between neighbouring pixels.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

import taichi_softras as tsr
from taichi_softras import scenes

POWERS = tuple(-4.0 + 0.2 * i for i in range(10))
SHARP = tsr.RasterSettings(sigma=1e-5, gamma=1e-4)


@dataclass
class Args:
    mesh: str = "duck"
    """A built-in shape or a mesh file."""
    out: Path = Path("out/07_rotation_and_blur")
    """Folder to write to."""
    frames: int = 72
    """Frames of one turn."""
    size: int = 256
    """Pixels along a picture's side."""
    quick: bool = False
    """An eighth of the frames, at 64 pixels."""
    headless: bool = True
    """This demo has no window; `softras view` turns and blurs in one."""


def main(args: Args) -> float:
    frames, size = (args.frames // 8, 64) if args.quick else (args.frames, args.size)
    mesh = scenes.open_mesh(args.mesh).normalized()
    walk = scenes.turntable_cameras(frames, elevation=30.0, image_size=size)
    turn = [picture(mesh, camera, SHARP) for camera in walk]
    settings = [tsr.RasterSettings(sigma=10.0 ** (p - 1.0), gamma=10.0**p) for p in POWERS]
    melt = [picture(mesh, walk[0], each) for each in settings]
    tsr.save_video(args.out / "rotation.gif", turn, fps=24.0)
    tsr.save_video(args.out / "blur.gif", melt + melt[-2:0:-1], fps=12.0)
    left = contrast(melt[-1]) / contrast(melt[0])
    print(
        f"{args.out}: {frames} frames of a turn; {100 * left:.0f} % of the contrast at the softest"
    )
    return left


def picture(mesh: tsr.Mesh, camera: tsr.Camera, settings: tsr.RasterSettings) -> torch.Tensor:
    """Render in daylight over white. [H, W, 3]"""
    with torch.no_grad():
        out = tsr.render(mesh, camera, settings=settings, light=tsr.Light())
    alpha = out.alpha[0, ..., None]
    return (out.image[0] * alpha + 1.0 - alpha).clamp(0.0, 1.0)


def contrast(image: torch.Tensor) -> float:
    """Sum the squared differences of neighbouring pixels."""
    return float(image.diff(dim=0).square().sum() + image.diff(dim=1).square().sum())


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))

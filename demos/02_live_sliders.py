"""Sliders for sigma and gamma in a window of your own, in few lines.

    python demos/02_live_sliders.py              # a window
    python demos/02_live_sliders.py --headless   # a GIF of the sliders being dragged

The viewer of `softras view` is plain Python: a `Session` takes events and makes frames, whatever
shows them. Here the events of a drag are made up, the frames go into a GIF, and the number
returned is how many decades sigma went up by while the knob was dragged.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro

import taichi_softras as tsr
from taichi_softras import viewer
from taichi_softras.errors import BackendError
from taichi_softras.viewer import panel
from taichi_softras.viewer.events import Pointer


@dataclass
class Args:
    mesh: str = "duck"
    """A built-in shape or a mesh file."""
    out: Path = Path("out/02_live_sliders.gif")
    """GIF to write when headless."""
    frames: int = 24
    """Pictures in the GIF."""
    headless: bool = False
    """Write a GIF instead of opening a window."""


def main(args: Args) -> float:
    torch.set_num_threads(1)  # frames are small tensors; Taichi needs the cores
    session = viewer.Session(viewer.open_scene(args.mesh), out=args.out.parent)
    if not args.headless:
        try:
            window = viewer.open_window()
        except BackendError as error:
            print(f"No window: {error}. Writing {args.out} instead.")
        else:
            viewer.run(session, window)
            return decades(session)
    tsr.save_video(args.out, dragged(session, args.frames), fps=12.0)
    session.close()
    print(f"{args.out}: sigma went up by {decades(session):.1f} decades")
    return decades(session)


def dragged(session: viewer.Session, count: int) -> list[np.ndarray]:
    """Drag sigma's knob to the right; return what the window would show."""
    slider = next(
        placed
        for placed in panel.placed_controls("render")
        if getattr(placed.control, "field", "") == "sigma"
    )
    left, y, width, _ = slider.track
    start, end = left + 0.3 * width, left + 0.75 * width
    frames = [half(session.settle())]
    session.handle(Pointer("press", start, y))
    for i in range(1, count):
        session.handle(Pointer("move", start + (end - start) * i / (count - 1), y))
        session.advance()
        frames.append(half(session.image))
    session.handle(Pointer("release", end, y))
    return frames


def half(image) -> np.ndarray:
    """Shrink a frame to half its sides. [H / 2, W / 2, 3]"""
    return np.asarray(image.reduce(2))


def decades(session: viewer.Session) -> float:
    return math.log10(session.state.sigma / session.start.sigma)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))

"""Make the pictures of docs/viewer.md with the viewer itself, without a window.

    python docs/make_viewer_images.py

Takes some minutes on two cores, most of them for the fits.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from PIL import Image

from taichi_softras.viewer import Session, ViewState, open_scene

HERE = Path(__file__).parent / "images"


def main() -> None:
    """Write docs/images/view_*.png."""
    torch.set_num_threads(1)
    shots: dict[str, Callable[[Session], Image.Image]] = {
        "render": lambda session: look(session, sigma=1e-3, gamma=3e-1, background="sky"),
        "help": help_shown,
        "gradient": lambda session: look(session, view="gradient", sigma=3e-3, amount=0.25),
        "fit": lambda session: fitted(session, "pictures", 150),
        "pose": lambda session: fitted(session, "pose", 40),
        "sheet": sheet,
    }
    for name, shoot in shots.items():
        with TemporaryDirectory() as folder:
            session = Session(open_scene(), ViewState(), Path(folder))
            image = shoot(session)
            session.close()
        path = HERE / f"view_{name}.png"
        image.quantize(256, kmeans=1).save(path, optimize=True)
        print(f"{path}: {image.width} x {image.height}, {path.stat().st_size / 1e3:.0f} kB")


def look(session: Session, **changes: object) -> Image.Image:
    """Show a state at rest."""
    session.state = replace(session.state, **changes)  # type: ignore[arg-type]
    session.settle()
    session.act("orbit left")  # once more, so that the frame time is not that of compiling
    return session.settle()


def help_shown(session: Session) -> Image.Image:
    """Show the keys over the picture."""
    session.settle()
    session.act("help")
    return session.settle()


def fitted(session: Session, kind: str, steps: int) -> Image.Image:
    """Show a fit after some steps, paused."""
    session.act("view fit")
    session.set("fit", kind)
    session.act("play")
    while session.fit.steps_made < steps and not session.fit.error:
        session.advance()
    session.act("play")
    return session.settle()


def sheet(session: Session) -> Image.Image:
    """Save a contact sheet and return it."""
    session.act("sheet")
    session.settle()
    with Image.open(session.out / "sheet.png") as image:
        return image.convert("RGB").resize((image.width * 3 // 4, image.height * 3 // 4))


if __name__ == "__main__":
    main()

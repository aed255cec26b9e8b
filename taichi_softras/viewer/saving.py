"""What the viewer writes: pictures, sweeps, contact sheets and Python."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from taichi_softras.io import save_image, save_video
from taichi_softras.viewer.painting import font
from taichi_softras.viewer.picture import draw
from taichi_softras.viewer.scene import Scene
from taichi_softras.viewer.state import ViewState

SHEET_SIGMAS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
SHEET_GAMMAS = (1e-3, 1e-2, 1e-1, 3e-1, 1e0)
"""Rows and columns of the contact sheet, near and far being tight round the mesh."""
PAPER_SIGMAS = (3e-6, 1e-5, 1e-4, 3e-4, 1e-3)
PAPER_GAMMAS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
"""The same for near = 1 and far = 100: the ranges that the original's demo walks through."""

_SWEEP_FRAMES = 24
_SWEEPS = {"sigma": (1e-6, 1e-2), "gamma": (1e-3, 1e0)}
_SIDE = 256
_CELL = 168
# Whichever of these is there takes text on its standard input.
_CLIPBOARDS = (("wl-copy",), ("xclip", "-selection", "clipboard"), ("xsel", "-bi"), ("pbcopy",))


def free_name(folder: Path, stem: str, suffix: str) -> Path:
    """Return the first of stem.suffix, stem_2.suffix ... that is not there yet."""
    path, count = folder / f"{stem}{suffix}", 1
    while path.exists():
        count += 1
        path = folder / f"{stem}_{count}{suffix}"
    return path


def write_picture(path: Path, scene: Scene, state: ViewState, side: int = 512) -> Iterator[str]:
    """Save what the state shows as a square picture; yields what was done."""
    save_image(path, draw(scene.mesh, state, (side, side)))
    yield f"saved {path}"


def write_sigma_sweep(path: Path, scene: Scene, state: ViewState) -> Iterator[str]:
    """Save a GIF in which sigma grows and shrinks; yields progress before each picture."""
    yield from _write_sweep(path, scene, state, "sigma")


def write_gamma_sweep(path: Path, scene: Scene, state: ViewState) -> Iterator[str]:
    """Save a GIF in which gamma grows and shrinks; yields progress before each picture."""
    yield from _write_sweep(path, scene, state, "gamma")


def _write_sweep(path: Path, scene: Scene, state: ViewState, field: str) -> Iterator[str]:
    frames = []
    low, high = _SWEEPS[field]
    for i in range(_SWEEP_FRAMES):
        yield f"GIF: {i} of {_SWEEP_FRAMES}"
        change: dict[str, float] = {field: low * (high / low) ** (i / (_SWEEP_FRAMES - 1))}
        swept = replace(state, **change)  # type: ignore[arg-type]
        frames.append(draw(scene.mesh, swept, (_SIDE, _SIDE)))
    save_video(path, torch.from_numpy(np.stack([*frames, *frames[-2:0:-1]])), fps=16.0)
    yield f"saved {path}"


def write_sheet(path: Path, scene: Scene, state: ViewState) -> Iterator[str]:
    """Save the paper's figure, sigma downwards and gamma to the right; yields progress."""
    paper = state.depth_range == "paper"
    sigmas = PAPER_SIGMAS if paper else SHEET_SIGMAS
    gammas = PAPER_GAMMAS if paper else SHEET_GAMMAS
    left, top = 104, 34
    size = (left + len(gammas) * _CELL, top + len(sigmas) * _CELL)
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    for row, sigma in enumerate(sigmas):
        y = top + row * _CELL
        pen.text((left - 8, y + _CELL // 2), f"sigma {sigma:.0e}", "#333333", font(13), "rm")
        for column, gamma in enumerate(gammas):
            yield f"contact sheet: {row * len(gammas) + column} of {len(sigmas) * len(gammas)}"
            x = left + column * _CELL
            if row == 0:
                head = (x + _CELL // 2, top // 2)
                pen.text(head, f"gamma {gamma:.0e}", "#333333", font(13), "mm")
            cell = replace(state, sigma=sigma, gamma=gamma, show="color")
            sheet.paste(Image.fromarray(draw(scene.mesh, cell, (_CELL, _CELL))), (x, y))
    save_image(path, np.asarray(sheet))
    yield f"saved {path}"


def write_python(path: Path, scene: Scene, state: ViewState) -> Iterator[str]:
    """Save and print the program that renders the picture, and copy it where that is possible."""
    text = state.as_python(scene.python)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    yield f"{'copied, and ' if _copied(text) else ''}saved {path}"


def _copied(text: str) -> bool:
    for command in _CLIPBOARDS:
        if shutil.which(command[0]) is None:
            continue
        try:
            # to nowhere: the process that keeps the clipboard must not hold our pipes open
            subprocess.run(
                command, input=text, text=True, timeout=2.0, check=True,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError):
            continue
        return True
    return False

"""The folder that `softras render` writes: never over files of somebody else."""

import json
import math
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from taichi_softras.errors import FileError
from taichi_softras.io import PosedImages, contact_sheet, save_image, save_posed_images
from taichi_softras.io.files import told_as_file_error
from taichi_softras.io.posed_pixels import fitting_size, shrink

_POSES = "transforms.json"
_SHEET = "contact_sheet.png"
_GAP = 8
_LARGEST_CELL = 256


def check(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds anything, unless it is to be overwritten and is ours.

    Raises:
        FileError: Writing there would mix or destroy something.
    """
    if folder.exists() and not folder.is_dir():
        raise FileError(f"`{folder}` is a file; a folder was expected.")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not overwrite:
        raise FileError(
            f"`{folder}` is not empty; give another folder, or --overwrite to replace the scene "
            "in it."
        )
    if (folder / _POSES).exists() and _own_frames(folder) is None:
        raise FileError(
            f"`{folder / _POSES}` was not written by `softras render`, and is not overwritten; "
            "give another folder."
        )


def write(folder: Path, posed: PosedImages, made_by: Mapping[str, Any]) -> None:
    """Write poses, pictures and the contact sheet, in place of an earlier scene.

    Args:
        folder: Has passed `check`.
        posed: The scene.
        made_by: JSON values that are noted in `transforms.json`.
    """
    with told_as_file_error(folder, "cleared of the earlier scene"):
        for name in _own_frames(folder) or ():
            (folder / name).unlink(missing_ok=True)
    record = {"version": version("taichi-softras"), **made_by}
    save_posed_images(folder, posed, extra=record)
    save_image(folder / _SHEET, sheet(posed))


def sheet(posed: PosedImages) -> Tensor:
    """Lay the views out on white, each at most 256 pixels large. [H, W, 3]."""
    size = fitting_size(posed.size, _LARGEST_CELL)
    cells = torch.stack([shrink(image.float(), size) for image in posed.images])
    cells = cells[..., :3] * cells[..., 3:] + 1.0 - cells[..., 3:]
    grid = contact_sheet(cells, _columns(len(posed), size), gap=_GAP)
    return pad(grid, (0, 0, _GAP, _GAP, _GAP, _GAP), value=1.0)


def _columns(count: int, size: tuple[int, int]) -> int:
    """Choose a number of columns that fills all rows, where one makes an agreeable sheet."""
    square = math.sqrt(count * size[0] / size[1])
    full = [c for c in range(1, count + 1) if count % c == 0 and square <= c <= 2.0 * square]
    return min(full, default=max(1, math.ceil(square)))


def _own_frames(folder: Path) -> list[str] | None:
    """Return the files of a scene that `write` left here; None if there is none of its."""
    try:
        tree = json.loads((folder / _POSES).read_text(encoding="utf-8"))
        if "softras" not in tree:
            return None
        names = [str(frame["file_path"]) for frame in tree["frames"]]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    # Only names of our own making: a record may have been edited.
    return [_POSES, *(n for n in names if n.startswith("images/view_") and ".." not in n)]

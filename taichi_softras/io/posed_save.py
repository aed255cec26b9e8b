"""Posed-image folders, written."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from taichi_softras.errors import ArgumentError
from taichi_softras.io.files import AnyPath, make_parent, told_as_file_error
from taichi_softras.io.images import save_image
from taichi_softras.io.posed import PosedImages
from taichi_softras.io.transforms_json import transforms_path


def save_posed_images(
    folder: AnyPath,
    posed: PosedImages,
    *,
    split: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """Write a folder that `load_posed_images` and other NeRF programs read.

    The images become `images/view_000.png` ..., with 8 bits a channel; with a split,
    `{split}/view_000.png` and `transforms_{split}.json`.

    Args:
        folder: Created where it is missing; files of the same names are replaced.
        posed: Perspective views.
        split: "train", "val" or "test", or None for `transforms.json`.
        extra: JSON values to note under the key "softras", for example what made the images.

    Returns:
        The JSON file.

    Raises:
        ArgumentError: The cameras are orthographic or have lens distortion, which
            `load_posed_images` would refuse, or `extra` is no JSON.
        FileError: A file cannot be written.
    """
    if posed.cameras.orthographic:
        raise ArgumentError("`posed.cameras` are orthographic, which transforms.json cannot say.")
    if posed.cameras.distortion is not None:
        raise ArgumentError(
            "`posed.cameras` have lens distortion, with which posed folders are not read here."
        )
    path = transforms_path(Path(folder), split)
    lenses = _lenses(posed)
    shared = lenses[0] if all(lens == lenses[0] for lens in lenses) else {}
    poses = posed.cameras.to(torch.float64).world_from_camera_opengl.detach().cpu()
    digits = max(3, len(str(len(posed) - 1)))
    frames = [
        {
            "file_path": f"{split or 'images'}/view_{i:0{digits}d}.png",
            **({} if shared else lenses[i]),
            "transform_matrix": poses[i].tolist(),
        }
        for i in range(len(posed))
    ]
    noted = {} if extra is None else {"softras": dict(extra)}
    try:
        text = json.dumps({**shared, **noted, "frames": frames}, indent=1)
    except (TypeError, ValueError) as cause:
        raise ArgumentError(f"`extra` must hold JSON values only: {cause}.") from cause
    for frame, image in zip(frames, posed.images, strict=True):
        save_image(path.parent / str(frame["file_path"]), image)
    make_parent(path)
    with told_as_file_error(path, "written"):
        path.write_text(text + "\n", encoding="utf-8")
    return path


def _lenses(posed: PosedImages) -> list[dict[str, float]]:
    """Spell each camera's lens in both ways that are in use."""
    height, width = posed.size
    matrices, _, _ = posed.cameras.to(torch.float64).to_matrices((height, width))
    return [
        {
            "camera_angle_x": 2.0 * math.atan(0.5 * width / fx),
            "camera_angle_y": 2.0 * math.atan(0.5 * height / fy),
            **{"fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy, "w": width, "h": height},
        }
        for (fx, _, cx), (_, fy, cy), _ in matrices.detach().cpu().tolist()
    ]

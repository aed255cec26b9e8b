"""The text of `transforms.json`: which pictures there are, and where each was taken from."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from taichi_softras.errors import ArgumentError, FileError
from taichi_softras.transforms import check_rotation

_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_FOCAL_KEYS = ("fl_x", "fl_y", "camera_angle_x", "camera_angle_y")
_DISTORTION_KEYS = ("k1", "k2", "k3", "k4", "p1", "p2")
_OTHER_LENSES = ("fisheye", "equirectangular", "spherical", "orthographic")
# A bend of the corners by less than this many pixels is not worth refusing the data for.
_NEGLIGIBLE_BEND = 0.5


class Frame(NamedTuple):
    """One picture with its pose; nothing has been read from the picture yet."""

    name: str
    """`file_path` as it is written."""
    where: str
    """Names the frame and the file in error messages."""
    image: Path
    mask: Path | None
    world_from_camera: Tensor
    """Camera-to-world, OpenGL axes. [4, 4] float64"""
    lens: Mapping[str, Any]
    """The frame's keys over those of the whole file."""


def transforms_path(folder: Path, split: str | None) -> Path:
    """Return where a folder keeps the poses of a split ("train", "val", "test") or of all."""
    return folder / ("transforms.json" if split is None else f"transforms_{split}.json")


def read_frames(path: Path) -> list[Frame]:
    """Read and check all frames of a `transforms.json`.

    Raises:
        FileError: The JSON is malformed, there are no frames, or one lacks its image, its mask or
            a rigid finite pose.
    """
    tree = read_tree(path)
    frames = tree["frames"]
    without = [i for i, frame in enumerate(frames) if "transform_matrix" not in frame]
    if without:
        name = frames[without[0]].get("file_path")
        raise FileError(
            f"`{path}` lacks poses: {len(without)} of its {len(frames)} frames have no "
            f"`transform_matrix` (camera-to-world), the first is frame {without[0]} ({name!r})."
        )
    return [_frame(path, tree, i) for i in range(len(frames))]


def read_tree(path: Path) -> dict[str, Any]:
    """Read the JSON and make sure that it has frames."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as cause:
        raise FileError(f"`{path}` is no whole JSON file: {cause}") from cause
    frames = tree.get("frames") if isinstance(tree, dict) else None
    if not isinstance(frames, list) or not all(isinstance(frame, dict) for frame in frames):
        raise FileError(f"`{path}` has no list `frames`, which `transforms.json` files have.")
    if not frames:
        raise FileError(f"`{path}` has no frames: its list `frames` is empty.")
    result: dict[str, Any] = tree
    return result


def _frame(path: Path, tree: dict[str, Any], index: int) -> Frame:
    frame = tree["frames"][index]
    name = frame.get("file_path")
    where = f"frame {index} ({name!r}) of `{path}`"
    if not isinstance(name, str) or not name:
        raise FileError(f"{where} has no `file_path`.")
    mask = frame.get("mask_path")
    if any(key in frame for key in _FOCAL_KEYS):
        tree = {key: value for key, value in tree.items() if key not in _FOCAL_KEYS}
    return Frame(
        name=name,
        where=where,
        image=_existing(path.parent, name, where, "image"),
        mask=_existing(path.parent, str(mask), where, "mask") if mask else None,
        world_from_camera=_pose(frame["transform_matrix"], where),
        lens={**tree, **frame},
    )


def find_image(folder: Path, name: str) -> Path | None:
    """Return the file that a `file_path` means, with or without its extension."""
    stem = folder / name.replace("\\", "/")
    for suffix in ("", *_IMAGE_SUFFIXES, *(s.upper() for s in _IMAGE_SUFFIXES)):
        candidate = stem.with_name(stem.name + suffix)
        if candidate.is_file():
            return candidate
    return None


def _existing(folder: Path, name: str, where: str, what: str) -> Path:
    found = find_image(folder, name)
    if found is None:
        raise FileError(
            f"{where} names the {what} `{folder / name}`, which does not exist, "
            f"neither as it is nor with {', '.join(_IMAGE_SUFFIXES)}."
        )
    return found


def _pose(rows: Any, where: str) -> Tensor:
    """Check a camera-to-world matrix, 4 x 4 or its upper 3 rows. -> [4, 4]."""
    try:
        matrix = torch.tensor(rows, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as cause:
        raise FileError(f"`transform_matrix` of {where} is no matrix of numbers.") from cause
    if matrix.shape not in ((4, 4), (3, 4)):
        got = list(matrix.shape)
        raise FileError(f"`transform_matrix` of {where} must be 4 x 4 or 3 x 4, got {got}.")
    last = matrix.new_tensor([[0.0, 0.0, 0.0, 1.0]])
    if not bool(torch.isfinite(matrix).all()):
        raise FileError(f"`transform_matrix` of {where} has NaN or infinite entries.")
    if matrix.shape[0] == 4 and not torch.allclose(matrix[3:], last, atol=1e-6):
        got = matrix[3].tolist()
        raise FileError(f"`transform_matrix` of {where} must end in [0, 0, 0, 1], got {got}.")
    try:
        check_rotation("transform_matrix[:3, :3]", matrix[:3, :3])
    except ArgumentError as cause:
        raise FileError(f"{where} has no rigid pose: {cause}") from cause
    return torch.cat([matrix[:3], last])


def intrinsics(frame: Frame, size: tuple[int, int]) -> Tensor:
    """Return the pinhole matrix K for an image of `size`, in its own pixels.

    `fl_x, fl_y, cx, cy` belong to the size `w, h` that the file states, and are scaled to the
    image's. `camera_angle_x` is the full *horizontal* field of view; pixels are square unless
    `camera_angle_y` or `fl_y` says otherwise. The image's centre is at (W / 2, H / 2).

    Args:
        frame: The frame whose lens is asked for.
        size: Height and width of the image as it was read.

    Returns:
        float64. [3, 3]

    Raises:
        FileError: There is no focal length, it makes no sense, the image has another aspect
            than `w, h`, or the lens is not a pinhole.
    """
    height, width = size
    given = {k: _number(frame, k) for k in (*_FOCAL_KEYS, *_DISTORTION_KEYS, "cx", "cy", "w", "h")}
    across, down = _scale(frame, given, size)
    fx = _focal(frame, given, "x", across, width)
    fy = _focal(frame, given, "y", down, height)
    if fx is None:
        raise FileError(f"{frame.where} has neither `fl_x` nor `camera_angle_x`: no focal length.")
    fy = fx if fy is None and given["fl_x"] is None else fy
    fy = fx / across * down if fy is None else fy
    cx = 0.5 * width if given["cx"] is None else given["cx"] * across
    cy = 0.5 * height if given["cy"] is None else given["cy"] * down
    _check_pinhole(frame, given, (fx, fy, cx, cy), size)
    return torch.tensor([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]], dtype=torch.float64)


def _number(frame: Frame, key: str) -> float | None:
    value = frame.lens.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise FileError(f"`{key}` of {frame.where} must be a finite number, got {value!r}.")
    return float(value)


def _scale(
    frame: Frame, given: Mapping[str, float | None], size: tuple[int, int]
) -> tuple[float, float]:
    """Return image pixels per stated pixel, across and down."""
    w, h = given["w"], given["h"]
    if w is None or h is None:
        return 1.0, 1.0
    height, width = size
    # A resized image may be rounded by a pixel; more than that is a crop or a turn.
    if w < 1.0 or h < 1.0 or abs(width - w * height / h) > max(1.0, width / height):
        raise FileError(
            f"{frame.where} states an image of {w:g} x {h:g} pixels (w x h), but its image is "
            f"{width} x {height}: another aspect, so the intrinsics cannot be scaled."
        )
    return width / w, height / h


def _focal(
    frame: Frame, given: Mapping[str, float | None], axis: str, scale: float, side: int
) -> float | None:
    """Return a focal length in image pixels from `fl_*`, else from `camera_angle_*`, else None."""
    length, angle = given[f"fl_{axis}"], given[f"camera_angle_{axis}"]
    if length is not None:
        if length <= 0.0:
            raise FileError(f"`fl_{axis}` of {frame.where} must be positive, got {length}.")
        return length * scale
    if angle is None or (axis == "y" and given["fl_x"] is not None):
        return None
    if not 0.0 < angle < math.pi:
        raise FileError(
            f"`camera_angle_{axis}` of {frame.where} is a full field of view in radians, between "
            f"0 and pi, got {angle}."
        )
    return 0.5 * side / math.tan(0.5 * angle)


def _check_pinhole(
    frame: Frame, given: Mapping[str, float | None], lens: Sequence[float], size: tuple[int, int]
) -> None:
    model = str(frame.lens.get("camera_model", "")).lower()
    if frame.lens.get("is_fisheye") or any(kind in model for kind in _OTHER_LENSES):
        raise FileError(f"{frame.where} was taken with another lens than a pinhole ({model}).")
    k1, k2, k3, k4, p1, p2 = (given[key] or 0.0 for key in _DISTORTION_KEYS)
    fx, fy, cx, cy = lens
    bend = 0.0
    for u, v in ((0, 0), (size[1], 0), (0, size[0]), (size[1], size[0])):
        x, y = (u - cx) / fx, (v - cy) / fy
        r2 = x * x + y * y
        radial = r2 * (k1 + r2 * (k2 + r2 * (k3 + r2 * k4)))
        dx = x * radial + 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x)
        dy = y * radial + 2.0 * p2 * x * y + p1 * (r2 + 2.0 * y * y)
        bend = max(bend, math.hypot(fx * dx, fy * dy))
    if bend > _NEGLIGIBLE_BEND:
        raise FileError(
            f"{frame.where} has lens distortion (k1, k2, p1, p2 ...), which moves the image's "
            f"corners by {bend:.1f} pixels: undistort the images first, for example with COLMAP's "
            "image_undistorter, and leave these fields out."
        )

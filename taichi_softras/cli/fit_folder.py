"""The folder that `softras fit` writes: results, and a checkpoint to go on from."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from taichi_softras import scenes
from taichi_softras.errors import FileError, SoftRasError
from taichi_softras.fitting import Fitter, StepReport, pictures
from taichi_softras.io import save_mesh, save_video
from taichi_softras.io.files import told_as_file_error
from taichi_softras.mesh import Mesh

CHECKPOINT = "checkpoint.pt"
_FRAMES_PER_SECOND = 12.0


@dataclass
class Checkpoint:
    """What a fit keeps beside the fitter's own state."""

    state: dict[str, Any] | None = None
    frames: list[Tensor] = field(default_factory=list)
    """Pictures for the GIF. Each [H, W, 3] uint8"""
    seconds: float = 0.0
    """Time spent in steps."""


def check(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse a folder that holds anything, unless told what to do with it.

    Raises:
        FileError: Writing there would mix or destroy something, or there is no checkpoint.
    """
    if out.exists() and not out.is_dir():
        raise FileError(f"`{out}` is a file; a folder was expected.")
    if resume and not (out / CHECKPOINT).is_file():
        raise FileError(f"`{out / CHECKPOINT}` does not exist, so there is nothing to resume.")
    if not resume and not overwrite and out.is_dir() and any(out.iterdir()):
        raise FileError(
            f"`{out}` is not empty; give another folder, --resume to go on from its checkpoint, "
            "or --overwrite to replace the fit in it."
        )


def save_checkpoint(out: Path, fitter: Fitter, checkpoint: Checkpoint) -> None:
    """Write beside the old checkpoint, then swap: there is always a whole one."""
    out.mkdir(parents=True, exist_ok=True)
    fresh = out / (CHECKPOINT + ".new")
    content = {
        "fit": fitter.state_dict(),
        "frames": torch.stack(checkpoint.frames) if checkpoint.frames else None,
        "seconds": checkpoint.seconds,
    }
    with told_as_file_error(fresh, "written"):
        torch.save(content, fresh)
        os.replace(fresh, out / CHECKPOINT)


def load_checkpoint(out: Path) -> Checkpoint:
    """Read what `save_checkpoint` wrote.

    Raises:
        FileError: The file is damaged, or something else.
    """
    path = out / CHECKPOINT
    try:
        content = torch.load(path, weights_only=True)
        frames = content["frames"]
        return Checkpoint(
            content["fit"], [] if frames is None else list(frames), float(content["seconds"])
        )
    except Exception as error:  # torch.load raises whatever a damaged file makes of it
        raise FileError(f"`{path}` is no checkpoint of `softras fit`, or damaged.") from error


def true_mesh(folder: Path) -> Mesh | None:
    """Return the mesh that `softras render` drew a folder from, if that is on record and there."""
    try:
        record = json.loads((folder / "transforms.json").read_text(encoding="utf-8"))["softras"]
        mesh = scenes.open_mesh(record["mesh"])
        return mesh.normalized() if record["normalized"] else mesh
    except (OSError, ValueError, KeyError, TypeError, SoftRasError):
        return None


def write(
    out: Path,
    mesh: Mesh,
    report: Mapping[str, Any],
    arguments: Mapping[str, Any],
    checkpoint: Checkpoint,
    history: Sequence[StepReport],
) -> None:
    """Write the meshes, the report, the loss plot and the GIF."""
    save_mesh(mesh, out / "mesh.glb")
    save_mesh(mesh, out / "mesh.obj")
    pictures.plot_losses(history, out / "losses.png")
    frames = [frame.float() / 255.0 for frame in checkpoint.frames]
    hold = [frames[-1]] * int(1.5 * _FRAMES_PER_SECOND)
    save_video(out / "fit.gif", [*frames, *hold], _FRAMES_PER_SECOND)
    names = ("taichi-softras", "torch", "taichi", "numpy")
    document = {
        **report,
        "versions": {"python": platform.python_version()} | {n: version(n) for n in names},
        "arguments": arguments,
    }
    text = json.dumps(document, indent=2, default=_as_json)
    with told_as_file_error(out / "report.json", "written"):
        (out / "report.json").write_text(text + "\n", encoding="utf-8")


def _as_json(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)

"""What this machine has: versions, processor and optional parts."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple

_PACKAGES = ("taichi-softras", "torch", "taichi", "numpy", "trimesh", "imageio", "tyro")


class Finding(NamedTuple):
    """One line of the report."""

    name: str
    status: Literal["yes", "no"]
    """Is it here?"""
    note: str
    """What it is, or how to get it."""


def versions() -> list[tuple[str, str]]:
    """Names and versions of everything that a bug report should state."""
    found = []
    for name in _PACKAGES:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            found.append((name, "not installed as a package"))
    return [
        *found,
        ("Python", f"{platform.python_version()} ({sys.executable})"),
        ("system", f"{platform.system()} {platform.release()} {platform.machine()}"),
        ("processor", _processor()),
        ("cores", _cores()),
    ]


def optional_parts() -> list[Finding]:
    """Return what rendering does without, and how to get what is missing."""
    if find_spec("imageio_ffmpeg") is None:
        video = Finding("imageio-ffmpeg", "no", "for .mp4: `pip install imageio-ffmpeg`")
    else:
        video = Finding("imageio-ffmpeg", "yes", f"{version('imageio-ffmpeg')}, writes .mp4")
    return [video, _display()]


def _display() -> Finding:
    if sys.platform != "linux":
        return Finding("display", "yes", f"{platform.system()} has windows")
    for variable in ("WAYLAND_DISPLAY", "DISPLAY"):
        if os.environ.get(variable):
            return Finding("display", "yes", f"{variable}={os.environ[variable]}")
    return Finding("display", "no", "only windows need one; over ssh: `ssh -X`")


def _processor() -> str:
    """Return the processor's name, as far as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def _cores() -> str:
    here = os.cpu_count() or 1
    if sys.platform == "linux":
        usable = len(os.sched_getaffinity(0))
        return str(here) if usable == here else f"{usable} usable of {here}"
    return str(here)

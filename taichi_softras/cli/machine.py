"""What this machine has: versions, processor, Taichi's backends and optional parts."""

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple

BACKENDS = ("cuda", "vulkan", "opengl", "metal")
"""Taichi's backends beside the CPU."""

_PACKAGES = ("taichi-softras", "torch", "taichi", "numpy", "trimesh", "imageio", "tyro")
_TIMEOUT = 30.0
# Taichi falls back to the CPU where a backend is missing, and some drivers end the process: so
# each backend is tried in a process of its own, which also has to compute something.
_PROBE = """
import sys
import taichi as ti
ti.init(arch=getattr(ti, sys.argv[1]), offline_cache=False, log_level=ti.ERROR)
field = ti.field(ti.f32, 4)
field.fill(2.0)
print("found", ti.lang.impl.current_cfg().arch.name, field.to_numpy().sum())
"""
_REMEDIES = {
    "cuda": "needs an NVIDIA GPU and its driver: `nvidia-smi` must list it",
    "vulkan": "needs a driver: `sudo apt install libvulkan1 mesa-vulkan-drivers`",
    "opengl": "needs a display and a driver: `sudo apt install libgl1 libegl1`",
    "metal": "needs macOS",
}


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


def probe_backend(name: str) -> Finding:
    """Try a backend of Taichi in a process of its own, however badly that ends."""
    environment = {k: v for k, v in os.environ.items() if k != "TI_ARCH"}
    environment |= {"TI_SKIP_VERSION_CHECK": "ON"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE, name],
            env=environment, capture_output=True, text=True, errors="replace",
            stdin=subprocess.DEVNULL, timeout=_TIMEOUT, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Finding(name, "no", f"did not answer within {_TIMEOUT:.0f} s")
    except OSError as error:
        return Finding(name, "no", f"could not be tried: {error}")
    if f"found {name} 8.0" in done.stdout:
        return Finding(name, "yes", "works in Taichi; not used by this version")
    crashed = "Taichi crashes on it here; " if done.returncode < 0 else ""
    return Finding(name, "no", crashed + _REMEDIES[name])


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

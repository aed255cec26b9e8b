"""Taichi's start-up, once: which backend runs, its number types, and a lock for compilation."""

import contextlib
import os
import threading
from typing import Any, Literal, get_args

os.environ.setdefault("ENABLE_TAICHI_HEADER_PRINT", "0")
os.environ.setdefault("TI_SKIP_VERSION_CHECK", "ON")

import taichi as ti

from taichi_softras.errors import BackendError, check_choice

Arch = Literal["auto", "cpu"]

launch_lock = threading.RLock()
"""Held around kernel launches: Taichi must not compile from two threads at once."""


def init(arch: Arch = "auto") -> str:
    """Start Taichi on a backend, unless it runs already, and return the backend's name.

    Calling this is optional: the first render does it. A host program that called `ti.init`
    itself keeps its Taichi as it is.

    Args:
        arch: "cpu", or "auto", which takes the CPU. Other backends are not implemented yet.

    Raises:
        BackendError: Taichi runs already, on a backend that this version cannot use.
    """
    check_choice("arch", arch, get_args(Arch))
    with launch_lock:
        if ti.lang.impl.get_runtime().prog is None:
            with contextlib.redirect_stdout(None):  # Taichi announces its start unconditionally
                ti.init(arch=ti.cpu, log_level=ti.WARN, offline_cache=True, fast_math=True)
            # What Taichi otherwise does at the first launch, and only in this thread.
            ti.lang.impl.get_runtime().materialize()
    return backend()


def backend() -> str:
    """Name of the running backend.

    Raises:
        BackendError: It is one that this version cannot use.
    """
    name: str = ti.lang.impl.current_cfg().arch.name
    if name not in ("x64", "arm64"):
        raise BackendError(
            f"Taichi runs on {name!r} in this process, but this version of taichi_softras renders "
            "on the CPU only; call `ti.init(arch=ti.cpu)`, or no `ti.init` at all."
        )
    return "cpu"


def thread_count() -> int:
    """Threads of Taichi's CPU backend."""
    return int(ti.lang.impl.current_cfg().cpu_max_num_threads)


def taichi_dtype(name: str) -> Any:
    """Map "float32" and "float64" to Taichi's types."""
    return {"float32": ti.f32, "float64": ti.f64}[name]

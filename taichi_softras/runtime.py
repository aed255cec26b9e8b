"""Taichi's start-up, once: which backend runs, its number types, and a lock for compilation."""

import atexit
import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, get_args

os.environ.setdefault("ENABLE_TAICHI_HEADER_PRINT", "0")
os.environ.setdefault("TI_SKIP_VERSION_CHECK", "ON")

import taichi as ti

from taichi_softras.affinity import spread_workers
from taichi_softras.errors import BackendError, check_choice

Arch = Literal["auto", "cpu", "cuda", "vulkan", "opengl", "metal"]

ARCH_VARIABLE = "SOFTRAS_ARCH"
"""Environment variable that decides what "auto" means."""

launch_lock = threading.RLock()
"""Held around kernel launches: Taichi must not compile from two threads at once."""

REMEDIES = {
    "cuda": "it needs an NVIDIA GPU and its driver (`nvidia-smi` must list it), and a Taichi built "
    "with CUDA",
    "vulkan": "it needs a GPU's driver, or Mesa's software one: on Debian and Ubuntu "
    "`sudo apt install libvulkan1 mesa-vulkan-drivers`",
    "opengl": "it needs a display and a driver; without a screen `sudo apt install xvfb "
    "libgl1-mesa-dri` and run under `xvfb-run`",
    "metal": "it needs macOS on Apple's or AMD's GPUs",
    "cpu": "this Taichi was built without a CPU backend",
}
"""What to do where a backend is missing."""


def init(arch: Arch = "auto", *, tensors_on: str = "cpu") -> str:
    """Start Taichi on a backend, unless it runs already, and return the backend's name.

    Calling this is optional: the first render does it. A host program that called `ti.init`
    itself keeps its Taichi as it is. Nothing falls back silently to another backend.

    Args:
        arch: The backend. "auto" takes what the environment variable SOFTRAS_ARCH says, else CUDA
            if the tensors are there, else the CPU.
        tensors_on: Device type of the tensors at hand, for "auto".

    Raises:
        BackendError: The backend is not there, or Taichi runs already, on another one.
        ArgumentError: `arch` is none of the choices.
    """
    if arch == "auto" and ti.lang.impl.get_runtime().prog is not None:
        _check_process()
        return backend()
    check_choice("arch", arch, get_args(Arch))
    _check_process()
    with launch_lock:
        if ti.lang.impl.get_runtime().prog is None:
            with spread_workers():
                _start(_chosen(tensors_on) if arch == "auto" else arch)
                # What Taichi otherwise does at the first launch, and only in this thread.
                ti.lang.impl.get_runtime().materialize()
            _check_process()
        elif arch not in ("auto", backend()):
            raise BackendError(
                f"`arch` is {arch!r}, but Taichi runs on {backend()!r} in this process already; "
                "choose the backend before the first render, or in a new process."
            )
    return backend()


@dataclass
class _Owner:
    process: int | None = None
    """That started Taichi, or found it running."""
    thread: int | None = None
    """That started Taichi."""
    program: object = None
    """Taichi's, if we started it."""


_owner = _Owner()


def launching() -> AbstractContextManager[Any]:
    """Return the launch lock, to be held where this process and thread may launch kernels.

    Raises:
        BackendError: They may not.
    """
    _check_process()
    starter = _owner.thread or threading.main_thread().ident
    if backend() == "opengl" and threading.get_ident() != starter:
        raise BackendError(
            "Taichi runs on 'opengl', which works in the thread that started it only; render and "
            "call backward there, or use another backend."
        )
    return launch_lock


def _check_process() -> None:
    """Refuse to go on in a forked child, where Taichi's threads are gone and launches hang."""
    if _owner.process is None and ti.lang.impl.get_runtime().prog is not None:
        _owner.process = os.getpid()
    if _owner.process not in (None, os.getpid()):
        raise BackendError(
            "Taichi was started in the parent of this forked process and cannot run here; start "
            "workers with `multiprocessing.get_context('spawn')`, and a DataLoader with "
            "`multiprocessing_context='spawn'`."
        )


def _chosen(tensors_on: str) -> str:
    name = os.environ.get(ARCH_VARIABLE, "").strip().lower() or "auto"
    check_choice(ARCH_VARIABLE, name, get_args(Arch))
    if name != "auto":
        return name
    return "cuda" if tensors_on == "cuda" else "cpu"


def _start(arch: str) -> None:
    if arch == "opengl":
        # Taichi ends the whole process where OpenGL has no display to open.
        _try_elsewhere(arch)
    try:
        with contextlib.redirect_stdout(None), _without_arch_override():
            ti.init(
                arch=getattr(ti, arch),
                enable_fallback=False,
                log_level=ti.WARN,
                offline_cache=True,
                fast_math=True,
            )
    except Exception as error:
        raise BackendError(_missing(arch)) from error
    if backend() != arch:
        raise BackendError(_missing(arch))
    _owner.thread = threading.get_ident()
    _owner.program = ti.lang.impl.get_runtime().prog


@atexit.register
def _end() -> None:
    """End the Taichi that is ours, which writes its offline cache.

    Otherwise it does so only if nobody holds it, and at the end torch leaves alone what it keeps
    for a backward pass: the next process would compile all kernels again.
    """
    program = ti.lang.impl.get_runtime().prog
    if program is None or program is not _owner.program or _owner.process != os.getpid():
        return
    # Kept, as a daemon thread may be rendering still, and must not start Taichi anew.
    if launch_lock.acquire(timeout=10.0):
        ti.reset()


def _missing(arch: str) -> str:
    return f"Taichi cannot run on {arch!r} here: {REMEDIES[arch]}. `softras doctor` lists what can."


@contextlib.contextmanager
def _without_arch_override() -> Iterator[None]:
    """Hide TI_ARCH, which Taichi would obey against what it is told."""
    override = os.environ.pop("TI_ARCH", None)
    try:
        yield
    finally:
        if override is not None:
            os.environ["TI_ARCH"] = override


PROBE = """
import sys
import taichi as ti
ti.init(arch=getattr(ti, sys.argv[1]), enable_fallback=False, offline_cache=False,
        log_level=ti.ERROR)
field = ti.field(ti.f32, 4)
field.fill(2.0)
print("found", ti.lang.impl.current_cfg().arch.name, field.to_numpy().sum())
"""
"""Starts the backend that it is told and computes 8 there."""


def _try_elsewhere(arch: str) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "TI_ARCH"}
    done = subprocess.run(
        [sys.executable, "-c", PROBE, arch],
        env=environment, capture_output=True, text=True, errors="replace",
        stdin=subprocess.DEVNULL, timeout=60.0, check=False,
    )  # fmt: skip
    if f"found {arch} 8.0" not in done.stdout:
        raise BackendError(_missing(arch))


def backend() -> str:
    """Name of the running backend: "cpu", "cuda", "vulkan", "opengl" or "metal".

    Raises:
        BackendError: Taichi has not been started, or runs on a backend that is none of these.
    """
    program = ti.lang.impl.get_runtime().prog
    if program is None:
        raise BackendError("Taichi has not been started; call `taichi_softras.init()`.")
    if program is _named.program:
        return _named.backend
    name: str = ti.lang.impl.current_cfg().arch.name
    name = "cpu" if name in ("x64", "arm64") else name
    if name not in get_args(Arch):
        raise BackendError(
            f"Taichi runs on {name!r} in this process, which taichi_softras cannot use; call "
            "`ti.init(arch=ti.cpu)` or another of ti.cuda, ti.vulkan, ti.opengl, ti.metal, or no "
            "`ti.init` at all."
        )
    _named.program, _named.backend = program, name
    return name


@dataclass
class _Named:
    program: object = None
    """Taichi's program that `backend` was asked about last."""
    backend: str = ""


_named = _Named()


def check_float64(name: str, use: str) -> None:
    """Refuse float64 where the backend lacks it.

    Args:
        name: Argument that asks for float64.
        use: What it is needed for, and what to do instead; ends the sentence.

    Raises:
        BackendError: It is missing.
    """
    if backend() not in ("cpu", "cuda", "vulkan"):
        raise BackendError(f"`{name}` needs float64, which {backend()!r} lacks: {use}.")


def thread_count() -> int:
    """Threads of Taichi's CPU backend."""
    return int(ti.lang.impl.current_cfg().cpu_max_num_threads)


def taichi_dtype(name: str) -> Any:
    """Map "float32" and "float64" to Taichi's types."""
    return {"float32": ti.f32, "float64": ti.f64}[name]

"""Each backend in a process of its own: some drivers end the process, and Taichi starts once."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from taichi_softras import runtime
from taichi_softras.cli.selfcheck import Check
from taichi_softras.errors import BackendError

NAMES: tuple[str, ...] = tuple(name for name in get_args(runtime.Arch) if name != "auto")
"""Every backend that Taichi may have."""

TIMEOUT = 300.0
"""Seconds that a backend gets: the first render compiles."""

# The last line that a process prints begins with this; drivers print too.
_MARK = "taichi_softras says "


@dataclass(frozen=True)
class Report:
    """What a backend did."""

    name: str
    status: Literal["yes", "no", "wrong"]
    """Renders right, is not here, or is here and renders wrong."""
    note: str
    """How to get it, or what went wrong."""
    seconds: float = 0.0
    """The test renders, with compilation."""
    checks: tuple[Check, ...] = ()


def check(name: str) -> Report:
    """Render a test picture on a backend and compare it with the reference."""
    answer = ask(name, "check")
    if "missing" in answer:
        return Report(name, "no", answer["missing"])
    if "failed" in answer:
        return Report(name, "wrong", answer["failed"])
    checks = tuple(Check(*values) for values in answer["checks"])
    notes = [f"{c.name}: {c.note}" for c in checks if c.note]
    status: Literal["yes", "wrong"] = "yes" if all(c.passed for c in checks) else "wrong"
    return Report(name, status, "; ".join(notes), answer["seconds"], checks)


def ask(name: str, task: str, *arguments: str) -> dict[str, Any]:
    """Let a fresh process do a task on a backend.

    Returns:
        What it answered; or "missing": how to get the backend; or "failed": how it ended.
    """
    # Exactly the backend that is asked for, whatever the environment prefers.
    environment = {k: v for k, v in os.environ.items() if k not in ("TI_ARCH", "SOFTRAS_ARCH")}
    package = str(Path(__file__).parents[2])
    environment["PYTHONPATH"] = os.pathsep.join([package, environment.get("PYTHONPATH", "")])
    try:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", __name__, name, task, *arguments],
            env=environment, capture_output=True, text=True, errors="replace",
            stdin=subprocess.DEVNULL, timeout=TIMEOUT, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"failed": f"did not answer within {TIMEOUT:.0f} s"}
    except OSError as error:
        return {"failed": f"could not be tried: {error}"}
    for line in reversed(done.stdout.splitlines()):
        if line.startswith(_MARK):
            answer: dict[str, Any] = json.loads(line.removeprefix(_MARK))
            return answer
    if done.returncode < 0:
        return {"failed": f"the process crashed (signal {-done.returncode})"}
    return {"failed": (done.stderr.strip().splitlines() or ["said nothing"])[-1]}


def _answer(name: str, task: str, arguments: list[str]) -> dict[str, Any]:
    """Do a task in this process."""
    try:
        runtime.init(name)  # type: ignore[arg-type]
    except BackendError:
        return {"missing": runtime.REMEDIES[name]}
    device = "cuda" if name == "cuda" and _torch_has_cuda() else "cpu"
    if task == "check":
        from taichi_softras.cli import selfcheck

        start = time.perf_counter()
        checks = selfcheck.run(device)
        return {"checks": checks, "seconds": time.perf_counter() - start}
    from taichi_softras.cli import parity

    parity.write(Path(arguments[0]), device)
    return {}


def _torch_has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


if __name__ == "__main__":
    print("\n" + _MARK + json.dumps(_answer(sys.argv[1], sys.argv[2], sys.argv[3:])), flush=True)

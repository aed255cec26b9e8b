"""The viewer's frames as files, where there is no window."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from taichi_softras.errors import BackendError
from taichi_softras.io import save_image
from taichi_softras.viewer.session import Session

_FIT_SECONDS = 600.0


def write_frames(session: Session, *, fit_steps: int = 60) -> Iterator[Path]:
    """Write each view as the window would show it, then sweeps, a contact sheet and Python.

    Args:
        session: It is closed at the end; files go to its folder `out`.
        fit_steps: Steps that the fit is shown after.

    Yields:
        Each file, once it is written.

    Raises:
        BackendError: The fit crashed or did not make its steps in ten minutes.
    """
    try:
        for view in ("render", "gradient"):
            session.act(f"view {view}")
            yield _write_frame(session, view)
        session.act("view fit")
        _run_fit(session, fit_steps)
        yield _write_frame(session, "fit")
        session.act("view render")
        session.act("help")
        yield _write_frame(session, "help")
        session.act("help")
        for action in ("picture", "sigma gif", "gamma gif", "sheet", "python"):
            session.act(action)
            session.settle(_FIT_SECONDS)
            if session.alert:
                raise BackendError(session.alert)
            yield Path(session.message.rpartition("saved ")[2])
    finally:
        session.close()


def _write_frame(session: Session, name: str) -> Path:
    path = session.out / f"view_{name}.png"
    save_image(path, np.asarray(session.settle()))
    return path


def _run_fit(session: Session, steps: int) -> None:
    """Advance until the fit has made its steps, then pause it."""
    fit, end = session.fit, time.perf_counter() + _FIT_SECONDS
    session.act("play")
    while fit.steps_made < steps:
        if fit.error or time.perf_counter() > end:
            raise BackendError(fit.error or f"the fit made {fit.steps_made} of {steps} steps.")
        session.advance()
    session.act("play")

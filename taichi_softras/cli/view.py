"""`softras view`: a window with live sigma and gamma."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from tyro import conf

from taichi_softras import viewer
from taichi_softras.cli import terminal
from taichi_softras.cli.render_options import MESH_HELP
from taichi_softras.errors import ArgumentError, BackendError
from taichi_softras.viewer.loop import Toolkit
from taichi_softras.viewer.state import Fit, View

_WINDOW_HELP = (
    "ggui needs a Vulkan device, legacy none; auto takes ggui where a GPU draws it. "
    "The wheel zooms in the legacy window only; right drag, i and o zoom in both."
)


@dataclass(frozen=True)
class ViewArgs:
    """Look at a mesh while sigma and gamma change, at gradients, and at a fit as it runs."""

    mesh: Annotated[str, conf.Positional, conf.arg(metavar="[MESH]", help=MESH_HELP)] = "duck"
    out: Annotated[Path, conf.arg(aliases=["-o"], metavar="OUT")] = Path("out/view")
    """Folder for what is saved."""
    view: View = "render"
    """Which view to begin with; keys 1, 2, 3 change it."""
    fit: Fit = "pictures"
    """What the fit view fits."""
    sigma: float = 1e-4
    """Edge softness at the start, in squared NDC units."""
    gamma: float = 1e-2
    """Depth softness at the start, as a share of far - near."""
    target: Path | None = None
    """Picture of a silhouette (alpha, or white inside) for the gradient view."""
    window: Annotated[Toolkit, conf.arg(help=_WINDOW_HELP)] = "auto"
    headless: bool = False
    """Write the same frames to OUT instead of opening a window."""
    fit_steps: int = 60
    """Steps before the fit view is written, with --headless."""

    def run(self) -> int:
        """Open the window, or write the frames."""
        if self.fit_steps < 0:
            raise ArgumentError(f"`--fit-steps` must not be negative, got {self.fit_steps}.")
        # A frame is many small tensors: torch's threads would only keep Taichi's from their cores.
        torch.set_num_threads(1)
        session = self._session()
        if not self.headless:
            try:
                window = viewer.open_window(self.window)
            except BackendError as error:
                if self.window != "auto":
                    raise
                terminal.complain(f"No window: {error}. Writing frames instead.", "yellow")
            else:
                viewer.run(session, window)
                return 0
        for path in viewer.write_frames(session, fit_steps=self.fit_steps):
            terminal.say(f"Wrote {path}")
        return 0

    def _session(self) -> viewer.Session:
        state = viewer.ViewState(
            view=self.view,
            fit=self.fit,
            sigma=self.sigma,
            gamma=self.gamma,
            target="pose" if self.target is None else "file",
        )
        # a bad sigma or gamma is told here, before any window opens
        state.raster_settings  # noqa: B018
        return viewer.Session(viewer.open_scene(self.mesh, self.target), state, self.out)

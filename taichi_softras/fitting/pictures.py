"""Pictures that tell how a fit went."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from taichi_softras.fitting.fitter import StepReport
from taichi_softras.fitting.metrics import BACKGROUND, picture
from taichi_softras.io import PosedImages, contact_sheet, save_image
from taichi_softras.mesh import Mesh


def plot_losses(history: Sequence[StepReport], path: Path) -> None:
    """Plot the losses of each step, and where the images grew."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    steps = [report.step for report in history]
    for name, label, color in (
        ("silhouette", "silhouette, 1 - IoU", "tab:blue"),
        ("photometric", "photometric, L1", "tab:orange"),
    ):
        values = torch.tensor([getattr(report, name) for report in history])
        axes.plot(steps, values, color=color, alpha=0.25, linewidth=0.8)
        axes.plot(steps, _moving_mean(values, 25), color=color, label=label)
    for before, after in pairwise(history):
        if before.size != after.size:
            axes.axvline(after.step, color="0.7", linewidth=0.8, linestyle="--")
            label = f" {after.size[1]} x {after.size[0]}"
            axes.text(after.step, 1.0, label, color="0.4", va="top", fontsize=8,
                      transform=axes.get_xaxis_transform())  # fmt: skip
    axes.set(xlabel="step", ylabel="loss", yscale="log")
    axes.set_title("Losses of the fit (training views)")
    axes.grid(alpha=0.3, which="both", linewidth=0.5)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)


def save_side_by_side(mesh: Mesh, posed: PosedImages, path: Path, *, most: int = 6) -> None:
    """Save views in the upper row, and the mesh seen likewise in the lower one."""
    shown = posed.subset(range(min(most, len(posed))))
    rows = torch.cat([shown.composite(BACKGROUND), picture(mesh, shown)])
    save_image(path, contact_sheet(rows, columns=len(shown), gap=8))


def frame_of(mesh: Mesh, view: PosedImages) -> Tensor:
    """Put a view and the mesh beside each other, as bytes. [H, 2 W, 3] uint8."""
    pair = torch.cat([view.composite(BACKGROUND)[0], picture(mesh, view, supersample=2)[0]], 1)
    return (pair.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)


def _moving_mean(values: Tensor, width: int) -> Tensor:
    """Mean over the last `width` steps, or as many as there are."""
    sums = torch.cat([torch.zeros(1), values.cumsum(0)])
    last = torch.arange(1, len(values) + 1)
    first = (last - width).clamp(min=0)
    return (sums[last] - sums[first]) / (last - first)

"""The parity of backends as a table and as a picture."""

from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from taichi_softras.cli.parity import GRADIENTS, PICTURES, Difference

_FLOOR = 1e-9
"""Where the picture draws what is exactly equal."""


def print_table(console: Console, differences: list[Difference]) -> None:
    """Print one row a backend and variant, worst differences, and the median over all of them."""
    quantities = (*PICTURES, *GRADIENTS)
    table = Table(
        "", "option", *quantities, "median",
        title="Worst differences from the CPU (gradients: relative)",
        title_justify="left", title_style="bold", box=box.SIMPLE_HEAD,
    )  # fmt: skip
    for backend, variant in dict.fromkeys((d.backend, d.variant) for d in differences):
        row = [d for d in differences if (d.backend, d.variant) == (backend, variant)]
        by_quantity = {d.quantity: d for d in row}
        cells = [
            Text(f"{d.worst:.0e}", "" if d.passed else "bold red")
            if (d := by_quantity.get(quantity))
            else Text("-", "dim")
            for quantity in quantities
        ]
        medians = sorted(d.median for d in row)
        table.add_row(backend, variant, *cells, f"{medians[len(medians) // 2]:.0e}")
    console.print(table)


def draw(differences: list[Difference], path: Path) -> None:
    """Draw one panel a backend: every variant's worst and median differences, and the limits."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(d.backend for d in differences))
    variants = list(dict.fromkeys(d.variant for d in differences))
    figure = Figure(figsize=(5.4 * len(names) + 1.4, 0.32 * len(variants) + 1.6))
    panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, names, strict=True):
        for quantities, color, label in (
            (PICTURES, "tab:blue", "image, alpha, depth"),
            (GRADIENTS, "tab:orange", "gradients"),
        ):
            chosen = [d for d in differences if d.backend == name and d.quantity in quantities]
            rows = [variants.index(d.variant) + (0.15 if color == "tab:orange" else -0.15)
                    for d in chosen]  # fmt: skip
            worst = [max(d.worst, _FLOOR) for d in chosen]
            median = [max(d.median, _FLOOR) for d in chosen]
            axes.scatter(worst, rows, s=18, color=color, label=f"{label}: worst")
            axes.scatter(median, rows, s=10, facecolors="none", edgecolors=color, label="median")
            axes.axvline(chosen[0].limit, color=color, linestyle=":", label="limit")
        axes.set(xscale="log", xlim=(_FLOOR / 2, 1e-2), title=f"{name} against cpu")
        axes.set_yticks(range(len(variants)), variants)
        axes.set_xlabel("difference (equal is drawn at 1e-9)")
        axes.grid(axis="x", alpha=0.3)
    panels[0].invert_yaxis()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=6, fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    figure.savefig(path, dpi=110)

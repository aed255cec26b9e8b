"""The parity of backends as a table and as a picture."""

from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from taichi_softras.cli.parity import GRADIENTS, PICTURES, Difference

_FLOOR = 1e-9
"""Where the picture draws what is exactly equal."""


_HEADERS = ("image", "alpha", "depth", "xyz", "attr.", "bg.", "sigma", "gamma", "texels")


def print_table(console: Console, differences: list[Difference]) -> None:
    """Print a table a backend, one row a variant: worst differences, and the median of them all."""
    for backend in dict.fromkeys(d.backend for d in differences):
        table = Table(
            "", *_HEADERS, "median", box=box.SIMPLE_HEAD, padding=0, show_edge=False,
            title=f"{backend} against cpu: worst differences (gradients relative)",
            title_justify="left", title_style="bold",
        )  # fmt: skip
        table.columns[0].no_wrap = True
        here = [d for d in differences if d.backend == backend]
        for variant in dict.fromkeys(d.variant for d in here):
            row = {d.quantity: d for d in here if d.variant == variant}
            medians = sorted(d.median for d in row.values())
            cells = [_cell(row.get(quantity)) for quantity in (*PICTURES, *GRADIENTS)]
            table.add_row(variant, *cells, f"{medians[len(medians) // 2]:.0e}")
        console.print(table)


def _cell(difference: Difference | None) -> Text:
    if difference is None:
        return Text("-", "dim")
    text = "equal" if difference.worst == 0.0 else f"{difference.worst:.0e}"
    return Text(text, "" if difference.passed else "bold red")


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
            if not chosen:
                continue
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

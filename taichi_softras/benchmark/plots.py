"""Curves of cost against faces, pixels, views and sigma, each from cases that differ in it only."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from taichi_softras.benchmark.cases import Case
from taichi_softras.benchmark.run import Result

AXES: dict[str, tuple[Callable[[Case], float], dict[str, object]]] = {
    "faces": (lambda case: float(case.faces), {"level": 0}),
    "pixels of a view": (lambda case: float(case.size**2), {"size": 1}),
    "views": (lambda case: float(case.views), {"views": 1}),
    "sigma": (lambda case: case.sigma, {"sigma": 1.0}),
}
"""What is on the abscissa, and how to make cases equal that differ in it only."""


def save(results: Sequence[Result], path: Path) -> None:
    """Draw what the results allow to draw; log scales throughout."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.0, 8.0), layout="constrained")
    for axes, (label, (position, same)) in zip(
        figure.subplots(2, 2).flat, AXES.items(), strict=True
    ):
        for case, members in _series(results, same).items():
            ordered = sorted(members, key=lambda result: position(result.case))
            for name in sorted({name for result in ordered for name in result.times}):
                points = [
                    (position(r.case), 1e3 * r.times[name].median)
                    for r in ordered
                    if name in r.times
                ]
                if len(points) > 1:
                    axes.loglog(*zip(*points, strict=True), "o-", label=_label(name, case, label))
        axes.set(xlabel=label, ylabel="forward + backward [ms]")
        axes.grid(alpha=0.3, which="both")
        if axes.lines:
            axes.legend(fontsize=6)
        else:
            axes.text(0.5, 0.5, "not varied in this run", ha="center", transform=axes.transAxes)
    figure.savefig(path, dpi=130)


def _series(results: Sequence[Result], same: dict[str, object]) -> dict[Case, list[Result]]:
    """Group results whose cases differ in one respect."""
    groups: dict[Case, list[Result]] = {}
    for result in results:
        key = replace(result.case, **same)  # type: ignore[arg-type]
        groups.setdefault(key, []).append(result)
    return {key: members for key, members in groups.items() if len(members) > 1}


def _label(name: str, case: Case, varied: str) -> str:
    parts = {
        "faces": f"{case.faces} faces",
        "pixels of a view": f"{case.size}²",
        "views": f"{case.views} views",
        "sigma": f"sigma {case.sigma:g}",
    }
    rest = ", ".join(text for what, text in parts.items() if what != varied)
    return f"{name}, {'silhouette' if case.color == 'none' else 'RGB'}, {rest}"

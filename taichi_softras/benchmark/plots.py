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


MOST_CURVES = 4
"""Groups of cases in one panel; more would not be told apart."""


def save(results: Sequence[Result], path: Path) -> None:
    """Draw what the results allow to draw; log scales throughout, peers dashed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.0, 8.5), layout="constrained")
    panels = zip(figure.subplots(2, 2).flat, AXES.items(), strict=True)
    for axes, (label, (position, same)) in panels:
        series = _longest(_series(results, same), position)
        for k, (case, members) in enumerate(series.items()):
            for name in sorted({name for result in members for name in result.times}):
                ours = name == "taichi_softras"
                points = sorted(
                    {
                        position(r.case): 1e3 * r.times[name].median
                        for r in members
                        if name in r.times
                    }.items()
                )
                if len(points) > 1:
                    axes.loglog(
                        *zip(*points, strict=True), "o-" if ours else "x--", color=f"C{k}",
                        alpha=1.0 if ours else 0.6, label=_label(case, label) if ours else None,
                    )  # fmt: skip
        axes.set(xlabel=label, ylabel="forward + backward [ms]")
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize=8, loc="upper left")
        else:
            axes.text(0.5, 0.5, "not varied in this run", ha="center", transform=axes.transAxes)
    peers = sorted({name for r in results for name in r.times} - {"taichi_softras"})
    if peers:
        figure.suptitle(f"solid: taichi_softras; dashed, in the same colours: {', '.join(peers)}")
    figure.savefig(path, dpi=130)


def _series(results: Sequence[Result], same: dict[str, object]) -> dict[Case, list[Result]]:
    """Group results whose cases differ in one respect."""
    groups: dict[Case, list[Result]] = {}
    for result in results:
        key = replace(result.case, **same)  # type: ignore[arg-type]
        groups.setdefault(key, []).append(result)
    return groups


def _longest(
    groups: dict[Case, list[Result]], position: Callable[[Case], float]
) -> dict[Case, list[Result]]:
    """Keep the groups that say most: those with at least half as many points as the longest."""
    lengths = {key: len({position(r.case) for r in members}) for key, members in groups.items()}
    enough = max(2, max(lengths.values(), default=0) // 2)
    kept = sorted((key for key in groups if lengths[key] >= enough), key=lambda k: -lengths[k])
    return {key: groups[key] for key in kept[:MOST_CURVES]}


def _label(case: Case, varied: str) -> str:
    parts = {
        "faces": f"{case.faces} faces",
        "pixels of a view": f"{case.size}²",
        "views": f"{case.views} view{'s' if case.views > 1 else ''}",
        "sigma": f"sigma {case.sigma:g}",
    }
    rest = ", ".join(text for what, text in parts.items() if what != varied)
    return f"{'silhouette' if case.color == 'none' else 'RGB + alpha'}, {rest}"

"""`softras bench`: how fast rendering is here, beside others, and how near the machine's limit."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from tyro import conf

from taichi_softras.benchmark import plots, roofline
from taichi_softras.benchmark.cases import SUITES, Suite
from taichi_softras.benchmark.run import Result, run
from taichi_softras.cli import machine, terminal
from taichi_softras.errors import ArgumentError

_GROUPS = (
    ("bin_faces", "setup", "count", "emit", "sort_pass", "finish"),
    ("forward",),
    ("pack_pixels", "adjoint", "gather_corners", "gather_attributes"),
)
"""Kernels of the stages; CPUs have fewer and larger ones."""

_UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True)
class BenchArgs:
    """Time rendering and its gradients, after checking them; peers beside it in the same run."""

    suite: Suite = "standard"
    """quick: seconds; standard: a minute; full: many, up to 1.3 million faces and 64 views."""
    peers: tuple[str, ...] = ("deodr",)
    """Others to time in turns with it: deodr (if installed), dense (plain torch; slow)."""
    seconds: float = 2.0
    """How long each case is timed."""
    torch_threads: int = 1
    """Threads of torch; idle ones of its OpenMP spin, and take cores from the kernels."""
    output: Annotated[Path | None, conf.arg(aliases=["-o"], metavar="FOLDER")] = None
    """Where to write bench.json and bench.png."""

    def run(self) -> int:
        """Measure, print, save."""
        if self.torch_threads < 1:
            raise ArgumentError(f"`torch_threads` must be at least 1, got {self.torch_threads}.")
        torch.set_num_threads(self.torch_threads)
        results: list[Result] = []
        cases = SUITES[self.suite]
        with terminal.progress("Timing") as advance:
            peaks = roofline.measure_peaks()
            for result in run(cases, self.peers, self.seconds):
                results.append(result)
                advance(len(results), len(cases))
        console = Console()
        # Wide enough for the tables where the output is not a terminal.
        console.width = max(console.width, 132)
        console.print(_times(results))
        console.print(_kernels(results, peaks))
        for name, reason in sorted({item for r in results for item in r.skipped.items()}):
            terminal.say(f"{name} left out: {reason}")
        terminal.say(
            f"Peaks measured here: {_short(peaks.flops)}flop/s (float32 matrix product), "
            f"{_short(peaks.bandwidth)}B/s (copy)."
        )
        if self.output is not None:
            _save(self.output, results, peaks)
        return 0


_CASE = ("kind", "views", "size", "faces", "sigma")


def _case(result: Result) -> tuple[str, ...]:
    case = result.case
    kind = "alpha" if case.color == "none" else "RGB + alpha"
    return kind, str(case.views), f"{case.size}²", str(case.faces), f"{case.sigma:g}"


def _times(results: list[Result]) -> Table:
    peers = sorted({name for r in results for name in r.times} - {"taichi_softras"})
    table = Table(
        *_CASE, "median ms", "min", "spread", *(f"x {p}" for p in peers), "memory",
        box=box.SIMPLE_HEAD, title="Forward + backward, to the vertices",
    )  # fmt: skip
    for result in results:
        ours = result.times["taichi_softras"]
        ratios = (result.ratio(name) for name in peers)
        memory = "" if result.peak_memory is None else f"{_short(result.peak_memory)}B"
        table.add_row(
            *_case(result),
            *(f"{1e3 * t:.2f}" for t in (ours.median, ours.minimum, ours.spread)),
            *("" if ratio is None else f"{ratio:.2g}" for ratio in ratios),
            memory,
        )
    return table


def _kernels(results: list[Result], peaks: roofline.Peaks) -> Table:
    table = Table(
        *_CASE, "pairs", "fwd ns", "adj ns", "bin %", "(setup)", "fwd %", "adj %", "(gather)",
        "other ms", "peak", box=box.SIMPLE_HEAD,
        title="Where it goes: core ns a pair, shares of the time, share of the peak flop/s\n"
        "(in brackets: a part of the column before)",
    )  # fmt: skip
    for result in results:
        stages, total = result.profile.stages, result.profile.stages["total"]
        shares = [sum(stages.get(stage, 0.0) for stage in group) for group in _GROUPS]
        percent = [f"{100.0 * seconds / total:.0f}" for seconds in shares]
        for after, part in ((1, "setup"), (4, "gather")):
            seconds = result.profile.alone.get(part)
            percent.insert(after, "" if seconds is None else f"({100.0 * seconds / total:.0f})")
        work, reached = result.profile.work, result.reached(peaks)
        table.add_row(
            *_case(result),
            "" if work is None else _short(work.pairs),
            *(f"{result.ns_per_pair(s) or 0.0:.1f}" for s in ("forward", "adjoint")),
            *percent,
            f"{1e3 * (total - sum(shares)):.2f}",
            "" if reached is None else f"{100.0 * reached['flops']:.0f} %",
        )
    return table


def _save(folder: Path, results: list[Result], peaks: roofline.Peaks) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = {
        "machine": dict(machine.versions()),
        "torch_threads": torch.get_num_threads(),
        "peaks": peaks._asdict(),
        "results": [result.as_json(peaks) for result in results],
    }
    (folder / "bench.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    plots.save(results, folder / "bench.png")
    terminal.say(f"Wrote {folder / 'bench.json'} and {folder / 'bench.png'}.")


def _short(number: float) -> str:
    for unit, letter in _UNITS:
        if number >= unit:
            return f"{number / unit:.3g} {letter}"
    return f"{number:.3g} "

"""The progress bar of `softras fit`: steps, losses and softness."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from taichi_softras.fitting import StepReport


@contextmanager
def fit_progress(steps: int, done: int) -> Iterator[Callable[[StepReport], None]]:
    """Show a bar on stderr, if that is a terminal.

    Args:
        steps: Number of steps in all.
        done: Number of steps made before.

    Yields:
        To be called with each step's report.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("Fitting"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=steps, completed=done)
        smooth: list[float] = []

        def tell(report: StepReport) -> None:
            smooth[:] = [*smooth[-24:], report.silhouette, report.photometric]
            even, odd = smooth[::2], smooth[1::2]
            bar.update(
                task,
                completed=report.step + 1,
                description=(
                    f"1-IoU {sum(even) / len(even):.3f}  L1 {sum(odd) / len(odd):.3f}  "
                    f"{report.size[1]}x{report.size[0]} px"
                ),
            )

        yield tell

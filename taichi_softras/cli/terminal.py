"""What every command says to the terminal, and how."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text


def say(text: str, style: str = "") -> None:
    """Print a line of results; it is never cut or broken, so that paths can be copied."""
    Console().print(Text(text, style), soft_wrap=True)


def complain(text: str, style: str) -> None:
    """Print a line to stderr."""
    Console(stderr=True).print(Text(text, style), soft_wrap=True)


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Print warnings as one yellow line each, without the source line that raised them.

    Faces that are skipped because a camera sees them exactly edge-on are no news here.
    """

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        complain(f"Warning: {message}", "yellow")

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".* degenerate")
        warnings.showwarning = show
        yield


@contextmanager
def progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on stderr, if that is a terminal.

    Args:
        label: What is being done.

    Yields:
        To be called with the number done and the number in all.
    """
    console = Console(stderr=True)
    columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)

"""Which commands there are, and how each of them ends."""

import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Protocol

import tyro

from taichi_softras.cli import terminal
from taichi_softras.cli.bench import BenchArgs
from taichi_softras.cli.doctor import DoctorArgs
from taichi_softras.cli.fit import FitArgs
from taichi_softras.cli.render import RenderArgs
from taichi_softras.cli.view import ViewArgs
from taichi_softras.errors import SoftRasError

COMMANDS: dict[str, Callable[..., "Command"]] = {
    "render": RenderArgs,
    "fit": FitArgs,
    "view": ViewArgs,
    "bench": BenchArgs,
    "doctor": DoctorArgs,
}
"""The dataclass of each command; its docstring and its fields' docstrings are the help text."""

_DESCRIPTION = (
    "Draw meshes, and fit meshes to pictures, by soft rasterization.\n"
    "`softras COMMAND --help` explains a command, `softras --version` says which this is."
)


class Command(Protocol):
    """What was asked for, ready to be done."""

    def run(self) -> int:
        """Do it and return the exit code."""
        ...


def main(argv: Sequence[str] | None = None) -> int:
    """Run `softras`.

    Args:
        argv: Arguments without the program's name; by default those of the process.

    Returns:
        The exit code: 0, what the command says, 2 after an error that is told in one sentence,
        130 after Ctrl-C, or 141 where nobody reads the output any more (`softras | head`).

    Raises:
        SystemExit: tyro printed the help (0), or could not understand the arguments (2).
    """
    try:
        try:
            return _run(argv)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # What is still buffered would be written, and fail, when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _run(argv: Sequence[str] | None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments in (["--version"], ["-V"]):
        print(f"softras {version('taichi-softras')}")
        return 0
    command: Command = tyro.extras.subcommand_cli_from_dict(
        COMMANDS,
        prog="softras",
        description=_DESCRIPTION,
        args=arguments or ["--help"],
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
    )
    with terminal.plain_warnings():
        try:
            return command.run()
        except SoftRasError as error:
            terminal.complain(f"Error: {error}", "bold red")
            return 2
        except KeyboardInterrupt:
            terminal.complain("Interrupted.", "yellow")
            return 130

"""The command line, `softras`."""

from taichi_softras.cli.commands import main as main

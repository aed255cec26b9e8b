"""`softras doctor`: what this machine has, whether rendering works, and what is missing."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from taichi_softras import runtime
from taichi_softras.cli import machine, selfcheck, terminal
from taichi_softras.errors import BackendError


@dataclass(frozen=True)
class DoctorArgs:
    """Report versions, backends and missing parts; exit code 1 if a test render is wrong."""

    def run(self) -> int:
        """Print the report."""
        console = Console()
        with ThreadPoolExecutor() as pool:
            backends = [pool.submit(machine.probe_backend, name) for name in machine.BACKENDS]
            _print_versions(console)
            with Console(stderr=True).status("Rendering a test picture (the first time compiles)"):
                checks = selfcheck.run()
            _print_checks(console, checks)
            passed = all(check.passed for check in checks)
            rows = [_cpu(passed), *(backend.result() for backend in backends)]
        _print_findings(console, "Taichi's backends (this version renders on the CPU only)", rows)
        _print_findings(console, "Optional parts", machine.optional_parts())
        if passed:
            terminal.say("All well: taichi_softras renders correctly here.", "bold green")
            return 0
        terminal.say("Rendering is not right on this machine: see the checks above.", "bold red")
        return 1


def _print_versions(console: Console) -> None:
    table = _table("Versions", "", "")
    for name, value in machine.versions():
        table.add_row(name, Text(value))
    console.print(table)


def _print_checks(console: Console, checks: list[selfcheck.Check]) -> None:
    table = _table(
        "Test render against the reference",
        "",
        "error",
        "limit",
        "",
    )
    for check in checks:
        verdict = Text("pass", "green") if check.passed else Text("FAIL", "bold red")
        table.add_row(check.name, f"{check.error:.1e}", f"{check.limit:.0e}", verdict)
    console.print(table)
    for check in checks:
        if check.note:
            terminal.say(f"{check.name}: {check.note}", "red")


def _cpu(passed: bool) -> machine.Finding:
    try:
        runtime.backend()
        note = f"used, with {runtime.thread_count()} threads"
    except BackendError as error:
        note = str(error)
    return machine.Finding("cpu", "yes" if passed else "no", note)


def _print_findings(console: Console, title: str, findings: Iterable[machine.Finding]) -> None:
    table = _table(title, "", "", "")
    for finding in findings:
        style = "green" if finding.status == "yes" else "yellow"
        table.add_row(finding.name, Text(finding.status, style), Text(finding.note))
    console.print(table)


def _table(title: str, *headers: str) -> Table:
    table = Table(
        *headers,
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD if any(headers) else box.SIMPLE,
        show_header=any(headers),
    )
    table.columns[0].min_width = 16
    return table

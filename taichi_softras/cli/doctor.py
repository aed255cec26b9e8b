"""`softras doctor`: does everything work here, on which backends, and if not, what is missing?"""

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from tyro import conf

from taichi_softras.cli import backends, machine, parity, parity_report, terminal

_STYLES = {"yes": "green", "no": "yellow", "wrong": "bold red"}


@dataclass(frozen=True)
class DoctorArgs:
    """Report versions, backends and missing parts; exit code 1 if a backend renders wrong."""

    parity: bool = False
    """Also compare every option on every backend with the CPU: a table, parity.png, parity.json."""
    out: Annotated[Path, conf.arg(aliases=["-o"], metavar="DIR")] = Path("out/parity")
    """Where --parity writes."""

    def run(self) -> int:
        """Print the report."""
        console = Console()
        _print_versions(console)
        reports = _try_backends()
        _print_backends(console, reports)
        _print_findings(console, "Optional parts", machine.optional_parts())
        well = reports[0].status == "yes" and all(r.status != "wrong" for r in reports)
        if self.parity:
            well &= self._compare(console, reports)
        if well:
            terminal.say("All well: taichi_softras renders correctly here.", "bold green")
            return 0
        terminal.say("Rendering is not right on this machine: see above.", "bold red")
        return 1

    def _compare(self, console: Console, reports: list[backends.Report]) -> bool:
        """Write the parity report; was everything within its limits?"""
        names = tuple(r.name for r in reports if r.status == "yes" and r.name != "cpu")
        if not names:
            terminal.say("No backend beside the CPU: nothing to compare.", "yellow")
            return True
        with Console(stderr=True).status("Comparing every option with the CPU (some minutes)"):
            differences, missing = parity.compare(names)
        parity_report.print_table(console, differences)
        for name, trouble in missing.items():
            terminal.say(f"{name}: {trouble}", "red")
        self.out.mkdir(parents=True, exist_ok=True)
        entries = [{**d._asdict(), "passed": d.passed} for d in differences]
        (self.out / "parity.json").write_text(json.dumps(entries, indent=1), encoding="utf-8")
        parity_report.draw(differences, self.out / "parity.png")
        terminal.say(f"Wrote {self.out / 'parity.png'} and {self.out / 'parity.json'}")
        return not missing and all(d.passed for d in differences)


def _try_backends() -> list[backends.Report]:
    status = "Rendering a test picture on every backend (the first time compiles)"
    with Console(stderr=True).status(status), ThreadPoolExecutor(2) as pool:
        return list(pool.map(backends.check, backends.NAMES))


def _print_versions(console: Console) -> None:
    table = _table("Versions", "", "")
    for name, value in machine.versions():
        table.add_row(name, Text(value))
    console.print(table)


def _print_backends(console: Console, reports: list[backends.Report]) -> None:
    """Print each backend's largest errors against the dense reference, then what is missing."""
    headers = ("", "", "float32 picture, gradient", "float64 picture, gradient", "seconds")
    table = _table("Test render on every backend: errors against the reference", *headers)
    for report in reports:
        cells = [_errors(report, precision) for precision in ("float32", "float64")]
        seconds = f"{report.seconds:.1f}" if report.checks else ""
        table.add_row(report.name, Text(report.status, _STYLES[report.status]), *cells, seconds)
    console.print(table)
    for report in reports:
        if report.note:
            terminal.say(f"  {report.name}: {report.note}.", "red" * (report.status == "wrong"))
    console.print()


def _errors(report: backends.Report, precision: str) -> Text:
    checks = [c for c in report.checks if c.name.startswith(precision)]
    text = ", ".join("-" if c.error is None else f"{c.error:.0e}" for c in checks)
    return Text(text or "-", "" if all(c.passed for c in checks) else "bold red")


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
    table.columns[0].min_width = 16 if not any(headers) else 6
    return table

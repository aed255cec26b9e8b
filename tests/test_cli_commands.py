import subprocess
import sys
import warnings
from dataclasses import dataclass
from importlib.metadata import version

import pytest

from taichi_softras.cli import commands, main


def help_text(capsys, *argv):
    with pytest.raises(SystemExit) as exit_info:
        main([*argv])
    assert exit_info.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("argv", [[], ["--help"]])
def test_help_mentions_every_command(argv, capsys):
    text = help_text(capsys, *argv)
    for name in commands.COMMANDS:
        assert name in text
    assert "--version" in text


def test_every_command_explains_itself(capsys):
    for name in commands.COMMANDS:
        assert f"softras {name}" in help_text(capsys, name, "--help")


def test_version_is_that_of_the_package(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"softras {version('taichi-softras')}\n"


@pytest.mark.parametrize("argv", [["rendr"], ["render", "cube", "-o", "x", "--sigm", "1"]])
def test_wrong_flags_exit_with_2(argv, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(argv)
    assert exit_info.value.code == 2
    assert "Unrecognized" in (said := capsys.readouterr().err) or "invalid choice" in said


def test_an_interrupt_exits_with_130_and_a_line(monkeypatch, capsys):
    @dataclass
    class Interrupted:
        def run(self):
            raise KeyboardInterrupt

    monkeypatch.setitem(commands.COMMANDS, "doctor", Interrupted)
    assert main(["doctor"]) == 130
    assert capsys.readouterr().err == "Interrupted.\n"


def test_a_warning_is_one_line(monkeypatch, capsys):
    @dataclass
    class Warned:
        def run(self):
            warnings.warn("something is odd", stacklevel=1)
            return 0

    monkeypatch.setitem(commands.COMMANDS, "doctor", Warned)
    assert main(["doctor"]) == 0
    assert capsys.readouterr().err == "Warning: something is odd\n"


@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_output_that_nobody_reads_ends_quietly(flag):
    code = f"import sys; from taichi_softras.cli import main; sys.exit(main(['{flag}']))"
    program = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    program.stdout.close()
    _, said = program.communicate()
    assert said == b""
    assert program.returncode == 141


def test_the_installed_program_reports_errors_without_traceback(tmp_path):
    program = [
        sys.executable,
        "-c",
        "import sys; from taichi_softras.cli import main; sys.exit(main())",
    ]
    done = subprocess.run(
        [*program, "render", "nosuch", "-o", str(tmp_path / "x")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("Error: `nosuch` is neither")
    assert "Traceback" not in done.stderr

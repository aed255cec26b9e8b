"""What the README says, done: its Python runs, its commands and links exist."""

import re
import runpy
import shlex
from pathlib import Path

import pytest

from taichi_softras.cli import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
TAPE = (ROOT / "docs" / "tape.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language, text=README):
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_the_python_runs_as_written(arch, capsys):
    code, _ = blocks("python")
    exec(compile(code, "README.md", "exec"), {})
    said = re.search(r"1 - IoU: ([\d.]+)", capsys.readouterr().out)
    assert float(said[1]) < 0.08  # the README says about 0.05


@pytest.mark.parametrize(
    "code", [blocks("python")[1], blocks("python", TAPE)[0]], ids=["README", "tape"]
)
def test_the_python_of_the_tape_runs_as_written(arch, code, tmp_path):
    script = tmp_path / "snippet.py"  # Taichi reads the source of kernels
    script.write_text(code, encoding="utf-8")
    scope = runpy.run_path(str(script))
    assert scope["renderer"].vertices.grad.to_numpy().any()


def test_it_has_one_screen_of_code():
    for code in blocks("python"):
        assert len(code.splitlines()) <= 17


def help_of(capsys, *command):
    with pytest.raises(SystemExit) as end:
        main([*command, "--help"])
    assert end.value.code == 0
    return capsys.readouterr().out


def test_every_command_and_flag_exists(capsys):
    spoken = re.findall(r"softras ((?:render|fit|doctor)\b[^`\n]*)", README)
    assert {line.split()[0] for line in spoken} == {"render", "fit", "doctor"}
    for line in spoken:
        command, *arguments = shlex.split(line)
        text = help_of(capsys, command)
        for flag in (a for a in arguments if a.startswith("-")):
            assert flag in text, f"softras {line}"
    fit = help_of(capsys, "fit")
    assert all(flag in fit for flag in re.findall(r"`(--[a-z-]+)`", README))


def test_the_set_up_commands_name_what_there_is():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")  # tomllib is new in 3.11
    extras = re.findall(r"^(\w+) = \[", project.split("[project.optional-dependencies]")[1], re.M)
    commands = blocks("sh")
    assert len(commands) == 2
    for command in commands:
        assert re.search(r"\.\[(\w+)\]", command)[1] in extras
        assert (ROOT / re.search(r"-c (\S+)", command)[1]).is_file()
    assert "softras = " in project.split("[project.scripts]")[1]
    assert "pytest-xdist" in project  # for -n


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_paths_in_the_docs_exist():
    for page in PAGES:
        for name in re.findall(r"`((?:tests|docs|taichi_softras)/[\w./]+)`", page.read_text()):
            assert (ROOT / name).exists(), f"{page.name}: {name}"


def test_pictures_are_small():
    size = sum(path.stat().st_size for path in (ROOT / "docs" / "images").iterdir())
    assert size < 600_000

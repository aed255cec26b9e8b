"""Opening files so that whatever goes wrong is told as one `FileError` that names the file."""

import os
import sys
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import TypeAlias

from taichi_softras.errors import FileError, SoftRasError

AnyPath: TypeAlias = str | PathLike[str]


def existing_file(path: AnyPath, want: str) -> Path:
    """Return `path` as a `Path` to a file that exists and is not empty.

    Args:
        path: What the caller gave.
        want: What should be there, with its article: "a mesh", "an image".

    Raises:
        FileError: There is nothing there, or a folder, or an empty file.
    """
    found = Path(path)
    if found.is_dir():
        raise FileError(f"`{found}` is a folder; {want} file was expected.")
    if not found.is_file():
        raise FileError(f"`{found}` does not exist; {want} file was expected.")
    if found.stat().st_size == 0:
        raise FileError(f"`{found}` is empty (0 bytes); {want} was expected.")
    return found


def known_suffix(path: Path, known: Collection[str], want: str) -> str:
    """Return the lower-case extension of `path`, which must be one of `known`."""
    suffix = path.suffix.lower()
    if suffix not in known:
        got = f"the extension {suffix!r}" if suffix else "no extension"
        raise FileError(f"`{path}` has {got}; {want} is one of {', '.join(known)}.")
    return suffix


def make_parent(path: AnyPath) -> Path:
    """Create the folder that `path` is to be written in, and return `path` as a `Path`."""
    target = Path(path)
    with told_as_file_error(target, "written: its folder cannot be made"):
        target.parent.mkdir(parents=True, exist_ok=True)
    return target


@contextmanager
def told_as_file_error(path: Path, outcome: str) -> Iterator[None]:
    """Turn any exception of a file library into a `FileError` on `path`.

    Args:
        path: The file at hand.
        outcome: Ends "`path` cannot be ...", for example "read as an image".
    """
    try:
        yield
    except SoftRasError:
        raise
    except Exception as cause:  # libraries raise everything from struct.error to RecursionError
        reason = " ".join(str(cause).split()) or type(cause).__name__
        raise FileError(f"`{path}` cannot be {outcome}: {reason}") from cause


def warn_caller(message: str) -> None:
    """Warn of something in a file, at the line that called this package."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals["__name__"].startswith("taichi_softras."):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)


def write_together(files: Mapping[Path, bytes]) -> None:
    """Write files that belong together: beside their places first, then all into them.

    What fails before the last step leaves everything as it was. Links are written through.

    Raises:
        FileError: A file cannot be written.
    """
    fresh: dict[Path, Path] = {}
    try:
        for i, (path, data) in enumerate(files.items()):
            with told_as_file_error(path, "written"):
                target = path.resolve()
                if target.is_dir():
                    raise IsADirectoryError("it is a folder")
                fresh[target] = target.with_name(f".softras-{os.getpid()}-{i}.new")
                fresh[target].write_bytes(data)
        for target, made in fresh.items():
            with told_as_file_error(target, "written"):
                made.replace(target)
    finally:
        for made in fresh.values():
            made.unlink(missing_ok=True)

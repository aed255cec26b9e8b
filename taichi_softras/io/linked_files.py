"""Files that a mesh file names: found beside it, and nowhere else."""

import os
import re
from pathlib import Path

from taichi_softras.errors import FileError

# "C:...", "file:...", "http://...": drives and URIs, absolute paths, and homes. (A colon alone is
# no reason: some programs write "namespace:name.png".)
_ELSEWHERE = re.compile(r"[A-Za-z]:|file:|[A-Za-z][A-Za-z0-9+.-]*:/|[/\\]|~", re.IGNORECASE)


def linked_file(mesh: Path, name: str) -> Path | None:
    """Return the file that a mesh file calls `name`, or None where there is no such file.

    A mesh may come from anywhere, so what it names must lie in its folder or below. A link is
    followed as far as the folder that the mesh itself is a link into: stores that keep every file
    behind a link can be read, and an archive cannot point out of itself.

    Args:
        mesh: The mesh file.
        name: As the mesh has it, relative to its folder; backslashes may separate folders.

    Raises:
        FileError: `name` is no name below the folder of the mesh, or a link out of it.
    """
    plain = name.replace("\\", "/")
    if not name.strip() or "\0" in name:
        raise FileError(f"`{mesh}` names a file {name[:60]!r}, which is no name of a file.")
    if _ELSEWHERE.match(name) or os.path.normpath(plain).split(os.sep)[0] == os.pardir:
        raise _outside(mesh, name)
    for candidate in dict.fromkeys((name, plain)):
        path = mesh.parent / candidate
        try:
            if not path.is_file():
                continue
            real = path.resolve()
        except OSError as cause:  # too long a name, or links in a circle
            raise FileError(f"`{mesh}` names `{name[:200]}`: {cause.strerror}.") from cause
        homes = (mesh.parent.resolve(), mesh.resolve().parent)
        if not any(real.is_relative_to(home) for home in homes):
            raise _outside(mesh, name)
        return path
    return None


def linked_bytes(mesh: Path, name: str) -> bytes | None:
    """Read the file that a mesh file calls `name`; None where there is no such file."""
    path = linked_file(mesh, name)
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as cause:
        raise FileError(f"`{path}` cannot be read: {cause.strerror}.") from cause


def _outside(mesh: Path, name: str) -> FileError:
    return FileError(
        f"`{mesh}` names the file `{name}`, which is not in the folder of the mesh. Only files in "
        "it and below are read: copy it there, and name it relative to the mesh."
    )

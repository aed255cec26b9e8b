"""Files that a mesh file names: found beside it, and nowhere else."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

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


class LinkedFiles:
    """The files of a mesh as trimesh asks for them, by URI.

    trimesh goes on without what it cannot open, so what was refused is kept for `check`.
    """

    def __init__(self, mesh: Path, held: Mapping[str, bytes]) -> None:
        """Take the mesh file, and what is at hand without opening any other."""
        self._mesh, self._held = mesh, held
        self._refused: FileError | None = None
        self.missing: set[str] = set()

    def __getitem__(self, uri: str) -> bytes:
        """Read a file; KeyError where there is none."""
        if uri in self._held:
            return self._held[uri]
        try:
            data = linked_bytes(self._mesh, unquote(uri))
        except FileError as cause:
            self._refused = cause
            raise
        if data is None:
            self.missing.add(uri)
            raise KeyError(f"`{uri[:200]}`, which it needs, is not there")
        return data

    def check(self) -> None:
        """Raise what was refused."""
        if self._refused is not None:
            raise self._refused


def _outside(mesh: Path, name: str) -> FileError:
    return FileError(
        f"`{mesh}` names the file `{name}`, which is not in the folder of the mesh. Only files in "
        "it and below are read: copy it there, and name it relative to the mesh."
    )

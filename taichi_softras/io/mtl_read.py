"""Material libraries of OBJ files."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from taichi_softras.errors import FileError
from taichi_softras.io.files import warn_caller
from taichi_softras.io.linked_files import linked_bytes, linked_file
from taichi_softras.io.skin import MAX_COLOR, Material
from taichi_softras.io.texture_images import TextureImages
from taichi_softras.texture_maps import Wrap

# How many words follow each option of a map; -o, -s and -t have one to three numbers.
_OPTIONS = {
    "-blendu": 1, "-blendv": 1, "-boost": 1, "-bm": 1, "-cc": 1, "-clamp": 1, "-imfchan": 1,
    "-mm": 2, "-o": 3, "-s": 3, "-t": 3, "-texres": 1, "-type": 1, "-colorspace": 1,
}  # fmt: skip
_NO_KD = (0.4, 0.4, 0.4)
_MOVES = ("-o", "-s", "-t")


@dataclass(frozen=True)
class MtlMaterial:
    """One `newmtl`: its own colour, and the image that replaces it."""

    name: str
    color: tuple[float, float, float] | None = None
    image: str = ""
    """As the library names it; "" where there is none."""
    wrap: Wrap = "wrap"


def read_libraries(obj: Path, names: list[str]) -> dict[str, MtlMaterial]:
    """Read what the `mtllib` lines of an OBJ name; of materials called the same the first counts.

    What is not there is warned about.
    """
    materials: dict[str, MtlMaterial] = {}
    for name in dict.fromkeys(names):
        for each in _files(obj, name):
            data = linked_bytes(obj, each)
            if data is None:
                warn_caller(f"`{obj}` names the materials `{each}`, which cannot be read; its "
                              "faces get no material colours.")  # fmt: skip
                continue
            for material in _parse(obj.parent / each, data.decode("utf-8", errors="replace")):
                materials.setdefault(material.name, material)
    return materials


def _files(obj: Path, rest: str) -> list[str]:
    """Split an `mtllib` line: it names one file, spaces and all, or several."""
    if linked_file(obj, rest) is not None:
        return [rest]
    words = rest.split()
    return words if any(linked_file(obj, word) is not None for word in words) else [rest]


def dressed(obj: Path, found: MtlMaterial, images: TextureImages) -> Material:
    """Open a material's image, which stands in place of its colour: Kd does not multiply it.

    An image that is not there is warned about, and the colour taken.
    """
    plain = Material(found.name, _NO_KD if found.color is None else found.color)
    if not found.image:
        return plain
    path = linked_file(obj, found.image)
    if path is None:
        warn_caller(f"`{obj}` needs the texture `{found.image}`, which is not there; the plain "
                      "colour of its material is taken.")  # fmt: skip
        return plain
    texels = images.get(path, lambda: linked_bytes(obj, found.image) or b"", f"`{path}`")
    return replace(plain, color=(1.0, 1.0, 1.0), image=texels, wrap=found.wrap)


def _parse(path: Path, text: str) -> list[MtlMaterial]:
    materials: list[MtlMaterial] = []
    for number, raw in enumerate(re.sub(r"\\\r?\n", " ", text).splitlines(), 1):
        key, rest = [*raw.split(None, 1), "", ""][:2]
        rest = rest.strip()
        if key == "newmtl":
            materials.append(MtlMaterial(rest))
        elif not materials or key.startswith("#"):
            continue
        elif key == "Kd":
            materials[-1] = replace(materials[-1], color=_color(path, number, rest))
        elif key.lower() == "map_kd" and rest:
            image, wrap = _map(path, number, rest)
            materials[-1] = replace(materials[-1], image=image, wrap=wrap)
    return materials


def _color(path: Path, number: int, rest: str) -> tuple[float, float, float] | None:
    """Read "r g b", or "r" for a grey; the kinds `spectral` and `xyz` are left out."""
    words = rest.split()[:3]
    if words[:1] in (["spectral"], ["xyz"]):
        return None
    try:
        r, g, b = [float(word) for word in words] * (3 if len(words) == 1 else 1)
        if not max(abs(r), abs(g), abs(b)) < MAX_COLOR:  # NaN is not
            raise ValueError
    except ValueError:
        raise FileError(f"`{path}` is damaged: line {number}, Kd has {rest[:60]!r}.") from None
    return r, g, b


def _map(path: Path, number: int, rest: str) -> tuple[str, Wrap]:
    """Read options and a file name, which may have spaces."""
    wrap: Wrap = "wrap"
    moves = []
    while True:
        word, _, after = rest.partition(" ")
        if word not in _OPTIONS or not after.strip():
            break
        values = after.split()
        count = min(_OPTIONS[word], len(values))
        if word in _MOVES:
            moves.append(word)
            count = 1 + sum(_is_number(value) for value in values[1:count])
        if word == "-clamp" and values[0] == "on":
            wrap = "clamp"
        rest = re.sub(r"\s*\S+" * count, "", after, count=1).strip()
    if moves:
        warn_caller(f"`{path}` moves a texture in line {number} ({' '.join(moves)}), which is "
                      "not done.")  # fmt: skip
    return rest, wrap


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True

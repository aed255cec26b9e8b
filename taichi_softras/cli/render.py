"""`softras render`: pictures of a mesh."""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

from torch import Tensor
from tyro import conf

from taichi_softras import scenes
from taichi_softras.camera import Camera
from taichi_softras.cli import scene_folder, terminal
from taichi_softras.cli.drawing import Drawing, laid_over, parse_color, prepare
from taichi_softras.cli.render_options import (
    MESH_HELP,
    CameraArgs,
    FolderArgs,
    LightArgs,
    LookArgs,
    PictureArgs,
    TurntableArgs,
)
from taichi_softras.errors import ArgumentError, FileError
from taichi_softras.io import save_image, save_video

_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
_TRANSPARENT = (".png", ".webp", ".tif", ".tiff")
_VIDEOS = (".gif", ".mp4")
# Plainly not meant as the name of a folder.
_OTHER_FILES = (
    *(".avi", ".mov", ".mkv", ".webm", ".svg", ".pdf", ".exr", ".hdr", ".json"),
    *(".obj", ".ply", ".glb", ".gltf", ".stl", ".off"),
)

# tyro keeps the line breaks of docstrings, so what is longer than a line is said here.
_OUT_HELP = (
    "What to write. A folder: RGBA pictures with poses in transforms.json, as `softras fit` reads "
    "them, and contact_sheet.png. FILE.png (.jpg, .webp, .bmp, .tif): one picture. FILE.gif or "
    "FILE.mp4: a turntable. A file that exists is replaced."
)


@dataclass(frozen=True)
class RenderArgs:
    """Draw a mesh: a folder of posed pictures, one picture, or a turntable."""

    mesh: Annotated[str, conf.Positional, conf.arg(metavar="MESH", help=MESH_HELP)]
    out: Annotated[Path, conf.arg(aliases=["-o"], metavar="OUT", help=_OUT_HELP)]
    camera: CameraArgs = field(default_factory=CameraArgs)
    folder: FolderArgs = field(default_factory=FolderArgs)
    picture: PictureArgs = field(default_factory=PictureArgs)
    turntable: TurntableArgs = field(default_factory=TurntableArgs)
    look: LookArgs = field(default_factory=LookArgs)
    light: LightArgs = field(default_factory=LightArgs)

    def run(self) -> int:
        """Render, write, and say what was written."""
        start = time.perf_counter()
        suffix = _media_suffix(self.out)
        self._refuse_unused(suffix)
        background = self._background(suffix)
        if not suffix:
            scene_folder.check(self.out, overwrite=self.folder.overwrite)
        drawing = prepare(self.mesh, self.camera, self.look, self.light)
        if not suffix:
            wrote = self._write_folder(drawing)
        elif suffix in _PICTURES:
            view = self._turn(drawing, 1)
            save_image(self.out, laid_over(drawing.rgba(view), background)[0])
            wrote = "a picture"
        else:
            save_video(self.out, self._frames(drawing, background), self.turntable.fps)
            wrote = f"a turntable of {self.turntable.frames} frames"
        height, width = drawing.size
        spent = time.perf_counter() - start
        terminal.say(f"Wrote {wrote} ({height} x {width} pixels) to {self.out} in {spent:.1f} s.")
        return 0

    def _refuse_unused(self, suffix: str) -> None:
        """Refuse options that would do nothing for this kind of output."""
        groups: list[tuple[str, object, object]] = []
        if suffix:
            groups.append(("a folder", FolderArgs(), self.folder))
        else:
            groups.append(("a picture or turntable", PictureArgs(), self.picture))
        if suffix not in _VIDEOS:
            groups.append(("a turntable", TurntableArgs(), self.turntable))
        for kind, default, given in groups:
            for name, value in vars(given).items():
                if value != getattr(default, name):
                    raise ArgumentError(f"`--{name}` is for {kind}, which `{self.out}` is not.")

    def _background(self, suffix: str) -> Tensor | None:
        """Return the colour behind the mesh [3], or None where it is transparent."""
        color = parse_color(self.picture.background)
        if color is None and suffix not in _TRANSPARENT:
            raise ArgumentError(
                f"`--background transparent` needs one of {', '.join(_TRANSPARENT)}, "
                f"got `{self.out}`."
            )
        return color

    def _write_folder(self, drawing: Drawing) -> str:
        cameras = scenes.sphere_cameras(self.folder.views, **drawing.framing)
        with terminal.progress("Rendering") as progress:
            posed = scenes.render_posed(drawing.mesh, cameras, **drawing.look, progress=progress)
        path = Path(self.mesh)
        source = str(path.resolve()) if path.is_file() else self.mesh
        args = {name: value for name, value in asdict(self).items() if name not in ("mesh", "out")}
        scene_folder.write(self.out, posed, {"mesh": source, **drawing.placement, "args": args})
        return f"{len(posed)} views"

    def _turn(self, drawing: Drawing, frames: int) -> Camera:
        return scenes.turntable_cameras(
            frames,
            elevation=self.picture.elevation,
            azimuth=self.picture.azimuth,
            **drawing.framing,
        )

    def _frames(self, drawing: Drawing, background: Tensor | None) -> Iterator[Tensor]:
        cameras = self._turn(drawing, self.turntable.frames)
        with terminal.progress("Rendering") as progress:
            for i, camera in enumerate(cameras):
                yield laid_over(drawing.rgba(camera), background)[0]
                progress(i + 1, len(cameras))


def _media_suffix(out: Path) -> str:
    """Return the extension of a picture or video, or "" for a folder."""
    suffix = out.suffix.lower()
    if suffix in _OTHER_FILES and not out.is_dir():
        raise FileError(
            f"`{out}` cannot be written: {suffix} is neither a picture ({', '.join(_PICTURES)}) "
            f"nor a video ({', '.join(_VIDEOS)}). A name without extension makes a folder."
        )
    return suffix if suffix in (*_PICTURES, *_VIDEOS) else ""

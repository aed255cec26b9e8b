"""Frames as a looping GIF or an MP4."""

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from taichi_softras.errors import ArgumentError, FileError, ShapeError
from taichi_softras.io.files import AnyPath, known_suffix, make_parent, told_as_file_error
from taichi_softras.io.images import ImageLike, to_bytes

if TYPE_CHECKING:
    from PIL.Image import Image

_PALETTE_SAMPLES = 2**18
_SHORTEST_GIF_FRAME = 2  # hundredths of a second; browsers slow down anything shorter


def save_video(
    path: AnyPath, frames: Tensor | NDArray[Any] | Iterable[ImageLike], fps: float = 24.0
) -> None:
    """Write frames as a looping .gif or an .mp4; the folder is created where it is missing.

    A GIF gets one palette for all frames, so that still parts do not flicker; its clock counts
    hundredths of a second, so more than 50 frames a second play slower. An MP4 (H.264) has even
    sides: an odd image is extended by a copy of its last row or column.

    Args:
        path: Where to.
        frames: All of one size, values clipped to 0..1; an alpha channel is laid over white.
            [N, H, W, C] or N times [H, W, C], C = 1, 3 or 4
        fps: Frames a second.

    Raises:
        ShapeError: A frame is no image, or of another size than the first.
        ArgumentError: No frames, NaN in a frame, or `fps` not positive.
        FileError: Another extension, or the file cannot be written; for .mp4 without
            imageio-ffmpeg the message says how to get it.
    """
    target = Path(path)
    suffix = known_suffix(target, (".gif", ".mp4"), "a video that can be written")
    if not (fps > 0 and np.isfinite(fps)):
        raise ArgumentError(f"`fps` must be positive, got {fps}.")
    pictures = list(_rgb_frames(frames))
    if not pictures:
        raise ArgumentError(f"`frames` holds no frame; nothing was written to `{target}`.")
    make_parent(target)
    with told_as_file_error(target, "written"):
        (_write_gif if suffix == ".gif" else _write_mp4)(target, pictures, fps)


def _rgb_frames(frames: Iterable[ImageLike]) -> Iterator[NDArray[np.uint8]]:
    """Turn each frame into [H, W, 3] bytes, all of one size."""
    size: tuple[int, ...] | None = None
    for i, frame in enumerate(frames):
        pixels = to_bytes(f"frames[{i}]", frame)
        size = size or pixels.shape[:2]
        if pixels.shape[:2] != size:
            raise ShapeError(
                f"`frames` must all have one size; frame 0 is {list(size)}, "
                f"frame {i} is {list(pixels.shape[:2])}."
            )
        if pixels.shape[-1] == 4:
            alpha = pixels[..., 3:] / 255.0
            blend = pixels[..., :3] * alpha + 255.0 * (1.0 - alpha)
            pixels = np.rint(blend).astype(np.uint8)
        yield np.broadcast_to(pixels, (*size, 3))


def _write_gif(path: Path, frames: list[NDArray[np.uint8]], fps: float) -> None:
    from PIL import Image

    palette = _shared_palette(frames)
    dither = Image.Dither.FLOYDSTEINBERG
    pages = [Image.fromarray(f).quantize(palette=palette, dither=dither) for f in frames]
    # Rounding the running time, not each frame, keeps the length of the whole right.
    ends = [round(100 * (i + 1) / fps) for i in range(len(frames))]
    spans = [b - a for a, b in zip([0, *ends], ends, strict=False)]
    pages[0].save(
        path,
        save_all=True,
        append_images=pages[1:],
        duration=[10 * max(span, _SHORTEST_GIF_FRAME) for span in spans],
        loop=0,
    )


def _shared_palette(frames: list[NDArray[np.uint8]]) -> "Image":
    """Choose the 256 colours that serve all frames, the most frequent one exactly."""
    from PIL import Image

    each = max(1, _PALETTE_SAMPLES // len(frames))
    pixels = (f.reshape(-1, 3) for f in frames)
    samples = np.concatenate([p[:: max(1, len(p) // each)] for p in pixels])
    colors, counts = np.unique(samples, axis=0, return_counts=True)
    # A shade counts by the logarithm of its pixels: a large background must not use up the
    # colours that a small highlight needs, yet flat areas want theirs nearly exact.
    _, shades, of = np.unique(colors >> 2, axis=0, return_index=True, return_inverse=True)
    pixels_of = np.bincount(of.reshape(-1), weights=counts)
    pixels_of[pixels_of.argmax()] = 1.0  # the background, which comes in by itself
    repeated = np.repeat(shades, 1 + np.rint(np.log2(pixels_of)).astype(int))
    chosen = Image.fromarray(colors[None, repeated]).quantize(255, kmeans=1)
    background = colors[counts.argmax()]
    palette = Image.new("P", (1, 1))
    palette.putpalette([*(chosen.getpalette() or [])[: 3 * 255], *background.tolist()])
    return palette


def _write_mp4(path: Path, frames: list[NDArray[np.uint8]], fps: float) -> None:
    if find_spec("imageio_ffmpeg") is None:
        raise FileError(
            f"`{path}` cannot be written: MP4 needs imageio-ffmpeg, which is not installed. "
            "Run `pip install taichi-softras[video]`, or write a .gif."
        )
    import imageio.v3 as iio

    height, width = frames[0].shape[:2]
    to_even = ((0, height % 2), (0, width % 2), (0, 0))
    even = np.stack([np.pad(f, to_even, mode="edge") for f in frames])
    iio.imwrite(path, even, plugin="FFMPEG", fps=fps, codec="libx264", quality=8,
                macro_block_size=2, ffmpeg_log_level="error")  # fmt: skip

"""Images as float tensors in 0..1, and tidy grids of them."""

import math
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from taichi_softras.errors import ArgumentError, FileError, ShapeError, check_shape
from taichi_softras.io.files import (
    AnyPath,
    existing_file,
    known_suffix,
    make_parent,
    told_as_file_error,
)

ImageLike: TypeAlias = Tensor | NDArray[Any]

_WRITABLE = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
_NO_ALPHA = (".jpg", ".jpeg", ".bmp")
_PLAIN_MODES = {"1": "L", "L": "L", "RGB": "RGB", "RGBA": "RGBA", "LA": "RGBA", "PA": "RGBA"}


def load_image(path: AnyPath) -> Tensor:
    """Read an image as it is stored: row 0 on top, straight alpha, sRGB values as they are.

    8 and 16 bits a channel, palettes, grey with alpha (it becomes RGBA) and CMYK (RGB) are
    understood; of an animation the first frame is read. An EXIF orientation is ignored: camera
    poses refer to the pixels as stored. Colour images of 16 bits are read with 8.

    Returns:
        float32 in 0..1, C = 1 (grey), 3 (RGB) or 4 (RGBA). [H, W, C]

    Raises:
        FileError: The file is missing, empty, damaged, cut off, too large to be an honest image,
            or of a kind that is no picture of 8 or 16 bits.
    """
    found = existing_file(path, "an image")
    with told_as_file_error(found, "read as an image (PNG, JPEG, WebP ...)"):
        pixels = _decode(found)
    if pixels.dtype == np.bool_:
        scale = 1.0
    elif pixels.dtype == np.uint8:
        scale = 255.0
    elif np.issubdtype(pixels.dtype, np.integer) and 0 <= pixels.min() <= pixels.max() < 2**16:
        scale = 65535.0
    else:
        raise FileError(
            f"`{found}` holds {pixels.dtype} pixels; an image of 8 or 16 bits a channel was "
            "expected. Convert it, for example to PNG."
        )
    values = torch.from_numpy((pixels / scale).astype(np.float32))
    return values[..., None] if values.ndim == 2 else values


def _decode(path: Path) -> NDArray[Any]:
    """Decode all pixels of the first frame, in a mode whose channels mean what they say."""
    import imageio.v3 as iio

    file: Any
    with iio.imopen(path, "r", plugin="pillow") as file:
        stored = file.metadata(index=0)
        mode = _PLAIN_MODES.get(stored["mode"])
        if stored["mode"] in ("P", "RGB") and "transparency" in stored:
            mode = "RGBA"
        elif mode is None and not stored["mode"].startswith(("I", "F")):
            mode = "RGB"
        pixels: NDArray[Any] = file.read(index=0, mode=mode)
    return pixels


def save_image(path: AnyPath, image: ImageLike) -> None:
    """Write an image with 8 bits a channel; the folder is created where it is missing.

    Args:
        path: Where to; the extension says which format (.png, .jpg, .webp, .bmp, .tif).
        image: Values are clipped to 0..1 and rounded; uint8 is written as it is.
            [H, W] or [H, W, C], C = 1, 3 or 4

    Raises:
        ShapeError: `image` is no image.
        ArgumentError: `image` has NaN or infinite values, or alpha in a format that has none.
        FileError: The extension is not known or the file cannot be written.
    """
    import imageio.v3 as iio

    target = Path(path)
    suffix = known_suffix(target, _WRITABLE, "an image that can be written")
    pixels = to_bytes("image", image)
    if pixels.shape[-1] == 4 and suffix in _NO_ALPHA:
        raise ArgumentError(
            f"`image` has an alpha channel, which {suffix} cannot hold (`{target}`); "
            "write a .png, or pass image[..., :3]."
        )
    make_parent(target)
    with told_as_file_error(target, "written"):
        flat = pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels
        iio.imwrite(target, flat, plugin="pillow")


def to_bytes(name: str, image: ImageLike) -> NDArray[np.uint8]:
    """Clip and round an image to 8 bits. [H, W] or [H, W, C] -> [H, W, C]."""
    values = image.detach().cpu().numpy() if isinstance(image, Tensor) else np.asarray(image)
    if values.ndim == 2:
        values = values[..., None]
    check_shape(name, values.shape, "H W C")
    if values.shape[-1] not in (1, 3, 4) or 0 in values.shape:
        raise ShapeError(
            f"`{name}` must have shape [H, W] or [H, W, C] with C = 1, 3 or 4 and at least one "
            f"pixel, got {list(np.shape(image))}."
        )
    if values.dtype == np.uint8:
        return values
    if values.dtype != np.bool_ and not np.issubdtype(values.dtype, np.floating):
        raise ArgumentError(f"`{name}` must hold floats in 0..1 or uint8, got {values.dtype}.")
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise ArgumentError(f"`{name}` has {bad} NaN or infinite values of {values.size}.")
    rounded: NDArray[np.uint8] = np.rint(np.clip(values.astype(np.float64), 0, 1) * 255).astype(
        np.uint8
    )
    return rounded


def contact_sheet(
    images: Tensor, columns: int | None = None, *, gap: int = 4, background: float = 1.0
) -> Tensor:
    """Lay images out in a grid, row by row.

    Args:
        images: At least one. [N, H, W, C]
        columns: Images a row; by default as many as make the sheet about square.
        gap: Pixels between neighbours.
        background: Value of the gaps and of the cells left over, in every channel.

    Returns:
        The sheet. [rows * (H + gap) - gap, columns * (W + gap) - gap, C]

    Raises:
        ShapeError: `images` does not have four axes, or one of them is empty.
        ArgumentError: `columns` is below 1 or `gap` below 0.
    """
    n, height, width, channels = check_shape("images", images.shape, "N H W C").values()
    if 0 in images.shape:
        raise ShapeError(f"`images` must hold at least one pixel, got {list(images.shape)}.")
    if columns is None:
        columns = min(n, max(1, math.ceil(math.sqrt(n * height / width))))
    if columns < 1 or gap < 0:
        raise ArgumentError(
            f"`columns` must be at least 1 and `gap` at least 0, got {columns} and {gap}."
        )
    rows = math.ceil(n / columns)
    size = (rows * (height + gap) - gap, columns * (width + gap) - gap, channels)
    sheet = images.new_full(size, background)
    for i, image in enumerate(images):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        sheet[top : top + height, left : left + width] = image
    return sheet

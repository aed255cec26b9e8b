"""Images of textures, decoded with care: they come with meshes from anywhere."""

import io
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taichi_softras.errors import FileError

Texels = NDArray[np.uint8] | NDArray[np.uint16]

MAX_PIXELS = 2**27
"""All images of a mesh together, each counted once: 1.5 GiB as float32."""
_MAX_USED = 2**29
"""The same, counted for each material that has the image: so many texels a renderer can take."""

# What Pillow decodes by itself: no EPS, which starts another program.
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TGA", "TIFF", "GIF", "PPM")


class TextureImages:
    """The images of one mesh file, each decoded once."""

    def __init__(self, max_pixels: int = MAX_PIXELS) -> None:
        self._left = self._limit = max_pixels
        self._used = 0
        self._decoded: dict[object, Texels] = {}

    def get(self, key: object, read: Callable[[], Any], said: str) -> Texels:
        """Return RGB texels of 8 or 16 bits, row 0 on top; alpha is dropped. [H, W, 3].

        Args:
            key: Stands for the image from now on.
            read: Gives the file's bytes, or what Pillow made of its header, where it was not
                decoded before.
            said: What messages call the image.

        Raises:
            FileError: It is no image, damaged, too large, or of more than 16 bits.
        """
        if key not in self._decoded:
            self._decoded[key] = self._decode(read(), said)
        texels = self._decoded[key]
        self._used += texels.shape[0] * texels.shape[1]
        if self._used > _MAX_USED:
            raise FileError(f"{said} is on so many materials that they have {self._used} texels.")
        return texels

    def _decode(self, data: Any, said: str) -> Texels:
        from PIL import Image

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                is_open = isinstance(data, Image.Image)
                file = data if is_open else Image.open(io.BytesIO(data), formats=_FORMATS)
            if file.format not in (*_FORMATS, "MPO"):  # JPEG of several pictures
                raise ValueError(f"{file.format} is none of {', '.join(_FORMATS)}")
            # Only the header was read so far.
            self._left -= file.width * file.height
            if self._left < 0:
                raise self._too_large(said, f"{file.width} x {file.height} pixels")
            return _rgb(file, said)
        except FileError:
            raise
        except Image.DecompressionBombError as cause:
            raise self._too_large(said, "an absurd size") from cause
        except Exception as cause:  # Pillow raises whatever a damaged file makes of it
            reason = " ".join(str(cause).split()) or type(cause).__name__
            raise FileError(f"{said} cannot be read as an image: {reason}") from cause

    def _too_large(self, said: str, size: str) -> FileError:
        return FileError(
            f"{said} has {size}; all textures of a mesh together may have {self._limit} pixels."
        )


def _rgb(file: Any, said: str) -> Texels:
    if file.mode == "F":
        raise FileError(f"{said} holds floats; an image of 8 or 16 bits a channel was expected.")
    if not file.mode.startswith("I"):
        return np.asarray(file.convert("RGB"))
    grey = np.asarray(file)
    if not 0 <= grey.min() <= grey.max() < 2**16:
        raise FileError(f"{said} has more than 16 bits; 8 or 16 a channel were expected.")
    return np.repeat(grey[..., None].astype(np.uint16), 3, axis=-1)

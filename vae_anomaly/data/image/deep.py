"""Images of more than 8 bits a channel: numbers as they are stored, in a layout."""

from __future__ import annotations

import sys
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vae_anomaly.data.image.errors import ImageError
from vae_anomaly.data.image.layout import Layout, box_of, turned
from vae_anomaly.data.image.signatures import FORMATS
from vae_anomaly.data.image.tiff import read_tiff
from vae_anomaly.data.image.units import PixelValues

__all__ = ["DEEP", "Numbers", "check_numbers", "deep_numbers", "lay_out", "orientation_of"]

Array = NDArray[np.float64]
Numbers = NDArray[np.generic]

DEEP = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")
"""Modes of Pillow for one channel of more than 8 bits."""

SWAPPED = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
"""Byte orders of raw modes -> the other one."""

LUMA = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue in grey (ITU-R BT.601), those of Pillow."""

MAX_FLOAT32 = 3e38

ORIENTATION = 0x0112

RGB = 3


def deep_numbers(image: Image.Image, file: IO[bytes], name: str) -> Numbers | None:
    """Return the numbers of an opened image, upright, (h, w[, c]); None if it has 8 bits.

    Pillow decodes colours of 16 bits to 8, the first byte of each number. With the other byte
    order it takes the second byte.

    Raises
    ------
    ImageError
        If its numbers cannot be had.
    """
    numbers = read_tiff(file, name)
    if numbers is not None:
        return numbers
    if image.mode in DEEP:
        return _upright(np.asarray(image), image)
    raw_mode = _raw_mode(image)
    if ";16" not in raw_mode or image.mode not in ("RGB", "RGBA", "LA"):
        return None
    if raw_mode == "LA;16B":  # two bytes of grey, two of alpha
        four = _decoded_as(file, "RGBA").astype(np.uint16)
        return _upright(four[:, :, ::2] * np.uint16(256) + four[:, :, 1::2], image)
    try:
        low = _decoded_as(file, raw_mode[:-1] + SWAPPED[raw_mode[-1]])
    except (KeyError, ValueError) as cause:
        raise ImageError(name, f"16 bits as {raw_mode}, which are not read") from cause
    return _upright(np.asarray(image).astype(np.uint16) * np.uint16(256) + low, image)


def _upright(numbers: Numbers, image: Image.Image) -> Numbers:
    """Return the numbers of a loaded image upright: Pillow rotates none but TIFF."""
    return turned(numbers, orientation_of(image))


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation: 1 is upright."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except MemoryError:
        raise
    except Exception:  # pixels are sound although the EXIF block is damaged
        return 1


def _raw_mode(image: Image.Image) -> str:
    """Return how Pillow will take numbers from the bytes of an image that is not loaded."""
    for tile in getattr(image, "tile", ()):
        first = tile.args[0] if isinstance(tile.args, tuple) and tile.args else tile.args
        if isinstance(first, str):
            return first
    return ""


def _decoded_as(file: IO[bytes], raw_mode: str) -> NDArray[np.uint8]:
    """Decode a file again, with another raw mode."""
    place = file.tell()
    file.seek(0)
    with Image.open(file, formats=FORMATS) as image:
        image.tile = [
            tile._replace(
                args=(raw_mode, *tile.args[1:]) if isinstance(tile.args, tuple) else raw_mode
            )
            for tile in image.tile
        ]
        values = np.asarray(image)
    file.seek(place)
    return values


def check_numbers(numbers: Numbers, name: str) -> Numbers:
    """Return the numbers of an image, without an alpha channel that hides nothing.

    Raises
    ------
    ImageError
        If they are not finite, or pixels are transparent.
    """
    if numbers.dtype.kind == "f" and not np.isfinite(numbers).all():
        raise ImageError(name, "it holds NaN or infinite numbers, expected finite ones")
    if numbers.ndim == 2 or numbers.shape[2] in (1, RGB) or PixelValues.of(numbers).fit_bytes:
        return numbers
    alpha = numbers[:, :, -1]
    if alpha.min() < alpha.max() or not alpha.any():
        raise ImageError(name, "transparent pixels in more than 8 bits, which are not read")
    return numbers[:, :, :-1]


def lay_out(numbers: Numbers, layout: Layout) -> Array:
    """Return numbers, (h, w) or (h, w, 1 or 3), in a layout, with NaN around the image."""
    values = np.asarray(numbers, dtype=np.float64)
    values = values[:, :, np.newaxis] if values.ndim == 2 else values
    if values.shape[2] == RGB and layout.channels == 1:
        values = (values @ LUMA)[:, :, np.newaxis]
    box = box_of(values.shape[0], values.shape[1], layout)
    if values.shape[:2] != (box.height, box.width):
        values = np.clip(values, -MAX_FLOAT32, MAX_FLOAT32).astype(np.float32)
        size = (box.width, box.height)
        channels = [
            Image.fromarray(np.ascontiguousarray(values[:, :, i])).resize(
                size, Image.Resampling.BILINEAR
            )
            for i in range(values.shape[2])
        ]
        values = np.stack([np.asarray(channel, dtype=np.float64) for channel in channels], axis=2)
    out = np.full(layout.shape, np.nan)
    out[box.top : box.top + box.height, box.left : box.left + box.width] = values
    return out

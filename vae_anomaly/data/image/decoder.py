"""Decoding of one image file: upright, grey or colour, in a layout.

Numbers stay what they are: of 8 bits as uint8, all others as float64. Whole numbers from 0
to 255 are 8 bits, whatever type they are stored in. Transparent pixels are composited on mid
grey. Palettes and CMYK are converted to colours. EXIF rotation is applied. Of an animation
the first frame is read.
"""

from __future__ import annotations

import threading
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from vae_anomaly.data.image.deep import (
    DEEP,
    Numbers,
    check_numbers,
    deep_numbers,
    lay_out,
    orientation_of,
)
from vae_anomaly.data.image.errors import ImageError
from vae_anomaly.data.image.layout import MAX_PIXELS, Layout, box_of
from vae_anomaly.data.image.signatures import (
    FORMAT_NAMES,
    FORMATS,
    SIGNATURE_BYTES,
    foreign_format,
    is_image,
)
from vae_anomaly.data.image.tiff import check_order, read_tiff
from vae_anomaly.data.image.units import PixelValues

__all__ = [
    "GREY",
    "Decoded",
    "ImageError",
    "decode",
    "decode_mask",
    "decode_numbers",
    "resized",
    "with_surroundings",
]

LARGE_PIXELS = 4_000_000
"""Larger images are decoded one at a time, so that threads do not multiply the memory."""

Pixels = NDArray[np.uint8] | NDArray[np.float64]

GREY = 128
"""Background of transparent pixels and of letterboxed images."""

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)

MAX_REASON_LENGTH = 80

_one_large = threading.Lock()


@dataclass(frozen=True)
class Decoded:
    """A decoded image.

    Attributes
    ----------
    pixels : ndarray of uint8 or float64, shape (height, width, channels)
        NaN around a letterboxed image whose type has more than 8 bits.
    size : tuple of int
        Height and width of the original, upright.
    animated : bool
        Whether more frames follow.
    values : PixelValues or None
        Numbers of the original; None where its type has 8 bits.
    """

    pixels: Pixels
    size: tuple[int, int]
    animated: bool = False
    values: PixelValues | None = None


def decode(path: Path, name: str, layout: Layout) -> Decoded:
    """Read an image file.

    Parameters
    ----------
    path : Path
    name : str
        Name of the file in messages.
    layout : Layout

    Returns
    -------
    Decoded

    Raises
    ------
    ImageError
        If the file is not readable as an image.
    """
    try:
        with path.open("rb") as file:
            return _decoded(file, name, layout)
    except (MemoryError, ImageError):
        raise
    except Exception as cause:  # decoders raise anything, and one image must not stop a run
        raise _explained(cause, path, name) from cause


def decode_mask(path: Path, name: str, layout: Layout) -> NDArray[np.bool_]:
    """Read a mask, true where it is not black, in the layout of the images.

    Raises
    ------
    ImageError
    """
    try:
        with path.open("rb") as file, Image.open(file, formats=FORMATS) as image:
            _check_size(image, name)
            black = 127 if image.format == "JPEG" else 0  # its black is only nearly black
            plain = image if image.mode in (*DEEP, "1", "L") else image.convert("RGB")
            values = np.asarray(plain) > black
            marked = values.any(axis=2) if values.ndim == 3 else values
            mask = Image.fromarray(marked.astype(np.uint8))
            laid = _laid_out(mask, layout, Image.Resampling.NEAREST, fill=0)
            return np.asarray(laid) > 0
    except (MemoryError, ImageError):
        raise
    except Exception as cause:  # decoders raise anything, and one image must not stop a run
        raise _explained(cause, path, name) from cause


def resized(pixels: NDArray[np.uint8], layout: Layout) -> NDArray[np.uint8]:
    """Return the pixels of an image, (h, w) or (h, w, 1, 3 or 4), in a layout."""
    full = pixels[:, :, np.newaxis] if pixels.ndim == 2 else pixels
    if full.shape == layout.shape:
        return full
    grey = full.shape[2] == 1
    return _pixels(_flat(Image.fromarray(full[:, :, 0] if grey else full)), layout)


def decode_numbers(numbers: Numbers, name: str, layout: Layout) -> Decoded:
    """Bring the numbers of an image, (h, w) or (h, w, 1, 3 or 4), to a layout.

    Raises
    ------
    ImageError
        If they are not finite, or transparent in more than 8 bits.
    """
    numbers = check_numbers(numbers, name)
    height, width = numbers.shape[:2]
    values = PixelValues.of(numbers)
    if not values.fit_bytes:
        return Decoded(lay_out(numbers, layout), (height, width), values=values)
    pixels: Pixels = resized(numbers.astype(np.uint8), layout)
    if layout.resize != "stretch":
        pixels = with_surroundings(pixels, (height, width), layout, np.nan)
    return Decoded(pixels, (height, width), values=values)


def with_surroundings(
    pixels: Pixels, size: tuple[int, int], layout: Layout, number: float
) -> NDArray[np.float64]:
    """Return a letterboxed image, which had a size, with another number around it."""
    box = box_of(*size, layout)
    inside = (slice(box.top, box.top + box.height), slice(box.left, box.left + box.width))
    out = np.full(layout.shape, number)
    out[inside] = pixels[inside]
    return out


# ------------------------------------------------------------------------- decoding


def _decoded(file: IO[bytes], name: str, layout: Layout) -> Decoded:
    check_order(file, name)
    try:
        opened = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        numbers = read_tiff(file, name)
        if numbers is None:
            raise
        return decode_numbers(numbers, name, layout)
    with opened as image:
        _check_size(image, name)
        width, height = image.size
        # Further images of an MPO are other views, and previews.
        animated = image.format != "MPO" and bool(getattr(image, "is_animated", False))
        # A JPEG is decoded at an eighth of its size in a quarter of the time.
        drafted = image.draft(None, (2 * max(layout.height, layout.width),) * 2)
        with _one_large if image.width * image.height > LARGE_PIXELS else nullcontext():
            numbers = deep_numbers(image, file, name)
            if numbers is not None:
                return replace(decode_numbers(numbers, name, layout), animated=animated)
            image.load()  # which rotates a TIFF, and drops its orientation
            if drafted is None:
                width, height = image.size
            turn = orientation_of(image)
            flat = _flat(image)
            if turn in TURNS:
                flat = flat.transpose(TURNS[turn])
            pixels = _pixels(flat, layout)
    size = (width, height) if turn in SIDEWAYS else (height, width)
    return Decoded(pixels, size, animated)


def _check_size(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(name, _too_large(f"{width} x {height} pixels"))
    if min(width, height) < 1:
        raise ImageError(name, "it has no pixels")


def _too_large(size: str) -> str:
    return f"too large, {size}: at most {MAX_PIXELS // 1_000_000} million are read"


def _flat(image: Image.Image) -> Image.Image:
    """Convert an image of any mode to grey ("L") or colour ("RGB")."""
    if image.has_transparency_data:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, (GREY, GREY, GREY, 255))
        ground.alpha_composite(image)
        return ground.convert("RGB")
    if image.mode in ("L", "RGB"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _pixels(image: Image.Image, layout: Layout) -> NDArray[np.uint8]:
    image = image.convert("L" if layout.channels == 1 else "RGB")
    laid = _laid_out(image, layout, Image.Resampling.BILINEAR, fill=GREY)
    return np.asarray(laid).reshape(layout.height, layout.width, layout.channels)


def _laid_out(
    image: Image.Image, layout: Layout, filtering: Image.Resampling, fill: int
) -> Image.Image:
    """Resize an image; letterboxing keeps its proportions."""
    height, width = layout.height, layout.width
    if layout.resize == "stretch":
        return image.resize((width, height), filtering)
    box = box_of(image.height, image.width, layout)
    colour = fill if image.mode == "L" else (fill, fill, fill)
    ground = Image.new(image.mode, (width, height), colour)
    ground.paste(image.resize((box.width, box.height), filtering), (box.left, box.top))
    return ground


# --------------------------------------------------------------------------- errors


def _explained(cause: Exception, path: Path, name: str) -> ImageError:
    """Return the error for what a decoder, or the system, raised."""
    if isinstance(cause, FileNotFoundError):
        return ImageError(name, "there is no such file any more")
    if isinstance(cause, PermissionError):
        return ImageError(name, "no permission to read it")
    if isinstance(cause, OSError) and cause.errno is not None:
        return ImageError(name, f"it cannot be read ({cause.strerror})")
    if isinstance(cause, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return ImageError(name, _too_large("as its header says"))
    start = b""
    with suppress(OSError), path.open("rb") as file:
        start = file.read(SIGNATURE_BYTES)
    if not start:
        return ImageError(name, "it is empty")
    if not is_image(start):
        return ImageError(name, f"{foreign_format(start)}, expected {FORMAT_NAMES}")
    if isinstance(cause, UnidentifiedImageError):
        return ImageError(name, "damaged, its header cannot be understood")
    words = " ".join("".join(c if c.isprintable() else " " for c in str(cause)).split())
    return ImageError(name, f"damaged ({words[:MAX_REASON_LENGTH].rstrip('.') or 'undecodable'})")

"""Decoding of one image file: upright, 8 bits a channel, grey or colour, in a layout.

Transparent pixels are composited on mid grey. Palettes and CMYK are converted to
colours. 16 bits are scaled to 8; 32-bit numbers are taken as 0 to 1, 0 to 255 or 0 to
65,535, the smallest range that holds all of them. EXIF rotation is applied. Of an
animation the first frame is read.
"""

from __future__ import annotations

import threading
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from vae_anomaly.data.image.layout import MAX_PIXELS, Layout
from vae_anomaly.data.image.signatures import FORMAT_NAMES, FORMATS, SIGNATURE_BYTES, is_image
from vae_anomaly.exceptions import DataError

__all__ = [
    "GREY",
    "Decoded",
    "ImageError",
    "decode",
    "decode_mask",
    "resized",
    "scale_to_bytes",
]

LARGE_PIXELS = 4_000_000
"""Larger images are decoded one at a time, so that threads do not multiply the memory."""

GREY = 128
"""Background of transparent pixels and of letterboxed images."""

ORIENTATION = 0x0112
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

DEEP = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")

FOREIGN = {
    b"%PDF": "a PDF document",
    b"%!PS": "an EPS drawing",
    b"\xc5\xd0\xd3\xc6": "an EPS drawing",
    b"<svg": "an SVG drawing",
    b"<?xml": "an SVG drawing or other XML",
    b"8BPS": "a Photoshop file",
    b"\x1a\x45\xdf\xa3": "a video",
    b"RIFF": "a video or a sound",
    b"PK\x03\x04": "a zip archive",
    b"\xff\x0a": "a JPEG XL image",
    b"\0\0\0\x0cjP": "a JPEG 2000 image",
    b"\0\0\x01\0": "an icon",
}

MAX_REASON_LENGTH = 80

_one_large = threading.Lock()


@dataclass(frozen=True)
class Decoded:
    """A decoded image.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (height, width, channels)
    size : tuple of int
        Height and width of the original, upright.
    animated : bool
        Whether more frames follow.
    """

    pixels: NDArray[np.uint8]
    size: tuple[int, int]
    animated: bool = False


class ImageError(DataError):
    """An image that is not readable.

    Attributes
    ----------
    reason : str
        Cause, without the name of the image.
    """

    def __init__(self, name: str, reason: str) -> None:
        self.reason = reason
        super().__init__(f"{name}: {reason}. Replace the image or remove it.")


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
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    return _pixels(_flat(Image.fromarray(pixels)), layout)


def scale_to_bytes(values: NDArray[np.generic], low: float, high: float) -> NDArray[np.uint8]:
    """Return numbers between `low` and `high`, scaled to 8 bits.

    Their range is 0 to 1, 0 to 255 or 0 to 65,535, the smallest that holds all of them;
    for integers never 0 to 1, and for those of 16 bits always the last.

    Raises
    ------
    ValueError
        If they are in none of these ranges.
    """
    if not (low >= 0 and high <= 65_535):  # NaN too
        raise ValueError(f"values from {low:.6g} to {high:.6g}, expected 0 to 1, 255 or 65535")
    if values.dtype == np.uint8:
        return np.asarray(values, dtype=np.uint8)
    whole, top = np.issubdtype(values.dtype, np.integer), 65_535.0
    if values.dtype == np.bool_ or (not whole and high <= 1):
        top = 1.0
    elif values.dtype.newbyteorder("=") != np.uint16 and high <= 255:
        top = 255.0
    return np.rint(values.astype(np.float32) * np.float32(255 / top)).astype(np.uint8)


# ------------------------------------------------------------------------- decoding


def _decoded(file: IO[bytes], name: str, layout: Layout) -> Decoded:
    with Image.open(file, formats=FORMATS) as image:
        _check_size(image, name)
        width, height = image.size
        animated = bool(getattr(image, "is_animated", False))
        # A JPEG is decoded at an eighth of its size in a quarter of the time.
        drafted = image.draft(None, (2 * max(layout.height, layout.width),) * 2)
        with _one_large if image.width * image.height > LARGE_PIXELS else nullcontext():
            image.load()  # which rotates a TIFF, and drops its orientation
            if drafted is None:
                width, height = image.size
            turn = _orientation(image)
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


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation: 1 is upright."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except MemoryError:
        raise
    except Exception:  # pixels are sound although the EXIF block is damaged
        return 1


def _flat(image: Image.Image) -> Image.Image:
    """Convert an image of any mode to grey ("L") or colour ("RGB")."""
    if image.mode in DEEP:
        values = np.asarray(image)
        low, high = float(values.min()), float(values.max())
        if image.mode == "I":  # most often it holds 16 bits
            values = values.astype(np.uint16 if 0 <= low <= high <= 65_535 else values.dtype)
        return Image.fromarray(scale_to_bytes(values, low, high))
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
    scale = min(width / image.width, height / image.height)
    inner = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    colour = fill if image.mode == "L" else (fill, fill, fill)
    ground = Image.new(image.mode, (width, height), colour)
    place = ((width - inner[0]) // 2, (height - inner[1]) // 2)
    ground.paste(image.resize(inner, filtering), place)
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
        return ImageError(name, f"{_foreign(start)}, expected {FORMAT_NAMES}")
    if isinstance(cause, UnidentifiedImageError):
        return ImageError(name, "damaged, its header cannot be understood")
    words = " ".join("".join(c if c.isprintable() else " " for c in str(cause)).split())
    return ImageError(name, f"damaged ({words[:MAX_REASON_LENGTH].rstrip('.') or 'undecodable'})")


def _foreign(start: bytes) -> str:
    if start[4:8] == b"ftyp":
        return "a HEIC or AVIF image, or a video"
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    found = (words for magic, words in FOREIGN.items() if text.startswith(magic))
    return next(found, "not an image that we know")

"""One image to pixels: upright, 8 bits a channel, grey or colour, of the size asked for.

What becomes of what: transparent pixels are laid on mid grey, palettes and CMYK
become colours, 16 bits are scaled to 8, 32-bit numbers count as 0 to 1, 0 to 255
or 0 to 65,535, whichever holds them all, EXIF rotation is applied, and an animation
is its first frame.
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

from vae_anomaly.exceptions import DataError

__all__ = [
    "FORMATS",
    "FORMAT_NAMES",
    "MAX_PIXELS",
    "RESIZES",
    "Decoded",
    "Layout",
    "ImageError",
    "decode",
    "decode_mask",
    "is_image",
    "resized",
    "scale_to_bytes",
]

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF")
"""What Pillow may try: left to itself it has a go at 40 formats, and runs Ghostscript for one."""

FORMAT_NAMES = "PNG, JPEG, BMP, TIFF, WebP or GIF"

RESIZES = ("stretch", "letterbox")

MAX_PIXELS = 25_000_000
"""Of an image: a few bytes can claim a size that fills the memory."""

LARGE_PIXELS = 4_000_000
"""From here on images are decoded one at a time, so that threads do not multiply the memory."""

GREY = 128
"""Behind transparent pixels, and beside a letterboxed image."""

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

MAGIC = (
    *(b"\x89PNG", b"\xff\xd8\xff", b"GIF87a", b"GIF89a"),
    *(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
)

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
class Layout:
    """Size, channels and way of resizing: what an image is turned into."""

    height: int
    width: int
    channels: int
    resize: str = "stretch"


@dataclass(frozen=True)
class Decoded:
    """An image that was read.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (height, width, channels)
    size : tuple of int
        Height and width of the original, upright.
    animated : bool
        More frames followed.
    """

    pixels: NDArray[np.uint8]
    size: tuple[int, int]
    animated: bool = False


class ImageError(DataError):
    """An image that cannot be read.

    Attributes
    ----------
    reason : str
        What is wrong with it, without its name.
    """

    def __init__(self, name: str, reason: str) -> None:
        self.reason = reason
        super().__init__(f"{name}: {reason}. Replace the image or remove it.")


def is_image(start: bytes) -> bool:
    """Tell from its first 16 bytes whether a file is an image that we read.

    Examples
    --------
    >>> is_image(b"GIF89a"), is_image(b"%PDF-1.7")
    (True, False)
    """
    return (
        start.startswith(MAGIC)
        or (start[:4], start[8:12]) == (b"RIFF", b"WEBP")
        or (start[:2], start[6:10]) == (b"BM", b"\0\0\0\0")
    )


def decode(path: Path, name: str, layout: Layout) -> Decoded:
    """Read an image file.

    Parameters
    ----------
    path : Path
    name : str
        What messages call it.
    layout : Layout

    Returns
    -------
    Decoded

    Raises
    ------
    ImageError
        Whatever is wrong with the file.
    """
    try:
        with path.open("rb") as file:
            return _decoded(file, name, layout)
    except (MemoryError, ImageError):
        raise
    except Exception as cause:  # decoders raise all kinds, and one image must not stop a run
        raise _explained(cause, path, name) from cause


def decode_mask(path: Path, name: str, layout: Layout) -> NDArray[np.bool_]:
    """Read a mask, true where it is not black, and resize it as the images are.

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
    except Exception as cause:  # decoders raise all kinds, and one image must not stop a run
        raise _explained(cause, path, name) from cause


def resized(pixels: NDArray[np.uint8], layout: Layout) -> NDArray[np.uint8]:
    """Bring the pixels of an image, (h, w) or (h, w, 1, 3 or 4), into a layout."""
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    return _pixels(_flat(Image.fromarray(pixels)), layout)


def scale_to_bytes(values: NDArray[np.generic], low: float, high: float) -> NDArray[np.uint8]:
    """Scale numbers between `low` and `high` to 8 bits.

    They count as 0 to 1, 0 to 255 or 0 to 65,535, whichever holds them all;
    whole numbers never as 0 to 1, and those of 16 bits always as the last.

    Raises
    ------
    ValueError
        If they are none of these.
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


# ------------------------------------------------------------------------------ the steps


def _decoded(file: IO[bytes], name: str, layout: Layout) -> Decoded:
    with Image.open(file, formats=FORMATS) as image:
        _check_size(image, name)
        width, height = image.size
        animated = bool(getattr(image, "is_animated", False))
        # A JPEG decodes at an eighth of its size for a quarter of the price.
        drafted = image.draft(None, (2 * max(layout.height, layout.width),) * 2)
        with _one_large if image.width * image.height > LARGE_PIXELS else nullcontext():
            image.load()  # which turns a TIFF, and forgets that it was to be turned
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
    """Read how the camera was held: 1 is upright."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except MemoryError:
        raise
    except Exception:  # what is wrong with the EXIF block is not wrong with the pixels
        return 1


def _flat(image: Image.Image) -> Image.Image:
    """Bring an image of any mode to grey ("L") or colour ("RGB")."""
    if image.mode in DEEP:
        values = np.asarray(image)
        low, high = float(values.min()), float(values.max())
        if image.mode == "I":  # the usual home of 16 bits
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
    """Resize an image, keeping its proportions if letterboxed."""
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


# ------------------------------------------------------------------------- what was wrong


def _explained(cause: Exception, path: Path, name: str) -> ImageError:
    """Find the words for what a decoder, or the system, complained about."""
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
        start = file.read(16)
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
    kinds = (words for magic, words in FOREIGN.items() if text.startswith(magic))
    return next(kinds, "not an image that we know")

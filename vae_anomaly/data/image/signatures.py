"""Signatures of image files: the first bytes by which they are recognised."""

from __future__ import annotations

__all__ = ["FORMATS", "FORMAT_NAMES", "SIGNATURE_BYTES", "foreign_format"]
__all__ += ["foreign_image", "is_image"]

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF")
"""Formats that Pillow may try: by default it tries 40, and runs Ghostscript for one."""

FORMAT_NAMES = "PNG, JPEG, BMP, TIFF, WebP or GIF"

SIGNATURE_BYTES = 64

MAGIC = (
    *(b"\x89PNG", b"\xff\xd8\xff", b"GIF87a", b"GIF89a"),
    *(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
)


FOREIGN_IMAGES = {
    b"8BPS": "a Photoshop file",
    b"\xff\x0a": "a JPEG XL image",
    b"\0\0\0\x0cJXL ": "a JPEG XL image",
    b"\0\0\0\x0cjP": "a JPEG 2000 image",
    b"\xff\x4f\xff\x51": "a JPEG 2000 image",
    b"v/1\x01": "an OpenEXR image",
    b"II\xbc\x01": "a JPEG XR image",
}

FOREIGN = {
    b"%PDF": "a PDF document",
    b"%!PS": "an EPS drawing",
    b"\xc5\xd0\xd3\xc6": "an EPS drawing",
    b"<svg": "an SVG drawing",
    b"<?xml": "an SVG drawing or other XML",
    b"\x1a\x45\xdf\xa3": "a video",
    b"RIFF": "a video or a sound",
    b"PK\x03\x04": "a zip archive",
    b"\0\0\x01\0": "an icon",
}

BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "an AVIF image"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), "a HEIC image"),
    b"jxl ": "a JPEG XL image",
    b"crx ": "a raw image of a camera",
    **dict.fromkeys((b"mif1", b"msf1"), "a HEIF image"),
}
"""Brands of the ISO base media format, the more specific ones first."""


def is_image(start: bytes) -> bool:
    """Return whether the first bytes of a file are those of an image that is read.

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


def foreign_image(start: bytes) -> str | None:
    """Return what image of another format the first bytes of a file are those of.

    Examples
    --------
    >>> foreign_image(b"8BPS"), foreign_image(b"text")
    ('a Photoshop file', None)
    """
    if start[4:8] == b"ftyp":
        size = int.from_bytes(start[:4], "big")
        brands = {start[8:12], *(start[i : i + 4] for i in range(16, min(size, len(start)), 4))}
        return next((words for brand, words in BRANDS.items() if brand in brands), None)
    found = (words for magic, words in FOREIGN_IMAGES.items() if start.startswith(magic))
    return next(found, None)


def foreign_format(start: bytes) -> str:
    """Return what the first bytes of a file that is no image of ours are those of."""
    if start[4:8] == b"ftyp":
        return foreign_image(start) or "a video"
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    found = (words for magic, words in FOREIGN.items() if text.startswith(magic))
    return foreign_image(start) or next(found, "not an image that we know")

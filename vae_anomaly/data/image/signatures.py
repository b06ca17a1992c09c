"""Signatures of image files: the first bytes by which they are recognised."""

from __future__ import annotations

__all__ = ["FORMATS", "FORMAT_NAMES", "SIGNATURE_BYTES", "is_image"]

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF")
"""Formats that Pillow may try: by default it tries 40, and runs Ghostscript for one."""

FORMAT_NAMES = "PNG, JPEG, BMP, TIFF, WebP or GIF"

SIGNATURE_BYTES = 16

MAGIC = (
    *(b"\x89PNG", b"\xff\xd8\xff", b"GIF87a", b"GIF89a"),
    *(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
)


def is_image(start: bytes) -> bool:
    """Return whether the first 16 bytes of a file are those of an image that is read.

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

"""TIFF images of types that Pillow does not read: 64 bits, and colours of 32 bits.

Adobe, "TIFF, Revision 6.0", 1992, and "TIFF, Technical Note 3", 2005, for predictors of
floats.
"""

from __future__ import annotations

import zlib
from math import prod
from typing import IO, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from vae_anomaly._types import Json
from vae_anomaly.data.image.errors import ImageError
from vae_anomaly.data.image.layout import MAX_PIXELS, turned

__all__ = ["read_tiff", "stored_bits"]

Numbers = NDArray[np.generic]

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

WIDTH, HEIGHT, BITS, COMPRESSION, CHANNELS = 256, 257, 258, 259, 277
STRIP_OFFSETS, STRIP_ROWS, STRIP_BYTES, PLANES, PREDICTOR = 273, 278, 279, 284, 317
ORIENTATION = 274
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES, SAMPLE_FORMAT = 322, 323, 324, 325, 339

SAMPLE_TYPES = {1: "u", 2: "i", 3: "f"}

UNPACKED, DEFLATE = 1, (8, 32946)

COMPRESSIONS = {5: "LZW", 7: "JPEG", 32773: "PackBits", 34925: "LZMA", 50000: "Zstandard"}


def stored_bits(image: Image.Image) -> tuple[int, str] | None:
    """Return the bits of a channel of a TIFF and the type of its numbers: "u", "i" or "f"."""
    tags = getattr(image, "tag_v2", None)
    if tags is None:
        return None
    bits, sample_type = (_first(tags.get(tag, 1)) for tag in (BITS, SAMPLE_FORMAT))
    return int(bits), SAMPLE_TYPES.get(sample_type, "u")


def read_tiff(file: IO[bytes], name: str) -> Numbers | None:
    """Return the numbers of a TIFF, upright, (h, w[, channels]); None if it is none, or cut off.

    Raises
    ------
    ImageError
        If it is of a type that is not read.
    Exception
        If it is damaged.
    """
    file.seek(0)
    if not file.read(4).startswith(MAGIC):
        return None
    layout = _Storage.of(file, name)
    if layout is None:
        return None
    shape = (layout.height, layout.width, layout.channels)
    out = np.zeros(shape, dtype=layout.dtype.newbyteorder("="))
    for i, (offset, count) in enumerate(layout.chunks):
        plane, at = divmod(i, layout.across * layout.down) if layout.planar else (0, i)
        top, left = (at // layout.across) * layout.rows, (at % layout.across) * layout.columns
        columns = slice(plane, plane + 1) if layout.planar else slice(None)
        room = out[top : top + layout.rows, left : left + layout.columns, columns]
        height = layout.rows if layout.tiled else room.shape[0]
        file.seek(offset)
        block = layout.unpacked(file.read(count), height, room.shape[2])
        room[:] = block[: room.shape[0], : room.shape[1]]
    return turned(out[:, :, 0] if layout.channels == 1 else out, layout.orientation)


class _Storage(NamedTuple):
    """How the numbers of a TIFF are stored."""

    height: int
    width: int
    channels: int
    dtype: np.dtype[Json]
    rows: int  # of a strip or tile
    columns: int
    chunks: list[tuple[int, int]]  # offset and number of bytes
    compression: int
    predictor: int
    planar: bool
    tiled: bool
    orientation: int

    @classmethod
    def of(cls, file: IO[bytes], name: str) -> Self | None:
        """Read the tags of the first image; None if some are not there."""
        file.seek(0)
        head = file.read(8)
        if head[2] == 43 or head[3] == 43:  # BigTIFF
            head += file.read(8)
        tags = ImageFileDirectory_v2(head)
        file.seek(tags.next)
        tags.load(file)
        tiled = TILE_OFFSETS in tags
        offsets, counts = (TILE_OFFSETS, TILE_BYTES) if tiled else (STRIP_OFFSETS, STRIP_BYTES)
        if not {WIDTH, HEIGHT, offsets, counts} <= set(tags):
            return None
        height, width, channels = (int(_first(tags.get(t, 1))) for t in (HEIGHT, WIDTH, CHANNELS))
        if height * width > MAX_PIXELS:
            raise ImageError(
                name,
                f"too large, {width} x {height} pixels: at most {MAX_PIXELS // 1_000_000} million "
                f"are read",
            )
        bits, types = _all(tags.get(BITS, 1)), _all(tags.get(SAMPLE_FORMAT, 1))
        letter = SAMPLE_TYPES.get(types[0], "")
        words = f"a TIFF of {channels} x {bits[0]} bits"
        alike = len(set(bits)) == len(set(types)) == 1
        if not letter or not alike or bits[0] not in (8, 16, 32, 64) or channels not in (1, 3, 4):
            raise ImageError(name, f"{words}, which is not read")
        compression = int(tags.get(COMPRESSION, UNPACKED))
        if compression not in (UNPACKED, *DEFLATE):
            packed = COMPRESSIONS.get(compression, f"compression {compression}")
            raise ImageError(name, f"{words} with {packed}, expected Deflate or none")
        return cls(
            height,
            width,
            channels,
            np.dtype(f"{'>' if tags.prefix == b'MM' else '<'}{letter}{bits[0] // 8}"),
            max(1, int(tags[TILE_HEIGHT] if tiled else min(tags.get(STRIP_ROWS, height), height))),
            max(1, int(tags[TILE_WIDTH] if tiled else width)),
            list(zip(_all(tags[offsets]), _all(tags[counts]), strict=True)),
            compression,
            int(tags.get(PREDICTOR, 1)),
            tags.get(PLANES, 1) == 2,
            tiled,
            int(tags.get(ORIENTATION, 1)),
        )

    @property
    def across(self) -> int:
        """Strips or tiles side by side."""
        return -(-self.width // self.columns)

    @property
    def down(self) -> int:
        """Strips or tiles below each other."""
        return -(-self.height // self.rows)

    def unpacked(self, data: bytes, height: int, channels: int) -> Numbers:
        """Return the numbers of a strip or tile: (height, columns, channels)."""
        shape = (height, self.columns, channels)
        size = prod(shape) * self.dtype.itemsize
        if size > 8 * 4 * MAX_PIXELS:
            raise ValueError("a tile is larger than an image may be")
        if self.compression in DEFLATE:
            data = zlib.decompressobj().decompress(data, size)
        if len(data) < size:
            raise ValueError("image file is truncated")
        if self.predictor == 3:
            return self._from_differences_of_bytes(data[:size], shape)
        values = np.frombuffer(data[:size], self.dtype).reshape(shape)
        if self.predictor == 2:
            return np.cumsum(values, axis=1, dtype=values.dtype.newbyteorder("="))
        return values

    def _from_differences_of_bytes(self, data: bytes, shape: tuple[int, int, int]) -> Numbers:
        """Undo the predictor of floats: differences of bytes, the most significant ones first."""
        height, columns, channels = shape
        planes = np.frombuffer(data, np.uint8).reshape(height, -1, channels)
        planes = np.cumsum(planes, axis=1, dtype=np.uint8)
        planes = planes.reshape(height, self.dtype.itemsize, columns * channels)
        numbers = np.ascontiguousarray(planes.swapaxes(1, 2)).view(self.dtype.newbyteorder(">"))
        return numbers.reshape(shape)


def _all(value: Json) -> list[int]:
    """Return the values of a tag."""
    return [int(one) for one in value] if isinstance(value, tuple) else [int(value)]


def _first(value: Json) -> int:
    """Return the first value of a tag."""
    return _all(value)[0]

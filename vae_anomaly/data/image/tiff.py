"""TIFF images of more than 8 bits: those that Pillow does not read, or not rightly.

Pillow lacks 64 bits and colours of 32 bits, takes colours of 16 bits for 8, and swaps the bytes
of compressed numbers that are stored with the most significant byte first.

Adobe, "TIFF, Revision 6.0", 1992, and for the predictor of floats "TIFF, Technical Note 3", 2005.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from math import prod
from typing import IO, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from vae_anomaly._types import Json
from vae_anomaly.data.image.errors import ImageError
from vae_anomaly.data.image.layout import MAX_PIXELS, turned

__all__ = ["check_order", "read_tiff"]

Numbers = NDArray[np.generic]

MAGIC = (b"II*\0", b"MM\0*", b"II+\0")

BIG = 43
"""Version of BigTIFF."""

WIDTH, HEIGHT, BITS, COMPRESSION, CHANNELS = 256, 257, 258, 259, 277
STRIP_OFFSETS, STRIP_ROWS, STRIP_BYTES, PLANES, PREDICTOR = 273, 278, 279, 284, 317
COLOURS, ORIENTATION = 262, 274
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES, SAMPLE_FORMAT = 322, 323, 324, 325, 339

SAMPLE_TYPES = {1: "u", 2: "i", 3: "f"}

MAX_EMPTY_BYTES = 2**24
"""Bytes of a tile beyond those of the image."""

UNPACKED, DEFLATE = 1, (8, 32946)

PILLOW_GREYS, PILLOW_COLOURS = ("u2", "i2", "i4", "f4"), ("u2",)

COMPRESSIONS = {5: "LZW", 7: "JPEG", 32773: "PackBits", 34925: "LZMA", 50000: "Zstandard"}


def check_order(file: IO[bytes], name: str) -> None:
    """Raise if a file is a TIFF whose tags Pillow does not read.

    Raises
    ------
    ImageError
    """
    if file.read(4) == b"MM\0+":
        raise ImageError(name, "a BigTIFF with the most significant byte first, which is not read")
    file.seek(0)


def read_tiff(file: IO[bytes], name: str) -> Numbers | None:
    """Return the numbers of a TIFF, upright, (h, w[, channels]).

    Returns
    -------
    ndarray or None
        None for what Pillow reads: other files, 8 bits, and some compressions.

    Raises
    ------
    ImageError
        If it is of a type that is not read.
    Exception
        If it is damaged.
    """
    place = file.tell()
    file.seek(0)
    magic = file.read(4)
    storage = None
    if magic in MAGIC:
        storage = _Storage.of(file, name)
    numbers = None if storage is None else _numbers(file, storage)
    file.seek(place)
    return numbers


def _numbers(file: IO[bytes], storage: _Storage) -> Numbers:
    """Read the strips or tiles of an image."""
    shape = (storage.height, storage.width, storage.channels)
    out = np.zeros(shape, dtype=storage.dtype.newbyteorder("="))
    for i, (offset, count) in enumerate(storage.chunks):
        plane, at = divmod(i, storage.across * storage.down) if storage.planar else (0, i)
        top, left = (at // storage.across) * storage.rows, (at % storage.across) * storage.columns
        channels = slice(plane, plane + 1) if storage.planar else slice(None)
        room = out[top : top + storage.rows, left : left + storage.columns, channels]
        height = storage.rows if storage.tiled else room.shape[0]
        file.seek(offset)
        block = storage.unpacked(file.read(count), height, room.shape[2])
        room[:] = block[: room.shape[0], : room.shape[1]]
    return turned(out[:, :, 0] if storage.channels == 1 else out, storage.orientation)


class _Type(NamedTuple):
    """Type of the numbers of a TIFF."""

    channels: int
    bits: int
    letter: str  # of NumPy's dtypes

    @classmethod
    def of(cls, tags: Mapping[int, Json]) -> Self | None:
        """Return the type; None for what has 8 bits, or other colours than grey and RGB."""
        bits, types = _all(tags.get(BITS, 1)), _all(tags.get(SAMPLE_FORMAT, 1))
        letter, channels = SAMPLE_TYPES.get(types[0], ""), int(tags.get(CHANNELS, 1))
        alike = len(set(bits)) == len(set(types)) == 1
        deep = bits[0] in (16, 32, 64) or (bits[0] == 8 and letter == "i")
        known = letter and alike and channels in (1, 3, 4) and tags.get(COLOURS, 1) in (0, 1, 2)
        return cls(channels, bits[0], letter) if deep and known else None

    @property
    def code(self) -> str:
        """Code of NumPy's dtype, such as "u2"."""
        return f"{self.letter}{self.bits // 8}"

    @property
    def is_known_to_pillow(self) -> bool:
        """Whether Pillow reads this type rightly if compressed, least significant byte first."""
        return self.code in (PILLOW_GREYS if self.channels == 1 else PILLOW_COLOURS)

    @property
    def words(self) -> str:
        """Description of the type."""
        names = {"u": "unsigned", "i": "signed", "f": "floating-point"}
        colours = "grey" if self.channels == 1 else "colour"
        return f"a TIFF of {colours} in {self.bits}-bit {names[self.letter]} numbers"


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
        """Read the tags of the first image; None if it is left to Pillow."""
        file.seek(0)
        head = file.read(8)
        if head[2] == BIG:
            head += file.read(8)
        tags = ImageFileDirectory_v2(head)
        file.seek(tags.next)
        tags.load(file)
        tiled = TILE_OFFSETS in tags
        offsets, counts = (TILE_OFFSETS, TILE_BYTES) if tiled else (STRIP_OFFSETS, STRIP_BYTES)
        stored = _Type.of(tags)
        if stored is None or not {WIDTH, HEIGHT, offsets, counts} <= set(tags):
            return None
        height, width = int(tags[HEIGHT]), int(tags[WIDTH])
        if height * width > MAX_PIXELS:
            raise ImageError(
                name,
                f"too large, {width} x {height} pixels: at most {MAX_PIXELS // 1_000_000} million "
                f"are read",
            )
        compression = int(tags.get(COMPRESSION, UNPACKED))
        if compression not in (UNPACKED, *DEFLATE):
            if tags.prefix == b"II" and tags.get(PLANES, 1) == 1 and stored.is_known_to_pillow:
                return None
            packed = COMPRESSIONS.get(compression, f"compression {compression}")
            raise ImageError(name, f"{stored.words} with {packed}, expected Deflate or none")
        return cls(
            height,
            width,
            stored.channels,
            np.dtype(f"{'>' if tags.prefix == b'MM' else '<'}{stored.code}"),
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
        if size > MAX_EMPTY_BYTES + 4 * self.height * self.width * channels * self.dtype.itemsize:
            raise ValueError("its tiles are larger than the image")
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

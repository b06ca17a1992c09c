"""Arrays of images in idx, npy and npz files, read in chunks. Nothing is unpickled."""

from __future__ import annotations

import errno
import gzip
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from vae_anomaly._text import shown
from vae_anomaly.data.image.array_members import Members, chosen_members
from vae_anomaly.data.image.layout import MAX_PIXELS
from vae_anomaly.data.image.pixels import check_channels
from vae_anomaly.exceptions import DataError

__all__ = [
    "DAMAGE",
    "ArrayFile",
    "check_bytes",
    "damaged",
    "holds_array",
    "read_header",
    "unpacked",
]

IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

GZIP, ZIP, NPY = b"\x1f\x8b", b"PK\x03\x04", b"\x93NUMPY"

CHUNK_BYTES = 2**23

MAX_DEFLATE_RATIO = 1032
"""Bytes that one compressed byte can expand to."""

DAMAGE = (
    *(EOFError, KeyError, OSError, OverflowError, RuntimeError, ValueError),
    *(struct.error, zipfile.BadZipFile, zlib.error),
)
"""Errors that readers of archives and headers raise for damaged bytes."""


def holds_array(path: Path) -> bool:
    """Return whether a regular file is an idx, npy or npz file, by its content."""
    with path.open("rb") as file:
        start = file.read(8)
    if start.startswith(ZIP):
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
        except (OSError, zipfile.BadZipFile):
            return path.suffix.lower() == ".npz"
        return bool(names) and all(name.endswith(".npy") for name in names)
    if start.startswith(GZIP):
        try:
            with gzip.open(path) as unpacked:
                start = unpacked.read(4)
        except DAMAGE:
            return False
    return start.startswith(NPY) or _is_idx(start)


def _is_idx(start: bytes) -> bool:
    return len(start) >= 4 and start[:2] == b"\0\0" and start[2] in IDX_TYPES and 1 <= start[3] <= 4


@dataclass(frozen=True)
class ArrayFile:
    """An array of images in a file.

    Attributes
    ----------
    path : Path
    name : str
        Name of the file in messages.
    members : Members or None
        Arrays of an npz archive, of which this is one.
    dtype : numpy.dtype
    shape : tuple of int
        (n, height, width) or (n, height, width, channels).
    """

    path: Path
    name: str
    members: Members | None
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def member(self) -> str | None:
        """Name of the array in an npz archive."""
        return None if self.members is None else self.members.images

    @classmethod
    def open(cls, path: Path, name: str, *, fitting: bool = False) -> ArrayFile:
        """Read the header of a file; of an archive that of the array to learn, or to score.

        Raises
        ------
        DataError
            If it holds no images, or fewer bytes than its header says.
        """
        try:
            members = _members(path, name, fitting)
            member = None if members is None else members.images
            with unpacked(path, member) as file:
                dtype, shape = read_header(file, name)
                _check_shape(name, shape)
                check_bytes(path, member, name, prod(shape) * dtype.itemsize)
        except DataError:
            raise
        except DAMAGE as cause:
            raise damaged(name, cause) from cause
        return cls(path, name, members, dtype, shape)

    def chunks(self, max_images: int) -> Iterator[NDArray[np.generic]]:
        """Yield the images as they are stored, at most `max_images` at a time.

        Raises
        ------
        DataError
            If the file is damaged.
        """
        size = prod(self.shape[1:]) * self.dtype.itemsize
        rows = max(1, min(max_images, CHUNK_BYTES // max(1, size)))
        try:
            with unpacked(self.path, self.member) as file:
                read_header(file, self.name)
                for start in range(0, self.shape[0], rows):
                    count = min(rows, self.shape[0] - start)
                    data = file.read(count * size)
                    if len(data) < count * size:
                        raise DataError(
                            f"{self.name} ends after {start + len(data) // size:,} of "
                            f"{self.shape[0]:,} images. Copy it again."
                        )
                    yield np.frombuffer(data, self.dtype).reshape(count, *self.shape[1:])
        except DataError:
            raise
        except DAMAGE as cause:
            raise damaged(self.name, cause) from cause


def damaged(name: str, cause: Exception) -> Exception:
    """Return the error for one of `DAMAGE`: itself if the disk failed."""
    if isinstance(cause, OSError) and cause.errno not in (None, errno.EINVAL):
        # The disk failed. To seek to an invalid position (EINVAL) is an error of the content.
        return cause
    words = " ".join(str(cause).split())[:100].rstrip(".")
    return DataError(f"{name} is damaged: {words or type(cause).__name__}. Copy it again.")


def _members(path: Path, name: str, fitting: bool) -> Members | None:
    """Choose the arrays of an npz archive; None for other files."""
    with path.open("rb") as file:
        if not file.read(4).startswith(ZIP):
            return None
    with zipfile.ZipFile(path) as archive:
        members = [member for member in archive.namelist() if member.endswith(".npy")]
    if not members:
        raise DataError(f"{name} holds no array.")

    def has_images(member: str) -> bool:
        try:
            with unpacked(path, member) as file:
                shape = read_header(file, name)[1]
            _check_shape(name, shape)
        except (DataError, *DAMAGE):
            return False
        return True

    return chosen_members(members, fitting=fitting, has_images=has_images)


@contextmanager
def unpacked(path: Path, member: str | None) -> Iterator[IO[bytes]]:
    """Open a file, or a member of an archive, decompressed."""
    with ExitStack() as stack:
        if member is not None:
            archive = stack.enter_context(zipfile.ZipFile(path))
            yield stack.enter_context(archive.open(member))
            return
        file: IO[bytes] = stack.enter_context(path.open("rb"))
        if file.read(2) == GZIP:
            file = cast("IO[bytes]", stack.enter_context(gzip.open(path)))
        file.seek(0)
        yield file


def read_header(
    file: IO[bytes], name: str, *, dtype_codes: str = "biuf", expected: str = "numbers: pixels"
) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Read the header, up to where the values begin.

    Parameters
    ----------
    file : file
    name : str
        Name of the file in messages.
    dtype_codes : str, default="biuf"
        Codes, `numpy.dtype.kind`, of the dtypes that are accepted.
    expected : str, default="numbers: pixels"
        The same in words.
    """
    start = file.read(4)
    if _is_idx(start):
        shape = struct.unpack(f">{start[3]}I", file.read(4 * start[3]))
        return np.dtype(IDX_TYPES[start[2]]), shape
    rest = file.read(4)
    if not (start + rest).startswith(NPY):
        raise DataError(f"{name} holds no idx or NumPy array.")
    if rest[2] not in (1, 2):
        raise DataError(f"{name}: version {rest[2]} of NumPy's format is not read. Save it again.")
    read = npy.read_array_header_1_0 if rest[2] == 1 else npy.read_array_header_2_0
    shape, by_columns, dtype = read(file)
    if any(side < 0 for side in shape):
        raise DataError(
            f"{name} is damaged: its header has the shape {shown(shape)}. Copy it again."
        )
    if dtype.kind not in dtype_codes:
        raise DataError(f"{name} holds {shown(str(dtype))}, expected {expected}.")
    if by_columns:
        raise DataError(f"{name} is stored in Fortran's order. Save numpy.ascontiguousarray of it.")
    return dtype, shape


def _check_shape(name: str, shape: tuple[int, ...]) -> None:
    """Raise if the shape is not that of images."""
    check_channels(shape, f"{name} holds")
    images = len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3, 4))
    if not images:
        raise DataError(
            f"{name} holds an array of shape {shape}. Expected images: (n, height, width), or "
            f"(n, height, width, channels) with 1, 3 or 4 channels."
        )
    if 0 in shape:
        raise DataError(f"{name} holds no images: its array has the shape {shape}.")
    if shape[1] * shape[2] > MAX_PIXELS:
        raise DataError(
            f"{name} holds images of {shape[1]} x {shape[2]} pixels: "
            f"at most {MAX_PIXELS // 1_000_000} million are read."
        )


def check_bytes(path: Path, member: str | None, name: str, wanted: int) -> None:
    """Raise if a file is too small for what its header says."""
    if member is not None:
        with zipfile.ZipFile(path) as archive:
            facts = archive.getinfo(member)
        available = min(facts.file_size, MAX_DEFLATE_RATIO * facts.compress_size)
    else:
        with path.open("rb") as file:
            packed = file.read(2) == GZIP
        available = path.stat().st_size * (MAX_DEFLATE_RATIO if packed else 1)
    if wanted > available:
        raise DataError(f"{name} is cut off: its header promises more than it can hold.")

"""Container format of model files and checkpoints: named arrays and JSON settings, no code.

::

    8 bytes       length of the header, little-endian
    header        JSON: {"__metadata__": {format, format_version, config, sha256},
                         name: {"dtype", "shape", "data_offsets"}, ...}
    body          the arrays, little-endian, one after another

This is the layout of safetensors, whose library opens the file too. This reader
is stricter: it refuses everything unexpected, with the cheapest checks first, and
allocates no more than the file's length. The checksum is not a signature, since an
edited file can get a new one: no other check relies on it.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vae_anomaly._types import AnyArray, Json, JsonObject
from vae_anomaly.exceptions import ModelFileError, OutputError, VAEAnomalyError
from vae_anomaly.storage.atomic import atomic_write, check_path

__all__ = [
    "FORMAT",
    "FORMAT_VERSION",
    "FileType",
    "Layout",
    "UnopenedFile",
    "open_container",
    "packed",
    "read_container",
    "write_container",
]

FORMAT = "vae-anomaly"

FORMAT_VERSION = 1
"""Increase it when files of a released version would be misread, and keep a reader and a sample of
each version in `tests/old_formats`. None has been released yet."""

MAX_HEADER_BYTES = 4 * 2**20
MAX_OBJECTS, MAX_LISTS = 2**13, 2**18
"""Maximum braces and brackets of a header; parsed, each takes far more memory than in the file."""

MAX_DIGITS = 20
"""Maximum digits of an integer: those of 64 bits."""

AS_DIGITS = bytes(0 if chr(byte) in "0123456789" else 1 for byte in range(256))
"""What bytes are translated to: digits to 0, all else to 1."""

DTYPES: dict[str, np.dtype[np.generic]] = {
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "U64": np.dtype("<u8"),
}

Refusal = Callable[[str], VAEAnomalyError]
"""Function from a reason to the error to raise."""

Layout = dict[str, tuple[str, tuple[int, ...]]]
"""Name -> (dtype, shape) of every array, in the order of the body."""


class FileType(NamedTuple):
    """A file type in this container format.

    Attributes
    ----------
    format, version : str, int
        Name of the format in the file's metadata, and its latest version.
    label, writer : str
        Noun for the file, and name of the function that writes it, for messages.
    max_bytes : int
        Maximum size; larger files are neither written nor read.
    error : type
        Type of the error for files that are not valid.
    remedy : str, optional
        What to do about such a file, for messages.
    """

    format: str
    version: int
    label: str
    writer: str
    max_bytes: int
    error: type[VAEAnomalyError]
    remedy: str = ""


MODEL = FileType(FORMAT, FORMAT_VERSION, "model", "save", 512 * 2**20, ModelFileError)

FOREIGN = {
    b"PK\x03\x04": "a zip archive (such as a .keras file)",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUM": "a NumPy file",
    b"\x89PNG": "a PNG file",
    b"PAR1": "a Parquet file",
}


def write_container(
    path: str | Path,
    config: Json,
    arrays: dict[str, tuple[str, AnyArray]],
    file_type: FileType = MODEL,
) -> str:
    """Write a container file atomically.

    Parameters
    ----------
    path : str or Path
    config : object
        Settings; `json` must be able to write them.
    arrays : dict of str to (dtype, array)
    file_type : FileType, optional

    Returns
    -------
    str
        The SHA-256 stored in the file. Equal settings and arrays result in equal files.

    Raises
    ------
    OutputError
        If the file would be larger than the reader accepts, or cannot be written.
    """
    content = packed(config, arrays, file_type, str(path))
    with atomic_write(path) as file:
        file.write(content.bytes)
    return content.sha256


class Packed(NamedTuple):
    """Content of a container file, and the SHA-256 stored in it."""

    bytes: bytes
    sha256: str


def packed(
    config: Json,
    arrays: dict[str, tuple[str, AnyArray]],
    file_type: FileType = MODEL,
    name: str = "the file",
) -> Packed:
    """Return the content of a container file; see `write_container`.

    Raises
    ------
    OutputError
        If it would be larger than the reader accepts.
    """
    blobs = [
        np.ascontiguousarray(array, dtype=DTYPES[dtype]).tobytes()
        for dtype, array in arrays.values()
    ]
    layout = {name: (dtype, np.shape(array)) for name, (dtype, array) in arrays.items()}
    body = b"".join(blobs)
    metadata = {
        "format": file_type.format,
        "format_version": str(file_type.version),
        "config": canonical(config),
    }
    header = {"__metadata__": metadata, **_entries(layout)}
    metadata["sha256"] = _digest(header, body)
    text = canonical(header).encode()
    text += b" " * (-len(text) % 8)  # aligns the arrays for readers that map the file
    if (
        len(text) > MAX_HEADER_BYTES
        or 8 + len(text) + len(body) > file_type.max_bytes
        or _has_too_many_parts(text)
    ):
        raise OutputError(
            f"Cannot write {name}: the {file_type.label} has {len(body)} bytes of arrays and "
            f"{len(text)} of settings, more than can be loaded ({file_type.max_bytes} in total, "
            f"{MAX_HEADER_BYTES} of settings). Use fewer or smaller networks, or fewer columns."
        )
    content = len(text).to_bytes(8, "little") + text + body
    return Packed(content, metadata["sha256"])


class UnopenedFile(NamedTuple):
    """A file whose settings have been read and whose arrays have not been checked yet."""

    name: str
    config: Json
    header: JsonObject
    body: memoryview
    file_type: FileType = MODEL

    @property
    def sha256(self) -> str:
        """The stored checksum."""
        return str(self.header["__metadata__"]["sha256"])

    def refused(self, reason: str) -> VAEAnomalyError:
        """Build the error for invalid content of the file."""
        return refuse(self.name, reason, self.file_type)

    def arrays(self, layout: Layout) -> dict[str, AnyArray]:
        """Return the arrays, which must be exactly those of `layout`.

        They are read-only views of the file's bytes: copy those that are kept.

        Raises
        ------
        VAEAnomalyError
            The error of the file type: if a name, dtype, shape or offset differs, the
            checksum does not match, or a number is not finite.
        """
        size = sum(DTYPES[dtype].itemsize * math.prod(shape) for dtype, shape in layout.values())
        if size != len(self.body):
            raise self.refused(
                f"its settings ask for {size} bytes of arrays, there are {len(self.body)}"
            )
        entries = {key: value for key, value in self.header.items() if key != "__metadata__"}
        # Compared as text: True == 1 == 1.0 in Python, but not in a file.
        if len(entries) != len(layout) or canonical(entries) != canonical(_entries(layout)):
            if _are_reordered(entries, layout):
                raise self.refused(
                    f"its arrays are in another order: another program wrote it again, such as the "
                    f"safetensors package. Use the file that `{self.file_type.writer}` wrote"
                )
            raise self.refused("its arrays are not those that its settings ask for")
        if self.sha256 != _digest(self.header, self.body):
            raise self.refused("its checksum does not match: it was damaged or edited")
        out = {}
        start = 0
        for name, (dtype, shape) in layout.items():
            count = math.prod(shape)
            array = np.frombuffer(self.body, DTYPES[dtype], count, start).reshape(shape)
            if count and not np.isfinite([array.min(), array.max()]).all():
                raise self.refused(f"the array {name!r} holds NaN or infinity")
            out[name] = array
            start += array.nbytes
        return out


def open_container(path: str | Path, file_type: FileType = MODEL) -> UnopenedFile:
    """Read the header and the settings of a file.

    Raises
    ------
    VAEAnomalyError
        The error of the file type: if it is not a regular file in this format, or its
        version is unknown.
    OSError
        If it is missing or cannot be read.
    """
    refused = partial(refuse, str(path), file_type=file_type)
    return read_container(_read_regular(path, file_type.max_bytes, refused), str(path), file_type)


def read_container(raw: bytes | memoryview, name: str, file_type: FileType = MODEL) -> UnopenedFile:
    """Read the header and the settings of the bytes of a file, which has a name in messages.

    Raises
    ------
    VAEAnomalyError
        As `open_container`.
    """
    raw = memoryview(raw)
    refused = partial(refuse, name, file_type=file_type)
    if len(raw) > file_type.max_bytes:
        raise refused(f"it has {len(raw)} bytes, more than the {file_type.max_bytes} allowed")
    for magic, what in FOREIGN.items():
        if raw[: len(magic)] == magic:
            raise refused(f"it is {what}. Only files written by `{file_type.writer}` are loaded")
    if len(raw) < 8:
        raise refused(f"expected at least 8 bytes, found {len(raw)}")
    length = int.from_bytes(raw[:8], "little")
    if bytes(raw[:1]) == b"\x80" and length > MAX_HEADER_BYTES:
        raise refused("it looks like a pickle. Pickles run code and are never loaded")
    if bytes(raw[:64]).isascii() and not set(raw[:64]) & set(range(9)):
        order = ". The model comes first, then the data" if file_type is MODEL else ""
        raise refused(f"it is text, such as a CSV file{order}")
    if not 2 <= length <= min(MAX_HEADER_BYTES, len(raw) - 8):
        raise refused("the length of its header is out of range")
    text = bytes(raw[8 : 8 + length])
    if _has_too_many_parts(text):
        raise refused(f"its header has more parts than a {file_type.label}")
    header = _parse(text, "header", refused)
    if not isinstance(header, dict) or not isinstance(header.get("__metadata__"), dict):
        raise refused("its header has no metadata")
    metadata = header["__metadata__"]
    if set(metadata) != {"format", "format_version", "config", "sha256"} or not all(
        isinstance(value, str) for value in metadata.values()
    ):
        raise refused(f"its metadata are not those of a {file_type.label}")
    if metadata["format"] != file_type.format:
        raise refused(f"its format is {_short(metadata['format'])}, not {file_type.format!r}")
    _check_version(metadata["format_version"], file_type.version, refused)
    config = _parse(metadata["config"].encode("utf-8", "surrogatepass"), "settings", refused)
    return UnopenedFile(name, config, header, raw[8 + length :], file_type)


def refuse(name: str, reason: str, file_type: FileType = MODEL) -> VAEAnomalyError:
    """Build the error for a file that is not valid."""
    return file_type.error(
        f"{name}: not a sound vae-anomaly {file_type.label}: {reason}.{file_type.remedy}"
    )


def canonical(value: Json) -> str:
    """Return the canonical JSON of a value: sorted keys, no spaces, ASCII, finite numbers only."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _read_regular(path: str | Path, max_bytes: int, refused: Refusal) -> memoryview:
    check_path(path)
    # Non-blocking, so that opening a FIFO does not wait for a writer.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise refused("expected a regular file, found a directory, pipe or device")
        if status.st_size > max_bytes:
            raise refused(f"it has {status.st_size} bytes, more than the {max_bytes} allowed")
        with open(descriptor, "rb", closefd=False) as file:
            return memoryview(file.read(status.st_size))
    finally:
        os.close(descriptor)


def _has_too_many_parts(header: bytes) -> bool:
    return header.count(b"{") > MAX_OBJECTS or header.count(b"[") > MAX_LISTS


def _check_version(text: str, latest: int, refused: Refusal) -> None:
    if not re.fullmatch("[1-9][0-9]{0,3}", text):
        raise refused(f"its format version is {_short(text)}")
    if int(text) > latest:
        raise refused(
            f"it has format version {text}, this release reads up to {latest}. "
            f"Upgrade vae-anomaly to load it"
        )


def _parse(text: bytes, part: str, refused: Refusal) -> Json:
    def pairs(items: list[tuple[str, Json]]) -> JsonObject:
        found = dict(items)
        if len(found) != len(items):
            raise ValueError("a key occurs twice")
        return found

    def constant(token: str) -> Json:
        raise ValueError(f"{token} is not a number")

    def integer(token: str) -> int:
        if len(token) > MAX_DIGITS:  # takes a time that grows with the square of the digits
            raise ValueError(f"an integer has {len(token):,} digits")
        return int(token)

    try:
        if not text.startswith(b"{"):
            raise ValueError("it does not start with a brace")
        # A million calls take longer than all else, and mostly no number is so long.
        read = integer if bytes(MAX_DIGITS + 1) in text.translate(AS_DIGITS) else None
        return json.loads(
            text.decode(), object_pairs_hook=pairs, parse_constant=constant, parse_int=read
        )
    except (ValueError, RecursionError) as error:
        raise refused(f"its {part} cannot be read ({_short(str(error))})") from None


def _entries(layout: Layout) -> JsonObject:
    entries, start = {}, 0
    for name, (dtype, shape) in layout.items():
        end = start + DTYPES[dtype].itemsize * math.prod(shape)
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
        start = end
    return entries


def _are_reordered(entries: JsonObject, layout: Layout) -> bool:
    """Return whether the arrays are those of a layout, one after the other in another order."""
    if len(entries) != len(layout):
        return False
    try:
        order = sorted(layout, key=lambda name: entries[name]["data_offsets"])
    except (KeyError, TypeError):  # what is there need not be an entry
        return False
    return canonical(entries) == canonical(_entries({name: layout[name] for name in order}))


def _digest(header: JsonObject, body: bytes | memoryview) -> str:
    metadata = {k: v for k, v in header["__metadata__"].items() if k != "sha256"}
    digest = hashlib.sha256(canonical({**header, "__metadata__": metadata}).encode())
    digest.update(body)
    return digest.hexdigest()


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")

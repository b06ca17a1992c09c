"""The layout of our files: named arrays and one text of settings, nothing that runs.

::

    8 bytes       length of the header, little-endian
    header        JSON: {"__metadata__": {format, format_version, config, sha256},
                         name: {"dtype", "shape", "data_offsets"}, ...}
    body          the arrays, little-endian, one after another

This is the layout of safetensors, so its library opens the file too; this
reader is stricter. It refuses everything that it does not expect, cheapest
checks first, and allocates nothing that the file's own length does not cover.
A checksum is no signature: whoever edits a file can also sign it again, so
every check holds without it. Models and checkpoints are two kinds of such files.
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
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.exceptions import ModelFileError, OutputError, VAEAnomalyError
from vae_anomaly.storage.atomic import atomic_write

__all__ = [
    "FORMAT",
    "FORMAT_VERSION",
    "Kind",
    "Layout",
    "UnopenedFile",
    "open_container",
    "write_container",
]

FORMAT = "vae-anomaly"

FORMAT_VERSION = 1
"""Raise it when a file of a version that was released would be misread, and keep a reader and
a sample of each in `tests/old_formats`. None has been released yet."""

MAX_HEADER_BYTES = 4 * 2**20
MAX_OBJECTS, MAX_LISTS = 2**13, 2**18
"""Braces and brackets in a header: parsed, each costs many times what it does in the file."""

DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8")}

Refusal = Callable[[str], VAEAnomalyError]
"""From what is wrong to the error that says so."""

Layout = dict[str, tuple[str, tuple[int, ...]]]
"""Name -> (dtype, shape) of every array, in the order of the body."""


class Kind(NamedTuple):
    """A kind of files in this layout.

    Attributes
    ----------
    format, version : str, int
        What a file of the kind says of itself, and the latest version.
    words, writer : str
        What it is called, and the function that writes it.
    max_bytes : int
        Larger files are neither written nor read.
    error : type
        Of what is raised for a file that is none.
    remedy : str, optional
        What to do then.
    """

    format: str
    version: int
    words: str
    writer: str
    max_bytes: int
    error: type[VAEAnomalyError]
    remedy: str = ""


MODEL = Kind(FORMAT, FORMAT_VERSION, "model", "save", 512 * 2**20, ModelFileError)

FOREIGN = {
    b"PK\x03\x04": "a zip archive (such as a .keras file)",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUM": "a NumPy file",
    b"\x89PNG": "an image",
    b"PAR1": "a Parquet file",
}


def write_container(
    path: str | Path, config: Any, arrays: dict[str, tuple[str, Any]], kind: Kind = MODEL
) -> str:
    """Write a file, whole or not at all.

    Parameters
    ----------
    path : str or Path
    config : object
        Settings, as `json` can write them.
    arrays : dict of str to (dtype, array)
    kind : Kind, optional

    Returns
    -------
    str
        The SHA-256 stored in the file. Equal settings and arrays give equal files.
    """
    blobs = [
        np.ascontiguousarray(array, dtype=DTYPES[dtype]).tobytes()
        for dtype, array in arrays.values()
    ]
    layout = {name: (dtype, np.shape(array)) for name, (dtype, array) in arrays.items()}
    body = b"".join(blobs)
    metadata = {
        "format": kind.format,
        "format_version": str(kind.version),
        "config": canonical(config),
    }
    header = {"__metadata__": metadata, **_table(layout)}
    metadata["sha256"] = _digest(header, body)
    text = canonical(header).encode()
    text += b" " * (-len(text) % 8)  # so that the arrays are aligned for whoever maps them
    if (
        len(text) > MAX_HEADER_BYTES
        or 8 + len(text) + len(body) > kind.max_bytes
        or _has_too_many_parts(text)
    ):
        raise OutputError(
            f"Cannot write {path}: the {kind.words} has {len(body)} bytes of arrays and "
            f"{len(text)} of settings, more than are read again ({kind.max_bytes} in all, "
            f"{MAX_HEADER_BYTES} of settings). Use fewer or smaller networks, or fewer columns."
        )
    with atomic_write(path) as file:
        file.write(len(text).to_bytes(8, "little") + text + body)
    return metadata["sha256"]


class UnopenedFile(NamedTuple):
    """A file whose settings have been read but whose arrays have not been looked at."""

    name: str
    config: Any
    header: dict[str, Any]
    body: memoryview
    kind: Kind = MODEL

    @property
    def sha256(self) -> str:
        """The stored checksum."""
        return str(self.header["__metadata__"]["sha256"])

    def refused(self, why: str) -> VAEAnomalyError:
        """Build the error for something in it."""
        return refuse(self.name, why, self.kind)

    def arrays(self, layout: Layout) -> dict[str, NDArray[Any]]:
        """Look at the arrays, which must be exactly those of `layout`.

        They are views of the file's bytes, and read-only: what is kept is to be copied.

        Raises
        ------
        VAEAnomalyError
            Of the kind's own type: if a name, type, shape or place differs, the
            checksum does not fit, or a number is not finite.
        """
        size = sum(DTYPES[dtype].itemsize * math.prod(shape) for dtype, shape in layout.values())
        if size != len(self.body):
            raise self.refused(
                f"its settings ask for {size} bytes of arrays, there are {len(self.body)}"
            )
        table = {key: value for key, value in self.header.items() if key != "__metadata__"}
        # As text, since True == 1 == 1.0 in Python, but not in a file.
        if len(table) != len(layout) or canonical(table) != canonical(_table(layout)):
            raise self.refused("its arrays are not those that its settings ask for")
        if self.sha256 != _digest(self.header, self.body):
            raise self.refused("its checksum does not fit: it was damaged or edited")
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


def open_container(path: str | Path, kind: Kind = MODEL) -> UnopenedFile:
    """Read a file up to its settings.

    Raises
    ------
    VAEAnomalyError
        Of the kind's own type: if it is not a regular file in this layout, or of an
        unknown version.
    OSError
        If it is missing or cannot be read.
    """
    name = str(path)
    refused = partial(refuse, name, kind=kind)
    raw = _read_regular(path, kind.max_bytes, refused)
    for magic, what in FOREIGN.items():
        if raw[: len(magic)] == magic:
            raise refused(f"it is {what}. Only files written by `{kind.writer}` are loaded")
    if len(raw) < 8:
        raise refused(f"expected at least 8 bytes, found {len(raw)}")
    length = int.from_bytes(raw[:8], "little")
    if bytes(raw[:1]) == b"\x80" and length > MAX_HEADER_BYTES:
        raise refused("it looks like a pickle. Pickles run code and are never loaded")
    if bytes(raw[:64]).isascii() and not set(raw[:64]) & set(range(9)):
        order = ". The model comes first, then the data" if kind is MODEL else ""
        raise refused(f"it is text, such as a table{order}")
    if not 2 <= length <= min(MAX_HEADER_BYTES, len(raw) - 8):
        raise refused("the length of its header is out of range")
    text = bytes(raw[8 : 8 + length])
    if _has_too_many_parts(text):
        raise refused(f"its header has more parts than a {kind.words}")
    header = _parse(text, "header", refused)
    if not isinstance(header, dict) or not isinstance(header.get("__metadata__"), dict):
        raise refused("its header has no metadata")
    metadata = header["__metadata__"]
    if set(metadata) != {"format", "format_version", "config", "sha256"} or not all(
        isinstance(value, str) for value in metadata.values()
    ):
        raise refused(f"its metadata are not those of a {kind.words}")
    if metadata["format"] != kind.format:
        raise refused(f"its format is {_short(metadata['format'])}, not {kind.format!r}")
    _check_version(metadata["format_version"], kind.version, refused)
    config = _parse(metadata["config"].encode("utf-8", "surrogatepass"), "settings", refused)
    return UnopenedFile(name, config, header, raw[8 + length :], kind)


def refuse(name: str, why: str, kind: Kind = MODEL) -> VAEAnomalyError:
    """Build the one error of this room."""
    return kind.error(f"{name}: not a sound vae-anomaly {kind.words}: {why}.{kind.remedy}")


def canonical(value: Any) -> str:
    """One text for one value: sorted keys, no spaces, ASCII, finite numbers only."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _read_regular(path: str | Path, max_bytes: int, refused: Refusal) -> memoryview:
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


def _parse(text: bytes, part: str, refused: Refusal) -> Any:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) != len(items):
            raise ValueError("a key stands twice")
        return found

    def constant(token: str) -> Any:
        raise ValueError(f"{token} is not a number")

    try:
        if not text.startswith(b"{"):
            raise ValueError("it does not start with a brace")
        return json.loads(text.decode(), object_pairs_hook=pairs, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        raise refused(f"its {part} cannot be read ({_short(str(error))})") from None


def _table(layout: Layout) -> dict[str, Any]:
    table, start = {}, 0
    for name, (dtype, shape) in layout.items():
        end = start + DTYPES[dtype].itemsize * math.prod(shape)
        table[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
        start = end
    return table


def _digest(header: dict[str, Any], body: bytes | memoryview) -> str:
    metadata = {k: v for k, v in header["__metadata__"].items() if k != "sha256"}
    digest = hashlib.sha256(canonical({**header, "__metadata__": metadata}).encode())
    digest.update(body)
    return digest.hexdigest()


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")

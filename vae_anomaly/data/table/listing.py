"""Files of a table: a folder of parts, a pattern, or a URL of an object store.

Names such as ``site=north/part-0.parquet`` (partitions of Hive) bring columns that are no
features unless they are chosen.
"""

from __future__ import annotations

import errno
import glob
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote

from vae_anomaly._text import display_name
from vae_anomaly.data.image.listing import IMAGE_SUFFIXES, is_pattern_of_images
from vae_anomaly.data.patterns import (
    before_wildcards,
    files_within,
    folder_of_pattern,
    is_pattern,
    matching_files,
)
from vae_anomaly.exceptions import DataError
from vae_anomaly.names import PARQUET_SUFFIXES, ROW_SUFFIXES, TEXT_SUFFIXES
from vae_anomaly.storage.remote import RemoteFile, is_url, remote_files

__all__ = ["PartFile", "has_parts", "part_files"]

LOCAL = "file://"

NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"


class PartFile(NamedTuple):
    """A file of a table.

    Attributes
    ----------
    file : Path or RemoteFile
    place : str
        Its path below the folder.
    """

    file: Path | RemoteFile
    place: str

    @classmethod
    def of(cls, path: str, place: str = "") -> PartFile:
        """Return the file of a path or URL, which is one file."""
        return cls(remote_files(path)[0] if is_url(path) else Path(path), place)

    @property
    def path(self) -> str:
        """Path or URL that other processes open as well."""
        return str(self.file.resolve()) if isinstance(self.file, Path) else self.file.url

    @property
    def state(self) -> str:
        """Description that differs once the file is another one."""
        if isinstance(self.file, Path):
            status = self.file.stat()
            return f"{status.st_size} {status.st_mtime_ns}"
        return " ".join(map(str, self.file.state()))

    @property
    def name(self) -> str:
        """Name in messages."""
        return display_name(self.file) if isinstance(self.file, Path) else self.file.url

    @property
    def partitions(self) -> dict[str, str | None]:
        """Columns that the names of folders bring, and their values."""
        pairs = (part.partition("=") for part in PurePosixPath(self.place).parts[:-1])
        found = {name: unquote(value) for name, equals, value in pairs if name and equals}
        return {name: None if value == NULL_PARTITION else value for name, value in found.items()}


def has_parts(path: str) -> bool:
    """Return whether a path is a URL, a pattern of no images, or a folder of tables."""
    if is_url(path):
        return True
    place = Path(path)
    if is_pattern(path):
        return not is_pattern_of_images(path)
    if not place.is_dir():
        return False
    names = (place.name, *_names_within(place))
    return any(name.lower().endswith(ROW_SUFFIXES) for name in names)


def _names_within(folder: Path) -> Iterator[str]:
    """Yield the files of a folder of parts; none if there is an image among them."""
    names: list[str] = []
    for _, folders, files in os.walk(folder):
        folders[:] = filter(_is_shown, folders)
        if any(Path(name).suffix.lower() in IMAGE_SUFFIXES for name in files):
            return
        names += filter(_is_shown, files)
    yield from names


def _is_shown(name: str) -> bool:
    """Return whether a name is no hidden one: Spark writes ``_SUCCESS``, others ``.crc``."""
    return not name.startswith((".", "_"))


def part_files(path: str) -> list[PartFile]:
    """Return the files of a table for which `has_parts` is true, in the order of their names.

    Raises
    ------
    DataError
        If a folder holds no Parquet, CSV or JSON Lines files.
    OSError
        If there is no file, or it cannot be read.
    """
    is_remote = is_url(path) and not path.startswith(LOCAL)
    if is_remote:
        base = _without_wildcards(path)
        parts = [
            PartFile(file, file.url.removeprefix(base).lstrip("/")) for file in remote_files(path)
        ]
        is_named = [part.place for part in parts] == [""]
    else:
        local = unquote(path.removeprefix(LOCAL)) if path.startswith(LOCAL) else path
        is_named = Path(local).is_file()
        parts = [PartFile(Path(local), "")] if is_named else _local_parts(local)
    if is_named:
        return parts
    shown_parts = [part for part in parts if all(map(_is_shown, PurePosixPath(part.place).parts))]
    for suffixes in (PARQUET_SUFFIXES, TEXT_SUFFIXES):
        chosen = [part for part in shown_parts if part.place.lower().endswith(suffixes)]
        if chosen:
            return chosen
    if not shown_parts:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    raise DataError(
        f"{path} holds {len(shown_parts)} files, and none whose name ends with .parquet, .csv or "
        f".jsonl. Rename them, or name one of them."
    )


def _local_parts(path: str) -> list[PartFile]:
    """Return all files of a folder, or those that match a pattern."""
    folder = Path(path)
    if folder.is_dir():
        places = files_within(folder)
    elif glob.has_magic(path):
        folder, places = folder_of_pattern(path), matching_files(path)
    else:
        places = []
    return [PartFile(folder / place, place) for place in places]


def _without_wildcards(path: str) -> str:
    """Return the folder above the first wildcard, or the path if there is none."""
    address = path.partition("?")[0] if is_url(path) else path
    if not glob.has_magic(address) or Path(path).exists():
        return address.rstrip("/")
    return before_wildcards(address)

"""Files in object stores and on other file systems, by URL.

pyarrow opens ``file``, ``s3``, ``gs`` and ``hdfs`` by itself; for other schemes fsspec and its
package for the scheme must be installed. Credentials and addresses come from the environment
that these libraries read, such as ``AWS_ACCESS_KEY_ID`` and ``AWS_ENDPOINT_URL``.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vae_anomaly.exceptions import DataError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.fs as pa_fs

__all__ = ["RemoteFile", "is_url", "remote_files"]

URL = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]+)://")
"""Start of a URL. A drive of Windows has one letter."""

WILDCARD = re.compile(r"[*\[]")


@dataclass(frozen=True)
class RemoteFile:
    """A file on a file system of pyarrow.

    Attributes
    ----------
    url : str
        Its name in messages.
    system : FileSystem
    path : str
        Path on that file system.
    """

    url: str
    system: pa_fs.FileSystem
    path: str

    def open(self) -> pa.NativeFile:
        """Open the file for reading at any place."""
        with _named(self.url):
            return self.system.open_input_file(self.path)

    def state(self) -> tuple[int, int]:
        """Return the size and the time of the last change of the file."""
        with _named(self.url):
            info = self.system.get_file_info(self.path)
        return info.size, info.mtime_ns


def is_url(path: str) -> bool:
    """Return whether a path is a URL.

    Examples
    --------
    >>> is_url("s3://pumps/may.parquet"), is_url("may.parquet"), is_url("C:/may.parquet")
    (True, False, False)
    """
    return URL.match(path) is not None


def remote_files(url: str) -> list[RemoteFile]:
    """Return the file of a URL, those that match its wildcards, or all below a folder; sorted.

    ``*`` stands for any characters but a slash, ``**`` for folders at any depth. A question mark
    begins options of pyarrow, such as ``?region=eu-west-1``.

    Raises
    ------
    DataError
        If the scheme is unknown, or its package is not installed.
    OSError
        If there is no such file, or the store refuses.
    """
    import pyarrow.fs as pa_fs

    address, mark, options = url.partition("?")
    found = WILDCARD.search(address)
    base = address if found is None else address[: address.rindex("/", 0, found.start())]
    with _named(url):
        system, path = _opened(f"{base}{mark}{options}", url)
        if found is None and system.get_file_info(path).type == pa_fs.FileType.File:
            return [RemoteFile(url, system, path)]
        listing = system.get_file_info(pa_fs.FileSelector(path, recursive=True))
    files = [info.path for info in listing if info.type == pa_fs.FileType.File]
    if found is not None:
        pattern = re.compile(_regex(address[len(base) + 1 :]))
        files = [file for file in files if pattern.fullmatch(_below(file, path))]
    return [RemoteFile(f"{base}/{_below(file, path)}", system, file) for file in sorted(files)]


def _below(file: str, folder: str) -> str:
    return file.removeprefix(folder.rstrip("/")).lstrip("/")


def _opened(base: str, url: str) -> tuple[pa_fs.FileSystem, str]:
    """Return the file system of a URL, and the path on it."""
    import pyarrow as pa
    import pyarrow.fs as pa_fs

    try:
        system, path = pa_fs.FileSystem.from_uri(base)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as unknown:
        try:
            import fsspec

            other, path = fsspec.core.url_to_fs(base)
        except (ImportError, ValueError) as cause:
            raise DataError(
                f"{url} cannot be opened: {str(unknown).rstrip('.')}. Install fsspec and its "
                f"package for these URLs, or copy the files to this machine."
            ) from cause
        return pa_fs.PyFileSystem(pa_fs.FSSpecHandler(other)), path
    return system, path


def _regex(pattern: str) -> str:
    """Return a pattern with wildcards as a regular expression."""
    tokens = re.split(r"(\*\*/|\*|\[[^\]]+\])", pattern)
    meaning = {"**/": "(?:[^/]+/)*", "*": "[^/]*"}
    return "".join(
        meaning.get(token, token if token.startswith("[") else re.escape(token)) for token in tokens
    )


@contextmanager
def _named(url: str) -> Iterator[None]:
    """Add the URL to an error of a store, which often has neither a name nor a number."""
    try:
        yield
    except FileNotFoundError as cause:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), url) from cause
    except OSError as cause:
        words = " ".join(str(cause.strerror or cause).split())
        raise OSError(cause.errno or errno.EIO, words, url) from cause

"""Paths: those that no file can have, and directories at any depth."""

from __future__ import annotations

import errno
import os
from pathlib import Path

__all__ = ["check_path", "make_folder"]


def check_path(path: str | os.PathLike[str]) -> None:
    r"""Raise for a path that no file can have: with a NUL, or with text that is no bytes.

    Python raises a ValueError for it where it is opened, and finds that it does not exist.

    Raises
    ------
    OSError

    Examples
    --------
    >>> check_path("a\0b")
    Traceback (most recent call last):
        ...
    OSError: [Errno 22] its name holds a character that no file name has: 'a\x00b'
    """
    try:
        possible = b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        possible = False
    if not possible:
        words = "its name holds a character that no file name has"
        raise OSError(errno.EINVAL, words, os.fspath(path))


def make_folder(path: Path) -> None:
    """Create a directory and those above it, however many there are.

    Raises
    ------
    OSError
    """
    check_path(path)
    for folder in reversed(path.parents):
        if not folder.exists():
            folder.mkdir(exist_ok=True)
    path.mkdir(exist_ok=True)

"""Standard streams of the process: missing or broken."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

__all__ = ["abandon_broken_stdout", "open_missing_streams"]


def open_missing_streams() -> None:
    """Open replacements for standard streams that the process was started without.

    Otherwise the next file that is opened takes the number of one, and receives what is printed.
    Nothing can be read from a replacement, messages are discarded, and data cannot be written.
    """
    for number, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # takes the lowest number that is free: this one
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def abandon_broken_stdout() -> None:
    """Keep Python from flushing to a closed or full standard output again at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)

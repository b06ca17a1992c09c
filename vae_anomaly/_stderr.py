"""Standard error of the process, muted while a library starts."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

__all__ = ["muted_stderr"]

LOG_LINE = re.compile(
    r"[IWE]\d{4} (\d\d:\d\d|\d{10})|\d{4}-\d\d-\d\d [\d:.]+: [IWE] |"
    r"WARNING: All log messages|To enable the following instructions"
)
"""Starts of lines that C++ libraries log, older and newer ones."""


@contextmanager
def muted_stderr() -> Iterator[None]:
    """Withhold the lines that C++ code logs to standard error, which obey no setting that early.

    Other lines follow afterwards, and after an exception all of them do.
    """
    try:
        before = os.dup(2)
    except OSError:  # the process has no standard error
        yield
        return
    with tempfile.TemporaryFile() as withheld, os.fdopen(before, "wb", buffering=0) as stderr:
        _flush()
        os.dup2(withheld.fileno(), 2)
        failed = True
        try:
            yield
            failed = False
        finally:
            _flush()
            os.dup2(stderr.fileno(), 2)
            _replay(withheld, stderr, all_lines=failed)


def _flush() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()


def _replay(withheld: IO[bytes], stderr: IO[bytes], *, all_lines: bool) -> None:
    """Write the lines of a file that are not logged, or all of them."""
    withheld.seek(0)
    for line in withheld:
        if all_lines or not LOG_LINE.match(line.decode(errors="replace")):
            stderr.write(line)

"""Exit codes, and one sentence on standard error for each error."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from enum import IntEnum

import click

from vae_anomaly._text import display_name
from vae_anomaly.exceptions import (
    CheckpointError,
    DataError,
    DivergenceError,
    ModelFileError,
    OutputError,
    ParameterError,
    ResourceError,
)
from vae_anomaly.pipeline.interrupt import Terminated
from vae_anomaly.pipeline.streams import abandon_broken_stdout

__all__ = ["Exit", "code_after", "report", "say"]


class Exit(IntEnum):
    """Exit codes."""

    DONE = 0
    BUG = 1
    USAGE = 2
    DATA = 3
    MODEL = 4
    RESOURCES = 5
    SKIPPED = 6
    FAILED = 7
    INTERRUPTED = 130
    CLOSED_PIPE = 141
    TERMINATED = 143


CODES: dict[Exit, tuple[type[BaseException], ...]] = {
    Exit.USAGE: (click.ClickException, ParameterError),
    Exit.DATA: (DataError, DivergenceError),
    Exit.MODEL: (ModelFileError, CheckpointError),
    Exit.RESOURCES: (OSError, MemoryError),
    Exit.INTERRUPTED: (KeyboardInterrupt, click.Abort),
    Exit.TERMINATED: (Terminated,),
}

CANNOT_READ = {
    errno.ENOENT: "there is no such file. Check the path.",
    errno.ENOTDIR: "there is no such file. Check the path.",
    errno.EACCES: "no permission to read it.",
    errno.EISDIR: "it is a directory. Name a file.",
    errno.ELOOP: "its symbolic links go round in circles.",
    errno.ENAMETOOLONG: "its name is too long.",
}


def code_after(error: BaseException) -> Exit:
    """Return the exit code for the error that ended a command.

    Examples
    --------
    >>> code_after(DataError("no rows")), code_after(KeyError("x"))
    (<Exit.DATA: 3>, <Exit.BUG: 1>)
    """
    if isinstance(error, OSError) and error.errno == errno.EPIPE:
        return Exit.CLOSED_PIPE
    if type(error).__name__ == "ResourceExhaustedError":  # TensorFlow's MemoryError
        return Exit.RESOURCES
    if _lacks_memory(error):
        return Exit.RESOURCES
    return next((code for code, types in CODES.items() if isinstance(error, types)), Exit.BUG)


LACKS_MEMORY = (
    *("failed to map segment", "cannot allocate memory", "bad_alloc"),
    *("can't start new thread", "resource temporarily unavailable"),
)
"""Words of the loader, of Python and of C++ libraries where they get no memory, or no thread."""


def _lacks_memory(error: BaseException) -> bool:
    """Return whether a library had too little memory, by its words."""
    by_others = isinstance(error, ImportError | RuntimeError | SystemError)
    return by_others and any(words in str(error).lower() for words in LACKS_MEMORY)


def report(error: BaseException, *, debug: bool) -> None:
    """Write the error that ended a command as one line on standard error."""
    code = code_after(error)
    if debug:
        import traceback

        traceback.print_exception(error)
    abandon_broken_stdout()
    if code is Exit.CLOSED_PIPE:
        return
    if code in (Exit.INTERRUPTED, Exit.TERMINATED):
        say(code.name.lower())
        return
    say(f"error: {' '.join(_sentence(error, code).split())}")


def say(text: str) -> None:
    """Write a line for people. Work goes on if standard error is closed or full."""
    with suppress(OSError):
        # A file name need not be text.
        click.echo(text.encode(errors="backslashreplace").decode(), err=True)


def _sentence(error: BaseException, code: Exit) -> str:
    if isinstance(error, click.UsageError):
        place = "" if error.ctx is None else f" Try '{error.ctx.command_path} --help'."
        return f"{error.format_message()}{place}"
    if code is Exit.BUG:
        return (
            f"{type(error).__name__}: {error}. This is a bug of vae-anomaly. "
            f"Please report it with what the same command prints with --debug."
        )
    if isinstance(error, OSError) and not isinstance(error, OutputError):
        words = error.strerror or str(error)
        if not isinstance(error.filename, str | bytes):  # none, or a descriptor
            return f"The system refused to go on: {words}."
        reason = CANNOT_READ.get(error.errno or 0, f"{words}.")
        return f"Cannot read {display_name(os.fsdecode(error.filename))}: {reason}"
    if code is Exit.RESOURCES and not isinstance(error, OutputError | ResourceError):
        return "Out of memory. Fit on fewer rows or columns, or close other programs."
    return str(error)

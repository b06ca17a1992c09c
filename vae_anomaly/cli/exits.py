"""How a command ends: the exit codes, and one sentence for each error."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum
from typing import Any

import click

from vae_anomaly.exceptions import (
    CheckpointError,
    DataError,
    DivergenceError,
    ModelFileError,
    OutputError,
    ParameterError,
)

__all__ = [
    "Exit",
    "NoRoomError",
    "Terminated",
    "code_after",
    "open_missing_streams",
    "report",
    "say",
    "stop_if_told",
    "terminable",
]


class Exit(IntEnum):
    """Exit codes."""

    DONE = 0
    BUG = 1
    USAGE = 2
    DATA = 3
    MODEL = 4
    RESOURCES = 5
    SKIPPED = 6
    INTERRUPTED = 130
    CLOSED_PIPE = 141
    TERMINATED = 143


class NoRoomError(MemoryError):
    """Memory that is known to be too little; the text says for what."""


class Terminated(BaseException):
    """SIGTERM, as an exception, so that half-written files are cleaned up."""


SIGNALS: dict[signal.Signals, type[BaseException]] = {
    signal.SIGINT: KeyboardInterrupt,
    signal.SIGTERM: Terminated,
}

_raised: list[type[BaseException]] = []

CODES: tuple[tuple[type[BaseException], Exit], ...] = (
    (click.ClickException, Exit.USAGE),
    (ParameterError, Exit.USAGE),
    (DataError, Exit.DATA),
    (DivergenceError, Exit.DATA),
    (ModelFileError, Exit.MODEL),
    (CheckpointError, Exit.MODEL),
    (OSError, Exit.RESOURCES),
    (MemoryError, Exit.RESOURCES),
    (KeyboardInterrupt, Exit.INTERRUPTED),
    (click.Abort, Exit.INTERRUPTED),
    (Terminated, Exit.TERMINATED),
)

CANNOT_READ = {
    errno.ENOENT: "there is no such file. Check the path.",
    errno.ENOTDIR: "there is no such file. Check the path.",
    errno.EACCES: "no permission to read it.",
    errno.EISDIR: "it is a directory. Name a file.",
    errno.ELOOP: "its symbolic links go round in circles.",
    errno.ENAMETOOLONG: "its name is too long.",
}


def code_after(error: BaseException) -> Exit:
    """Choose the exit code for what ended a command.

    Examples
    --------
    >>> code_after(DataError("no rows")), code_after(KeyError("x"))
    (<Exit.DATA: 3>, <Exit.BUG: 1>)
    """
    if isinstance(error, OSError) and error.errno == errno.EPIPE:
        return Exit.CLOSED_PIPE
    if type(error).__name__ == "ResourceExhaustedError":  # TensorFlow's MemoryError
        return Exit.RESOURCES
    if isinstance(error, ImportError) and _lacks_memory(error):
        return Exit.RESOURCES
    return next((code for kind, code in CODES if isinstance(error, kind)), Exit.BUG)


def _lacks_memory(error: ImportError) -> bool:
    """Tell whether a library could not be loaded for want of room, as the loader words it."""
    return any(words in str(error) for words in ("failed to map segment", "cannot allocate memory"))


def report(error: BaseException, *, debug: bool) -> None:
    """Say in one line on standard error what ended a command."""
    code = code_after(error)
    if debug:
        import traceback

        traceback.print_exception(error)
    _abandon_broken_stdout()
    if code is Exit.CLOSED_PIPE:
        return
    if code in (Exit.INTERRUPTED, Exit.TERMINATED):
        say(code.name.lower())
        return
    say(f"error: {' '.join(_sentence(error, code).split())}")


def say(text: str) -> None:
    """Write a line for people, if there is anywhere to write to: work does not end for it."""
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
        return f"Cannot read {os.fsdecode(error.filename)}: {reason}"
    if code is Exit.RESOURCES and not isinstance(error, OutputError | NoRoomError):
        return "Out of memory. Fit on fewer rows or columns, or close other programs."
    return str(error)


def open_missing_streams() -> None:
    """Put something in place of standard streams that the process was started without.

    Else the next file that is opened takes the number of one, and gets what is
    printed. Nothing is read, nothing said is kept, and data cannot be written.
    """
    for number, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # takes the lowest number that is free: this one
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, closefd=False)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)


def _abandon_broken_stdout() -> None:
    """Keep Python from flushing to a closed or full standard output once more at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)


@contextmanager
def terminable() -> Iterator[None]:
    """Raise `Terminated` where SIGTERM arrives, KeyboardInterrupt where SIGINT does."""

    def stop(number: int, _: Any) -> None:
        kind = SIGNALS[signal.Signals(number)]
        _raised.append(kind)
        raise kind

    _raised.clear()
    try:
        before = {number: signal.signal(number, stop) for number in SIGNALS}
    except ValueError:  # not the main thread, which alone gets signals
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop_if_told() -> None:
    """Raise again what a signal raised, in case it came where Python must ignore exceptions.

    A finalizer or a callback from C++ swallows them. Work that goes on after a
    signal calls this between its steps.
    """
    if _raised:
        raise _raised[-1]

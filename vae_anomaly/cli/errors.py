"""Exit codes, and one sentence on standard error for each error."""

from __future__ import annotations

import errno
from contextlib import suppress
from enum import IntEnum

import click

from vae_anomaly.exceptions import (
    CheckpointError,
    DataError,
    DivergenceError,
    ModelFileError,
    OutputError,
    ParameterError,
    ResourceError,
)
from vae_anomaly.pipeline.failures import OUT_OF_MEMORY, lacks_memory, system_sentence
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


EXTRA_ARGUMENTS = "Got unexpected extra argument"
"""Start of click's message."""


def code_after(error: BaseException) -> Exit:
    """Return the exit code for the error that ended a command.

    Examples
    --------
    >>> code_after(DataError("no rows")), code_after(KeyError("x"))
    (<Exit.DATA: 3>, <Exit.BUG: 1>)
    """
    if isinstance(error, OSError) and error.errno == errno.EPIPE:
        return Exit.CLOSED_PIPE
    if lacks_memory(error):
        return Exit.RESOURCES
    return next((code for code, types in CODES.items() if isinstance(error, types)), Exit.BUG)


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
        words = error.format_message()
        is_expanded = words.startswith(EXTRA_ARGUMENTS)  # perhaps by the shell
        return f"{words}{'. Put a pattern of files in quotes.' if is_expanded else ''}{place}"
    if code is Exit.BUG:
        return (
            f"{type(error).__name__}: {error}. This is a bug of vae-anomaly. "
            f"Please report it with what the same command prints with --debug."
        )
    if isinstance(error, OSError) and not isinstance(error, OutputError):
        return system_sentence(error)
    if code is Exit.RESOURCES and not isinstance(error, OutputError | ResourceError):
        return OUT_OF_MEMORY
    return str(error)

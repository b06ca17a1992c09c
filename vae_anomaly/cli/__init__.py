"""The command line. Commands parse, call the library, and echo.

Nothing but click is imported until a command runs: ``--help`` is instant.
Standard output carries data only; what is said to people goes to standard
error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from vae_anomaly.cli.commands import cli
from vae_anomaly.cli.exits import Exit, code_after, open_missing_streams, report, terminable

__all__ = ["main", "run"]

PROGRAM = "vae-anomaly"


def main() -> NoReturn:
    """Run the command line of this process and exit."""
    open_missing_streams()
    if "_VAE_ANOMALY_COMPLETE" in os.environ:  # a shell asks how to complete a word
        cli.main(prog_name=PROGRAM)
    sys.exit(run(sys.argv[1:]))


def run(args: Sequence[str]) -> int:
    """Run a command line and return its exit code, see `Exit`; no exception leaves.

    Parameters
    ----------
    args : sequence of str
        Without the name of the program.

    Returns
    -------
    int
    """
    words = list(args) or ["--help"]
    try:
        with terminable(), cli.make_context(PROGRAM, words.copy()) as context:
            code = cli.invoke(context)
            sys.stdout.flush()
    except click.exceptions.Exit as done:
        return done.exit_code
    except BaseException as error:
        report(error, debug="--debug" in words)
        return int(code_after(error))
    return int(code or Exit.DONE)

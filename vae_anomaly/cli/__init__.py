"""Command line: commands parse their options, call the pipeline, and print.

Nothing but click is imported until a command runs, so ``--help`` is instant. Standard output
carries only data; messages to people go to standard error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from vae_anomaly.cli.commands import cli
from vae_anomaly.cli.errors import Exit, code_after, report
from vae_anomaly.pipeline.interrupt import raising_signals
from vae_anomaly.pipeline.streams import open_missing_streams

__all__ = ["main", "run"]

PROGRAM = "vae-anomaly"


def main() -> NoReturn:
    """Run the command line of this process and exit."""
    open_missing_streams()
    if "_VAE_ANOMALY_COMPLETE" in os.environ:  # a shell asks for completions
        cli.main(prog_name=PROGRAM)
    sys.exit(run(sys.argv[1:]))


def run(args: Sequence[str]) -> int:
    """Run the words after the name of the program, and return the exit code, see `Exit`.

    No exception leaves this function.
    """
    words = list(args) or ["--help"]
    try:
        with raising_signals(), cli.make_context(PROGRAM, words.copy()) as context:
            code = cli.invoke(context)
            sys.stdout.flush()
    except click.exceptions.Exit as done:
        return done.exit_code
    except BaseException as error:
        report(error, debug="--debug" in words)
        return int(code_after(error))
    return int(code or Exit.DONE)

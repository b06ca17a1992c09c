"""Messages and progress on standard error, and the start of a command."""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import click

from vae_anomaly.cli.errors import Exit, say
from vae_anomaly.pipeline.progress import Progress, no_progress, progress_bar, progress_lines
from vae_anomaly.pipeline.startup import has_started, prepare, start_tensorflow
from vae_anomaly.pipeline.work import Done, Work

__all__ = ["Console", "run_command"]


@dataclass(frozen=True)
class Console:
    """Messages to people; nothing but errors, which are written elsewhere, if `quiet`.

    Parameters
    ----------
    quiet : bool
    debug : bool
        Show the messages of TensorFlow as well.
    """

    quiet: bool = False
    debug: bool = False

    def say(self, *lines: str) -> None:
        """Write lines for people."""
        if not self.quiet:
            for line in lines:
                say(line)

    def finish(self, done: Done) -> Exit:
        """Write the last lines, and return the exit code."""
        for line in done.interruption:  # also to those who asked for silence
            say(line)
        self.say(*done.notes, *done.failed)
        if done.interruption:
            return Exit.INTERRUPTED
        if done.failed:
            return Exit.FAILED
        return Exit.DONE if done.is_complete else Exit.SKIPPED

    def warn(self, message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        """Show a warning of this package as a line, and no other."""
        if category.__module__.startswith("vae_anomaly"):
            self.say(f"warning: {message}")

    def start_tensorflow(self) -> None:
        """Import TensorFlow and initialise its devices, without its messages.

        This takes seconds, so it comes after everything that may refuse a command.
        """
        if has_started():
            return
        waits = not self.quiet and sys.stderr.isatty()
        if waits:
            click.echo("starting TensorFlow ...", nl=False, err=True)
        start_tensorflow(muted=not self.debug)
        if waits:
            click.echo("\r\x1b[K", nl=False, err=True)

    @property
    def work(self) -> Work:
        """What work reports to."""
        return Work(say, self.progress, self.start_tensorflow, self.quiet)

    @property
    def progress(self) -> Progress:
        """What shows progress: a bar on a terminal, else lines; nothing if `quiet`."""
        if self.quiet:
            return no_progress
        return progress_bar if sys.stderr.isatty() else partial(progress_lines, say)


def run_command(name: str, *, quiet: bool, debug: bool, json: bool, **given: Any) -> Exit:
    """Load the module of a command, run it, and print the result: its facts if they are wanted."""
    prepare(name, muted=not debug)
    console = Console(quiet=quiet, debug=debug)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = console.warn
        done = import_module(f"vae_anomaly.cli.{name}").run(console.work, **given)
        code = console.finish(done)
    if json:
        from vae_anomaly.pipeline.facts import json_text

        facts = {"command": name, **done.facts, "exit_code": code.value}
        click.echo(json_text(facts), err=given.get("output") == "-")
    elif done.text:
        click.echo(done.text)
    return code

"""Messages and progress on standard error."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from vae_anomaly.cli.errors import say
from vae_anomaly.pipeline.progress import Progress, no_progress, progress_bar, progress_lines
from vae_anomaly.pipeline.startup import has_started, start_tensorflow

if TYPE_CHECKING:
    from vae_anomaly.data.base import Source

__all__ = ["Console"]

MAX_LISTED_SKIPPED = 10


class Console:
    """Messages to people; nothing but errors, which are written elsewhere, if `quiet`.

    Parameters
    ----------
    quiet : bool
    debug : bool
        Show the messages of TensorFlow as well.
    """

    def __init__(self, *, quiet: bool = False, debug: bool = False) -> None:
        self.quiet = quiet
        self.debug = debug

    def say(self, *lines: str) -> None:
        """Write lines for people."""
        if not self.quiet:
            for line in lines:
                say(line)

    def list_skipped(self, source: Source, purpose: str = "") -> None:
        """List records that were not readable in the last reading, or only in part."""
        self.say(*source.reading_notes())
        count = len(source.skipped)
        if count:
            self.say(f"skipped {count:,} of {source.n_records:,} {source.unit}s{purpose}:")
        for name, reason in source.skipped[:MAX_LISTED_SKIPPED]:
            self.say(f"  {name if name.isprintable() else repr(name)}: {reason}")
        if count > MAX_LISTED_SKIPPED:
            self.say(f"  and {count - MAX_LISTED_SKIPPED:,} more")

    @contextmanager
    def warnings(self) -> Iterator[None]:
        """Show the warnings of this package as a line each, and no others."""

        def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
            if category.__module__.startswith("vae_anomaly"):
                self.say(f"warning: {message}")

        with warnings.catch_warnings():
            warnings.simplefilter("default")
            warnings.showwarning = show
            yield

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
    def progress(self) -> Progress:
        """What shows progress: a bar on a terminal, else lines; nothing if `quiet`."""
        if self.quiet:
            return no_progress
        return progress_bar if sys.stderr.isatty() else partial(progress_lines, say)

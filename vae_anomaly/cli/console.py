"""What commands say to people, all of it on standard error."""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Protocol

import click

from vae_anomaly.cli.checks import check_room_for_tensorflow
from vae_anomaly.cli.exits import say, stop_if_told

__all__ = ["Console", "Update"]

SECONDS_BETWEEN_LINES = 5.0


class Update(Protocol):
    """Tell how far the work is."""

    def __call__(self, done: int, detail: str = "") -> None:
        """Tell how far the work is."""


class Console:
    """Say things, or not, if `quiet`; errors are always said, elsewhere.

    Parameters
    ----------
    quiet : bool
    debug : bool
        Let TensorFlow talk.
    """

    def __init__(self, *, quiet: bool = False, debug: bool = False) -> None:
        self.quiet, self.debug = quiet, debug

    def say(self, text: str) -> None:
        """Write a line for people."""
        if not self.quiet:
            say(text)

    @contextmanager
    def warnings(self) -> Iterator[None]:
        """Show our own warnings as a line each, and nobody else's."""

        def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
            if category.__module__.startswith("vae_anomaly"):
                self.say(f"warning: {message}")

        with warnings.catch_warnings():
            warnings.simplefilter("default")
            warnings.showwarning = show
            yield

    def start_engine(self, detector: Any) -> None:
        """Start TensorFlow if the networks of a fitted detector run in it."""
        if detector.model_.network.needs_tensorflow:
            self.start_tensorflow()

    def start_tensorflow(self) -> None:
        """Import TensorFlow and wake its devices, both without its chatter.

        It takes seconds, so that this comes after all that may refuse a
        command. What its C++ side logs this early obeys no setting.
        """
        if "vae_anomaly.training.loop" in sys.modules:
            return
        check_room_for_tensorflow()
        waits = not self.quiet and sys.stderr.isatty()
        if waits:
            click.echo("starting TensorFlow ...", nl=False, err=True)
        with nullcontext() if self.debug else _muted_stderr():
            import tensorflow as tf

            import vae_anomaly.training.loop  # noqa: F401 - brings Keras and what else takes time

            tf.constant(0.0)
        if waits:
            click.echo("\r\x1b[K", nl=False, err=True)

    @contextmanager
    def progress(
        self, work: str, total: int | None, *, unit: str = "", each: int = 1
    ) -> Iterator[Update]:
        """Show a bar on a terminal, else a line every five seconds.

        Parameters
        ----------
        work : str
            What is being done: "training".
        total : int or None
            Value of `done` at the end, if it is known.
        unit : str, optional
            What the speed is to be counted in: "images".
        each : int, default=1
            How many of them a step of `done` is.

        Yields
        ------
        Update
        """
        if self.quiet:
            yield _stoppable(_ignore)
        elif sys.stderr.isatty():
            with _bar(work, total) as update:
                yield _stoppable(_paced(update, unit, each) if unit else update)
        else:
            lines = self._lines(work, total)
            yield _stoppable(_paced(lines, unit, each, total) if unit else lines)

    def _lines(self, work: str, total: int | None) -> Update:
        last = time.monotonic()
        end = "" if total is None else f" of {total:,}"

        def update(done: int, detail: str = "") -> None:
            nonlocal last
            if time.monotonic() - last >= SECONDS_BETWEEN_LINES and done != total:
                last = time.monotonic()
                self.say(f"{work}: {done:,}{end}{', ' if detail else ''}{detail}")

        return update


@contextmanager
def _muted_stderr() -> Iterator[None]:
    """Send what the process writes to standard error nowhere, below Python as well."""
    sys.stderr.flush()
    before = os.dup(2)
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


def _stoppable(update: Update) -> Update:
    """Let each step of the work notice a signal that was swallowed on its way."""

    def stoppable(done: int, detail: str = "") -> None:
        stop_if_told()
        update(done, detail)

    return stoppable


def _paced(update: Update, unit: str, each: int, total: int | None = None) -> Update:
    """Add the speed to what is said, and with `total` the time left, which a bar has already."""
    start, before = time.monotonic(), 0
    first = True

    def paced(done: int, detail: str = "") -> None:
        nonlocal start, before, first
        now = time.monotonic()
        seconds, gained = max(now - start, 1e-9), done - before
        words = [detail] if detail else []
        words.append(f"{gained * each / seconds:,.0f} {unit}/s")
        if total is not None and gained:
            words.append(f"{seconds * (total - done) / gained:,.0f} s left")
        update(done, ", ".join(words))
        if first:  # what goes on from a checkpoint begins in the middle
            start, before, first = now, done, False

    return paced


def _ignore(done: int, detail: str = "") -> None:
    pass


@contextmanager
def _bar(work: str, total: int | None) -> Iterator[Update]:
    from rich.console import Console as RichConsole
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[detail]}"),
    )
    with Progress(*columns, console=RichConsole(stderr=True), transient=True) as progress:
        task = progress.add_task(work, total=total, detail="")

        def update(done: int, detail: str = "") -> None:
            progress.update(task, completed=done, detail=detail)

        yield update

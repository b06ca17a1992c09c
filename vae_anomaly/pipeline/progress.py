"""Progress of long work: a bar on a terminal, lines in a log, or nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

from vae_anomaly.pipeline.interrupt import check_signals

__all__ = ["Progress", "Update", "no_progress", "progress_bar", "progress_lines"]

SECONDS_BETWEEN_LINES = 5.0


class Update(Protocol):
    """Callable that reports how much of some work is done."""

    def __call__(self, done: int, detail: str = "") -> None:
        """Report."""


class Progress(Protocol):
    """Callable that begins to report the progress of some work.

    `work` is what is done, such as "training"; `total` is the value of `done` at the end, if it
    is known; `unit` is what speed is counted in, such as "records"; `each` is how many of them a
    step of `done` is. Each report checks for a signal whose exception was swallowed.
    """

    def __call__(
        self, work: str, total: int | None, *, unit: str = "", each: int = 1
    ) -> AbstractContextManager[Update]:
        """Begin."""


def no_progress(
    work: str, total: int | None, *, unit: str = "", each: int = 1
) -> AbstractContextManager[Update]:
    """Report nothing; see `Progress`."""
    return nullcontext(check_signals)


@contextmanager
def progress_lines(
    write: Callable[[str], object],
    work: str,
    total: int | None,
    *,
    unit: str = "",
    each: int = 1,
) -> Iterator[Update]:
    """Write a line every five seconds; see `Progress`."""
    last = time.monotonic()
    end = "" if total is None else f" of {total:,}"

    def update(done: int, detail: str = "") -> None:
        nonlocal last
        check_signals()
        if time.monotonic() - last >= SECONDS_BETWEEN_LINES and done != total:
            last = time.monotonic()
            write(f"{work}: {done:,}{end}{', ' if detail else ''}{detail}")

    yield _with_speed(update, unit, each, total) if unit else update


@contextmanager
def progress_bar(
    work: str, total: int | None, *, unit: str = "", each: int = 1
) -> Iterator[Update]:
    """Show a bar on the terminal of standard error; see `Progress`."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[detail]}"),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(work, total=total, detail="")

        def update(done: int, detail: str = "") -> None:
            check_signals()
            bar.update(task, completed=done, detail=detail)

        yield _with_speed(update, unit, each) if unit else update


def _with_speed(update: Update, unit: str, each: int, total: int | None = None) -> Update:
    """Add the speed to the detail, and with `total` the time left, which a bar has already."""
    start = time.monotonic()
    before = 0
    first = True

    def with_speed(done: int, detail: str = "") -> None:
        nonlocal start, before, first
        now = time.monotonic()
        seconds, gained = max(now - start, 1e-9), done - before
        words = [detail] if detail else []
        words.append(f"{gained * each / seconds:,.0f} {unit}/s")
        if total is not None and gained:
            words.append(f"{seconds * (total - done) / gained:,.0f} s left")
        update(done, ", ".join(words))
        if first:  # work that resumes from a checkpoint begins in the middle
            start, before, first = now, done, False

    return with_speed

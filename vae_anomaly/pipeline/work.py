"""Long work of a command: what it reports to on the way, and what it reports in the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from vae_anomaly.pipeline.progress import Progress, no_progress

if TYPE_CHECKING:  # it imports NumPy, which comes after the check of limits
    from vae_anomaly._types import Json

__all__ = ["Done", "Say", "Work"]

Say = Callable[[str], object]


def _nothing(*_: str) -> None:
    """Do nothing."""


class Work(NamedTuple):
    """What long work reports to, and what must precede it.

    Attributes
    ----------
    write : callable, optional
        Receives a line to report.
    progress : Progress, optional
    start : callable, optional
        Called before TensorFlow is needed.
    is_quiet : bool, default=False
        Whether nothing is to be reported.
    """

    write: Say = _nothing
    progress: Progress = no_progress
    start: Callable[[], None] = _nothing
    is_quiet: bool = False

    def say(self, *lines: str) -> None:
        """Report lines."""
        for line in () if self.is_quiet else lines:
            self.write(line)


class Done(NamedTuple):
    """Report on work that has ended.

    Attributes
    ----------
    notes : sequence of str
        Lines to report.
    facts : mapping
        The same in plain values.
    is_complete : bool
        Whether all records were readable.
    failed : sequence of str
        Lines about the conditions that the result meets.
    interruption : sequence of str
        Lines about an early end, also for those who asked for silence.
    text : str
        What was asked for, where that is text: for standard output.
    """

    notes: Sequence[str] = ()
    facts: Mapping[str, Json] = {}
    is_complete: bool = True
    failed: Sequence[str] = ()
    interruption: Sequence[str] = ()
    text: str = ""

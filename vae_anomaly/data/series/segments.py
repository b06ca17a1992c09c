"""Segments of series, of which parts are read, in memory or in a temporary file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import IO, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.data.series.notes import merged
from vae_anomaly.data.series.parts import Part
from vae_anomaly.data.series.series import SeriesSet
from vae_anomaly.storage.atomic import output_error

__all__ = ["MAX_CELLS", "Segment", "Steps", "StoredSet", "in_memory", "stored"]

Array = NDArray[np.float64]

MAX_CELLS = 2**19
"""Values that are read at a time."""


class Steps(Protocol):
    """Time steps, of which a slice is an array of shape (n, channels)."""

    def __len__(self) -> int:
        """Return the number of time steps."""

    def __getitem__(self, part: slice, /) -> Array:
        """Return some time steps."""


@dataclass(frozen=True, eq=False)
class Segment:
    """Consecutive time steps without a break.

    Attributes
    ----------
    steps : Steps
    start, stop : int
        Its time steps among them.

    Examples
    --------
    >>> segment = Segment(np.arange(10.0)[:, None], 2, 8)
    >>> len(segment), segment.read(1, 3).ravel().tolist()
    (6, [3.0, 4.0])
    """

    steps: Steps
    start: int
    stop: int

    @classmethod
    def of(cls, values: Array) -> Segment:
        """Return the segment of an array, (n, channels)."""
        return cls(values, 0, len(values))

    def __len__(self) -> int:
        """Return the number of time steps."""
        return self.stop - self.start

    def read(self, start: int, stop: int) -> Array:
        """Return time steps, counted from the start of the segment: (n, channels)."""
        stop = min(stop, len(self))
        return self.steps[self.start + max(start, 0) : self.start + stop]

    def within(self, start: int, stop: int) -> Segment:
        """Return a part, whose neighbours are not known."""
        return Segment(self.steps, self.start + start, self.start + stop)

    def chunks(self) -> Iterator[Array]:
        """Yield all time steps, `MAX_CELLS` values at a time."""
        size = max(1, MAX_CELLS // self.read(0, 1).shape[1])
        for start in range(0, len(self), size):
            yield self.read(start, start + size)


class StoredSet(NamedTuple):
    """Series of which memory holds no time steps.

    Attributes
    ----------
    series : tuple of Segment
        Each as a whole: its segments one after the other.
    segments : tuple of Segment
    channels : tuple of str
    step : int or None
        Nanoseconds from a time step to the next.
    notes : tuple of str
        What is to be reported about the input.
    """

    series: tuple[Segment, ...]
    segments: tuple[Segment, ...]
    channels: tuple[str, ...]
    step: int | None
    notes: tuple[str, ...] = ()

    @property
    def n_steps(self) -> int:
        """Time steps of all series."""
        return sum(map(len, self.series))


def in_memory(data: SeriesSet) -> StoredSet:
    """Return series that are in memory."""
    segments = [
        Segment(one.values, part.start, part.stop) for one in data.series for part in one.segments()
    ]
    series = tuple(Segment.of(one.values) for one in data.series)
    return StoredSet(series, tuple(segments), data.channels, data.step, data.notes)


def stored(parts: Iterable[Part], file: IO[bytes]) -> StoredSet:
    """Write the time steps of parts to a file, and return them from there.

    Parameters
    ----------
    parts : iterable of Part
        At least one.
    file : binary file
        Empty, and open as long as the result is used.

    Raises
    ------
    OutputError
        If there is no room for it.
    """
    series: dict[str, int] = {}  # name -> first time step
    starts: list[int] = []
    notes: tuple[str, ...] = ()
    n_steps = 0
    for part in parts:
        data, goes_on = part.data, part.data.goes_on
        notes = merged((*notes, *data.notes))
        for one in data.series:
            series.setdefault(one.name, n_steps)
            starts.extend(n_steps + start for start in one.starts if start or not goes_on)
            goes_on = False
            try:
                file.write(one.values.tobytes())
            except OSError as fault:
                place = tempfile.gettempdir()
                raise output_error(f"the time steps of a fit in {place}", fault) from fault
            n_steps += len(one.values)
    steps = _StoredSteps(file, n_steps, len(data.channels))
    firsts, starts = [*series.values(), n_steps], [*starts, n_steps]
    return StoredSet(
        tuple(Segment(steps, *bounds) for bounds in pairwise(firsts)),
        tuple(Segment(steps, *bounds) for bounds in pairwise(starts)),
        data.channels,
        data.step,
        notes,
    )


@dataclass(frozen=True, eq=False)
class _StoredSteps:
    """Time steps in a file."""

    file: IO[bytes]
    n_steps: int
    channels: int

    def __len__(self) -> int:
        return self.n_steps

    def __getitem__(self, part: slice) -> Array:
        start, stop, _ = part.indices(self.n_steps)
        width = self.channels * np.dtype(np.float64).itemsize
        self.file.seek(start * width)
        content = self.file.read(max(stop - start, 0) * width)
        return np.frombuffer(content, np.float64).reshape(-1, self.channels)

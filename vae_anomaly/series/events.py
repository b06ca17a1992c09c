"""Events of time series: flagged time steps that belong together, and breaks in the data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.metrics.events import runs
from vae_anomaly.series.model import CAUSES, StepScores

__all__ = ["Event", "EventStream", "PlacedEvent", "events_of"]

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

N_MAIN_CHANNELS = 3
"""Channels that an event names, those with the largest contributions."""


class Event(NamedTuple):
    """One alarm: a run of flagged time steps, with shorter breaks than the cool-down.

    Attributes
    ----------
    start, stop : int
        First time step, and the one after the last.
    n_flagged : int
        Flagged time steps among them.
    peak : int
        Time step with the largest score.
    score : float
        That score, a multiple of the threshold.
    cause : str
        Score that it comes from, one of `CAUSES`.
    channels : tuple of str
        At most three with the largest contributions over the event, those that make up nine
        tenths of them.
    """

    start: int
    stop: int
    n_flagged: int
    peak: int
    score: float
    cause: str
    channels: tuple[str, ...]

    def shifted(self, steps: int) -> Event:
        """Return the event with time steps counted from so many before."""
        start, stop, peak = (one + steps for one in (self.start, self.stop, self.peak))
        return self._replace(start=start, stop=stop, peak=peak)


class PlacedEvent(NamedTuple):
    """An event, and the times (or rows) of its start, its last step and its peak."""

    event: Event
    start: int
    end: int
    peak: int


class Found(NamedTuple):
    """An event that may go on."""

    start: int
    stop: int
    n_flagged: int
    peak: int
    score: float
    cause: int
    shares: Array  # sums of contributions, (channels,)
    moments: tuple[int, int, int]

    def joined(self, other: Found, between: Array) -> Found:
        """Return the event with a later one, and the contributions between them."""
        peak = other if other.score > self.score else self
        return Found(
            self.start,
            other.stop,
            self.n_flagged + other.n_flagged,
            peak.peak,
            peak.score,
            peak.cause,
            self.shares + between + other.shares,
            (self.moments[0], other.moments[1], peak.moments[2]),
        )


class EventStream:
    """Events of a segment whose scores come part by part.

    Parameters
    ----------
    channels : tuple of str
    min_steps : int
        Flagged time steps that an event has at least.
    cool_down : int
        Time steps without a flag after which a new event begins.
    """

    def __init__(self, channels: tuple[str, ...], min_steps: int, cool_down: int) -> None:
        self._channels, self._min_steps, self._cool_down = channels, min_steps, cool_down
        self._open: Found | None = None
        self._since = np.zeros(len(channels))  # contributions after the open event
        self._n_steps = 0

    @property
    def open_span(self) -> tuple[int, int] | None:
        """First step of an event that may go on, and the one after its last so far."""
        return None if self._open is None else (self._open.start, self._open.stop)

    @property
    def is_open_long_enough(self) -> bool:
        """Whether the event that may go on is one in any case."""
        return self._open is not None and self._open.n_flagged >= self._min_steps

    def add(self, scores: StepScores, moments: Integers) -> Iterator[PlacedEvent]:
        """Add scores of consecutive time steps, and yield the events that have ended.

        Parameters
        ----------
        scores : StepScores
        moments : ndarray of int64, of shape (n_steps,)
            Times of the steps, or their rows.

        Yields
        ------
        PlacedEvent
        """
        first, n_steps = self._n_steps, len(scores.total)
        at = 0  # step of the part up to which contributions are summed
        for start, stop in joined_runs(scores.flags, self._cool_down):
            between = self._since + _sums(scores, at, start)
            found = self._found(scores, moments, start, stop)
            if self._open is not None and found.start - self._open.stop < self._cool_down:
                self._open = self._open.joined(found, between)
            else:
                yield from self._ended()
                self._open = found
            self._since, at = np.zeros(len(self._channels)), stop
        self._since = self._since + _sums(scores, at, n_steps)
        self._n_steps = first + n_steps
        if self._open is not None and self._n_steps - self._open.stop >= self._cool_down:
            yield from self._ended()

    def finish(self) -> Iterator[PlacedEvent]:
        """Yield the event that has not ended."""
        yield from self._ended()

    def _found(self, scores: StepScores, moments: Integers, start: int, stop: int) -> Found:
        peak = start + int(np.nanargmax(scores.total[start:stop]))
        return Found(
            self._n_steps + start,
            self._n_steps + stop,
            int(scores.flags[start:stop].sum()),
            self._n_steps + peak,
            float(scores.total[peak]),
            int(scores.cause[peak]),
            _sums(scores, start, stop),
            (int(moments[start]), int(moments[stop - 1]), int(moments[peak])),
        )

    def _ended(self) -> Iterator[PlacedEvent]:
        """Yield the open event if it is long enough, and close it."""
        if self._open is not None and self.is_open_long_enough:
            found = self._open
            event = Event(
                found.start,
                found.stop,
                found.n_flagged,
                found.peak,
                found.score,
                CAUSES[found.cause],
                tuple(self._channels[i] for i in _main(found.shares)),
            )
            yield PlacedEvent(event, *found.moments)
        self._open = None


def _sums(scores: StepScores, start: int, stop: int) -> Array:
    """Return the sums of contributions of time steps: (channels,)."""
    return np.asarray(np.nansum(scores.contributions[start:stop], axis=0))


def events_of(
    scores: StepScores, channels: tuple[str, ...], min_steps: int, cool_down: int
) -> Iterator[Event]:
    """Yield the events of a series without breaks, in order; see `EventStream`."""
    stream = EventStream(channels, min_steps, cool_down)
    steps = np.arange(len(scores.total))
    for found in (*stream.add(scores, steps), *stream.finish()):
        yield found.event


def joined_runs(flags: Flags, cool_down: int) -> list[tuple[int, int]]:
    """Return starts and stops of runs of flags; shorter breaks than the cool-down join them.

    Examples
    --------
    >>> joined_runs(np.array([1, 0, 1, 0, 0, 0, 1], dtype=bool), cool_down=3)
    [(0, 3), (6, 7)]
    """
    starts, stops = runs(flags)
    if not len(starts):
        return []
    apart = starts[1:] - stops[:-1] >= cool_down
    firsts = starts[np.r_[True, apart]]
    lasts = stops[np.r_[apart, True]]
    return [(int(a), int(b)) for a, b in zip(firsts, lasts, strict=True)]


def _main(contributions: NDArray[np.float64]) -> list[int]:
    """Return the channels that make up nine tenths of contributions, at most three."""
    order = np.argsort(-contributions, kind="stable")[:N_MAIN_CHANNELS]
    before = np.cumsum(contributions[order]) - contributions[order]
    return [int(i) for i in order[before < 0.9 * contributions.sum()]]

"""Events of time series: flagged time steps that belong together, and breaks in the data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.metrics.events import runs
from vae_anomaly.series.model import CAUSES, StepScores

__all__ = ["Event", "events_of"]

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


def events_of(
    scores: StepScores, channels: tuple[str, ...], min_steps: int, cool_down: int
) -> Iterator[Event]:
    """Yield the events of a series without breaks, in order.

    Parameters
    ----------
    scores : StepScores
    channels : tuple of str
    min_steps : int
        Flagged time steps that an event has at least.
    cool_down : int
        Time steps without a flag after which a new event begins.
    """
    for start, stop in joined_runs(scores.flags, cool_down):
        n_flagged = int(scores.flags[start:stop].sum())
        if n_flagged < min_steps:
            continue
        peak = start + int(np.nanargmax(scores.total[start:stop]))
        summed = np.nansum(scores.contributions[start:stop], axis=0)
        yield Event(
            start,
            stop,
            n_flagged,
            peak,
            float(scores.total[peak]),
            CAUSES[scores.cause[peak]],
            tuple(channels[i] for i in _main(summed)),
        )


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

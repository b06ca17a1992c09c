"""Channels that count up, of which differences are what may be normal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._text import listed
from vae_anomaly.data.series.segments import Segment

__all__ = ["counter_notes"]

Array = NDArray[np.float64]

MIN_CHANGES = 100
"""Changes of value that a counter has at least: a few rises are a trend by chance."""

MAX_RESETS = 0.02
"""Share of changes that may be falls."""

RESET_SHARE = 0.5
"""A fall is a reset if it is at least this share of the value before, less the least value."""


def counter_notes(segments: Sequence[Segment], channels: Sequence[str]) -> tuple[str, ...]:
    """Return a note on channels that only rise, but for resets, as counters do.

    Examples
    --------
    >>> total = np.arange(500.0) % 200
    >>> noise = np.random.RandomState(0).normal(size=500)
    >>> steps = Segment.of(np.column_stack([total, noise]))
    >>> counter_notes([steps], ["total", "noise"])[0].partition(":")[0]
    "'total' only rises, but for resets to a small value, as a counter does"
    """
    least = np.full(len(channels), np.inf)
    for values in (chunk for one in segments for chunk in one.chunks()):
        least = np.fmin(least, np.fmin.reduce(values, axis=0))
    rises, resets, falls = np.zeros((3, len(channels)))
    for segment in segments:
        before = np.full((1, len(channels)), np.nan)
        for values in segment.chunks():
            joined = _held(np.concatenate([before, values]))
            change, since = np.diff(joined, axis=0), joined[:-1] - least
            is_reset = (change < 0) & (-change >= RESET_SHARE * since)
            rises += (change > 0).sum(axis=0)
            resets += is_reset.sum(axis=0)
            falls += (change < 0).sum(axis=0)
            before = joined[-1:]
    changes = rises + falls
    count = (changes >= MIN_CHANGES) & (falls == resets) & (falls <= MAX_RESETS * changes)
    names = [name for name, is_counter in zip(channels, count, strict=True) if is_counter]
    if not names:
        return ()
    verb, these, does = (
        ("rises", "it", "a counter does") if len(names) == 1 else ("rise", "them", "counters do")
    )
    return (
        f"{listed(names)} only {verb}, but for resets to a small value, as {does}: later values "
        f"were never seen in training. Give differences from row to row instead, or leave {these} "
        f"out with ignore.",
    )


def _held(values: Array) -> Array:
    """Return values with the last known one in place of missing ones: (n, channels)."""
    places = np.where(np.isnan(values), 0, np.arange(len(values))[:, None])
    return np.take_along_axis(values, np.maximum.accumulate(places, axis=0), axis=0)

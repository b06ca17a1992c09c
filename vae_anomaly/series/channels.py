"""Channels of a time series: scales, gaps and runs of equal values."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.data.series.segments import Segment
from vae_anomaly.metrics.events import runs

__all__ = ["MAX_BRIDGED", "ChannelScaler", "RunLengths", "bridged", "long_gaps", "run_lengths"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

MAX_BRIDGED = 1000
"""Time steps from which a known value stands in for a missing one: what a step is compared with
depends on its neighbourhood alone, so that long series are scored part by part."""

MIN_DEVIATION = 1e-12
"""A channel whose standard deviation is below this, relative to its mean, is constant."""


class ChannelScaler(NamedTuple):
    """Means and standard deviations of channels in training.

    Attributes
    ----------
    center, scale : ndarray of shape (channels,)
        The scale of a constant channel is 0.
    """

    center: Array
    scale: Array

    @classmethod
    def fit(cls, segments: Sequence[Segment]) -> Self:
        """Measure the channels of segments, NaN left out."""
        width = segments[0].read(0, 1).shape[1]
        counts, total, squares = np.zeros((3, width))
        first = np.full(width, np.nan)
        for values in chain.from_iterable(one.chunks() for one in segments):
            known = np.isfinite(values)
            counts += known.sum(axis=0)
            total += np.where(known, values, 0.0).sum(axis=0)
            at = known.argmax(axis=0), np.arange(width)
            first = np.where(np.isnan(first) & known[at], values[at], first)
        counts = np.maximum(counts, 1)
        center = total / counts
        for values in chain.from_iterable(one.chunks() for one in segments):
            away = np.where(np.isfinite(values), values - center, 0.0)
            squares += (away**2).sum(axis=0)
        scale = np.sqrt(squares / counts)
        constant = scale <= MIN_DEVIATION * np.maximum(1.0, np.abs(center))
        first = np.nan_to_num(first)
        return cls(np.where(constant, first, center), np.where(constant, 0.0, scale))

    @property
    def varying(self) -> NDArray[np.intp]:
        """Channels that are not constant."""
        return np.flatnonzero(self.scale)

    def standardized(self, values: Array) -> Array:
        """Return varying channels in standard deviations, without gaps: (n_steps, varying)."""
        chosen = self.varying
        return bridged((values[:, chosen] - self.center[chosen]) / self.scale[chosen])

    def restored(self, steps: Array) -> Array:
        """Return all channels, (n_steps, channels), of standardized varying ones."""
        values = np.tile(self.center, (len(steps), 1))
        values[:, self.varying] += steps * self.scale[self.varying]
        return values


def bridged(values: Array) -> Array:
    """Return values, (n_steps, channels), with missing ones on the line between neighbours.

    Known values count up to `MAX_BRIDGED` steps away. With one on one side only, missing values
    are equal to it; without any, 0.

    Examples
    --------
    >>> bridged(np.array([[np.nan], [1.0], [np.nan], [3.0]])).ravel().tolist()
    [1.0, 1.0, 2.0, 3.0]
    """
    filled = values.copy()
    for column in filled.T:
        is_known = np.isfinite(column)
        if is_known.all():
            continue
        known, missing = np.flatnonzero(is_known), np.flatnonzero(~is_known)
        if not len(known):
            column[:] = 0.0
            continue
        after = np.searchsorted(known, missing)
        left = known[np.maximum(after - 1, 0)]
        right = known[np.minimum(after, len(known) - 1)]
        has_left = (after > 0) & (missing - left <= MAX_BRIDGED)
        has_right = (after < len(known)) & (right - missing <= MAX_BRIDGED)
        column[missing] = np.where(
            has_left & has_right,
            np.interp(missing, known, column[known]),
            np.where(has_left, column[left], np.where(has_right, column[right], 0.0)),
        )
    return filled


def long_gaps(values: Array, most: int) -> Flags:
    """Return which values are missing, more than `most` in a row: (n_steps, channels).

    Examples
    --------
    >>> long_gaps(np.array([[np.nan], [1.0], [np.nan], [np.nan]]), 1).ravel().tolist()
    [False, False, True, True]
    """
    found = ~np.isfinite(values)
    for column in found.T:
        for start, stop in zip(*runs(column), strict=True):
            column[start:stop] = stop - start > most
    return found


class RunLengths:
    """Lengths of runs of equal values in a series that comes in parts.

    Examples
    --------
    >>> runs = RunLengths()
    >>> [runs.add(np.array(part)[:, None]).ravel().tolist() for part in ([5.0, 7.0], [7.0, 7.0])]
    [[1.0, 1.0], [2.0, 3.0]]
    """

    def __init__(self) -> None:
        self._last: Array | None = None  # values of the last step, (channels,)
        self._lengths: Array | None = None  # of the runs that end there

    def add(self, values: Array) -> Array:
        """Return how many values up to each step are equal to it: (n_steps, channels)."""
        if not len(values):
            return np.empty(values.shape)
        lengths = run_lengths(values)
        if self._last is not None and self._lengths is not None:
            changed = values != self._last
            is_first = np.logical_and.accumulate(~changed, axis=0)  # runs go on
            lengths = np.where(is_first, lengths + self._lengths, lengths)
        self._last, self._lengths = values[-1].copy(), lengths[-1].copy()
        return lengths


def run_lengths(values: Array) -> Array:
    """Return how many values up to each step are equal to it: (n_steps, channels).

    A missing value ends a run.

    Examples
    --------
    >>> run_lengths(np.array([[5.0], [5.0], [7.0], [7.0], [7.0]])).ravel().tolist()
    [1.0, 2.0, 1.0, 2.0, 3.0]
    """
    steps = np.arange(len(values))[:, None]
    changed = np.ones(values.shape, dtype=bool)
    changed[1:] = values[1:] != values[:-1]
    return (steps - np.maximum.accumulate(np.where(changed, steps, 0), axis=0) + 1).astype(float)

"""Channels of a time series: scales, gaps and runs of equal values."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["ChannelScaler", "bridged", "run_lengths"]

Array = NDArray[np.float64]

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
    def fit(cls, values: Array) -> Self:
        """Measure channels of time steps, (n_steps, channels), NaN left out."""
        known = np.isfinite(values)
        counts = np.maximum(known.sum(axis=0), 1)
        center = np.where(known, values, 0.0).sum(axis=0) / counts
        away = np.where(known, values - center, 0.0)
        scale = np.sqrt((away**2).sum(axis=0) / counts)
        constant = scale <= MIN_DEVIATION * np.maximum(1.0, np.abs(center))
        first = np.array([column[known[:, j]][:1].sum() for j, column in enumerate(values.T)])
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

    Before the first and after the last value they are equal to it; 0 where there is none.

    Examples
    --------
    >>> bridged(np.array([[np.nan], [1.0], [np.nan], [3.0]])).ravel().tolist()
    [1.0, 1.0, 2.0, 3.0]
    """
    filled = values.copy()
    steps = np.arange(len(values))
    for column in filled.T:
        known = np.isfinite(column)
        if not known.all():
            column[:] = np.interp(steps, steps[known], column[known]) if known.any() else 0.0
    return filled


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

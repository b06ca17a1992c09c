"""Sliding windows of time series, and statistics of the windows that cover each time step."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._types import AnyArray

__all__ = ["Covering", "covering", "window_starts", "windows_at"]

Array = NDArray[np.float64]
Indices = NDArray[np.intp]


def window_starts(n_steps: int, window: int, hop: int) -> Indices:
    """Return the first steps of windows: every `hop`-th one, and the last that there is.

    Examples
    --------
    >>> window_starts(10, window=4, hop=4).tolist()
    [0, 4, 6]
    """
    last = n_steps - window
    if last < 0:
        return np.empty(0, dtype=np.intp)
    starts = np.arange(0, last + 1, hop, dtype=np.intp)
    return starts if starts[-1] == last else np.append(starts, last)


def windows_at(values: AnyArray, starts: Indices, window: int) -> AnyArray:
    """Return windows of steps, (n_steps, channels): (n_windows, window, channels)."""
    view = np.lib.stride_tricks.sliding_window_view(values, window, axis=0)
    return view[starts].swapaxes(1, 2)


class Covering(NamedTuple):
    """Statistics of the windows that cover each time step; NaN where there are none."""

    mean: Array  # (n_steps, ...)
    maximum: Array  # (n_steps, ...)


def covering(values: Array, starts: Indices, window: int, n_steps: int) -> Covering:
    """Summarise values of windows, (n_windows, ...), over those that cover each time step.

    Parameters
    ----------
    values : ndarray of shape (n_windows, ...)
    starts : ndarray of shape (n_windows,)
        First steps, ascending.
    window : int
        Length of a window.
    n_steps : int

    Examples
    --------
    >>> covering(np.array([1.0, 5.0]), np.array([0, 2]), window=3, n_steps=6).mean.tolist()
    [1.0, 1.0, 3.0, 5.0, 5.0, nan]
    """
    # Between starts and ends of windows, steps are covered by the same ones.
    steps = np.union1d([0], np.concatenate([starts, starts + window]))
    steps = steps[steps < n_steps]
    lengths = np.diff(steps, append=n_steps)
    first = np.searchsorted(starts, steps - window + 1)  # of the windows that reach the step
    stop = np.searchsorted(starts, steps, side="right")
    total = np.zeros((len(steps), *values.shape[1:]))
    largest = np.full(total.shape, -np.inf)
    for k in range(int((stop - first).max(initial=0))):
        reached = first + k < stop
        found = values[first[reached] + k]
        total[reached] += found
        largest[reached] = np.maximum(largest[reached], found)
    count = (stop - first).reshape(-1, *([1] * (values.ndim - 1)))
    with np.errstate(invalid="ignore"):
        mean, largest = total / count, np.where(count > 0, largest, np.nan)
    return Covering(mean.repeat(lengths, axis=0), largest.repeat(lengths, axis=0))

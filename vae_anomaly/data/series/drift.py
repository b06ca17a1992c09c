"""Drift of time stamps from a regular grid."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Drift", "drift_of"]

Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

MIN_APART = 0.9
"""Share of times at least half a step apart from which on rows are counted one by one. With fewer,
channels are measured at different times, which do not follow each other."""


class Drift(NamedTuple):
    """Drift of rows from a regular grid.

    Attributes
    ----------
    ns : ndarray of int64, of shape (n,)
    rows : ndarray of int64, of shape (k,)
        Rows that follow each other at half a step or more. Others have the drift of the one before.
    """

    ns: Integers
    rows: Integers


def drift_of(ns: Integers, segment: Integers, step: int) -> Drift:
    """Return by how much rows have drifted from a regular grid.

    A loop that measures and then sleeps is a little late each time, so that after some thousand
    rows it is whole steps late. From row to row, though, it is clear how many steps they are
    apart: the distance rounded to whole steps, and the rest is drift. Where rows stay within half
    a step of a regular grid, there is none.

    Parameters
    ----------
    ns : ndarray of int64, of shape (n,)
        Times, in ascending order within segments.
    segment : ndarray of int64, of shape (n,)
        Segment of each row, in ascending order from 0.
    step : int
        In nanoseconds.

    Examples
    --------
    >>> drift_of(np.array([0, 11, 22, 34, 45, 67, 78]), np.zeros(7, np.int64), 10).ns
    array([0, 1, 2, 4, 5, 7, 8])
    """
    is_apart = _are_apart(ns, segment, step)
    apart = np.flatnonzero(is_apart)
    starts = np.flatnonzero(np.diff(segment, prepend=-1))
    n_times = len(ns) - np.count_nonzero((np.diff(ns) == 0) & (np.diff(segment) == 0))
    if len(apart) < MIN_APART * n_times:
        return Drift(np.zeros_like(ns), apart)
    distances = np.diff(ns[apart], prepend=0)
    late = distances - (distances + step // 2) // step * step
    late[np.diff(segment[apart], prepend=-1) != 0] = 0
    drift = np.cumsum(late)[np.cumsum(is_apart) - 1]
    drift -= drift[starts][segment]
    widths = np.maximum.reduceat(drift, starts) - np.minimum.reduceat(drift, starts)
    drift[2 * widths[segment] < step] = 0
    return Drift(drift, apart)


def _are_apart(ns: Integers, segment: Integers, step: int) -> Booleans:
    """Return rows without those less than half a step after another.

    Of rows in close succession every other one stays, until none are close.
    """
    keep = np.ones(len(ns), dtype=bool)
    while True:
        at = np.flatnonzero(keep)
        is_close = (2 * np.diff(ns[at]) < step) & (np.diff(segment[at]) == 0)
        if not is_close.any():
            return keep
        is_close = np.r_[False, is_close]
        places = np.arange(len(at))
        place_in_run = places - np.maximum.accumulate(np.where(is_close, 0, places))
        keep[at[place_in_run % 2 == 1]] = False

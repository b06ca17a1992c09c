"""Grid points of rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.data.series.drift import drift_of

__all__ = ["Points", "points_of"]

Integers = NDArray[np.int64]


ORIGIN_ROWS = 1000
"""First rows of a segment, by which its grid is placed."""


class Points(NamedTuple):
    """Grid points of rows, which are sorted by series and time.

    Attributes
    ----------
    of_row : ndarray of int64, of shape (n,)
    distance : ndarray of int64, of shape (n,)
        Nanoseconds from the grid point to the row, either way.
    ns : ndarray of int64, of shape (n_points,)
        Times of grid points.
    starts : ndarray of int64, of shape (n_segments,)
        First grid point of each segment.
    series : ndarray of int64, of shape (n_segments,)
        Series of each segment.
    goes_on : bool
        Whether the first segment goes on with one that was there before.
    """

    of_row: Integers
    distance: Integers
    ns: Integers
    starts: Integers
    series: Integers
    goes_on: bool = False


def points_of(
    ns: Integers, series: Integers, step: int, max_gap: int, before: int | None = None
) -> Points:
    """Return the grid points of sorted rows; longer gaps than `max_gap` points have none.

    Parameters
    ----------
    ns, series : ndarray of int64, of shape (n,)
        Times and series of rows.
    step : int
        In nanoseconds.
    max_gap : int
    before : int, optional
        Time of the grid point before the first row, of its series: the grid goes on from it.
    """
    if before is not None:
        found = _points(np.r_[before, ns], np.r_[series[0], series], step, max_gap, is_placed=True)
        goes_on = len(found.starts) == 1 or int(found.starts[1]) > 1
        starts = np.maximum(found.starts - 1, 0)
        kept = slice(0 if goes_on else 1, None)
        rest = found.of_row[1:] - 1, found.distance[1:], found.ns[1:]
        return Points(*rest, starts[kept], found.series[kept], goes_on)
    return _points(ns, series, step, max_gap, is_placed=False)


def _points(ns: Integers, series: Integers, step: int, max_gap: int, *, is_placed: bool) -> Points:
    """Return the grid points of sorted rows, of which the first one may be such a point."""
    missing = (np.diff(ns) + step // 2) // step - 1
    is_start = np.r_[True, (np.diff(series) != 0) | (missing > max_gap)]
    segment = np.cumsum(is_start) - 1
    firsts = np.flatnonzero(is_start)
    drift = drift_of(ns, segment, step)
    stamps, ns = ns, ns - drift.ns
    # Grid points lie where the middle one of the distances to the first row is 0.
    since = ns - ns[firsts][segment]
    offsets = (since + step // 2) % step - step // 2
    at = np.flatnonzero(np.arange(len(ns)) - firsts[segment] < ORIGIN_ROWS)
    counts = np.bincount(segment[at])
    places = np.cumsum(counts) - counts + (counts - 1) // 2
    middle = at[np.lexsort((offsets[at], segment[at]))][places]
    shifts = offsets[middle]
    if is_placed:
        shifts[0] = 0
    origins = (ns[firsts] + shifts)[segment]
    places = (ns - origins + step // 2) // step
    # By rounding, a gap may be a point longer on the grid.
    is_start[1:] |= np.diff(places) - 1 > max_gap
    segment = np.cumsum(is_start) - 1
    firsts = np.flatnonzero(is_start)
    lasts = np.r_[firsts[1:], len(ns)] - 1
    n_points = places[lasts] - places[firsts] + 1
    starts = np.cumsum(n_points) - n_points
    of_row = starts[segment] + places - places[firsts][segment]
    grid_ns = np.arange(n_points.sum()) - np.repeat(starts, n_points)
    grid_ns = np.repeat(origins[firsts] + places[firsts] * step, n_points) + step * grid_ns
    if drift.ns.any():
        late = np.interp(np.arange(len(grid_ns)), of_row[drift.rows], drift.ns[drift.rows])
        grid_ns += np.rint(late).astype(np.int64)
    return Points(of_row, np.abs(stamps - grid_ns[of_row]), grid_ns, starts, series[firsts])

"""Values that hold until the next, where only changes are recorded."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.data.series.points import Points
from vae_anomaly.data.series.steps import step_text
from vae_anomaly.exceptions import DataError

__all__ = ["held_points", "held_values"]

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

MAX_CELLS = 2**27
"""Values of a grid without gaps: 1 GiB."""


def held_points(ns: Integers, series: Integers, step: int, n_channels: int) -> Points:
    """Return the grid points of sorted rows: the first ones at or after them, without gaps.

    Raises
    ------
    DataError
        If they do not fit into memory.
    """
    is_start = np.diff(series, prepend=-1) != 0
    segment = np.cumsum(is_start) - 1
    firsts = np.flatnonzero(is_start)
    lasts = np.r_[firsts[1:], len(ns)] - 1
    places = -((ns[firsts][segment] - ns) // step)
    n_points = places[lasts] + 1
    if n_points.sum() * n_channels > MAX_CELLS:
        raise DataError(
            f"Values hold until the next change, which makes {n_points.sum():,} time steps of "
            f"{step_text(step)} with {n_channels:,} channels. Expected at most {MAX_CELLS:,} "
            f"values. Give a longer step, such as '5min'."
        )
    starts = np.cumsum(n_points) - n_points
    of_row = starts[segment] + places
    within = np.arange(n_points.sum()) - np.repeat(starts, n_points)
    grid_ns = np.repeat(ns[firsts], n_points) + step * within
    return Points(of_row, grid_ns[of_row] - ns, grid_ns, starts, series[firsts])


def held_values(
    values: Array, channel: Integers, n_channels: int, points: Points
) -> tuple[Array, Booleans]:
    """Return values of grid points, and which rows they are of: (n_points, channels), (n,).

    Parameters
    ----------
    values : ndarray of shape (n,)
        Of rows that are sorted by series and time. NaN ends what was before.
    channel : ndarray of int64, of shape (n,)
    n_channels : int
    points : Points
    """
    n_points = len(points.ns)
    cell = points.of_row * n_channels + channel
    order = np.argsort(cell, kind="stable")
    last = order[np.diff(cell[order], append=-1) != 0]
    grid = np.full((n_points, n_channels), np.nan)
    grid.flat[cell[last]] = values[last]
    since = np.zeros((n_points, n_channels), np.int64)  # point from which a value holds
    since.flat[cell[last]] = points.of_row[last]
    since[points.starts] = points.starts[:, np.newaxis]
    np.maximum.accumulate(since, axis=0, out=since)
    used = np.zeros(len(values), dtype=bool)
    used[last] = ~np.isnan(values[last])
    return np.take_along_axis(grid, since, axis=0), used

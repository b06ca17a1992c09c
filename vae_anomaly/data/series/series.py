"""Time series on a regular grid, and what became of each row of their input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._types import AnyArray

__all__ = ["USABLE", "Gap", "Series", "SeriesSet", "interpolated", "rounded"]

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

USABLE = ""
"""Status of a row that a grid point has its values from."""


@dataclass(frozen=True, eq=False)
class Series:
    """A series on a regular grid.

    The grid has no points in long gaps, which divide a series into segments. Short gaps have
    points that are not measured.

    Attributes
    ----------
    name : str
        Empty for the only series of an input.
    times : ndarray of int64, of shape (n,), or None
        Nanoseconds since 1970 in UTC; None for series without time stamps.
    values : ndarray of shape (n, channels)
        NaN where a channel is not measured.
    measured : ndarray of bool, of shape (n,)
        Whether any channel is measured, or holds its value.
    rows : ndarray of int64, of shape (n,)
        Position in the input of the (first) row of each grid point, -1 where there is none.
    starts : tuple of int
        First grid point of each segment.
    max_gap : int
        Grid points in succession that `bridged` fills.
    resolution : int
        Unit of time of which the time stamps are multiples, in nanoseconds.

    Examples
    --------
    >>> series = Series(
    ...     name="",
    ...     times=None,
    ...     values=np.array([[1.0], [np.nan], [3.0], [8.0]]),
    ...     measured=np.array([True, False, True, True]),
    ...     rows=np.array([0, -1, 1, 2]),
    ...     starts=(0, 3),
    ...     max_gap=1,
    ... )
    >>> series.segments()
    (slice(0, 3, None), slice(3, 4, None))
    >>> series.bridged().ravel().tolist()
    [1.0, 2.0, 3.0, 8.0]
    """

    name: str
    times: Integers | None
    values: Array
    measured: NDArray[np.bool_]
    rows: Integers
    starts: tuple[int, ...] = (0,)
    max_gap: int = 0
    resolution: int = 1

    def moments(self, points: slice | Sequence[int]) -> Integers:
        """Return times to show of grid points, as exact as the time stamps are; or else rows."""
        if self.times is None:
            return self.rows[points]
        return rounded(self.times[points], self.resolution)

    def segments(self) -> tuple[slice, ...]:
        """Return the parts between long gaps, which no window may cross."""
        return tuple(slice(*bounds) for bounds in pairwise((*self.starts, len(self.values))))

    def bridged(self) -> Array:
        """Return the values with short gaps of each channel filled: (n, channels).

        What is missing between two measured values of a segment lies on the line through them.
        NaN remains in gaps of a channel of more than `max_gap` grid points, and at the ends
        of segments.
        """
        if self.max_gap == 0 or not np.isnan(self.values).any():
            return self.values
        parts = [interpolated(self.values[part], self.max_gap) for part in self.segments()]
        return np.concatenate(parts)

    def only(self, kept: NDArray[np.bool_]) -> Series:
        """Return the series without other grid points, which divide it into segments."""
        begins = np.zeros(len(kept), dtype=bool)
        begins[list(self.starts)] = True
        begins[1:] |= ~kept[:-1]
        # A segment begins at its first point that is kept.
        segment = np.cumsum(begins)[kept]
        starts = np.flatnonzero(np.diff(segment, prepend=-1))
        return replace(
            self,
            times=None if self.times is None else self.times[kept],
            values=self.values[kept],
            measured=self.measured[kept],
            rows=self.rows[kept],
            starts=tuple(starts.tolist()),
        )


def rounded(ns: Integers, unit: int) -> Integers:
    """Return times in the nearest whole units, in nanoseconds."""
    return (ns + unit // 2) // unit * unit


class Gap(NamedTuple):
    """A long gap in a series.

    Attributes
    ----------
    series : str
    start, end : int
        The last time before and the first time after the gap, in nanoseconds since 1970; rows
        of the input, counted from 0, for series without time stamps.
    n_missing : int
        Grid points between them.
    """

    series: str
    start: int
    end: int
    n_missing: int


@dataclass(frozen=True, eq=False)
class SeriesSet:
    """Series with the same channels and step, read from one input.

    Attributes
    ----------
    series : tuple of Series
    channels : tuple of str
    step : int or None
        Nanoseconds from a grid point to the next; None without time stamps.
    n_rows : int
        Rows of the input.
    status : tuple of str
        Of each row, why it cannot be scored: "duplicate of row 17", "no time", "all values
        missing"; `USABLE` if it can.
    points : ndarray of int64, of shape (n_rows,)
        Grid point of each usable row, counted over all series in order; -1 for other rows.
        Rows of a long format share a point.
    times_text : Arrow array of str, or None
        Time of each row, as in the input.
    gaps : tuple of Gap
    notes : tuple of str
        What is to be reported about the input: sentences.
    goes_on : bool
        Whether the first segment goes on with the last one of a part of the input before.
    zone : str or None
        Zone in which times are shown; None if they are those of a clock of an unknown zone.
    """

    series: tuple[Series, ...]
    channels: tuple[str, ...]
    step: int | None
    n_rows: int
    status: tuple[str, ...]
    points: Integers
    times_text: AnyArray | None = None
    gaps: tuple[Gap, ...] = ()
    notes: tuple[str, ...] = ()
    goes_on: bool = False
    zone: str | None = None

    def by_row(self, parts: Sequence[Array]) -> Array:
        """Return numbers of grid points as numbers of input rows, NaN for rows without a point.

        Parameters
        ----------
        parts : sequence of ndarray
            Of each series an array of shape (n,) or (n, k).

        Returns
        -------
        ndarray of shape (n_rows,) or (n_rows, k)
        """
        flat = np.concatenate(parts)
        rows = np.full((self.n_rows, *flat.shape[1:]), np.nan)
        usable = self.points >= 0
        rows[usable] = flat[self.points[usable]]
        return rows

    def only(self, kept: Sequence[NDArray[np.bool_]], reason: str) -> SeriesSet:
        """Return the series without other grid points, whose rows have a reason as status.

        Parameters
        ----------
        kept : sequence of ndarray of bool
            Of each series the grid points that stay: (n,).
        reason : str
        """
        flat = np.concatenate(kept)
        points = np.where(
            self.points >= 0, np.where(flat, np.cumsum(flat) - 1, -1)[self.points], -1
        )
        left_out = (self.points >= 0) & (points < 0)
        pairs = zip(self.series, kept, strict=True)
        return replace(
            self,
            series=tuple(one.only(flags) for one, flags in pairs),
            status=tuple(np.where(left_out, reason, self.status).tolist()),
            points=points,
        )


def interpolated(values: Array, max_gap: int) -> Array:
    """Return channels with gaps of at most `max_gap` steps filled linearly: (n, channels).

    Gaps at the ends remain.

    Examples
    --------
    >>> nan = np.nan
    >>> interpolated(np.array([[nan], [0.0], [nan], [2.0], [nan], [nan], [5.0]]), 1).ravel()
    array([nan,  0.,  1.,  2., nan, nan,  5.])
    """
    filled = values.copy()
    places = np.arange(len(values))
    for channel in filled.T:
        known = np.flatnonzero(~np.isnan(channel))
        if 0 < len(known) < len(channel):
            gap_of_place = np.searchsorted(known, places)  # number of known values before
            inside = (gap_of_place > 0) & (gap_of_place < len(known)) & np.isnan(channel)
            gap = gap_of_place[inside]
            short = known[gap] - known[gap - 1] - 1 <= max_gap
            at = places[inside][short]
            channel[at] = np.interp(at, known, channel[known])
    return filled

"""Local times: clock changes, and time zones to UTC."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.data.series.stamps import Place, Stamps
from vae_anomaly.data.series.times import time_text
from vae_anomaly.exceptions import DataError, ParameterError

__all__ = ["check_clock", "check_timezone", "to_utc"]

Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

HOUR = 3600 * 10**9
DAY = 24 * HOUR

CHANGE_DAYS = {
    3: (*range(8, 15), *range(25, 32)),  # North America; Europe
    4: (*range(1, 9),),  # Australia, New Zealand, Chile
    9: (*range(2, 9), *range(24, 31)),  # Chile; New Zealand
    10: (*range(1, 8), *range(25, 32)),  # Australia; Europe
    11: (*range(1, 8),),  # North America
}
"""Month -> days on which clocks are changed, if they are Sundays."""

LAST_CHANGE_HOUR = 4
SUNDAY = 3
"""Weekday of a day since 1970, which began on a Thursday, modulo 7."""


def check_timezone(timezone: str | None) -> None:
    """Raise if the name of a time zone is unknown.

    Raises
    ------
    ParameterError
    """
    if timezone is None:
        return
    try:
        ZoneInfo(timezone)
    except (KeyError, OSError, ValueError) as cause:
        raise ParameterError(
            f"timezone must be a name such as 'Europe/Berlin' or 'UTC'. Got {timezone!r} instead."
        ) from cause


def to_utc(stamps: Stamps, series: Integers, timezone: str | None, place: Place) -> Integers:
    """Return nanoseconds in UTC.

    Parameters
    ----------
    stamps : Stamps
    series : ndarray of int, of shape (n,)
        Codes of the series, or channels of series, that rows belong to.
    timezone : str, optional
        Zone of naive times. Without one, they count as those of a clock that is not changed.
        Rows of the hour that clocks show twice belong to its second pass from the row on at
        which the time goes back, or up to the row at which it jumps ahead, if the latest rows
        come first.
    place : callable

    Returns
    -------
    ndarray of int64, of shape (n,)

    Raises
    ------
    DataError
        If naive times without a zone go over a clock change, or a time is skipped by the
        clocks of the zone.
    """
    if not stamps.is_naive or not stamps.known.any():
        return stamps.ns
    known = np.flatnonzero(stamps.known)
    at = known[np.argsort(series[known], kind="stable")]  # rows of a series in input order
    if timezone is None:
        check_clock(stamps.ns[at], series[at], at, place)
        return stamps.ns
    utc = stamps.ns.copy()
    utc[at] = _localized(stamps.ns[at], series[at], at, timezone, place)
    return utc


def check_clock(ns: Integers, series: Integers, rows: Integers, place: Place) -> None:
    """Raise if local times look as if they go over a clock change.

    Times of a series that only go back by one hour less a step do, and so do steps that are
    an hour longer than usual, or times of hourly rows that occur twice, before 5 o'clock on a
    Sunday on which clocks are changed somewhere.

    Raises
    ------
    DataError
    """
    if _latest_first(ns, series):
        ns, series, rows = ns[::-1], series[::-1], rows[::-1]
    steps = np.diff(ns)
    same = np.diff(series) == 0
    ahead = steps[same & (steps > 0)]
    if not len(ahead):
        return
    usual = int(np.median(ahead))
    if usual > HOUR:
        return
    later, days = ns[1:], ns[1:] // DAY
    at_night = later % DAY < (LAST_CHANGE_HOUR + 1) * HOUR
    at_night &= (days % 7 == SUNDAY) & _may_change(days)
    back = same & (steps < 0)
    overlap = np.abs(steps - (usual - HOUR)) <= usual // 2
    goes_back = back & overlap
    if (back & ~overlap).any():
        goes_back &= at_night  # in rows that are not sorted, the time goes back often
    twice = same & at_night & (steps == 0) & (usual == HOUR)
    jumps = same & at_night & (np.abs(steps - (usual + HOUR)) <= usual // 2)
    found = goes_back | twice | jumps
    if found.any():
        i = int(np.argmax(found))
        change = ("goes back", "repeats", "jumps ahead")[int(np.sign(steps[i])) + 1]
        raise DataError(
            f"{place(int(rows[i + 1]))}: from {time_text(ns[i])} to {time_text(ns[i + 1])} the "
            f"time {change}, as local time does where clocks are changed. Expected times with "
            f"offsets from UTC, or a zone: give timezone, such as 'Europe/Berlin', or 'UTC' if "
            f"the clock was not changed."
        )


def _latest_first(ns: Integers, series: Integers) -> bool:
    """Return whether times of a series mostly go back."""
    return int(np.sign(np.diff(ns)[np.diff(series) == 0]).sum()) < 0


def _may_change(days: Integers) -> Booleans:
    """Return which days since 1970 are in `CHANGE_DAYS`."""
    dates = days.astype("datetime64[D]")
    months = dates.astype("datetime64[M]")
    day_of_month = (dates - months.astype("datetime64[D]")).astype(np.int64) + 1
    known = [100 * month + day for month, some in CHANGE_DAYS.items() for day in some]
    return np.isin(100 * (months.astype(np.int64) % 12 + 1) + day_of_month, known)


def _localized(
    ns: Integers, series: Integers, rows: Integers, timezone: str, place: Place
) -> Integers:
    """Return local times, in input order within series, as UTC."""
    import pandas as pd

    index = pd.DatetimeIndex(ns.view("datetime64[ns]"))
    # Where clocks show an hour twice, `True` stands for its first pass.
    first, second = (
        index.tz_localize(timezone, ambiguous=np.full(len(ns), pass_), nonexistent="NaT")
        for pass_ in (True, False)
    )
    skipped = np.asarray(first.isna())
    if skipped.any():
        i = int(np.argmax(skipped))
        raise DataError(
            f"{place(int(rows[i]))}: the clocks of {timezone} skip {time_text(ns[i])}. Expected "
            f"local times of that zone. Give the zone in which the times are."
        )
    earlier, later = first.asi8, second.asi8
    ambiguous = np.flatnonzero(earlier != later)
    if not len(ambiguous):
        return earlier
    utc = earlier.copy()
    steps = np.diff(ns)[np.diff(series) == 0]
    in_second = _in_second_pass(
        ns[ambiguous],
        series[ambiguous],
        latest_first=_latest_first(ns, series),
        hourly=len(steps) > 0 and int(np.median(np.abs(steps))) == HOUR,
    )
    utc[ambiguous[in_second]] = later[ambiguous[in_second]]
    return utc


def _in_second_pass(
    ns: Integers, series: Integers, *, latest_first: bool, hourly: bool
) -> Booleans:
    """Return which of the times that clocks show twice are those of the second pass."""
    if latest_first:
        return _in_second_pass(ns[::-1], series[::-1], latest_first=False, hourly=hourly)[::-1]
    day = ns // DAY
    starts = np.r_[True, (np.diff(series) != 0) | (np.diff(day) != 0)]
    steps = np.r_[0, np.diff(ns)]
    goes_back = ((steps < 0) | (hourly & (steps == 0))) & ~starts
    n_back = np.cumsum(goes_back)
    at_start = np.maximum.accumulate(np.where(starts, np.arange(len(ns)), 0))
    return n_back - n_back[at_start] > 0

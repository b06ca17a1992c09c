"""Dates: cells to seconds since 1970, and seconds to positions in cycles.

A model sees no trend: rows of a later year would all be new to it. It sees where in a day, a
week, a month and a year a date lies, each as the sine and cosine of an angle, how long after the
first date of its row it is, and whether it is far from those of training. Angles count from the
mean direction of training dates (Mardia and Jupp, "Directional statistics", section 2.2,
:doi:`10.1002/9780470316979`): sine and cosine are then hardly correlated, and a model does not
depend on the hour that a day begins.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._types import Symbol
from vae_anomaly.data.cells import STRAY
from vae_anomaly.data.date_formats import ISO

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "EPOCH",
    "FORMATS",
    "MAX_PARTS",
    "MAX_SECONDS",
    "MIN_SECONDS",
    "PERIODS",
    "Cycle",
    "DateParts",
    "best_formats",
    "covered_cycles",
    "covered_span",
    "day_of",
    "is_aware",
    "parsed",
    "seconds_of",
    "seconds_of_series",
    "seconds_of_timestamps",
    "timestamps_of",
]

Array = NDArray[np.float64]

FORMATS = (
    *(ISO, "%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y/%m/%d", "%Y/%m/%d %H:%M", "%Y/%m/%d %H:%M:%S"),
    *("%d.%m.%Y", "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S", "%d.%m.%y", "%d.%m.%y %H:%M"),
    *("%d/%m/%Y", "%d/%m/%Y %H:%M", "%d/%m/%Y %H:%M:%S", "%d/%m/%y", "%d/%m/%y %H:%M"),
    *("%m/%d/%Y", "%m/%d/%Y %H:%M", "%m/%d/%Y %H:%M:%S", "%m/%d/%y", "%m/%d/%y %H:%M"),
    *("%m/%d/%Y %I:%M:%S %p", "%d-%m-%Y", "%d-%m-%Y %H:%M", "%d-%m-%Y %H:%M:%S", "%m-%d-%Y"),
    *("%d-%m-%y", "%m-%d-%y", "%y-%m-%d", "%Y%m%d", "%d-%b-%Y", "%d-%b-%y", "%d %b %Y"),
    *("%b %d, %Y", "%d %B %Y", "%B %d, %Y"),
)
"""Formats that texts are compared with; see `datetime.strptime`."""

DATE_SHARE = 0.99
"""Share of cells in one format from which on a column holds dates."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6}

MIN_SECONDS, MAX_SECONDS = -62_135_596_800.0, 253_402_300_800.0
"""The years 1 to 9999. Other dates are not told apart from what is no date."""

PERIODS = {
    "time of day": 1.0,
    "weekday": 7.0,
    "day of the month": 365.2425 / 12,
    "day of the year": 365.2425,
}
"""Name of a cycle -> its period in days."""

MAX_PARTS = 2 * len(PERIODS) + 2
"""Most numbers that are made of a date: of cycles, of days since another date, and a mask."""

TAIL = 0.01
"""Share of the earliest and of the latest dates that do not count for the time covered."""

MIN_PERIODS = 1.9
"""Periods of a cycle between these tails, less than two whole ones without them."""

MIN_MARGIN = 10 * 365.2425 * 86400.0
"""Seconds before the first and after the last training date that are not far from them: ten years.

Models are used for years after training. Dates that stand for none are mostly farther: 1900, 1970,
2099, 9999.
"""

WEEKS_OF_A_YEAR = 52 * 7 * 86400.0
"""Seconds by which dates move to another year: their weekday stays."""

DECIMALS = 9
"""Decimals of sines and cosines, so that those of one position are equal."""


# ------------------------------------------------------------------------------ cells


def parsed(text: str, form: str) -> datetime | None:
    """Return the date that a text stands for in a format; None if it is none."""
    try:
        return datetime.fromisoformat(text) if form == ISO else datetime.strptime(text, form)
    except (ValueError, OverflowError):
        return None


def seconds_of(date: datetime | None) -> float:
    """Return seconds since 1970, of a date with a zone those of UTC; `STRAY` for None.

    Examples
    --------
    >>> seconds_of(parsed("1970-01-02T01:00+01:00", ISO))
    86400.0
    """
    if date is None:
        return STRAY
    aware = date.replace(tzinfo=UTC) if date.tzinfo is None else date
    return (aware - EPOCH) // timedelta(microseconds=1) / 10**6


def seconds_of_timestamps(dates: NDArray[np.datetime64]) -> Array:
    """Return seconds since 1970, cut to microseconds: NaN for NaT, `STRAY` beyond the year 9999."""
    unit, counts = np.datetime_data(dates.dtype)[0], dates.view(np.int64)
    if unit == "ns":
        unit, counts = "us", counts // 1000
    seconds = counts * 86400.0 if unit == "D" else counts / PER_SECOND[unit]
    known = np.where((seconds >= MIN_SECONDS) & (seconds < MAX_SECONDS), seconds, STRAY)
    return np.where(np.isnat(dates), np.nan, known)


def is_aware(cells: pd.Series) -> bool:
    """Return whether the type of cells has a time zone."""
    dtype = getattr(cells.dtype, "pyarrow_dtype", cells.dtype)
    return getattr(dtype, "tz", None) is not None


def seconds_of_series(cells: pd.Series) -> Array:
    """Return the seconds of cells of a type of dates of pandas, see `seconds_of_timestamps`."""
    if is_aware(cells):
        cells = cells.dt.tz_convert("UTC").dt.tz_localize(None)
    values = cells.to_numpy()
    if values.dtype.kind != "M":  # dates of Arrow without a time of day
        values = cells.to_numpy(dtype=object, na_value=np.datetime64("NaT")).astype(
            "datetime64[us]"
        )
    return seconds_of_timestamps(values)


def timestamps_of(seconds: Array) -> NDArray[np.datetime64]:
    """Return the dates that seconds stand for, in microseconds; NaT for all other numbers."""
    known = (seconds >= MIN_SECONDS) & (seconds < MAX_SECONDS)
    whole = np.rint(np.where(known, seconds, 0.0) * 10**6).astype(np.int64)
    dates = whole.view("datetime64[us]")
    dates[~known] = np.datetime64("NaT")
    return dates


def day_of(seconds: float) -> str:
    """Return the day of a date.

    Examples
    --------
    >>> day_of(86400.0)
    '1970-01-02'
    """
    return str(timestamps_of(np.array([seconds]))[0].astype("datetime64[D]"))


def best_formats(counts: Mapping[str, int]) -> list[str]:
    """Return the formats in which most texts are dates, if nearly all are in one.

    More than one where they stand for different dates, as 03/04/2022 does.
    """
    total = sum(counts.values())
    allowed = (1.0 - DATE_SHARE) * total
    failures = {form: _count_failures(counts, form, allowed) for form in FORMATS}
    least = min(failures.values())
    if least > allowed:
        return []
    best: dict[tuple[float, ...], str] = {}
    for form in FORMATS:
        if failures[form] == least:
            best.setdefault(tuple(seconds_of(parsed(text, form)) for text in counts), form)
    return list(best.values())


def _count_failures(counts: Mapping[str, int], form: str, allowed: float) -> int:
    """Count cells that are no dates in a format, until they are more than allowed."""
    failures = 0
    for text, count in counts.items():
        if parsed(text, form) is None:
            failures += count
            if failures > allowed:
                break
    return failures


# ----------------------------------------------------------------------------- cycles


class Cycle(NamedTuple):
    """A cycle in which training dates differ.

    Attributes
    ----------
    name : str
        In `PERIODS`.
    center : float
        Mean direction of training dates, as a share of the period in [0, 1].
    """

    name: str
    center: float


def covered_cycles(seconds: Array) -> tuple[Cycle, ...]:
    """Return the cycles of which dates cover two periods, and in which they differ.

    NaN and `STRAY` do not count.
    """
    known = seconds[~np.isnan(seconds) & (seconds != STRAY)]
    if not len(known):
        return ()
    days = np.subtract(*np.quantile(known, [1 - TAIL, TAIL])) / 86400
    cycles = []
    for name, period in PERIODS.items():
        points = _circle(known, Cycle(name, 0.0))
        if days >= MIN_PERIODS * period and np.ptp(points, axis=0).any():
            # Of opposite dates the mean is 0 but for rounding, and has no direction.
            sine, cosine = np.round(points.mean(axis=0), DECIMALS).tolist()
            cycles.append(Cycle(name, math.atan2(sine, cosine) / (2 * math.pi) % 1))
    return tuple(cycles)


def covered_span(seconds: Array) -> tuple[float, ...]:
    """Return the first and the last date without the tails; () without any.

    NaN and `STRAY` do not count.
    """
    known = seconds[~np.isnan(seconds) & (seconds != STRAY)]
    return tuple(np.quantile(known, [TAIL, 1 - TAIL]).tolist()) if len(known) else ()


def _circle(seconds: Array, cycle: Cycle) -> Array:
    """Return sine and cosine of the positions in a cycle: (n, 2)."""
    angle = 2 * np.pi * (_position(seconds, cycle.name) - cycle.center)
    return np.round(np.column_stack([np.sin(angle), np.cos(angle)]), DECIMALS)


def _position(seconds: Array, cycle: str) -> Array:
    """Return the share of a period that has passed: from 0 to 1, of a month of its own length."""
    days = seconds / 86400
    if cycle == "time of day":
        return days % 1
    if cycle == "weekday":
        return (days + 3) % 7 / 7  # 1970 began on a Thursday; weeks begin on Mondays
    unit = "M" if cycle == "day of the month" else "Y"
    period = np.floor(days).astype("datetime64[D]").astype(f"datetime64[{unit}]")
    start, end = ((period + i).astype("datetime64[D]").astype(np.int64) for i in (0, 1))
    return (days - start) / (end - start)


@dataclass(frozen=True)
class DateParts:
    """Parts of the dates of a row: of each its cycles, of all but the first the days since then.

    Attributes
    ----------
    cycles : tuple of tuple of Cycle
        Of each column of dates.
    spans : tuple of tuple of float
        First and last training date of each without the tails, in seconds since 1970, or ().

    Examples
    --------
    >>> parts = DateParts(((Cycle("time of day", 0.0),), ()))
    >>> parts.encode(np.array([[6 * 3600.0, 2 * 86400.0]])).tolist()
    [[1.0, 0.0, 1.75]]
    """

    cycles: tuple[tuple[Cycle, ...], ...] = ()
    spans: tuple[tuple[float, ...], ...] = ()

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """Number of parts of each column."""
        return tuple(2 * len(cycles) + (i > 0) for i, cycles in enumerate(self.cycles))

    @cached_property
    def column_of_part(self) -> NDArray[np.intp]:
        """Column that each part belongs to."""
        return np.repeat(np.arange(len(self.widths)), self.widths)

    def names(self, first: str) -> list[list[str]]:
        """Return the names of the parts of each column; `first` is that of the first column.

        Examples
        --------
        >>> DateParts(((Cycle("weekday", 0.0),), ())).names("ordered")
        [['weekday', 'weekday'], ['time since ordered']]
        """
        of_cycles = [[one.name for one in cycles for _ in range(2)] for cycles in self.cycles]
        return [own + [f"time since {first}"] * (i > 0) for i, own in enumerate(of_cycles)]

    def encode(self, seconds: Array) -> Array:
        """Return the parts of rows, (n, n_columns) to (n, n_parts); NaN where they are missing.

        The days since the first date are missing where one of the two is.
        """
        parts = np.full((len(seconds), sum(self.widths)), np.nan)
        place = 0
        for i, (column, cycles) in enumerate(zip(seconds.T, self.cycles, strict=True)):
            seen = ~np.isnan(column)
            for cycle in cycles:
                parts[seen, place : place + 2] = _circle(column[seen], cycle)
                place += 2
            if i > 0:
                parts[:, place] = (column - seconds[:, 0]) / 86400
                place += 1
        return parts

    @cached_property
    def limits(self) -> Array:
        """Dates before and after which each column is far from training: (2, n_columns).

        The time that training dates cover is allowed on both sides of it, at least `MIN_MARGIN`.
        """
        limits = np.tile([[-np.inf], [np.inf]], len(self.spans))
        for i, span in enumerate(self.spans):
            if span:
                margin = max(span[1] - span[0], MIN_MARGIN)
                limits[:, i] = span[0] - margin, span[1] + margin
        return limits

    def are_far(self, seconds: Array) -> NDArray[np.bool_]:
        """Return which dates, (n, n_columns), are far from those of training; NaN are not."""
        first, last = self.limits
        return (seconds < first) | (seconds > last)

    def moved(self, dates: Array, own: Array, changed: NDArray[np.bool_]) -> Array:
        """Move the dates of each row by one time, so that they are near its own: (n, n_columns).

        By whole days, so that those that change are about as far from the others as they were; by
        years of whole weeks where all change, unless its own are far from training.
        """
        away, known = own - dates, ~np.isnan(own) & ~np.isnan(dates) & (own != STRAY)
        kept, near = known & ~changed, known & ~self.are_far(own)
        some = np.logical_or.reduce(kept, axis=1)
        unit = np.where(some, 86400.0, WEEKS_OF_A_YEAR)
        shift = _mean_of(away, np.where(some[:, None], kept, near))
        moved: Array = dates + (np.round(shift / unit) * unit)[:, None]
        return moved

    def in_graph(self, seconds: Symbol) -> Symbol:
        """Add `encode` to an ONNX graph; NaN are missing there as well."""
        days = seconds / 86400.0
        parts = []
        for i, cycles in enumerate(self.cycles):
            column = days.taken(i, i + 1)
            for cycle in cycles:
                angle = (_position_in_graph(column, cycle.name) - cycle.center) * (2 * np.pi)
                # ONNX Runtime has no cosine in float64.
                points = (angle.apply("Sin"), (angle + np.pi / 2).apply("Sin"))
                parts += [_rounded(one) for one in points]
            if i > 0:
                parts.append(column - days.taken(0, 1))
        return parts[0].apply("Concat", *parts[1:], axis=1)


def _mean_of(values: Array, chosen: NDArray[np.bool_]) -> Array:
    """Return the means of the chosen values of rows, 0 without any: (n, k) to (n,)."""
    total: Array = np.where(chosen, values, 0.0).sum(axis=1)
    return total / np.maximum(chosen.sum(axis=1), 1)


def _position_in_graph(days: Symbol, cycle: str) -> Symbol:
    """Add `_position` to an ONNX graph: (n, 1)."""
    day = days.apply("Floor")
    if cycle == "time of day":
        return days - day
    if cycle == "weekday":
        since = days + 3.0
        return since / 7.0 - (since / 7.0).apply("Floor")
    passed, length = _calendar(day)["month" if cycle == "day of the month" else "year"]
    return (passed + (days - day)) / length


def _calendar(day: Symbol) -> dict[str, tuple[Symbol, Symbol]]:
    """Return for month and year the days that have passed, and their lengths: (n, 1).

    Of days since 1970. Years of this arithmetic begin in March, so that the 29th of February
    is their last day: then the months before a day have floor((153 m + 2) / 5) days. After
    Howard Hinnant, "chrono-compatible low-level date algorithms", 2013, `civil_from_days`.
    """
    since = day + 719_468.0  # the first of March of the year 0
    era = since - (since / 146_097.0).apply("Floor") * 146_097.0  # of 400 years
    leaps = _whole(era, 1460) - _whole(era, 36_524) + _whole(era, 146_096)
    year = _whole(era - leaps, 365)
    passed = era - (year * 365.0 + _whole(year, 4) - _whole(year, 100))
    month = _whole(passed * 5.0 + 2.0, 153)  # 0 is March
    begin, end = (_whole((month + i) * 153.0 + 2.0, 5) for i in (0.0, 1.0))
    is_next = month.test("Greater", 9.5)
    leap = _is_leap(year + is_next)
    in_february = month.test("Equal", 11.0)
    length = end - begin - in_february * (2.0 - leap)
    of_year = passed + 59.0 + leap - is_next * (leap + 365.0)
    return {"month": (passed - begin, length), "year": (of_year, leap + 365.0)}


def _rounded(x: Symbol) -> Symbol:
    """Round to `DECIMALS`; not every runtime has Round of float64."""
    return (x * 10.0**DECIMALS + 0.5).apply("Floor") / 10.0**DECIMALS


def _whole(x: Symbol, divisor: int) -> Symbol:
    """Return how often a number holds another."""
    return (x / float(divisor)).apply("Floor")


def _is_leap(year: Symbol) -> Symbol:
    """Return 1 for leap years of the Gregorian calendar, else 0."""
    fours, hundreds, eras = (
        (year - _whole(year, k) * float(k)).test("Equal", 0.0) for k in (4, 100, 400)
    )
    return fours - hundreds + eras

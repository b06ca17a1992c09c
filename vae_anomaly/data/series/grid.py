"""Regular grids: the step of series, their gaps, and the grid point of each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._parameters import integer
from vae_anomaly._text import MAX_LISTED, shown
from vae_anomaly.data.series.clock import check_timezone, to_utc
from vae_anomaly.data.series.held import held_points, held_values
from vae_anomaly.data.series.notes import Tally
from vae_anomaly.data.series.points import Points, points_of
from vae_anomaly.data.series.rows import NO_TIME, NO_VALUE, Rows, without_duplicates
from vae_anomaly.data.series.series import USABLE, Gap, Series, SeriesSet, rounded
from vae_anomaly.data.series.steps import (
    JITTER,
    MIN_SHARE,
    REGULAR_SHARE,
    Step,
    commonest_step,
    duration,
    resolution,
    share_of,
    step_text,
)
from vae_anomaly.exceptions import DataError, ParameterError

__all__ = ["DEFAULT_MAX_GAP", "any_known", "gap_points", "gridded", "on_grid", "step_of"]

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

DEFAULT_MAX_GAP = 5
"""Missing grid points in succession up to which a gap is bridged."""


def on_grid(
    rows: Rows,
    *,
    step: int | str | None = None,
    max_gap: int | str = DEFAULT_MAX_GAP,
    duplicates: str | None = None,
    timezone: str | None = None,
) -> SeriesSet:
    """Bring rows to a regular grid.

    A grid point has the values of the row whose time is nearest to it, within half a step, in
    long format of the nearest one of each channel. Grid points are whole steps apart within a
    segment, and the median distance of its first rows from them is 0; where rows drift away from
    such a grid, its points follow them. Where only changes are recorded, a grid point has what was
    last known of each channel.

    Parameters
    ----------
    rows : Rows
    step : int or str, optional
        Nanoseconds, or text such as "5min": that of training. By default the commonest one.
    max_gap : int or str, default=5
        Missing grid points in succession, or their duration, up to which a gap is bridged.
        Longer ones break a series.
    duplicates : {"mean", "first", "last"}, optional
        What stands for different rows of one time.
    timezone : str, optional
        Zone of times without an offset.

    Returns
    -------
    SeriesSet

    Raises
    ------
    DataError
        If no row is usable, rows of one time differ, the steps differ from `step` or have
        hardly anything in common, or local times go over a clock change.
    ParameterError
        If a parameter is out of its range.
    """
    check_timezone(timezone)
    rows = replace(rows, timezone=timezone)
    if rows.stamps is None:
        ns = _positions(rows)
    else:
        ns = to_utc(rows.stamps, rows.groups, timezone, rows.place)
        rows = rows.refusing(~rows.stamps.known, NO_TIME)
        rows = _noting_order(rows, ns)
    timed = rows.usable()
    rows = rows.refusing(~any_known(rows.values), NO_VALUE)
    if rows.stamps is not None:
        rows = without_duplicates(rows, ns, duplicates)
    usable = rows.usable()
    if not len(usable):
        raise DataError(
            f"Expected at least one row with a time and a value, got none in "
            f"{len(rows.status):,} rows."
        )
    found = step_of(rows, ns, timed, None if step is None else duration(step, "step"))
    return gridded(rows, ns, usable, found, gap_points(max_gap, found.ns))


def any_known(values: Array) -> Booleans:
    """Return which rows, (n, channels), have a value."""
    return np.logical_or.reduce(~np.isnan(values), axis=1)


def _positions(rows: Rows) -> Integers:
    """Return the positions of rows within their series."""
    order = np.argsort(rows.series, kind="stable")
    sizes = np.bincount(rows.series, minlength=len(rows.names))
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    positions = np.empty(len(order), np.int64)
    positions[order] = np.arange(len(order)) - starts
    return positions


def _noting_order(rows: Rows, ns: Integers) -> Rows:
    usable = rows.usable()
    groups = rows.groups[usable]
    order = np.argsort(groups, kind="stable")
    back = (np.diff(ns[usable][order]) < 0) & (np.diff(groups[order]) == 0)
    n_back = int(np.count_nonzero(back))
    if not n_back:
        return rows
    where = "1 place" if n_back == 1 else f"{n_back:,} places"
    return rows.noting(f"The rows go back in time in {where}: they are sorted by time.")


def step_of(rows: Rows, ns: Integers, timed: Integers, wanted: int | None) -> Step:
    """Return the step of the grid, and the share of steps that equal it."""
    if rows.stamps is None:
        return Step(1, 1.0)
    groups = rows.groups[timed]
    order = np.lexsort((ns[timed], groups))
    steps = np.diff(ns[timed][order])[np.diff(groups[order]) == 0]
    steps = steps[steps > 0]
    if not len(steps):
        if wanted is not None:
            return Step(wanted, 1.0)
        raise DataError(
            f"{rows.place(int(timed[0]))}: no series has two rows, so that there is no step from "
            f"one to the next. Give step, such as '5min', or more rows."
        )
    found = commonest_step(steps)
    if wanted is not None:
        is_regular = found.share >= REGULAR_SHARE and not rows.holds
        if is_regular and abs(found.ns - wanted) > JITTER * wanted:
            raise DataError(
                f"Expected a row every {step_text(wanted)}, as in training, got one every "
                f"{step_text(found.ns)}. Give data with the step of training, or fit to data with "
                f"this step."
            )
        return Step(wanted, share_of(steps, wanted), len(steps))
    if found.share < MIN_SHARE:
        raise DataError(
            f"The rows are too irregular for a grid: the commonest step, {step_text(found.ns)}, is "
            f"that of only {found.share:.0%} of them. Give step, such as '1min'."
        )
    return found


def gap_points(max_gap: int | str, step: int) -> int:
    """Return a number of grid points, or a duration, as such a number."""
    if isinstance(max_gap, str):
        return duration(max_gap, "max_gap") // step
    if not integer(0).holds(max_gap):
        raise ParameterError(
            f"max_gap must be a number of steps from 0, or a duration such as '10min'. "
            f"Got {max_gap!r} instead."
        )
    return int(max_gap)


def gridded(
    rows: Rows,
    ns: Integers,
    usable: Integers,
    step: Step,
    max_gap: int,
    before: int | None = None,
) -> SeriesSet:
    """Return the series of usable rows.

    Parameters
    ----------
    rows : Rows
    ns : ndarray of int64, of shape (n,)
        Times in UTC, or positions.
    usable : ndarray of int64, of shape (n_usable,)
        Positions of usable rows.
    step : Step
    max_gap : int
    before : int, optional
        Time of the grid point before the first row, see `points_of`.

    Returns
    -------
    SeriesSet
    """
    n_rows, n_channels = len(rows.status), len(rows.channels)
    if rows.holds:
        usable = np.flatnonzero((rows.status == USABLE) | (rows.status == NO_VALUE))
    at = usable[np.lexsort((ns[usable], rows.series[usable]))]
    points = (
        held_points(ns[at], rows.series[at], step.ns, n_channels)
        if rows.holds
        else points_of(ns[at], rows.series[at], step.ns, max_gap, before)
    )
    if rows.channel is None:
        values, used = _wide_values(rows.values[at], points)
    else:
        of_channels = held_values if rows.holds else _long_values
        values, used = of_channels(rows.values[at, 0], rows.channel[at], n_channels, points)
    first_row = np.full(len(values), n_rows)
    np.minimum.at(first_row, points.of_row[used], at[used])
    of_row = np.full(n_rows, -1)
    of_row[at[used]] = points.of_row[used]
    if rows.holds:
        rows = _noting_changes(rows, at[~used])
    else:
        rows = _noting_crowds(rows, at[~used], first_row[points.of_row[~used]])
    unit = 1 if rows.stamps is None else resolution(ns[at], step.ns)
    moments = rounded(points.ns, unit) if rows.stamps is not None else first_row + rows.n_before
    gaps = _gaps(rows, points, moments, step.ns)
    if before is not None and not points.goes_on:
        missing = int(points.ns[0] - before + step.ns // 2) // step.ns - 1
        start = int(rounded(np.array(before), unit))
        gaps = (Gap(rows.names[points.series[0]], start, int(moments[0]), missing), *gaps)
    first_row[first_row == n_rows] = -1
    rows = _noting_missing(rows, values)
    rows = _noting_grid(rows, step, 0 if rows.holds else int((first_row < 0).sum()), gaps)
    return SeriesSet(
        series=_divided(rows, points, values, first_row, max_gap, unit),
        channels=rows.channels,
        step=None if rows.stamps is None else step.ns,
        n_rows=n_rows,
        status=tuple(rows.status.tolist()),
        points=of_row,
        times_text=None if rows.stamps is None else rows.stamps.text,
        gaps=gaps,
        notes=rows.notes,
        goes_on=points.goes_on,
        zone=rows.zone,
    )


def _divided(
    rows: Rows, points: Points, values: Array, first_row: Integers, max_gap: int, unit: int
) -> tuple[Series, ...]:
    """Return the grid points of each series."""
    segments = np.flatnonzero(np.r_[True, np.diff(points.series) != 0, True])
    bounds = np.r_[points.starts, len(values)]
    series = []
    for first, end in pairwise(segments.tolist()):
        part = slice(bounds[first], bounds[end])
        series.append(
            Series(
                name=rows.names[points.series[first]],
                times=None if rows.stamps is None else points.ns[part],
                values=values[part],
                measured=any_known(values[part]),
                rows=np.where(first_row[part] < 0, -1, first_row[part] + rows.n_before),
                starts=tuple((points.starts[first:end] - points.starts[first]).tolist()),
                max_gap=max_gap,
                resolution=unit,
            )
        )
    return tuple(series)


def _wide_values(values: Array, points: Points) -> tuple[Array, Booleans]:
    """Return values of grid points, and which rows they are of: (n_points, channels), (n,)."""
    grid = np.full((len(points.ns), values.shape[1]), np.nan)
    shared = np.bincount(points.of_row, minlength=len(grid))[points.of_row] > 1
    used = ~shared
    grid[points.of_row[used]] = values[used]
    crowd = np.flatnonzero(shared)
    crowd = crowd[np.lexsort((points.distance[crowd], points.of_row[crowd]))]
    for i in range(grid.shape[1]):
        known = crowd[~np.isnan(values[crowd, i])]
        point = points.of_row[known]
        nearest = known[np.diff(point, prepend=-1) != 0]
        grid[points.of_row[nearest], i] = values[nearest, i]
        used[nearest] = True
    return grid, used


def _long_values(
    values: Array, channel: Integers, n_channels: int, points: Points
) -> tuple[Array, Booleans]:
    """Return the same of rows with one value each, of a channel."""
    cell = points.of_row * n_channels + channel
    order = np.lexsort((points.distance, cell))
    nearest = order[np.diff(cell[order], prepend=-1) != 0]
    grid = np.full(len(points.ns) * n_channels, np.nan)
    grid[cell[nearest]] = values[nearest]
    used = np.zeros(len(values), dtype=bool)
    used[nearest] = True
    return grid.reshape(-1, n_channels), used


def _gaps(rows: Rows, points: Points, moments: Integers, step: int) -> tuple[Gap, ...]:
    """Return the gaps between segments of one series, with the times or rows of grid points."""
    before = np.flatnonzero(np.diff(points.series) == 0)
    ends, starts = points.starts[before + 1] - 1, points.starts[before + 1]
    n_missing = (points.ns[starts] - points.ns[ends] + step // 2) // step - 1
    return tuple(
        Gap(rows.names[code], start, end, count)
        for code, start, end, count in zip(
            points.series[before].tolist(),
            moments[ends].tolist(),
            moments[starts].tolist(),
            n_missing.tolist(),
            strict=True,
        )
    )


def _noting_changes(rows: Rows, passed: Integers) -> Rows:
    """Return rows with the status of those after which the value changed in the same step."""
    is_passed = np.zeros(len(rows.status), dtype=bool)
    is_passed[passed] = True
    rows = rows.refusing(is_passed, "changed again in the same time step")
    return rows.noting("Only changes are recorded: a value holds until the next one.")


def _noting_crowds(rows: Rows, left_out: Integers, nearest: Integers) -> Rows:
    """Return rows with the status of those whose grid point has the values of another row."""
    if not len(left_out):
        return rows
    status = rows.status.copy()
    others = nearest + rows.n_before + 1
    status[left_out] = [f"same time step as row {row}" for row in others.tolist()]
    return replace(rows, status=status).noting(Tally(_crowd_words, len(left_out)))


def _noting_missing(rows: Rows, values: Array) -> Rows:
    """Return rows with a note of the channels without a value where others have one."""
    counts = np.isnan(values[any_known(values)]).sum(axis=0).tolist()
    if rows.holds or not any(counts):
        return rows
    words = partial(_missing_words, rows.channels)
    return rows.noting(Tally(words, *counts, about=("missing", rows.channels)))


def _noting_grid(rows: Rows, step: Step, n_bridged: int, gaps: tuple[Gap, ...]) -> Rows:
    """Return rows with notes of the step and of gaps."""
    notes: list[str] = []
    if rows.stamps is not None:
        counts = round(step.share * step.n_steps), step.n_steps
        notes.append(Tally(partial(_step_words, step.ns), *counts, about=("step", step.ns)))
    if n_bridged:
        notes.append(Tally(_bridged_words, n_bridged))
    if gaps:
        notes.append(Tally(_gap_words, len(gaps), sum(gap.n_missing for gap in gaps)))
    return rows.noting(*notes)


def _step_words(step: int, n_equal: int, n_steps: int) -> str:
    return f"The step is {step_text(step)}, that of {n_equal / max(n_steps, 1):.0%} of the rows."


def _missing_words(channels: Sequence[str], *counts: int) -> str:
    lacking = sorted((-n, name) for name, n in zip(channels, counts, strict=True) if n)
    first = ", ".join(f"{shown(name)} ({-n:,})" for n, name in lacking[:MAX_LISTED])
    rest = f" and {len(lacking) - MAX_LISTED} more" if len(lacking) > MAX_LISTED else ""
    return f"Time steps without a value, which neighbours stand in for, of channel {first}{rest}."


def _bridged_words(count: int) -> str:
    steps = "1 time step is" if count == 1 else f"{count:,} time steps are"
    return f"{steps} missing in short gaps, which are bridged."


def _gap_words(count: int, n_missing: int) -> str:
    gaps = "1 long gap" if count == 1 else f"{count:,} long gaps"
    return f"{gaps}, of {n_missing:,} time steps in all."


def _crowd_words(count: int) -> str:
    rows = "1 row is" if count == 1 else f"{count:,} rows are"
    return f"{rows} less than a step from another: the one nearest to a time step counts."

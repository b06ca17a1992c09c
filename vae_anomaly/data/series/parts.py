"""Series from large files, part by part: on the grid that the whole file would have.

A part ends before a grid point, so that all rows of a point are in one part. The grid of a
segment is placed by its first rows; they are in one part, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_anomaly._text import shown
from vae_anomaly._types import Json
from vae_anomaly.data.series.blocks import BLOCK_BYTES, blocks_of
from vae_anomaly.data.series.clock import check_timezone, to_utc
from vae_anomaly.data.series.columns import Columns, Roles, rows_of, time_column_of
from vae_anomaly.data.series.grid import DEFAULT_MAX_GAP, any_known, gap_points, gridded, step_of
from vae_anomaly.data.series.notes import merged
from vae_anomaly.data.series.points import ORIGIN_ROWS, points_of
from vae_anomaly.data.series.rows import NO_TIME, NO_VALUE, Rows, without_duplicates
from vae_anomaly.data.series.series import Series, SeriesSet
from vae_anomaly.data.series.steps import Step
from vae_anomaly.exceptions import DataError

__all__ = ["Part", "WholeNeeded", "joined", "parts_of_file"]

Integers = NDArray[np.int64]


class WholeNeeded(Exception):  # noqa: N818 - no error
    """A file has to be read as a whole, for a reason: "the rows are not in order of time"."""


class Part(NamedTuple):
    """Part of an input.

    Attributes
    ----------
    data : SeriesSet
        Its rows and grid points.
    n_before : int
        Rows of the input before it.
    """

    data: SeriesSet
    n_before: int


def joined(parts: Iterable[Part]) -> SeriesSet:
    """Return the whole of parts, without the text of times.

    Parameters
    ----------
    parts : iterable of Part
        At least one.
    """
    sets: list[SeriesSet] = []
    found: dict[str, list[Series]] = {}
    starts: dict[str, list[int]] = {}
    points, n_points = [], 0
    for part in parts:
        data, goes_on = part.data, part.data.goes_on
        points.append(np.where(data.points >= 0, data.points + n_points, -1))
        for one in data.series:
            before = sum(len(own.values) for own in found.get(one.name, []))
            of_series = starts.setdefault(one.name, [])
            of_series.extend(before + start for start in one.starts if start or not goes_on)
            found.setdefault(one.name, []).append(one)
            n_points += len(one.values)
            goes_on = False
        sets.append(replace(data, series=(), times_text=None))
    return replace(
        sets[0],
        series=tuple(_concatenated(own, starts[name]) for name, own in found.items()),
        n_rows=sum(one.n_rows for one in sets),
        status=tuple(chain.from_iterable(one.status for one in sets)),
        points=np.concatenate(points),
        gaps=tuple(chain.from_iterable(one.gaps for one in sets)),
        notes=merged(chain.from_iterable(one.notes for one in sets)),
    )


def _concatenated(parts: Sequence[Series], starts: Sequence[int]) -> Series:
    """Return a series whose time steps come in consecutive parts."""
    if len(parts) == 1:
        return parts[0]
    times = [one.times for one in parts if one.times is not None]
    return replace(
        parts[0],
        times=np.concatenate(times) if times else None,
        values=np.concatenate([one.values for one in parts]),
        measured=np.concatenate([one.measured for one in parts]),
        rows=np.concatenate([one.rows for one in parts]),
        starts=tuple(starts),
    )


@dataclass(frozen=True)
class _Gridding:
    """Options of the grid; see `vae_anomaly.data.series.grid.on_grid`."""

    step: int | None
    max_gap: int | str
    duplicates: str | None
    timezone: str | None


class _State(NamedTuple):
    """Where the last part ended: its series, the last grid point, and distances from the grid."""

    name: str
    point: int
    least: int
    most: int


def parts_of_file(
    path: str | Path,
    *,
    channels: Sequence[str] | None = None,
    step: int | None = None,
    block_bytes: int = BLOCK_BYTES,
    **reading: Json,
) -> Iterator[Part] | None:
    """Return the parts of a large file whose rows are in order.

    Parameters
    ----------
    path : str or Path
    channels : sequence of str, optional
        Those of training. By default those of the first block, and of all others, with its step.
    step : int, optional
        That of training, in nanoseconds; None if it had no times.
    block_bytes : int
        Bytes of a part, about.
    **reading
        Other options of `vae_anomaly.data.series.forms.read_series`.

    Returns
    -------
    iterator of Part, or None
        None if the file is small or of a form that is read as a whole.

    Raises
    ------
    WholeNeeded
        While parts are taken: if rows are not in order of series and time, times drift from a
        regular grid, or a cell cannot be used, of which the whole file may say more; without
        channels, if blocks have others.
    """
    grid = {name: reading.pop(name, None) for name in ("max_gap", "duplicates", "timezone")}
    if grid["max_gap"] is None:
        grid["max_gap"] = DEFAULT_MAX_GAP
    roles = Roles(channels=None if channels is None else tuple(channels), **reading)
    blocks = blocks_of(path, roles, block_bytes)
    return None if blocks is None else _parts(blocks, roles, _Gridding(step, **grid))


def _parts(blocks: Iterator[Columns], roles: Roles, grid: _Gridding) -> Iterator[Part]:
    check_timezone(grid.timezone)
    state: _State | None = None
    ended: set[str] = set()
    notes: tuple[str, ...] = ()
    n_before = 0
    tail: Columns | None = None
    for block, is_last in _marked(blocks):
        columns = block if tail is None else _joined(tail, block)
        try:
            if roles.time_column is None and tail is None and n_before == 0:
                roles, notes = _with_time_column(columns, roles)
            rows, ns = _rows(columns, roles, grid, n_before)
            if roles.channels is None:
                if state is None:
                    channels, grid = rows.channels, _with_step(rows, ns, grid)
                elif rows.channels != channels:
                    raise WholeNeeded("its columns of numbers are not the same throughout")
            before = _check_order(rows, ns, state, ended, has_step=grid.step is not None)
            stop = columns.n_rows if is_last else _end_of_part(rows, ns, grid, before)
            if stop:
                data = _on_grid(_first(rows, stop), ns[:stop], grid, before)
                state = _checked(data, ns[:stop], state)
                yield Part(replace(data, notes=(*notes, *data.notes)), n_before)
                ended.update(one.name for one in data.series[:-1])
                notes = ()
        except DataError as fault:
            raise WholeNeeded("a row cannot be used by itself") from fault
        tail = _last(columns, stop)
        n_before += stop


def _with_step(rows: Rows, ns: Integers, grid: _Gridding) -> _Gridding:
    """Return options with the step of some rows."""
    if rows.stamps is None or grid.step is not None:
        return grid
    return replace(grid, step=step_of(rows, ns, rows.usable(), None).ns)


def _marked(blocks: Iterator[Columns]) -> Iterator[tuple[Columns, bool]]:
    """Yield blocks, and whether each is the last."""
    try:
        block = next(blocks, None)
        while block is not None:
            following = next(blocks, None)
            yield block, following is None
            block = following
    except (DataError, pa.ArrowException, EOFError, OSError) as fault:
        raise WholeNeeded("a row cannot be read by itself") from fault


def _joined(first: Columns, second: Columns) -> Columns:
    cells = {}
    for name, one in first.cells.items():
        other = second.cells[name]
        if one.type != other.type:  # numbers in one block, text in the other
            one, other = one.cast(pa.string()), other.cast(pa.string())
        cells[name] = pa.concat_arrays([one, other])
    return replace(second, cells=cells)


def _last(columns: Columns, start: int) -> Columns:
    """Return the rows from one on, without the memory of those before."""
    taken = pa.array(np.arange(start, columns.n_rows))
    return replace(columns, cells={name: one.take(taken) for name, one in columns.cells.items()})


def _first(rows: Rows, stop: int) -> Rows:
    """Return the rows before one."""
    stamps = rows.stamps
    if stamps is not None:
        stamps = stamps._replace(
            ns=stamps.ns[:stop], known=stamps.known[:stop], text=stamps.text[:stop]
        )
    return replace(
        rows,
        stamps=stamps,
        series=rows.series[:stop],
        values=rows.values[:stop],
        status=rows.status[:stop],
    )


def _with_time_column(columns: Columns, roles: Roles) -> tuple[Roles, tuple[str, ...]]:
    """Return roles with the column of times, if there is one, and a note on it."""
    column = time_column_of(columns, roles)
    if column is None:
        return roles, ()
    note = f"Column {shown(column)} holds the times."
    return replace(roles, time_column=column), (note,)


def _rows(columns: Columns, roles: Roles, grid: _Gridding, n_before: int) -> tuple[Rows, Integers]:
    """Return rows and their times, or positions."""
    rows = replace(rows_of(columns, roles), n_before=n_before, timezone=grid.timezone)
    if rows.holds or rows.sources is not None or rows.channel is not None:
        raise WholeNeeded("its rows depend on each other")
    if rows.stamps is None:
        if roles.series_column is not None:
            raise WholeNeeded("its series have no times")
        return rows, np.arange(n_before, n_before + columns.n_rows)
    ns = to_utc(rows.stamps, rows.groups, grid.timezone, rows.place)
    return rows.refusing(~rows.stamps.known, NO_TIME), ns


def _check_order(
    rows: Rows, ns: Integers, state: _State | None, ended: set[str], *, has_step: bool
) -> int | None:
    """Return the grid point that the rows go on from; None if they begin a series.

    Raises
    ------
    WholeNeeded
        If they are not in order of series and time.
    """
    if rows.stamps is not None and not has_step:
        raise WholeNeeded("training had no times")
    timed = rows.usable()
    if not len(timed):
        raise WholeNeeded("many rows have no time")
    series = rows.series[timed]
    back = (np.diff(ns[timed]) < 0) & (np.diff(series) == 0)
    before = None
    if state is not None:
        if rows.names[series[0]] == state.name:
            before = state.point
        else:
            ended.add(state.name)
    if (np.diff(series) < 0).any() or ended & {rows.names[i] for i in np.unique(series)}:
        raise WholeNeeded("the rows of a series do not follow each other")
    if back.any() or (before is not None and ns[timed[0]] <= before):
        raise WholeNeeded("the rows are not in order of time")
    return before


def _end_of_part(rows: Rows, ns: Integers, grid: _Gridding, before: int | None) -> int:
    """Return the first row of the last grid point; rows from there on wait for later ones."""
    timed = rows.usable()
    usable, step = _usable(rows, ns, grid)
    at = usable.usable()
    if not len(at):
        return 0
    series, before = rows.series[at], _of_first(usable, timed, before)
    points = points_of(ns[at], series, step.ns, gap_points(grid.max_gap, step.ns), before)
    first = int(np.argmax(points.of_row == points.of_row[-1]))
    begin = int(np.argmax(points.of_row >= points.starts[-1]))
    goes_on = points.goes_on and len(points.starts) == 1
    if not goes_on and first - begin < ORIGIN_ROWS:
        first = begin
    same = timed[rows.series[timed] == series[first]]
    return int(same[np.searchsorted(ns[same], ns[at[first]])])


def _usable(rows: Rows, ns: Integers, grid: _Gridding) -> tuple[Rows, Step]:
    """Return rows without those that have no value or the time of another, and the step."""
    step = step_of(rows, ns, rows.usable(), grid.step)
    rows = rows.refusing(~any_known(rows.values), NO_VALUE)
    if rows.stamps is not None:
        rows = without_duplicates(rows, ns, grid.duplicates)
    return rows, step


def _of_first(rows: Rows, timed: Integers, before: int | None) -> int | None:
    """Return the grid point that the first usable row goes on from."""
    same = rows.series[rows.usable()[0]] == rows.series[timed[0]]
    return before if same else None


def _on_grid(rows: Rows, ns: Integers, grid: _Gridding, before: int | None) -> SeriesSet:
    timed = rows.usable()
    rows, step = _usable(rows, ns, grid)
    usable = rows.usable()
    if not len(usable):
        raise WholeNeeded("many rows have no value")
    before = _of_first(rows, timed, before)
    return gridded(rows, ns, usable, step, gap_points(grid.max_gap, step.ns), before)


def _checked(data: SeriesSet, ns: Integers, state: _State | None) -> _State:
    """Return where a part ends.

    Raises
    ------
    WholeNeeded
        If times leave the grid by half a step: then it may have to follow them.
    """
    last = data.series[-1]
    if last.times is None or data.step is None:
        return _State(last.name, int(last.rows.max()), 0, 0)
    grid = np.concatenate([one.times for one in data.series if one.times is not None])
    sizes = np.cumsum([0, *(len(one.values) for one in data.series)])
    starts = np.concatenate(
        [size + np.array(one.starts) for size, one in zip(sizes[:-1], data.series, strict=True)]
    )
    rows = np.flatnonzero(data.points >= 0)
    points = data.points[rows]
    away = ns[rows] - grid[points]
    begins = np.searchsorted(points, starts)  # first row of each segment
    least, most = np.minimum.reduceat(away, begins), np.maximum.reduceat(away, begins)
    if data.goes_on and state is not None:
        least[0], most[0] = min(least[0], state.least), max(most[0], state.most)
    steps = np.delete(np.diff(grid), starts[1:] - 1)
    if (2 * (most - least) >= data.step).any() or (steps != data.step).any():
        raise WholeNeeded("its times drift from a regular grid")
    return _State(last.name, int(grid[-1]), int(least[-1]), int(most[-1]))

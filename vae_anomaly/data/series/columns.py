"""Columns of an input: which are times, names of series, and channels; their cells as numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vae_anomaly._text import listed, shown
from vae_anomaly.data.cells import MISSING, WEAKLY_MISSING
from vae_anomaly.data.parsing import parse_numbers
from vae_anomaly.data.series.rows import Rows
from vae_anomaly.data.series.series import USABLE
from vae_anomaly.data.series.stamps import EPOCH_UNITS, Place
from vae_anomaly.data.series.time_strings import YEAR_FIRST, YEAR_LAST
from vae_anomaly.data.series.times import MAX_EPOCH, MIN_EPOCH, read_times
from vae_anomaly.exceptions import DataError, ParameterError

__all__ = ["Columns", "Roles", "rows_of"]

Array = NDArray[np.float64]

TIME_NAME = re.compile(r"time|date|stamp|epoch|^(ts|t|ds|_?at)$|_at$", re.IGNORECASE)
"""Names of columns in which numbers may be times."""

SAMPLE_CELLS = 100
"""Cells by which a column of times is found."""

NUMBERS_SHARE = 0.5
"""Share of numbers from which on a column of text is one of numbers with stray cells."""

SWITCHES = {"on": "1", "off": "0", "true": "1", "false": "0"}
"""States of two values -> their numbers."""


@dataclass(frozen=True, eq=False)
class Columns:
    """Named columns of cells.

    Attributes
    ----------
    cells : mapping of str to Arrow array
    place : callable
        Says where a row is.
    name : str
        Of the input, in messages.
    sources : ndarray of int64, of shape (n,), or None
        What reports each row, if rows of one time from several sources are no duplicates.
    """

    cells: Mapping[str, pa.Array]
    place: Place
    name: str
    sources: NDArray[np.int64] | None = None

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self.cells.values()))) if self.cells else 0


@dataclass(frozen=True)
class Roles:
    """What columns are, as the user says.

    Attributes
    ----------
    time_column : str, optional
        By default the only column that holds times, if there is one.
    series_column : str, optional
        Names of series.
    metric_column, value_column : str, optional
        Names of channels, and their values: one value a row.
    ignore : sequence of str
        Columns, or metrics, to leave out.
    channels : sequence of str, optional
        Those of training; by default all that hold numbers.
    time_format : str, optional
        See `vae_anomaly.data.series.times.read_times`.
    missing : sequence of str
        Texts that stand for missing values besides the usual ones.
    """

    time_column: str | None = None
    series_column: str | None = None
    metric_column: str | None = None
    value_column: str | None = None
    ignore: Sequence[str] = ()
    channels: Sequence[str] | None = None
    time_format: str | None = None
    missing: Sequence[str] = field(default=())


def rows_of(columns: Columns, roles: Roles) -> Rows:
    """Return the rows of columns in wide or long format.

    Raises
    ------
    DataError
        If a column is absent, several may be times, no channel holds numbers, or a cell is
        neither a number nor missing.
    ParameterError
        If a metric column is given without a value column.
    """
    if roles.metric_column is not None and roles.value_column is None:
        raise ParameterError("metric_column needs value_column, the column of the values.")
    named = (roles.time_column, roles.series_column, roles.metric_column, roles.value_column)
    absent = [name for name in (*named, *roles.ignore) if name and name not in columns.cells]
    if roles.metric_column is not None:
        absent = [name for name in absent if name not in roles.ignore]  # a metric
    if absent:
        raise DataError(
            f"{columns.name} has no column {listed(absent)}. Its columns are "
            f"{listed(list(columns.cells))}."
        )
    time_column = roles.time_column or _time_column(columns, roles)
    notes = []
    stamps = None
    if time_column is None:
        notes.append("No column holds times: rows count as evenly spaced, in their order.")
    else:
        cells = columns.cells[time_column]
        stamps = read_times(cells, time_column, columns.place, time_format=roles.time_format)
        if roles.time_column is None:
            notes.append(f"Column {shown(time_column)} holds the times.")
        notes.extend([stamps.note] if stamps.note else [])
    names: tuple[str, ...] = ("",)
    series = np.zeros(columns.n_rows, np.int64)
    if roles.series_column is not None:
        names, series = _codes(columns.cells[roles.series_column])
    rows = Rows(
        place=columns.place,
        names=names,
        channels=(),
        stamps=stamps,
        series=series,
        channel=None,
        sources=columns.sources,
        values=np.empty((columns.n_rows, 0)),
        status=np.full(columns.n_rows, USABLE, dtype=object),
        notes=tuple(notes),
    )
    if roles.metric_column is not None:
        return _long(rows, columns, roles)
    used = {time_column, roles.series_column, *roles.ignore}
    return _wide(rows, columns, roles, [name for name in columns.cells if name not in used])


# ---------------------------------------------------------------------------------- roles


def _time_column(columns: Columns, roles: Roles) -> str | None:
    """Return the only column that holds times; None if there is none.

    Raises
    ------
    DataError
        If there are several.
    """
    others = {roles.series_column, roles.metric_column, roles.value_column, *roles.ignore}
    others.update(roles.channels or ())
    found = [
        name
        for name, cells in columns.cells.items()
        if name not in others and _holds_times(name, cells)
    ]
    if len(found) > 1:
        raise DataError(
            f"{columns.name}: columns {listed(found)} all hold times. Give time_column, and the "
            f"others in ignore."
        )
    return found[0] if found else None


def _holds_times(name: str, cells: pa.Array) -> bool:
    """Return whether the first cells of a column are dates, or a name of times has numbers."""
    if pa.types.is_timestamp(cells.type) or pa.types.is_date(cells.type):
        return True
    if pa.types.is_dictionary(cells.type) or pa.types.is_boolean(cells.type):
        return False
    known = pc.drop_null(cells.slice(0, SAMPLE_CELLS))
    if pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type):
        text = pc.utf8_trim_whitespace(known)
        absent = pa.array(sorted(MISSING | WEAKLY_MISSING), text.type)
        text = text.filter(pc.invert(pc.is_in(text, value_set=absent)))
        for pattern in (YEAR_FIRST, YEAR_LAST):
            dashed = pc.match_substring_regex(text, pattern)
            # Eight digits may be any number.
            if len(text) and pc.all(dashed).as_py() and pc.any(_has_marks(text)).as_py():
                return True
        values = parse_numbers(text, ()).values
    else:
        values = np.array(known.cast(pa.float64(), safe=False))
    if not TIME_NAME.search(name) or not len(values):
        return False
    seconds = [values * (factor / 10**9) for factor in EPOCH_UNITS.values()]
    return any(bool(((one >= MIN_EPOCH) & (one < MAX_EPOCH)).all()) for one in seconds)


def _has_marks(text: pa.Array) -> pa.Array:
    return pc.match_substring_regex(text, r"\D")


def _codes(cells: pa.Array) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return the names of a column in the order in which they occur, and their codes."""
    text = cells.dictionary_decode() if pa.types.is_dictionary(cells.type) else cells
    coded = pc.fill_null(text.cast(pa.string()), "").dictionary_encode()
    coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
    return tuple(coded.dictionary.to_pylist()), np.array(coded.indices, dtype=np.int64)


# -------------------------------------------------------------------------------- formats


def _wide(rows: Rows, columns: Columns, roles: Roles, names: list[str]) -> Rows:
    """Return rows with one channel a column."""
    if roles.value_column is not None:
        names = [roles.value_column]
    if roles.channels is not None:
        absent = [name for name in roles.channels if name not in columns.cells]
        if absent:
            raise DataError(
                f"{columns.name} has no column {listed(absent)}, a channel of training. Its "
                f"columns are {listed(list(columns.cells))}."
            )
        unused = [name for name in names if name not in roles.channels]
        if unused:
            rows = rows.noting(f"No channels of training, not used: {listed(unused)}.")
        names = list(roles.channels)
    found = {name: _numbers(columns, name, None, roles) for name in names}
    left_out = [name for name, values in found.items() if values is None]
    if left_out and roles.channels is None:
        rows = rows.noting(f"Left out, as they hold no numbers: {listed(left_out)}.")
        found = {name: values for name, values in found.items() if values is not None}
    if not found:
        raise DataError(
            f"{columns.name} has no column of numbers besides its times. Expected at least one "
            f"channel; its columns are {listed(list(columns.cells))}."
        )
    nothing = np.full(columns.n_rows, np.nan)
    parts = [nothing if values is None else values for values in found.values()]
    rows = replace(rows, channels=tuple(found), values=np.column_stack(parts))
    return _without_infinite(rows)


def _long(rows: Rows, columns: Columns, roles: Roles) -> Rows:
    """Return rows with one value each."""
    metric_column, value_column = str(roles.metric_column), str(roles.value_column)
    metrics, codes = _codes(columns.cells[metric_column])
    values = np.full(columns.n_rows, np.nan)
    texts = []
    for code, metric in enumerate(metrics):
        if metric in roles.ignore or (roles.channels is not None and metric not in roles.channels):
            continue
        of_metric = codes == code
        found = _numbers(columns, value_column, of_metric, roles)
        if found is None:
            texts.append(metric)
        else:
            values[of_metric] = found
    unknown = sorted(set(metrics) - set(roles.channels or metrics) - set(roles.ignore))
    known = [name for name in metrics if name not in (*roles.ignore, *texts, *unknown)]
    channels = tuple(sorted(known)) if roles.channels is None else tuple(roles.channels)
    if not known:
        raise DataError(
            f"{columns.name}: no metric in column {shown(metric_column)} has numbers in column "
            f"{shown(value_column)}. Expected at least one of {listed(list(channels or metrics))}."
        )
    place = {name: i for i, name in enumerate(channels)}
    channel = np.array([place.get(name, -1) for name in metrics], np.int64)[codes]
    rows = replace(rows, channels=channels, channel=channel, values=values[:, np.newaxis])
    for reason, names in (
        ("ignored", list(roles.ignore)),
        ("holds no numbers", texts),
        ("is no channel of training", unknown),
    ):
        found_in = [i for i, name in enumerate(metrics) if name in names]
        for i in found_in:
            rows = rows.refusing(
                codes == i, f"{metrics[i]} {reason}".replace("ignored", "is ignored")
            )
        if found_in and names is not roles.ignore:
            rows = rows.noting(f"Not used: {listed([metrics[i] for i in found_in])}, {reason}.")
    return _without_infinite(rows)


def _without_infinite(rows: Rows) -> Rows:
    """Return rows in which infinite values are missing."""
    infinite = np.isinf(rows.values)
    if not infinite.any():
        return rows
    rows = replace(rows, values=np.where(infinite, np.nan, rows.values))
    return rows.noting(f"Infinite values count as missing: {np.count_nonzero(infinite):,}.")


def _numbers(
    columns: Columns, name: str, where: NDArray[np.bool_] | None, roles: Roles
) -> Array | None:
    """Return the numbers of (some) cells of a column; None if there are none.

    Raises
    ------
    DataError
        If most cells are numbers and others are text.
    """
    cells = columns.cells[name]
    if where is not None:
        cells = cells.filter(pa.array(where))
    if pa.types.is_dictionary(cells.type):
        cells = cells.dictionary_decode()
    if pa.types.is_null(cells.type):
        return None
    is_text = pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type)
    if not is_text:
        return _cast(cells)
    missing = [*MISSING, *WEAKLY_MISSING, *roles.missing]
    text = cells.cast(pa.string())
    try:
        plain = np.array(pc.if_else(pc.equal(text, ""), None, text).cast(pa.float64()))
    except pa.ArrowInvalid:
        pass  # with blanks, or cells that are no numbers
    else:
        return None if np.isnan(plain).all() else plain
    parsed = parse_numbers(text, missing)
    if parsed.is_text.any():
        states = pc.utf8_lower(pc.utf8_trim_whitespace(text))
        switched = parse_numbers(_switched(states), missing)
        if not switched.is_text.any():
            parsed = switched
    values = np.where(parsed.is_infinite, np.inf, parsed.values)
    n_numbers, n_text = np.isfinite(parsed.values).sum(), parsed.is_text.sum()
    if n_numbers == 0:
        return None
    if n_text == 0:
        return values
    if n_numbers < NUMBERS_SHARE * (n_numbers + n_text):
        return None
    rows = np.arange(len(values)) if where is None else np.flatnonzero(where)
    first = int(np.argmax(parsed.is_text))
    raise DataError(
        f"{columns.place(int(rows[first]))}, column {shown(name)}: expected a number, got "
        f"{shown(cells[first].as_py())}. Correct the cell, leave the column out with ignore, or "
        f"give the text in missing if it stands for a missing value."
    )


def _switched(states: pa.Array) -> pa.Array:
    for state, number in SWITCHES.items():
        states = pc.if_else(pc.equal(states, state), number, states)
    return states


def _cast(cells: pa.Array) -> Array | None:
    """Return the numbers of cells that are not text; None if their type is none of numbers."""
    types = pa.types
    if types.is_boolean(cells.type):
        cells = cells.cast(pa.uint8())
    elif not (
        types.is_integer(cells.type)
        or types.is_floating(cells.type)
        or types.is_decimal(cells.type)
    ):
        return None
    values = np.array(pc.fill_null(cells.cast(pa.float64(), safe=False), np.nan))
    return None if np.isnan(values).all() else values

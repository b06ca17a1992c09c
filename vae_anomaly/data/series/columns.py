"""Columns of an input: which are times, names of series, and channels; their cells as numbers."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vae_anomaly._text import listed, shown
from vae_anomaly.data.cells import MISSING, WEAKLY_MISSING
from vae_anomaly.data.parsing import parse_numbers
from vae_anomaly.data.series.notes import Tally
from vae_anomaly.data.series.numbers import is_text, numbers_of
from vae_anomaly.data.series.rows import Rows
from vae_anomaly.data.series.series import USABLE
from vae_anomaly.data.series.stamps import EPOCH_UNITS, Place
from vae_anomaly.data.series.time_strings import COMPACT, MONTH_NAMED, YEAR_FIRST, YEAR_LAST
from vae_anomaly.data.series.times import MAX_EPOCH, MIN_EPOCH, read_times
from vae_anomaly.exceptions import DataError, ParameterError

__all__ = [
    "Columns",
    "Roles",
    "check_text",
    "free_name",
    "is_time_name",
    "rows_of",
    "time_column_of",
]

Array = NDArray[np.float64]

TIME_NAME = re.compile(r"time|date|stamp|epoch|^(ts|t|ds|dt|day|_?at)$|_at$", re.IGNORECASE)
"""Names of columns in which numbers may be times."""

SURE_TIME_NAME = re.compile(r"(date|time)[ _-]?(time|stamp)?s?", re.IGNORECASE)
"""Names of columns in which text cannot be anything but times."""

SAMPLE_CELLS = 100
"""Cells by which a column of times is found."""

TIMES_SHARE = 0.5
"""Share of times from which on a column is one of times, of which other cells are faults."""

RELATIVE_TIME_NAME = re.compile(r"(date)?time(stamp)?|t|ts|secs?|seconds?", re.IGNORECASE)
"""Names of columns in which numbers that never decrease are times since some start."""

ROW_NUMBER_NAME = re.compile(r"\s*|Unnamed: 0|index", re.IGNORECASE)
"""Names of columns in which whole numbers that go up by one are row numbers."""

NO_NUMBERS = "holds no numbers"


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
    holds : bool
        Whether only changes are recorded: a value holds until the next row of its metric.
    """

    cells: Mapping[str, pa.Array]
    place: Place
    name: str
    sources: NDArray[np.int64] | None = None
    holds: bool = False

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
    missing: Sequence[str] = ()


def free_name(name: str, others: Container[str | None]) -> str:
    """Return a name, longer if others contain it.

    Examples
    --------
    >>> free_name("time", ["flow", "time"])
    'time_'
    """
    while name in others:
        name = f"{name}_"
    return name


def is_time_name(name: str) -> bool:
    """Return whether numbers in a column of a name may be times."""
    return bool(TIME_NAME.search(name) or RELATIVE_TIME_NAME.fullmatch(name))


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
    named = (roles.time_column, roles.series_column, roles.metric_column, roles.value_column)
    # What is ignored may be a metric, and need not be there where channels are known.
    is_optional = roles.metric_column is not None or roles.channels is not None
    needed = named if is_optional else (*named, *roles.ignore)
    absent = [name for name in needed if name and name not in columns.cells]
    if absent:
        raise DataError(
            f"{columns.name} has no column {listed(absent)}. Its columns are "
            f"{listed(list(columns.cells))}."
        )
    time_column = roles.time_column or time_column_of(columns, roles)
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
        names, series = codes_of(columns.cells[roles.series_column])
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
        holds=columns.holds and roles.metric_column is not None and stamps is not None,
    )
    if roles.metric_column is not None:
        return _long(rows, columns, roles.metric_column, roles)
    used = {time_column, roles.series_column, *roles.ignore}
    return _wide(rows, columns, roles, [name for name in columns.cells if name not in used])


# ---------------------------------------------------------------------------------- roles


def time_column_of(columns: Columns, roles: Roles) -> str | None:
    """Return the only column that holds times, or is called so; None if there is none.

    Raises
    ------
    DataError
        If there are several.
    """
    others = {roles.series_column, roles.metric_column, roles.value_column, *roles.ignore}
    others.update(roles.channels or ())
    cells = {name: cells for name, cells in columns.cells.items() if name not in others}
    found = [name for name, one in cells.items() if _holds_times(name, one)]
    if not found and roles.time_format is not None:
        found = [name for name in cells if is_time_name(name)]
    if not found:  # such a name makes all other cells faults
        found = [n for n, one in cells.items() if SURE_TIME_NAME.fullmatch(n) and _is_words(one)]
    if len(found) > 1:
        raise DataError(
            f"{columns.name}: columns {listed(found)} all hold times. Give time_column, and the "
            f"others in ignore."
        )
    return found[0] if found else None


def _holds_times(name: str, cells: pa.Array) -> bool:
    """Return whether most of the first cells of a column are times.

    Numbers are, if its name is one of times.
    """
    if pa.types.is_timestamp(cells.type) or pa.types.is_date(cells.type):
        return True
    if pa.types.is_dictionary(cells.type) or pa.types.is_boolean(cells.type):
        return False
    if is_text(cells):
        text = _first_texts(cells)
        has_marks = pc.match_substring_regex(text, r"\D")  # digits alone may be any number
        for pattern in (YEAR_FIRST, YEAR_LAST, MONTH_NAMED):
            if _is_most(pc.and_(pc.match_substring_regex(text, pattern), has_marks)):
                return True
        values = parse_numbers(text, ()).values
    else:
        known = pc.drop_null(cells.slice(0, SAMPLE_CELLS))
        values = np.array(known.cast(pa.float64(), safe=False))
        text = pc.cast(known, pa.string())
    if not TIME_NAME.search(name) or not len(values):
        return False
    seconds = [values * (factor / 10**9) for factor in EPOCH_UNITS.values()]
    are_epochs = [(one >= MIN_EPOCH) & (one < MAX_EPOCH) for one in seconds]
    return any(map(_is_most, (*are_epochs, pc.match_substring_regex(text, COMPACT))))


def _first_texts(cells: pa.Array) -> pa.Array:
    """Return the first cells of a column of text that are not missing."""
    text = pc.utf8_trim_whitespace(pc.drop_null(cells.slice(0, SAMPLE_CELLS)))
    absent = pa.array(sorted(MISSING | WEAKLY_MISSING), text.type)
    return text.filter(pc.invert(pc.is_in(text, value_set=absent)))


def _is_words(cells: pa.Array) -> bool:
    """Return whether most of the first cells of a column are text that is no number."""
    return is_text(cells) and _is_most(parse_numbers(_first_texts(cells), ()).is_text)


def _is_most(which: pa.Array | NDArray[np.bool_]) -> bool:
    return len(which) > 0 and float(np.mean(np.array(which, dtype=bool))) >= TIMES_SHARE


def codes_of(cells: pa.Array) -> tuple[tuple[str, ...], NDArray[np.int64]]:
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
            rows = rows.noting(f"Not used, because training had no such channel: {listed(unused)}.")
        names = list(roles.channels)
    found = {}
    left_out = []
    one_group = np.zeros(columns.n_rows, np.int64)
    for name in names:
        numbers = numbers_of(columns.cells[name], roles.missing, one_group, 1)
        if roles.channels is not None or numbers.holds_numbers.all():
            check_text(numbers.is_text, columns, name, fitting=roles.channels is None)
        if roles.channels is not None:
            found[name] = numbers.values
        elif not numbers.holds_numbers.all():
            left_out.append(name)
        elif ROW_NUMBER_NAME.fullmatch(name) and (np.diff(numbers.values) == 1).all():
            rows = rows.noting(f"Left out, as it holds row numbers: {shown(name)}.")
        else:
            found[name] = numbers.values
    if left_out:
        rows = rows.noting(f"Left out, as they hold no numbers: {listed(left_out)}.")
    if not found:
        raise DataError(
            f"{columns.name} has no column of numbers besides its times. Expected at least one "
            f"channel; its columns are {listed(list(columns.cells))}."
        )
    if rows.stamps is None and roles.channels is None:
        _check_relative_times(found, columns)
    rows = replace(rows, channels=tuple(found), values=np.column_stack(list(found.values())))
    return _without_infinite(rows)


def _check_relative_times(found: Mapping[str, Array], columns: Columns) -> None:
    """Raise if a channel holds times: it would only say how late a row is."""
    for name, values in found.items():
        if RELATIVE_TIME_NAME.fullmatch(name) and (np.diff(values) >= 0).all():
            raise DataError(
                f"{columns.name}: the numbers in column {shown(name)} never decrease, as times do, "
                f"but are not those since 1970. Give time_column={name!r} with time_format='s', "
                f"'ms', 'us' or 'ns'; or leave the column out with ignore."
            )


def _long(rows: Rows, columns: Columns, metric_column: str, roles: Roles) -> Rows:
    """Return rows with one value each."""
    value_column = roles.value_column
    if value_column is None:
        raise ParameterError("metric_column needs value_column, the column of the values.")
    metrics, codes = codes_of(columns.cells[metric_column])
    numbers = numbers_of(columns.cells[value_column], roles.missing, codes, len(metrics))
    reasons = []
    for metric, holds_numbers in zip(metrics, numbers.holds_numbers, strict=True):
        if metric in roles.ignore:
            reasons.append("is ignored")
        elif roles.channels is not None and metric not in roles.channels:
            reasons.append("is no channel of training")
        else:
            reasons.append("" if holds_numbers or roles.channels is not None else NO_NUMBERS)
    known = {metric for metric, reason in zip(metrics, reasons, strict=True) if not reason}
    if not known:
        raise DataError(
            f"{columns.name}: no metric in column {shown(metric_column)} has numbers in column "
            f"{shown(value_column)}. Expected at least one; the metrics are {listed(metrics)}."
        )
    is_used = np.array([metric in known for metric in metrics])[codes]
    fitting = roles.channels is None
    check_text(numbers.is_text & is_used, columns, value_column, fitting=fitting)
    channels = tuple(sorted(known)) if roles.channels is None else tuple(roles.channels)
    place = {name: i for i, name in enumerate(channels)}
    statuses = [
        f"{metric} {reason}" if reason else USABLE
        for metric, reason in zip(metrics, reasons, strict=True)
    ]
    rows = replace(
        rows,
        channels=channels,
        channel=np.array([place.get(name, -1) for name in metrics], np.int64)[codes],
        values=numbers.values[:, np.newaxis],
        status=np.array(statuses, dtype=object)[codes],
    )
    for reason in sorted({*reasons} - {""}):
        names = [metric for metric, one in zip(metrics, reasons, strict=True) if one == reason]
        rows = rows.noting(f"Not used: {listed(names)}, which {reason}.")
    return _without_infinite(rows)


def check_text(
    is_text: NDArray[np.bool_], columns: Columns, name: str, *, fitting: bool = True
) -> None:
    """Raise for the first text in a column of numbers, which only a fit may leave out.

    Raises
    ------
    DataError
    """
    if is_text.any():
        row = int(np.argmax(is_text))
        raise DataError(
            f"{columns.place(row)}, column {shown(name)}: expected a number, got "
            f"{shown(columns.cells[name][row].as_py())}. Correct the cell,"
            f"{' leave the column out with ignore,' if fitting else ''} or give the text in "
            f"missing if it stands for a missing value."
        )


def _without_infinite(rows: Rows) -> Rows:
    """Return rows in which infinite values are missing."""
    infinite = np.isinf(rows.values)
    if not infinite.any():
        return rows
    rows = replace(rows, values=np.where(infinite, np.nan, rows.values))
    return rows.noting(Tally(_infinite_words, int(np.count_nonzero(infinite))))


def _infinite_words(count: int) -> str:
    return f"Infinite values count as missing: {count:,}."

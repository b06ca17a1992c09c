"""Columns of CSV text."""

from __future__ import annotations

import csv
import io
import operator
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from itertools import islice

import pyarrow as pa
import pyarrow.csv as pa_csv

from vae_anomaly._text import listed, shown
from vae_anomaly.data.cells import MISSING, WEAKLY_MISSING, is_number
from vae_anomaly.data.dialect import Dialect
from vae_anomaly.data.parsing import with_points
from vae_anomaly.data.series.columns import Columns, is_time_name
from vae_anomaly.exceptions import DataError

__all__ = ["SAMPLE_CHARACTERS", "columns_of_csv", "dialect_of"]

SAMPLE_CHARACTERS = 2**16
"""Characters at the start of a text by which its dialect is found."""

MAX_HEADER = 2**20
"""Characters in which the column names end."""

N_SAMPLE = 100
"""Rows by which columns of numbers are found."""

SEPARATOR_LINE = "sep="
"""Start of a first line that names the delimiter, for spreadsheets."""


def columns_of_csv(
    text: str,
    name: str,
    *,
    lines_before: int = 0,
    as_text: Collection[str] | None = None,
    dialect: Dialect | None = None,
) -> Columns:
    r"""Return the columns of CSV text.

    Parameters
    ----------
    text : str
        A line of column names, then rows. Commas, semicolons, tabs or bars separate fields.
    name : str
        Of the file, in messages.
    lines_before : int, default=0
        Lines of the file before the text.
    as_text : collection of str, optional
        Columns that stay text, besides those called as times are, even where all cells are
        numbers. By default all do.
    dialect : Dialect, optional
        By default that of the start of the text.

    Returns
    -------
    Columns
        Numbers with a decimal comma have a point.

    Raises
    ------
    DataError
        If there are no columns or no rows, two columns have one name, or a row has more or
        fewer fields than there are names.

    Examples
    --------
    >>> columns = columns_of_csv("time;flow\n2024-03-01;1,5\n", "pump.csv")
    >>> columns.cells["flow"].to_pylist(), columns.place(0)
    (['1.5'], 'pump.csv, line 2')
    """
    dialect = dialect or dialect_of(text)
    if text[: len(SEPARATOR_LINE)].lower() == SEPARATOR_LINE:
        first, _, text = text.partition("\n")
        dialect = Dialect.of(text[:SAMPLE_CHARACTERS])
        dialect = Dialect(first.strip()[len(SEPARATOR_LINE) :] or ",", dialect.decimal)
        lines_before += 1
    records = _records(text[:MAX_HEADER], dialect, name, lines_before)
    n_blank, header = next(filter(operator.itemgetter(1), enumerate(records)), (0, []))
    if not header:
        raise DataError(f"{name} is empty. Expected a line of column names, then rows.")
    names = [field.strip() for field in header]
    _check_names(names, name, dialect)
    numeric = [] if as_text is None else _numeric(names, records, dialect)
    numeric = [one for one in numeric if one not in (as_text or ()) and not is_time_name(one)]
    try:
        cells = _parsed(text, names, numeric, n_blank + 1, dialect)
    except pa.ArrowInvalid as cause:
        _check_widths(text, dialect, name, lines_before)
        raise DataError(f"{name} cannot be read as CSV: {cause}.") from cause
    if not len(cells[names[0]]):
        raise DataError(f"{name} has column names, and no rows. Expected at least one row.")
    if dialect.decimal == ",":
        texts = [column for column in names if pa.types.is_string(cells[column].type)]
        cells |= {column: with_points(cells[column]) for column in texts}
    return Columns(cells, _place_of(text, dialect, name, lines_before), name)


def dialect_of(text: str) -> Dialect:
    """Return the dialect of the start of a text."""
    return Dialect.of(text[:SAMPLE_CHARACTERS].rpartition("\n")[0] or text)


def _parsed(
    text: str, names: list[str], numeric: list[str], n_skipped: int, dialect: Dialect
) -> dict[str, pa.Array]:
    """Return the columns of a text, some of them as numbers.

    All are text, if a cell of those is neither a number nor missing.

    Raises
    ------
    pyarrow.ArrowInvalid
        If it is not CSV.
    """
    types = dict.fromkeys(names, pa.string()) | dict.fromkeys(numeric, pa.float64())
    try:
        content = pa_csv.read_csv(
            io.BytesIO(text.encode()),
            read_options=pa_csv.ReadOptions(
                column_names=names, skip_rows_after_names=n_skipped, block_size=2**24
            ),
            parse_options=pa_csv.ParseOptions(
                delimiter=dialect.delimiter, newlines_in_values='"' in text
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types=types,
                strings_can_be_null=False,
                null_values=sorted(MISSING | WEAKLY_MISSING),
                decimal_point=dialect.decimal,
            ),
        )
    except pa.ArrowInvalid:
        if not numeric:
            raise
        return _parsed(text, names, [], n_skipped, dialect)
    return {column: content.column(column).combine_chunks() for column in names}


def _numeric(names: list[str], records: Iterator[list[str]], dialect: Dialect) -> list[str]:
    """Return the columns whose first cells are numbers or missing."""
    rows: list[list[str]] = []
    with suppress(DataError):  # `MAX_HEADER` may end within quotes
        rows.extend(islice(records, N_SAMPLE))
    found = []
    for i, name in enumerate(names):
        cells = [fields[i].strip() for fields in rows if len(fields) == len(names)]
        known = [cell for cell in cells if cell not in MISSING | WEAKLY_MISSING]
        if known and all(is_number(dialect.number(cell)) for cell in known):
            found.append(name)
    return found


def _records(text: str, dialect: Dialect, name: str, lines_before: int) -> Iterator[list[str]]:
    """Yield the records of a text, empty ones for blank lines."""
    reader = dialect.records(io.StringIO(text, newline=""))
    try:
        yield from reader
    except csv.Error as cause:
        line = lines_before + reader.line_num
        raise DataError(f"{name}, line {line}: not CSV ({cause}). Correct the quotes.") from cause


def _check_names(names: list[str], name: str, dialect: Dialect) -> None:
    if all(is_number(dialect.number(one)) for one in names):
        raise DataError(
            f"{name} begins with numbers, {shown(dialect.delimiter.join(names))}. Put a line of "
            f"column names above them."
        )
    twice = [one for one, times in Counter(names).items() if times > 1]
    if twice:
        raise DataError(
            f"{name} has more than one column called {listed(twice)}. Rename them: columns are "
            f"told apart by name."
        )


def _lines_of(text: str, dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    """Yield the first line of each record, from 1, and its fields, without blank lines."""
    reader = dialect.records(io.StringIO(text, newline=""))
    line = 1
    for fields in reader:
        if fields:
            yield line, fields
        line = reader.line_num + 1


def _place_of(text: str, dialect: Dialect, name: str, lines_before: int) -> Callable[[int], str]:
    def place(row: int) -> str:
        for i, (line, _) in enumerate(_lines_of(text, dialect)):
            if i == row + 1:  # the header is the first
                return f"{name}, line {lines_before + line}"
        return f"{name}, row {row + 1}"

    return place


def _check_widths(text: str, dialect: Dialect, name: str, lines_before: int) -> None:
    """Raise for the first row that has more or fewer fields than the header."""
    lines = _lines_of(text, dialect)
    try:
        _, header = next(lines)
        for line, fields in lines:
            if len(fields) != len(header):
                raise DataError(
                    f"{name}, line {lines_before + line}: expected {len(header)} fields, as in the "
                    f"header, got {len(fields)}. Complete the row, quote cells that hold "
                    f"{dialect.delimiter!r}, or remove the row."
                )
    except csv.Error as cause:
        raise DataError(f"{name} is not CSV ({cause}). Correct the quotes.") from cause

"""Records of CSV files, of which some cannot be parsed."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from typing import IO, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from vae_anomaly._text import MAX_LISTED
from vae_anomaly.data.dialect import DELIMITERS, MAX_CELL_LENGTH, Dialect
from vae_anomaly.exceptions import DataError

__all__ = [
    "Record",
    "filled",
    "further_lines",
    "sound_records",
    "tolerant_records",
    "width_advice",
    "width_fault",
]


class Record(NamedTuple):
    """A row of fields, and the lines of the file that it is on."""

    line: int  # the first one
    last_line: int
    fields: list[str]
    fault: str | None = None  # why there are no fields


class _Lines:
    """Lines of a file, of which the last ones can be read again."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._again: deque[str] = deque()
        self.taken: list[str] = []

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._file)
        self.taken.append(line)
        return line

    def put_back(self) -> None:
        """Return all lines that were taken but the first one to the file."""
        self._again.extendleft(reversed(self.taken[1:]))
        del self.taken[1:]


def sound_records(file: IO[str], dialect: Dialect, name: str) -> Iterator[Record]:
    """Yield the records of the file `name`, blank lines as well.

    Raises
    ------
    DataError
        Where a quote is not sound.
    """
    reader, line = dialect.records(file), 1
    try:
        for fields in reader:
            yield Record(line, reader.line_num, fields)
            line = reader.line_num + 1
    except csv.Error as cause:
        fault, advice = quote_fault(cause)
        raise DataError(f"{name}, line {line}: {fault}. {advice}") from cause


def tolerant_records(file: IO[str], dialect: Dialect) -> Iterator[Record]:
    r"""Yield the records of a file, blank lines as well; no quote stops them.

    Where a quote is not closed as it should be, its line is a record with a fault, and the next
    line begins another one.

    Examples
    --------
    >>> import io
    >>> file = io.StringIO('a,b\n"1,2\n3,4\n"5",6\n', newline="")
    >>> for record in tolerant_records(file, Dialect()):
    ...     print(record.line, record.fields, record.fault)
    1 ['a', 'b'] None
    2 [] text after a closing quote
    3 ['3', '4'] None
    4 ['5', '6'] None
    """
    lines, first = _Lines(file), 1
    reader = dialect.records(lines)
    while True:
        lines.taken.clear()
        try:
            fields, fault = next(reader), None
        except StopIteration:
            return
        except csv.Error as cause:
            fields, fault = [], quote_fault(cause)[0]
            lines.put_back()
        n_lines = len(lines.taken)
        yield Record(first, first + n_lines - 1, fields, fault)
        first += n_lines


def quote_fault(cause: csv.Error) -> tuple[str, str]:
    """Return what the csv module refuses, and what to do."""
    words = str(cause)
    if "unexpected end of data" in words:
        return "a quote is opened and never closed", "Close it."
    if "field larger than field limit" in words:
        return (
            f"a cell longer than {MAX_CELL_LENGTH:,} characters",
            "Perhaps a quote is not closed.",
        )
    if "expected after" in words:
        return "text after a closing quote", "Double the quotes inside a quoted cell."
    return f"not CSV ({words})", "Correct the line."


def width_fault(n_expected: int, n_found: int) -> str:
    """Return what is wrong with a row of another number of fields.

    Examples
    --------
    >>> width_fault(1, 3)
    'expected 1 field, as in the header, got 3'
    """
    fields = "1 field" if n_expected == 1 else f"{n_expected} fields"
    return f"expected {fields}, as in the header, got {n_found}"


def width_advice(n_expected: int, fields: Sequence[str], dialect: Dialect) -> str:
    """Return what to do about a row of another number of fields."""
    sign = DELIMITERS[dialect.delimiter]
    if len(fields) < n_expected:
        return "Complete the row or remove it."
    if len(fields) == n_expected + 1 and not fields[-1].strip():
        return f"Remove the {sign} at the end of the line."
    return f"Quote cells that hold a {sign}, or remove the row."


def further_lines(lines: Sequence[int]) -> str:
    """Return a sentence about further lines with a fault.

    Examples
    --------
    >>> further_lines([7, 9]), further_lines([])
    (' Lines 7, 9 are wrong as well.', '')
    """
    if not lines:
        return ""
    if len(lines) == 1:
        return f" Line {lines[0]} is wrong as well."
    more = len(lines) - MAX_LISTED
    rest = f" and {more:,} more" if more > 0 else ""
    return f" Lines {', '.join(map(str, lines[:MAX_LISTED]))}{rest} are wrong as well."


def filled(chunks: pa_csv.CSVStreamingReader, pending: list[int]) -> Iterator[pa.RecordBatch]:
    """Yield the rows that pyarrow parses, and rows of missing cells in place of the others.

    Parameters
    ----------
    chunks : CSVStreamingReader
    pending : list of int
        Positions of the others, to which the handler of a reading adds.
    """
    n_rows = 0
    for chunk in chunks:
        whole = _with_missing_rows(chunk, n_rows, pending)
        yield whole
        n_rows += whole.num_rows
    if pending:
        empty = pa.RecordBatch.from_pylist([], schema=chunks.schema)
        yield empty.take(pa.nulls(len(pending), pa.int64()))


def _with_missing_rows(chunk: pa.RecordBatch, first: int, pending: list[int]) -> pa.RecordBatch:
    """Return consecutive rows, the position `first` on, with rows of missing cells between them.

    Positions of the latter are taken from `pending`, where those after the last row stay.
    """
    places = np.array(pending, np.int64) - first
    before = places - np.arange(len(places))  # rows of the chunk before each
    inner = before[before < chunk.num_rows]
    if not len(inner):
        return chunk
    del pending[: len(inner)]
    taken = np.insert(np.arange(chunk.num_rows), inner, -1)
    indices = pa.array([None if i < 0 else i for i in taken.tolist()], pa.int64())
    return chunk.take(indices)

"""Readers of rows as they come, such as a log that grows: lines of CSV or of JSON."""

from __future__ import annotations

import csv
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from typing import BinaryIO

import pyarrow as pa

from vae_anomaly._types import Json
from vae_anomaly.data.dialect import Dialect, decimal_mark
from vae_anomaly.data.json_objects import array_of, is_json_object, nesting_fault, parsed
from vae_anomaly.exceptions import DataError

__all__ = ["LineReader", "open_lines", "records_of"]

READ_BYTES = 2**16

MAX_RECORD_BYTES = 2**24
"""Bytes of a row, at most: a quote that is never closed would take all that comes."""


def records_of(stream: BinaryIO) -> Iterator[list[str]]:
    """Yield the records that have come so far, as text; those of CSV may have several lines.

    Raises
    ------
    DataError
        If a record does not end.
    """
    rest, is_json = b"", None
    while chunk := _read(stream):
        lines = (rest + chunk).split(b"\n")
        rest, found, open_lines = lines.pop(), [], b""
        for line in lines:
            if is_json is None and line.strip():
                is_json = is_json_object(line)
            open_lines += line + b"\n"
            if is_json or open_lines.count(b'"') % 2 == 0:
                found.append(_text(open_lines))
                open_lines = b""
        rest = open_lines + rest
        if len(rest) > MAX_RECORD_BYTES:
            raise DataError(
                f"standard input: a row has more than {MAX_RECORD_BYTES:,} bytes, perhaps an "
                f"unclosed quote. Close it."
            )
        if found := [record for record in found if record]:
            yield found
    if last := _text(rest):
        yield [last]


def _read(stream: BinaryIO) -> bytes:
    """Return what has come, and wait only if there is nothing."""
    read = getattr(stream, "read1", stream.read)
    return bytes(read(READ_BYTES))


def _text(record: bytes) -> str:
    return record.decode("utf-8", errors="replace").strip("\r\n").removeprefix("\ufeff")


class LineReader(ABC):
    """Reader of records: text to cells.

    Attributes
    ----------
    names : sequence of str
        Names of the columns.
    n_header : int
        Records before the first row.
    is_json : bool
    """

    names: Sequence[str]
    n_header: int
    is_json: bool

    def read(self, records: Sequence[str]) -> tuple[pa.RecordBatch, dict[int, str]]:
        """Return rows, and what is wrong with those that cannot be read: position -> fault."""
        read = [self._cells(record) for record in records]
        faults = {i: cells for i, cells in enumerate(read) if isinstance(cells, str)}
        missing = [None] * len(self.names)
        rows = [missing if isinstance(cells, str) else cells for cells in read]
        columns = zip(*rows, strict=True) if rows else [()] * len(self.names)
        arrays = [
            self._column(name, cells) for name, cells in zip(self.names, columns, strict=True)
        ]
        return pa.RecordBatch.from_arrays(arrays, names=list(self.names)), faults

    @abstractmethod
    def _cells(self, record: str) -> Sequence[Json] | str:
        """Return the cells of a record, or what is wrong with it."""

    @abstractmethod
    def _column(self, name: str, cells: Sequence[Json]) -> pa.Array:
        """Return the cells of a column; None is missing."""


class CsvLines(LineReader):
    """Rows of CSV below a line of column names.

    Parameters
    ----------
    first : sequence of str
        The header, and the first records, which show the decimal mark.
    """

    n_header = 1
    is_json = False

    def __init__(self, first: Sequence[str]) -> None:
        self.dialect = Dialect.of("\n".join(first))
        self._knows_decimals = self.dialect != Dialect(";") and self.dialect != Dialect("\t")
        self.names = next(self.dialect.records(first[0].splitlines(keepends=True)))

    def _cells(self, record: str) -> list[str] | str:
        try:
            cells = next(self.dialect.records(record.splitlines(keepends=True)))
        except (csv.Error, StopIteration):
            return "not sound CSV"
        if len(cells) != len(self.names):
            return f"expected {len(self.names)} fields, as in the header, got {len(cells)}"
        if not self._knows_decimals and (mark := decimal_mark(cells)):
            self.dialect, self._knows_decimals = Dialect(self.dialect.delimiter, mark), True
        return [self.dialect.number(cell) for cell in cells]

    def _column(self, name: str, cells: Sequence[Json]) -> pa.Array:
        return pa.array(cells, pa.string())


class JsonLines(LineReader):
    """Rows that are JSON objects. A key that an object lacks, and null, is a missing cell.

    Parameters
    ----------
    first : sequence of str
        The first records, whose keys are the columns.
    features : collection of str
        Columns that later objects may have, too. Their cells are texts as they are spelled; other
        columns have the type of their values.
    """

    n_header = 0
    is_json = True

    def __init__(self, first: Sequence[str], features: Collection[str]) -> None:
        found = [key for record in first for key in parsed(record.encode()).cells or ()]
        # A stream of other objects is refused, since it lacks the features.
        further = features if set(features) & set(found) else ()
        self.names = list(dict.fromkeys([*found, *further]))
        self._features = set(features)

    def _cells(self, record: str) -> list[Json] | str:
        row = parsed(record.encode())
        if row.cells is None:
            return str(row.fault)
        faults = (nesting_fault(name, row.cells.get(name)) for name in self.names)
        return next(filter(None, faults), None) or [row.cells.get(name) for name in self.names]

    def _column(self, name: str, cells: Sequence[Json]) -> pa.Array:
        return array_of(cells, as_text=name in self._features)


def open_lines(first: Sequence[str], features: Collection[str]) -> LineReader:
    """Return a reader of records for a model with `features`, by the first of the records."""
    if is_json_object(first[0].encode()):
        return JsonLines(first, features)
    return CsvLines(first)

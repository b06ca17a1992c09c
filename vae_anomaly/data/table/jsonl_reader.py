"""Reader of JSON Lines: an object for each row, without nested values.

The rows are written once as CSV to a temporary file, numbers as they are spelled, so that all
that holds for the cells of CSV holds for them.
"""

from __future__ import annotations

import csv
import tempfile
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc

from vae_anomaly._types import JsonObject
from vae_anomaly.data.dialect import Dialect
from vae_anomaly.data.json_objects import (
    ARROW_TYPES,
    Row,
    cell_of,
    nesting_fault,
    parsed,
    type_of,
)
from vae_anomaly.data.table.csv_reader import CsvReader
from vae_anomaly.data.table.csv_records import Record, further_lines
from vae_anomaly.exceptions import DataError
from vae_anomaly.storage.atomic import output_error

__all__ = ["JsonLinesReader"]


class JsonLinesReader(CsvReader):
    """A file in UTF-8 with a JSON object on each line.

    The columns are all keys, in the order in which they first appear. A key that an object
    lacks, and null, is a missing cell. Blank lines are passed over. Lines that are no objects are
    refused once the rows are read, unless these may be skipped.
    """

    is_json = True

    def __init__(self, path: Path, name: str, copy: IO[bytes] | None = None) -> None:
        self._types: dict[str, set[str]] = {}
        self._blanks: list[int] = []  # rows before each blank line
        self._bad: list[tuple[Row, int]] = []  # lines that are no objects, and their rows
        self._n_rows = 0
        converted = self._converted(path, name)
        if copy is not None:
            copy.close()
        self._known_faults = {row: str(bad.fault) for bad, row in self._bad}
        super().__init__(Path(converted.name), name, converted)
        self.rows = self._n_rows

    def _converted(self, path: Path, name: str) -> IO[bytes]:
        """Write the rows as CSV to a temporary file."""
        copy = tempfile.NamedTemporaryFile(prefix="vae-anomaly-")  # noqa: SIM115 - `close` closes it
        try:
            # Most rows have the keys of the first one; else all keys are known the second time.
            if not self._write(path, name, copy.name):
                self._write(path, name, copy.name)
            if not self._types:
                self._refuse_lines(name)
                raise DataError(f"{name} is empty. Expected a JSON object on each line.")
        except BaseException as cause:
            copy.close()
            if isinstance(cause, OSError) and cause.filename is None:
                place = tempfile.gettempdir()
                raise output_error(f"a copy of {name} in {place}", cause) from cause
            raise
        return copy

    def _write(self, path: Path, name: str, copy: str) -> bool:
        """Check all lines and write them; return whether all rows have keys of the header."""
        self._n_rows, self._blanks, self._bad = 0, [], []
        header, is_whole = tuple(self._types), True
        with open(copy, "w", encoding="utf-8", newline="") as file:  # noqa: PTH123
            writer = csv.writer(file)
            if header:
                writer.writerow(header)
            for row in _rows(path):
                if row.fault is not None:
                    self._bad.append((row, self._n_rows))
                elif row.cells is None:
                    self._blanks.append(self._n_rows)
                    continue
                cells = row.cells or {}
                self._add_types(cells, f"{name}, line {row.line}")
                if cells and not header:
                    header, is_whole = tuple(cells), self._n_rows == 0
                    writer.writerow(header)
                self._n_rows += 1
                if header:
                    writer.writerow([cell_of(cells.get(key)) for key in header])
        return is_whole and len(header) == len(self._types)

    def refuse_faults(self) -> None:
        """Raise for lines that were skipped; see `TableReader.refuse_faults`."""
        self._refuse_lines(self.name)

    def _refuse_lines(self, name: str) -> None:
        """Raise if there are lines that are no objects.

        Raises
        ------
        DataError
        """
        if self._bad:
            lines = [bad.line for bad, _ in self._bad]
            first = self._bad[0][0]
            raise DataError(
                f"{name}, line {first.line}: {first.fault}.{further_lines(lines[1:])} "
                f"{first.advice}"
            )

    def _check_syntax(self) -> None:
        """Refuse lines that are no objects, unless they may be skipped; quotes are sound."""
        if not self.may_skip:
            self._refuse_lines(self.name)

    def _add_types(self, cells: JsonObject, place: str) -> None:
        """Add the types of the values of a row to those of the columns."""
        for key, value in cells.items():
            types = self._types.setdefault(key, set())
            if value is not None:
                if fault := nesting_fault(key, value):
                    raise DataError(f"{place}, {fault}. Write its values as further columns.")
                types.add(type_of(value))

    def _header(self) -> Record:
        """Read the header, whose syntax is known."""
        self._dialect = Dialect()
        return next(self._records())

    def _line_of(self, row: int, record: Record | None = None) -> int:
        """Return the line that a row is on, the first of which is 0."""
        return row + 1 + bisect_right(self._blanks, row)

    def type_of(self, column: str) -> pa.DataType:
        """Return the type in which a column is kept."""
        return ARROW_TYPES.get(frozenset(self._types[column]), pa.string())

    def kept(self, column: pa.Array, name: str) -> pa.Array:
        """Return a column in its type, null where a cell is missing."""
        present = pc.if_else(pc.equal(column, ""), None, column)
        return present.cast(self.type_of(name))


def _rows(path: Path) -> Iterator[Row]:
    """Yield the lines of a file."""
    with path.open("rb") as file:
        for number, content in enumerate(file, 1):
            line = content.removeprefix(b"\xef\xbb\xbf") if number == 1 else content
            if not line.strip():
                yield Row(number, None)
            else:
                yield parsed(line, number)

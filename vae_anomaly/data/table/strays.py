"""Text in columns of numbers: refused before a fit, counted while a file is scored."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_anomaly._text import MAX_LISTED, shown
from vae_anomaly.data.parsing import parse_numbers
from vae_anomaly.data.table.column import MAX_STRAY_SHARE
from vae_anomaly.data.table.reader import CellError, TableReader
from vae_anomaly.exceptions import DataError

__all__ = ["StrayCells", "advice", "infinite_cells", "refuse_cells"]


@dataclass
class StrayCells:
    """Cells of numbers and dates that are other text, in one reading of a file that is scored.

    Parameters
    ----------
    reader : TableReader
    dates : collection of str
        Columns of dates; others are numbers.
    strict : bool, default=False
        Whether such cells are refused.
    """

    reader: TableReader
    dates: Collection[str] = ()
    strict: bool = False
    _counts: Counter[str] = field(default_factory=Counter, init=False)
    _first: dict[str, tuple[str, object]] = field(default_factory=dict, init=False)

    def add(self, name: str, column: pa.Array, is_text: NDArray[np.bool_], start: int) -> None:
        """Count the cells of a column that are text; the first one is in the row `start`.

        Raises
        ------
        CellError
            For the first one, if they are refused.
        """
        count = int(is_text.sum())
        if not count:
            return
        self._counts[name] += count
        if name not in self._first:
            row = int(is_text.argmax())
            self._first[name] = self.reader.place_of(start + row), column[row].as_py()
        if self.strict:
            place, cell = self._first[name]
            raise CellError(f"{self.reader.name}, {place}", name, cell, wanted=self._wanted(name))

    def _wanted(self, name: str) -> str:
        return "date" if name in self.dates else "number"

    def check(self, n_rows: int) -> None:
        """Raise if more than half of the cells of a column are text.

        Raises
        ------
        DataError
        """
        facts = []
        for name, count in self._counts.items():
            if count > MAX_STRAY_SHARE * n_rows:
                place, cell = self._first[name]
                facts.append(
                    f"{self.reader.name}, column {shown(name)}: expected {self._wanted(name)}s, "
                    f"as in training, got text in {count:,} of {n_rows:,} cells, the first "
                    f"{shown(cell)} in {place}."
                )
        if facts:
            more = len(facts) - MAX_LISTED
            rest = f" So are {more} further columns." if more > 0 else ""
            one = (
                "it is the column that was" if len(facts) == 1 else "they are the columns that were"
            )
            raise DataError(f"{' '.join(facts[:MAX_LISTED])}{rest} Check that {one} meant.")

    def notes(self) -> list[str]:
        """Return a line for each column with such cells."""
        lines = []
        for name, count in self._counts.items():
            place, cell = self._first[name]
            cells, are = ("1 cell", "is no") if count == 1 else (f"{count:,} cells", "are no")
            plural = "s and count" if count > 1 else " and counts"
            lines.append(
                f"note: {self.reader.name}: {cells} of column {shown(name)} {are} "
                f"{self._wanted(name)}{plural} as unexpected: {shown(cell)} in {place}"
                f"{' and others' * (count > 1)}"
            )
        return lines


def infinite_cells(reader: TableReader, numbers: Sequence[str]) -> tuple[list[CellError], int]:
    """Return the first infinite cell of each column of numbers, and the count of them all."""
    first: dict[str, CellError] = {}
    n_cells = start = 0
    for batch in reader.batches((), texts=numbers, strict=False):
        for name, column in zip(numbers, batch.columns, strict=True):
            cells = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
            infinite = parse_numbers(cells, reader.missing).is_infinite
            n_cells += int(infinite.sum())
            if name not in first and infinite.any():
                row = int(infinite.argmax())
                place = f"{reader.name}, {reader.place_of(start + row)}"
                first[name] = CellError(place, name, cells[row].as_py())
        start += batch.num_rows
    return [first[name] for name in numbers if name in first], n_cells


def refuse_cells(found: Sequence[CellError], n_cells: int, *, what: str = "Text") -> None:
    """Raise for text or infinite numbers in columns of numbers that are to be learned.

    Parameters
    ----------
    found : sequence of CellError
        The first cell of each column.
    n_cells : int
        Cells of all of them.
    what : str, default="Text"
        What they hold.

    Raises
    ------
    DataError
        If there is any.
    """
    if not found:
        return
    columns = [error.column for error in found]
    facts = " ".join(error.fact for error in found[:MAX_LISTED])
    if len(found) > MAX_LISTED:
        facts += f" So has each of {len(found) - MAX_LISTED} further columns."
    number = "a column" if len(columns) == 1 else f"{len(columns)} columns"
    count = "" if n_cells == 1 else f" {what} is in {n_cells:,} cells of {number} of numbers."
    raise DataError(f"{facts}{count} {advice(columns, n_cells)}")


def advice(columns: Sequence[str], n_cells: int = 1) -> str:
    """Return what to do about cells of columns that a fit refuses."""
    plain = [name for name in columns if "," not in name and name == name.strip()]
    groups = [",".join(plain)] if plain else []
    groups += [name for name in columns if name not in plain]
    ignore = " ".join(f"--ignore {shlex.quote(group)}" for group in groups)
    choose = " ".join(f"--type {shlex.quote(name + '=category')}" for name in columns)
    cells, out = "s" * (n_cells > 1), "the column" if len(columns) == 1 else "the columns"
    levels = "it one" if len(columns) == 1 else "them some"
    return (
        f"Correct the cell{cells}, or leave {out} out with {ignore}, or make {levels} of levels "
        f"with {choose}."
    )

"""Codes of cells: batches of a file to the matrix of numbers that an encoder takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_anomaly._types import AnyArray
from vae_anomaly.data.cells import STRAY
from vae_anomaly.data.table.arrow_dates import DateBook, is_date, seconds_of_array
from vae_anomaly.data.table.codebook import Codebook, DateTexts
from vae_anomaly.data.table.column import DATE, NUMBER, Column, text_of
from vae_anomaly.data.table.missing import NO_FURTHER, MissingValues
from vae_anomaly.data.table.reader import coded, matrix_of
from vae_anomaly.data.table.schema import TableSchema

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Coding"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Coding:
    """How the cells of a file become numbers.

    Attributes
    ----------
    width : int
        Columns of the matrix.
    numbers : tuple of str
        Columns that are read as numbers.
    places : mapping of str to int
        Column -> its place in the matrix.
    columns : mapping of str to Column
        Categories and dates.
    codebooks : mapping of str to codebook
        Columns that are no numbers, before an encoder is fitted.
    missing : MissingValues
        Cells that a user says are missing.
    stray : float
        Code of text in a column of numbers.
    """

    width: int
    numbers: tuple[str, ...]
    places: Mapping[str, int]
    columns: Mapping[str, Column] = field(default_factory=dict)
    codebooks: Mapping[str, Codebook | DateBook | DateTexts] = field(default_factory=dict)
    missing: MissingValues = NO_FURTHER
    stray: float = STRAY

    @classmethod
    def draft(
        cls,
        features: Sequence[str],
        kept: Mapping[str, pa.DataType],
        missing: MissingValues = NO_FURTHER,
        formats: Mapping[str, str] = MappingProxyType({}),
    ) -> Coding:
        """Return a coding before an encoder is fitted.

        `kept` are the columns that are no numbers, and their types; `formats` are those of
        texts that are dates.
        """
        numbers = tuple(name for name in features if name not in kept)
        places = {name: i for i, name in enumerate(features)}
        books: dict[str, Codebook | DateBook | DateTexts] = {}
        for name in filter(kept.__contains__, features):
            if is_date(kept[name]):
                books[name] = DateBook(kept[name])
            elif name in formats:
                books[name] = DateTexts(formats[name], missing)
            else:
                books[name] = Codebook(missing)
        return cls(len(features), numbers, places, codebooks=books, missing=missing)

    @classmethod
    def of(cls, names: Sequence[str], schema: TableSchema) -> Coding:
        """Take the codes of a schema, for columns that go by these names in a file."""
        if not schema.columns:
            # Where no cell was missing in training, text counts as missing.
            places = {name: i for i, name in enumerate(names)}
            return cls(len(names), tuple(names), places, missing=schema.missing, stray=np.nan)
        used = [i for i, column in enumerate(schema.columns) if column.is_used]
        by_name = schema.names is not None
        places = dict(zip(names, used if by_name else range(len(names)), strict=True))
        columns = {name: schema.columns[place] for name, place in places.items()}
        numbers = tuple(name for name in names if columns[name].type == NUMBER)
        others = {name: columns[name] for name in names if name not in numbers}
        return cls(len(schema.columns), numbers, places, others, missing=schema.missing)

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """Columns that are no numbers."""
        return (*self.columns, *self.codebooks)

    @cached_property
    def dates(self) -> tuple[str, ...]:
        """Columns that an encoder takes as dates."""
        return tuple(name for name, column in self.columns.items() if column.type == DATE)

    @property
    def max_numbers(self) -> int:
        """Upper bound of the numbers that an encoder makes of rows such as those so far."""
        if not self.texts:
            return len(self.numbers)
        fitted = (len(column.levels) + 2 for column in self.columns.values())
        books = (book.max_numbers for book in self.codebooks.values())
        return 2 * len(self.numbers) + sum(fitted) + sum(books)  # masks of numbers, too

    def matrix(self, batch: pa.RecordBatch, start: int = 0) -> Array:
        """Return the rows of a batch, the first of which is the row `start`: (n, width)."""
        numbers = self.missing.without(matrix_of(batch, self.numbers))
        if len(self.numbers) == self.width:
            return numbers
        rows = np.full((batch.num_rows, self.width), np.nan)
        rows[:, [self.places[name] for name in self.numbers]] = numbers
        for name, column in self.columns.items():
            rows[:, self.places[name]] = self._codes(column, batch.column(name))
        for name, book in self.codebooks.items():
            rows[:, self.places[name]] = book.codes(batch.column(name), start)
        return rows

    def _codes(self, column: Column, cells: pa.Array) -> Array:
        """Return the codes of cells of a category or a date."""
        if column.type == DATE and is_date(cells.type):
            return seconds_of_array(cells)

        def code_of(cell: object) -> float:
            text = text_of(cell)
            return np.nan if text is None or text in self.missing else column.code_of(cell)

        return coded(cells, code_of if self.missing.texts else column.code_of)

    def cells(self, rows: Array, names: Sequence[str]) -> dict[str, AnyArray | pd.Series]:
        """Return the columns that drafted codes stand for: numbers, dates, texts as objects."""
        books = self.codebooks
        return {
            name: books[name].cells(rows[:, i]) if name in books else rows[:, i]
            for i, name in enumerate(names)
        }

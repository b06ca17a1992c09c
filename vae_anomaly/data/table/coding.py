"""Codes of cells: batches of a file to the matrix of numbers that an encoder takes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_anomaly._types import AnyArray
from vae_anomaly.data.table.reader import coded, matrix_of
from vae_anomaly.data.table.schema import CATEGORY, NUMBER, TableSchema, text_of

__all__ = ["Coding"]

Array = NDArray[np.float64]


class _Codebook:
    """Numbers for the texts of a column, in the order in which they come."""

    def __init__(self) -> None:
        self._codes: dict[str, float] = {}

    def code_of(self, cell: object) -> float:
        """Return the number of a cell; NaN if it is missing."""
        text = text_of(cell)
        return np.nan if text is None else self._codes.setdefault(text, float(len(self._codes)))

    def texts_of(self, codes: Array) -> AnyArray:
        """Return the texts that codes stand for, None for NaN."""
        texts = np.array([*self._codes, None], dtype=object)
        return texts[np.where(np.isnan(codes), -1, codes).astype(np.intp)]


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
    texts : mapping of str to callable
        Column that is read as text -> function from a cell to its code.
    """

    width: int
    numbers: tuple[str, ...]
    places: Mapping[str, int]
    texts: Mapping[str, Callable[[object], float]]
    codebooks: Mapping[str, _Codebook] = field(default_factory=dict)

    @classmethod
    def draft(cls, features: Sequence[str], texts: Collection[str]) -> Coding:
        """Return a coding before an encoder is fitted: texts are numbered as they come."""
        numbers = tuple(name for name in features if name not in texts)
        places = {name: i for i, name in enumerate(features)}
        books = {name: _Codebook() for name in features if name in texts}
        codes = {name: book.code_of for name, book in books.items()}
        return cls(len(features), numbers, places, codes, books)

    @classmethod
    def of(cls, names: Sequence[str], schema: TableSchema) -> Coding:
        """Take the codes of a schema, for columns that go by these names in a file."""
        if not schema.columns:
            return cls(len(names), tuple(names), {name: i for i, name in enumerate(names)}, {})
        used = [i for i, column in enumerate(schema.columns) if column.is_used]
        by_name = schema.names is not None
        places = dict(zip(names, used if by_name else range(len(names)), strict=True))
        types = {name: schema.columns[place].type for name, place in places.items()}
        return cls(
            len(schema.columns),
            tuple(name for name in names if types[name] == NUMBER),
            places,
            {
                name: schema.columns[places[name]].code_of
                for name in names
                if types[name] == CATEGORY
            },
        )

    def matrix(self, batch: pa.RecordBatch) -> Array:
        """Return the rows of a batch: (n, width)."""
        numbers = matrix_of(batch, self.numbers)
        if len(self.numbers) == self.width:
            return numbers
        rows = np.full((batch.num_rows, self.width), np.nan)
        rows[:, [self.places[name] for name in self.numbers]] = numbers
        for name, code_of in self.texts.items():
            rows[:, self.places[name]] = coded(batch.column(name), code_of)
        return rows

    def cells(self, rows: Array, names: Sequence[str]) -> dict[str, AnyArray]:
        """Return the columns that drafted codes stand for: numbers, and texts as objects."""
        books = self.codebooks
        return {
            name: books[name].texts_of(rows[:, i]) if name in books else rows[:, i]
            for i, name in enumerate(names)
        }

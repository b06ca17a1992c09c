"""Codes of cells: batches of a file to the matrix of numbers that an encoder takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vae_anomaly._types import AnyArray
from vae_anomaly.data.cells import STRAY
from vae_anomaly.data.table.codebook import Codebook
from vae_anomaly.data.table.column import CATEGORY, DATE, NUMBER, Column, text_of
from vae_anomaly.data.table.dates import ISO, seconds_of_timestamps, timestamps_of
from vae_anomaly.data.table.missing import NO_FURTHER, MissingValues
from vae_anomaly.data.table.reader import coded, matrix_of
from vae_anomaly.data.table.schema import TableSchema

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Coding"]

CodeOf = Callable[[object], float]

Array = NDArray[np.float64]


class _Dates(NamedTuple):
    """Dates of an Arrow type, as seconds since 1970."""

    is_aware: bool

    def cells_of(self, codes: Array) -> pd.Series:
        """Return the dates that codes stand for."""
        import pandas as pd

        dates = pd.Series(timestamps_of(codes))
        return dates.dt.tz_localize("UTC") if self.is_aware else dates


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
    levels, dates : mapping of str to callable
        Column of a category or of dates -> function from a cell to its code. Dates of an Arrow
        type need none.
    codebooks : mapping of str to Codebook or _Dates
        Column that is no number, before an encoder is fitted -> its codes.
    missing : MissingValues
        Cells that a user says are missing.
    stray : float
        Code of text in a column of numbers.
    """

    width: int
    numbers: tuple[str, ...]
    places: Mapping[str, int]
    levels: Mapping[str, CodeOf] = field(default_factory=dict)
    dates: Mapping[str, CodeOf] = field(default_factory=dict)
    codebooks: Mapping[str, Codebook | _Dates] = field(default_factory=dict)
    missing: MissingValues = NO_FURTHER
    stray: float = STRAY

    @classmethod
    def draft(
        cls,
        features: Sequence[str],
        kept: Mapping[str, pa.DataType],
        missing: MissingValues = NO_FURTHER,
    ) -> Coding:
        """Return a coding before an encoder is fitted.

        `kept` are the columns that are no numbers, and their types.
        """
        numbers = tuple(name for name in features if name not in kept)
        places = {name: i for i, name in enumerate(features)}
        dates = {name for name in features if name in kept and is_date(kept[name])}
        books: dict[str, Codebook | _Dates] = {
            name: _Dates(getattr(kept[name], "tz", None) is not None)
            if name in dates
            else Codebook(missing)
            for name in features
            if name in kept
        }
        date_codes = dict.fromkeys(dates, Column(DATE, "", format=ISO).code_of)
        return cls(
            len(features), numbers, places, dates=date_codes, codebooks=books, missing=missing
        )

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
        types = {name: schema.columns[place].type for name, place in places.items()}
        levels, dates = (
            {name: schema.columns[places[name]].code_of for name in names if types[name] == type_}
            for type_ in (CATEGORY, DATE)
        )
        numbers = tuple(name for name in names if types[name] == NUMBER)
        return cls(len(schema.columns), numbers, places, levels, dates, missing=schema.missing)

    @property
    def kept(self) -> tuple[str, ...]:
        """Columns that are no numbers."""
        return tuple(name for name in self.places if name not in self.numbers)

    @property
    def texts(self) -> tuple[str, ...]:
        """Columns that are neither numbers nor dates."""
        return tuple(name for name in self.kept if name not in self.dates)

    def matrix(self, batch: pa.RecordBatch, start: int = 0) -> Array:
        """Return the rows of a batch, the first of which is the row `start`: (n, width)."""
        numbers = self.missing.without(matrix_of(batch, self.numbers))
        if len(self.numbers) == self.width:
            return numbers
        rows = np.full((batch.num_rows, self.width), np.nan)
        rows[:, [self.places[name] for name in self.numbers]] = numbers
        for name, code_of in self.levels.items():
            rows[:, self.places[name]] = coded(batch.column(name), self._known(code_of))
        for name, code_of in self.dates.items():
            column = batch.column(name)
            codes = (
                _seconds(column) if is_date(column.type) else coded(column, self._known(code_of))
            )
            rows[:, self.places[name]] = codes
        for name, book in self.codebooks.items():
            if isinstance(book, Codebook):
                rows[:, self.places[name]] = book.add(batch.column(name), start)
        return rows

    def _known(self, code_of: CodeOf) -> CodeOf:
        """Return a function from a cell to its code that is NaN for missing ones."""
        if not self.missing.texts:
            return code_of

        def code(cell: object) -> float:
            text = text_of(cell)
            return np.nan if text is None or text in self.missing else code_of(cell)

        return code

    def cells(self, rows: Array, names: Sequence[str]) -> dict[str, AnyArray | pd.Series]:
        """Return the columns that drafted codes stand for: numbers, and texts as objects."""
        books = self.codebooks
        return {
            name: books[name].cells_of(rows[:, i]) if name in books else rows[:, i]
            for i, name in enumerate(names)
        }


def is_date(dtype: pa.DataType) -> bool:
    """Return whether an Arrow type is that of dates, with a time of day or without."""
    return bool(pa.types.is_timestamp(dtype) or pa.types.is_date(dtype))


def _seconds(column: pa.Array) -> Array:
    """Return the seconds of dates of an Arrow type, see `dates.seconds_of_timestamps`."""
    days = pa.types.is_date32(column.type)
    counts = column.view(pa.int32()).cast(pa.int64()) if days else column.view(pa.int64())
    unit = "D" if days else getattr(column.type, "unit", "ms")
    filled = pc.fill_null(counts, np.iinfo(np.int64).min)  # NaT
    data = np.frombuffer(filled.buffers()[1] or b"", np.int64)[filled.offset :][: len(filled)]
    return seconds_of_timestamps(data.view(f"datetime64[{unit}]"))

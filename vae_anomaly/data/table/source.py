"""Tables as a source: a reader, the columns that are features, and how cells become numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_anomaly._text import listed, shown
from vae_anomaly._types import AnyArray
from vae_anomaly.data.arrow import array_of
from vae_anomaly.data.base import Array, Batch, Masks, Records, Source
from vae_anomaly.data.cell_texts import CellTexts, ColumnTexts
from vae_anomaly.data.cells import STRAY
from vae_anomaly.data.labels import anomalous, label_summary
from vae_anomaly.data.parsing import parse_numbers
from vae_anomaly.data.table.arrow_dates import DateBook, is_date, seconds_of_array
from vae_anomaly.data.table.codebook import Codebook, DateTexts
from vae_anomaly.data.table.column import DATE, NUMBER, Column, text_of
from vae_anomaly.data.table.columns import ColumnSelection
from vae_anomaly.data.table.missing import NO_FURTHER, MissingValues
from vae_anomaly.data.table.reader import CellError, TableReader, coded, texts_at
from vae_anomaly.data.table.schema import TableSchema
from vae_anomaly.data.table.strays import StrayCells
from vae_anomaly.exceptions import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Coding", "TableSource", "matrix_of"]

ANY_NUMBER = Column(NUMBER, "numbers")

MAX_UNPARSED_SHARE = 0.5
"""Share of rows that cannot be parsed, up to which the others are those of the table."""


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
        used = range(len(names)) if schema.names is None else schema.used.tolist()
        places = dict(zip(names, used, strict=True))
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

    def texts_of(self, batch: pa.RecordBatch, rows: Array) -> CellTexts:
        """Return the texts of unseen levels and stray cells of a batch.

        `rows` are those of `matrix`. In columns of numbers these cells are texts.
        """
        found = {}
        for name, place in () if self.codebooks else self.places.items():
            column, cells = self.columns.get(name, ANY_NUMBER), batch.column(name)
            if column.type == NUMBER and not pa.types.is_string(cells.type):
                continue
            where = np.flatnonzero(column.are_unknown(rows[:, place]))
            if len(where):
                found[place] = ColumnTexts(where, texts_at(cells, where, text_of))
        return CellTexts(found)

    def cells(self, rows: Array, names: Sequence[str]) -> dict[str, AnyArray | pd.Series]:
        """Return the columns that drafted codes stand for: numbers, dates, texts as objects."""
        books = self.codebooks
        return {
            name: books[name].cells(rows[:, i]) if name in books else rows[:, i]
            for i, name in enumerate(names)
        }


class TableSource(Source):
    """A table whose features are read as float64.

    Parameters
    ----------
    reader : TableReader
        Closed together with the source.
    columns : ColumnSelection
    coding : Coding
        How cells become numbers.
    id_column : str, optional
        Column of the keys; by default rows are numbered from 1.
    label_column : str, optional
        Column of the labels.
    normal_label : sequence of str
        Labels of normal rows; see `vae_anomaly.data.labels.anomalous`.
    keep : sequence of str
        Columns that batches bring as they are.
    strict : bool, default=False
        Whether other text in columns of numbers and dates is refused.
    may_skip : bool, default=False
        Whether rows with an infinite number are skipped instead of refused; if the reader may skip
        rows as well, also those that cannot be parsed.
    n_before : int, default=0
        Rows before those of the reader, where rows are numbered.
    """

    unit = "row"

    def __init__(
        self,
        reader: TableReader,
        columns: ColumnSelection,
        coding: Coding,
        *,
        id_column: str | None = None,
        label_column: str | None = None,
        normal_label: Sequence[str] = (),
        keep: Sequence[str] = (),
        strict: bool = False,
        may_skip: bool = False,
        n_before: int = 0,
    ) -> None:
        reader.allows_infinite = self.may_skip = may_skip
        reader.missing |= frozenset(coding.missing.texts)
        self.name, self.n_records = reader.name, reader.rows
        self.columns = columns
        self._reader, self._coding, self._strict = reader, coding, strict
        self._id_column, self._label_column = id_column, label_column
        self._n_before = n_before
        self._normal_label = normal_label
        roles = (name for name in (label_column, id_column) if name is not None)
        self._roles = tuple(dict.fromkeys(roles))
        self.kept_types = {name: reader.type_of(name) for name in keep}
        self._labels: NDArray[np.bool_] | None = None
        self._label_note: str | None = None
        self._strays = StrayCells(reader)
        self._names = {place: name for name, place in coding.places.items()}
        self.is_json = reader.is_json
        if id_column is not None:
            self.key_name, self.key_type = id_column, reader.type_of(id_column)
        self.notes: Sequence[str] = tuple(self._opening_notes())

    def _opening_notes(self) -> list[str]:
        notes = []
        if self._reader.description:
            notes.append(f"note: {self.name}: {self._reader.description}")
        if self.columns.unused:
            unused = listed(self.columns.unused)
            notes.append(f"note: {self.name}: the model does not know {unused}; ignored")
        return notes

    @property
    def record_shape(self) -> tuple[int, ...]:
        """Number of features."""
        return (self._coding.width,)

    @property
    def max_numbers(self) -> int:
        """Numbers of a row, and what encodes its texts and dates, as many levels as are known."""
        return self._coding.max_numbers

    @property
    def description(self) -> str:
        """Number of columns, in words."""
        count = len(self.columns.features)
        return f"{count} column{'s' * (count > 1)}"

    @property
    def labels(self) -> NDArray[np.bool_] | None:
        """True for anomalies, one for each row, after a complete reading with a label column."""
        return self._labels

    def batches(self) -> Iterator[Batch]:
        """Yield the rows, features as float64.

        Yields
        ------
        Batch

        Raises
        ------
        CellError
            For the first number that is infinite, unless such rows are skipped, and if `strict`
            for the first cell of a number or a date that is other text.
        DataError
            If the file is not a sound table, more than half of its rows cannot be parsed, or of
            the cells of a number or a date are other text, or labels are missing or ambiguous.
        """
        self._labels, labels, start = None, [], 0
        self._n_unparsed = 0
        self.skipped = skipped = list[tuple[str, str]]()
        coding, kept = self._coding, self.kept_types
        self._strays = StrayCells(self._reader, coding.dates, strict=self._strict)
        numbers = [name for name in coding.numbers if name not in kept]
        texts = (*coding.texts, *(name for name in coding.numbers if name in kept))
        others = [name for name in dict.fromkeys((*self._roles, *kept)) if name not in texts]
        for rows in self._reader.batches(numbers, others, texts=texts, strict=self._strict):
            batch = self._batch(rows, start)
            skipped += [(self._name_of(batch.keys[i]), why) for i, why in batch.faults.items()]
            if self._label_column is not None:
                given = rows.column(self._label_column).to_pylist()
                labels += [one for i, one in enumerate(given) if i not in batch.faults]
            yield batch
            start += rows.num_rows
        if self._reader.is_whole:
            if self._n_unparsed > MAX_UNPARSED_SHARE * start:
                self._reader.refuse_faults()
            self._strays.check(start - self._n_unparsed)
        if self._label_column is not None:
            self._labels = anomalous(
                labels, source=self.name, column=self._label_column, normal=self._normal_label
            )
            summary = label_summary(labels, self._labels, self.unit)
            self._label_note = f"labels in {shown(self._label_column)}: {summary}"

    def _batch(self, batch: pa.RecordBatch, start: int) -> Batch:
        """Return rows as a batch, the first of which is the row `start`."""
        keys, parsed = self._keys(batch, start), batch
        for name in self._coding.numbers:
            given = column = batch.column(name)
            if name in self.kept_types:
                column = self._reader.numbers_of(given, name, start)
            if pa.types.is_string(column.type):
                column = self._numbers(name, column, start)
            if column is not given:
                parsed = parsed.set_column(batch.schema.get_field_index(name), name, column)
        matrix = self._coding.matrix(parsed, start)
        for name in self._coding.dates:
            is_text = matrix[:, self._coding.places[name]] == STRAY
            self._strays.add(name, batch.column(name), is_text, start)
        kept = self._columns_kept(batch) if self.kept_types else None
        faults = self._faults(batch, matrix, start) if self.may_skip else {}
        texts = self._coding.texts_of(batch, matrix)
        if not faults:
            return Batch(start, keys, matrix, kept=kept, texts=texts)
        sound = np.setdiff1d(np.arange(len(matrix)), list(faults))
        return Batch(start, keys, matrix[sound], sound, faults, kept, texts.only(sound))

    def _columns_kept(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the columns to keep as they are in the file."""
        columns = [self._reader.kept(batch.column(name), name) for name in self.kept_types]
        return pa.RecordBatch.from_arrays(columns, names=list(self.kept_types))

    def _faults(self, batch: pa.RecordBatch, matrix: Array, start: int) -> dict[int, str]:
        """Return rows without cells and those with infinite numbers: position -> what is wrong."""
        faults: dict[int, str] = {}
        first = self._n_before + start + 1
        if self._reader.faults:
            for i in range(batch.num_rows):
                if (fault := self._reader.faults.pop(start + i, None)) is not None:
                    self._n_unparsed += 1
                    faults[i] = fault if self._id_column is None else f"row {first + i}: {fault}"
        for row, place in np.argwhere(np.isinf(matrix)).tolist():
            name = self._names[place]
            cell = shown(batch.column(name)[row].as_py())
            faults.setdefault(row, f"column {shown(name)}: expected a finite number, got {cell}")
        return faults

    def _name_of(self, key: pa.Scalar) -> str:
        """Return the name of a row in messages; one without cells has no identifier."""
        if self._id_column is None:
            return f"row {key}"
        return str(key) if key.is_valid else "without an identifier"

    def _numbers(self, name: str, column: pa.Array, start: int) -> pa.Array:
        """Return a column of text as numbers, with the code of stray cells."""
        parsed = parse_numbers(column, self._reader.missing)
        if parsed.is_infinite.any() and not self.may_skip:
            row = int(parsed.is_infinite.argmax())
            place = self._reader.place_of(start + row)
            raise CellError(f"{self.name}, {place}", name, column[row].as_py())
        self._strays.add(name, column, parsed.is_text, start)
        values = np.where(parsed.is_infinite, np.inf, parsed.values)
        return array_of(np.where(parsed.is_text, self._coding.stray, values))

    def _keys(self, batch: pa.RecordBatch, start: int) -> pa.Array:
        if self._id_column is not None:
            return self._reader.kept(batch.column(self._id_column), self._id_column)
        first = self._n_before + start + 1
        return array_of(np.arange(first, first + batch.num_rows, dtype=np.int64))

    def masks(self) -> Masks:
        """Return no masks, and a line about the labels, after a complete reading with them."""
        return Masks(None, [] if self._label_note is None else [self._label_note])

    def check(self) -> int:
        """Read the whole table once and count its rows; see `Source.check`."""
        n_rows = super().check()
        self._labels = None
        return n_rows

    def reading_notes(self) -> Sequence[str]:
        """Return a line for each column of numbers that holds text."""
        return self._strays.notes()

    def require(self, count: int, minimum: int, need: str) -> None:
        """Raise if the table has too few rows; see `Source.require`."""
        if count < minimum:
            number = "no" if minimum == 1 else str(count)
            raise DataError(
                f"{self.name} has {number} row{'' if count == 1 else 's'} below its column names. "
                f"{need}"
            )

    def training_data(self, records: Records) -> Records:
        """Return rows with the names of their columns: a DataFrame that shares their memory."""
        import pandas as pd

        return pd.DataFrame(records, columns=list(self.columns.features), copy=False)

    def __exit__(self, *error: object) -> None:
        """Close the reader, which removes its temporary copy."""
        self._reader.close()


def matrix_of(batch: pa.RecordBatch, columns: Sequence[str]) -> NDArray[np.float64]:
    """Return columns of float64 as a matrix, NaN where they are null: (n, n_columns).

    `pyarrow.Array.to_numpy` would import pandas, which takes longer than the rest of scoring
    a small table.
    """
    rows = np.empty((batch.num_rows, len(columns)))
    for i, name in enumerate(columns):
        column = batch.column(name)
        _, data = column.buffers()
        rows[:, i] = np.frombuffer(data or b"", np.float64)[column.offset :][: len(column)]
        if column.null_count:
            rows[_are_null(column), i] = np.nan
    return rows


def _are_null(column: pa.Array) -> NDArray[np.bool_]:
    bits = np.unpackbits(np.frombuffer(column.buffers()[0], np.uint8), bitorder="little")
    return bits[column.offset :][: len(column)] == 0

"""Tables of Arrow, whose columns have types; those in memory."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vae_anomaly._text import shown
from vae_anomaly.data.parsing import plain_type
from vae_anomaly.data.table.reader import PANDAS_INDEX, CellError, TableReader, rows_of_batch
from vae_anomaly.exceptions import DataError

__all__ = ["ArrowReader", "MemoryReader", "is_text"]


class ArrowReader(TableReader):
    """A table whose columns have types of Arrow.

    Whole numbers, floats and decimals are numbers; everything else, dates and booleans
    included, is not.
    """

    def _take_schema(self, schema: pa.Schema) -> tuple[str, ...]:
        """Take the types of the columns, and return their names."""
        self._types = dict(zip(schema.names, schema.types, strict=True))
        nested = {
            name: f"the type {dtype}"
            for name, dtype in self._types.items()
            if pa.types.is_nested(dtype)
        }
        self.index = _index_of(schema)
        self.left_out = nested | dict.fromkeys(self.index, PANDAS_INDEX)
        return tuple(schema.names)

    @abstractmethod
    def _record_batches(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """Yield some columns, at most `rows_of_batch` rows at a time."""

    def text_columns(self) -> dict[str, str]:
        """Return columns whose type is not numeric: name -> the type."""
        return {
            name: str(dtype)
            for name, dtype in self._types.items()
            if not _is_numeric(plain_type(dtype))
        }

    def type_of(self, column: str) -> pa.DataType:
        """Return the type of a column."""
        return self._types[column]

    def place_of(self, row: int) -> str:
        """Return the number of a row; see `TableReader.place_of`."""
        return f"row {row + 1}"

    def batches(
        self,
        numbers: Sequence[str],
        keep: Sequence[str] = (),
        *,
        texts: Sequence[str] = (),
        strict: bool = True,
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows; see `TableReader.batches`."""
        for name in (*numbers, *texts):
            dtype = plain_type(self._types[name])
            is_read = _is_numeric(dtype) or (is_text(dtype) and not strict)
            if pa.types.is_nested(dtype) or (name in numbers and not is_read):
                raise DataError(
                    f"{self.name}, column {shown(name)}: expected numbers, "
                    f"got the type {self._types[name]}. Convert the column."
                )
        wanted = [*numbers, *texts, *keep]
        rows = 0
        for batch in self._record_batches(wanted):
            for name in wanted:
                self._check_text(batch.column(name), name, rows)
            arrays = [self.numbers_of(batch.column(name), name, rows) for name in numbers]
            arrays += [batch.column(name) for name in wanted[len(numbers) :]]
            rows += batch.num_rows
            yield pa.RecordBatch.from_arrays(arrays, names=wanted)
        self.check_unchanged()

    def _check_text(self, array: pa.Array, name: str, rows_before: int) -> None:
        """Raise if texts are not UTF-8, which pyarrow does not check."""
        if pa.types.is_primitive(array.type):
            return
        try:
            (array.dictionary if pa.types.is_dictionary(array.type) else array).validate(full=True)
        except pa.ArrowInvalid as cause:
            place = "" if (row := _first_not_text(array)) is None else f", row {rows_before + row}"
            raise DataError(
                f"{self.name}{place}, column {shown(name)}: expected text in UTF-8, got other "
                f"bytes. Write the column as UTF-8, or as binary."
            ) from cause

    def numbers_of(self, column: pa.Array, name: str, rows_before: int) -> pa.Array:
        """Return a column as float64, or as text."""
        array = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        if not _is_numeric(array.type):
            return array.cast(pa.string())
        floats = array.cast(pa.float64(), safe=False)
        if self.allows_infinite:
            return floats
        bad = pc.fill_null(pc.is_inf(floats), False)
        if pc.any(bad, min_count=0).as_py():
            i = int(np.argmax(bad.to_numpy(zero_copy_only=False)))
            value = array[i].as_py()
            if isinstance(value, np.generic):  # half-precision floats, in some versions
                value = value.item()
            raise CellError(f"{self.name}, row {rows_before + i + 1}", name, value)
        return floats


class MemoryReader(ArrowReader):
    """Rows in memory.

    Parameters
    ----------
    rows : RecordBatch
    name : str
        Name of the rows in messages.
    """

    is_whole = False

    def __init__(self, rows: pa.RecordBatch, name: str) -> None:
        self._rows, self.rows = rows, rows.num_rows
        super().__init__(Path(name), name)

    def _current_state(self) -> object:
        """Return nothing: what is in memory does not change."""
        return None

    def _read_columns(self) -> tuple[str, ...]:
        """Take the schema."""
        return self._take_schema(self._rows.schema)

    def _record_batches(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """Yield some columns."""
        size, chosen = rows_of_batch(len(columns)), self._rows.select(columns)
        for start in range(0, chosen.num_rows, size):
            yield chosen.slice(start, size)


def _first_not_text(array: pa.Array) -> int | None:
    """Return the number of the first cell that is not UTF-8, from 1, if there is any."""
    for i in range(len(array)):
        try:
            array[i].as_py()
        except UnicodeDecodeError:
            return i + 1
    return None


def _index_of(schema: pa.Schema) -> list[str]:
    """Return the columns that pandas wrote for the index of a data frame."""
    try:
        written = json.loads((schema.metadata or {}).get(b"pandas", b"{}"))["index_columns"]
    except (ValueError, LookupError, TypeError):  # not by pandas, or not as it does today
        return []
    # A range is described in place of a column.
    return [name for name in written if isinstance(name, str) and name in schema.names]


def is_text(dtype: pa.DataType) -> bool:
    """Return whether a type is text."""
    types = pa.types
    return bool(types.is_string(dtype) or types.is_large_string(dtype))


def _is_numeric(dtype: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_integer(dtype)
        or types.is_floating(dtype)
        or types.is_decimal(dtype)
        or types.is_null(dtype)
    )

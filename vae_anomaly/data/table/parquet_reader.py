"""Reader of Parquet tables in bounded memory; page checksums are verified if there are any."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vae_anomaly._text import shown
from vae_anomaly.data.table.reader import (
    CellError,
    TableReader,
    check_resources,
    openable,
    rows_of_batch,
)
from vae_anomaly.exceptions import DataError

__all__ = ["ParquetReader"]

BUFFER_BYTES = 2**16
"""Read buffer of each column."""


class ParquetReader(TableReader):
    """A Parquet file.

    Whole numbers, floats and decimals are numbers; everything else, dates and booleans
    included, is not.
    """

    def _read_columns(self) -> tuple[str, ...]:
        """Read the schema."""
        try:
            with self._file() as file:
                schema, self.rows = file.schema_arrow, file.metadata.num_rows
            self._types = dict(zip(schema.names, schema.types, strict=True))
            nested = {
                name: f"the type {dtype}"
                for name, dtype in self._types.items()
                if pa.types.is_nested(dtype)
            }
        except UnicodeDecodeError as cause:
            raise DataError(
                f"{self.name}: the name of a column or field is not UTF-8, {shown(cause.object)}. "
                f"Rename it."
            ) from cause
        self.index = _index_of(schema)
        self.left_out = nested | dict.fromkeys(self.index, "the index of a pandas data frame")
        return tuple(schema.names)

    def _file(self) -> pq.ParquetFile:
        try:
            # By default pyarrow keeps what it has read of a file in memory, and reads whole row
            # groups, of which a file may have only one.
            return pq.ParquetFile(
                openable(self.path),
                page_checksum_verification=True,
                pre_buffer=False,
                buffer_size=BUFFER_BYTES,
                coerce_int96_timestamp_unit="us",  # nanoseconds end in 2262
            )
        except (pa.ArrowException, OSError) as cause:
            raise self._unsound(cause) from cause

    def _unsound(self, cause: Exception) -> Exception:
        if isinstance(cause, OSError) and cause.errno is not None:  # the disk failed
            return OSError(cause.errno, cause.strerror, str(self.path))
        check_resources(self.name, cause)
        self.check_unchanged()
        words = str(cause).splitlines()[0].rstrip(".")
        return DataError(f"{self.name} is not a sound Parquet file: {words}. Write it again.")

    def text_columns(self) -> dict[str, str]:
        """Return columns whose type is not numeric: name -> the type."""
        return {
            name: str(dtype)
            for name, dtype in self._types.items()
            if not _is_numeric(_decoded(dtype))
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
            dtype = _decoded(self._types[name])
            is_read = _is_numeric(dtype) or (_is_text(dtype) and not strict)
            if pa.types.is_nested(dtype) or (name in numbers and not is_read):
                raise DataError(
                    f"{self.name}, column {shown(name)}: expected numbers, "
                    f"got the type {self._types[name]}. Convert the column."
                )
        wanted = [*numbers, *texts, *keep]
        rows = 0
        with self._file() as file:
            parts = file.iter_batches(batch_size=rows_of_batch(len(wanted)), columns=wanted)
            while (batch := self._next(parts)) is not None:
                for name in wanted:
                    self._check_text(batch.column(name), name, rows)
                arrays = [self._numbers(batch.column(name), name, rows) for name in numbers]
                arrays += [batch.column(name) for name in wanted[len(numbers) :]]
                rows += batch.num_rows
                yield pa.RecordBatch.from_arrays(arrays, names=wanted)
        self.check_unchanged()

    def _next(self, parts: Iterator[pa.RecordBatch]) -> pa.RecordBatch | None:
        try:
            return next(parts, None)
        except (pa.ArrowException, OSError) as cause:
            raise self._unsound(cause) from cause

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

    def _numbers(self, array: pa.Array, name: str, rows_before: int) -> pa.Array:
        """Return a column as float64, or as text."""
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        if not _is_numeric(array.type):
            return array.cast(pa.string())
        floats = array.cast(pa.float64(), safe=False)
        bad = pc.fill_null(pc.is_inf(floats), False)
        if pc.any(bad, min_count=0).as_py():
            i = int(np.argmax(bad.to_numpy(zero_copy_only=False)))
            value = array[i].as_py()
            if isinstance(value, np.generic):  # half-precision floats, in some versions
                value = value.item()
            raise CellError(f"{self.name}, row {rows_before + i + 1}", name, value)
        return floats


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


def _decoded(dtype: pa.DataType) -> pa.DataType:
    return dtype.value_type if pa.types.is_dictionary(dtype) else dtype


def _is_text(dtype: pa.DataType) -> bool:
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

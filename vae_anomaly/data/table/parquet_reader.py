"""Reader of Parquet tables in bounded memory; page checksums are verified if there are any."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vae_anomaly._text import shown
from vae_anomaly.data.table.reader import (
    CellError,
    TableReader,
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
        with self._file() as file:
            schema, self.rows = file.schema_arrow, file.metadata.num_rows
        self._types = dict(zip(schema.names, schema.types, strict=True))
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

    def batches(self, numbers: Sequence[str], keep: Sequence[str] = ()) -> Iterator[pa.RecordBatch]:
        """Yield the rows; see `TableReader.batches`."""
        for name in numbers:
            if not _is_numeric(_decoded(self._types[name])):
                raise DataError(
                    f"{self.name}, column {shown(name)}: expected numbers, "
                    f"got the type {self._types[name]}. Convert the column."
                )
        wanted = [*numbers, *keep]
        rows = 0
        with self._file() as file:
            parts = file.iter_batches(batch_size=rows_of_batch(len(wanted)), columns=wanted)
            while (batch := self._next(parts)) is not None:
                arrays = [self._numbers(batch.column(name), name, rows) for name in numbers]
                arrays += [batch.column(name) for name in keep]
                rows += batch.num_rows
                yield pa.RecordBatch.from_arrays(arrays, names=wanted)
        self.check_unchanged()

    def _next(self, parts: Iterator[pa.RecordBatch]) -> pa.RecordBatch | None:
        try:
            return next(parts, None)
        except (pa.ArrowException, OSError) as cause:
            raise self._unsound(cause) from cause

    def _numbers(self, array: pa.Array, name: str, rows_before: int) -> pa.Array:
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        floats = array.cast(pa.float64(), safe=False)
        bad = pc.fill_null(pc.is_inf(floats), False)
        if pc.any(bad, min_count=0).as_py():
            i = int(np.argmax(bad.to_numpy(zero_copy_only=False)))
            value = array[i].as_py()
            if isinstance(value, np.generic):  # half-precision floats, in some versions
                value = value.item()
            raise CellError(f"{self.name}, row {rows_before + i + 1}", name, value)
        return floats


def _decoded(dtype: pa.DataType) -> pa.DataType:
    return dtype.value_type if pa.types.is_dictionary(dtype) else dtype


def _is_numeric(dtype: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_integer(dtype)
        or types.is_floating(dtype)
        or types.is_decimal(dtype)
        or types.is_null(dtype)
    )

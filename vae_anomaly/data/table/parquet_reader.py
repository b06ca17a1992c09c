"""Reader of Parquet tables in bounded memory; page checksums are verified if there are any."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from vae_anomaly._text import shown
from vae_anomaly.data.table.arrow_reader import ArrowReader
from vae_anomaly.data.table.reader import check_resources, openable, rows_of_batch
from vae_anomaly.exceptions import DataError
from vae_anomaly.storage.remote import RemoteFile

__all__ = ["ParquetReader"]

BUFFER_BYTES = 2**16
"""Read buffer of each column."""


class ParquetReader(ArrowReader):
    """A Parquet file.

    Parameters
    ----------
    path : Path
    name : str
        Name of the table in messages.
    copy : file, optional
        Temporary file to close together with the reader.
    remote : RemoteFile, optional
        The file, where it is not on this machine.

    Attributes
    ----------
    row_groups : sequence of int or None
        Row groups to read; None for all.
    """

    row_groups: Sequence[int] | None = None

    def __init__(
        self,
        path: Path,
        name: str,
        copy: IO[bytes] | None = None,
        *,
        remote: RemoteFile | None = None,
    ) -> None:
        self._remote = remote
        super().__init__(path, name, copy)

    def _current_state(self) -> object:
        """Return the size and the time of the last change of the file."""
        return super()._current_state() if self._remote is None else self._remote.state()

    def _read_columns(self) -> tuple[str, ...]:
        """Read the schema."""
        try:
            with self._file() as file:
                schema, self.rows = file.schema_arrow, file.metadata.num_rows
            return self._take_schema(schema)
        except UnicodeDecodeError as cause:
            raise DataError(
                f"{self.name}: the name of a column or field is not UTF-8, {shown(cause.object)}. "
                f"Rename it."
            ) from cause

    def group_rows(self) -> list[int]:
        """Return the number of rows in each row group."""
        with self._file() as file:
            metadata = file.metadata
        return [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]

    def _file(self) -> pq.ParquetFile:
        try:
            # By default pyarrow keeps what it has read of a file in memory, and reads whole row
            # groups, of which a file may have only one.
            return pq.ParquetFile(
                openable(self.path) if self._remote is None else self._remote.open(),
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

    def _record_batches(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """Yield some columns."""
        with self._file() as file:
            parts = file.iter_batches(
                rows_of_batch(len(columns)), row_groups=self.row_groups, columns=columns
            )
            while (batch := self._next(parts)) is not None:
                yield batch

    def _next(self, parts: Iterator[pa.RecordBatch]) -> pa.RecordBatch | None:
        try:
            return next(parts, None)
        except (pa.ArrowException, OSError) as cause:
            raise self._unsound(cause) from cause

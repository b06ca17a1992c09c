"""Rows of Arrow in memory as a source, in which rows with infinite numbers are faults."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vae_anomaly._text import shown
from vae_anomaly.data.base import Batch, Encoder, Source
from vae_anomaly.data.parsing import are_true, parse_numbers
from vae_anomaly.data.table.arrow_reader import MemoryReader, is_text
from vae_anomaly.data.table.coding import Coding
from vae_anomaly.data.table.encoder import TableEncoder
from vae_anomaly.data.table.opening import matched
from vae_anomaly.data.table.reader import rows_of_batch
from vae_anomaly.data.table.source import TableSource

__all__ = ["BatchSource", "open_batch"]

NAME = "the batch"
"""Name of the rows in messages."""


def open_batch(batch: pa.RecordBatch, encoder: Encoder) -> Source:
    """Match the columns of a batch to an encoder.

    Raises
    ------
    DataError
        If columns are missing, or have types that nothing can be made of.
    """
    return BatchSource(batch, cast("TableEncoder", encoder))


class BatchSource(TableSource):
    """Rows of a batch.

    What a row holds never stops the others: text in a column of numbers counts as an unexpected
    cell, as in a file, and a row with an infinite number is a fault.

    Parameters
    ----------
    batch : RecordBatch
    encoder : TableEncoder
    """

    may_skip = True

    def __init__(self, batch: pa.RecordBatch, encoder: TableEncoder) -> None:
        reader = MemoryReader(batch, NAME)
        columns = matched(reader, encoder)
        super().__init__(reader, columns, Coding.of(columns.features, encoder.schema))
        self._rows = batch.select([*self._coding.numbers, *self._coding.texts])

    def batches(self) -> Iterator[Batch]:
        """Yield the rows that can be used, and what is wrong with the others."""
        size = rows_of_batch(self._rows.num_columns)
        for start in range(0, self._rows.num_rows, size):
            rows = self._rows.slice(start, size)
            faults = self._faults(rows)
            if not faults:
                yield self._read(rows, start)
                continue
            positions = np.setdiff1d(np.arange(rows.num_rows), list(faults))
            sound = self._read(rows.take(pa.array(positions)), start)
            yield Batch(start, self._keys(rows, start), sound.records, positions, faults)

    def _read(self, rows: pa.RecordBatch, start: int) -> Batch:
        reader = MemoryReader(rows, NAME)
        reader.missing = self._reader.missing
        numbers, texts = self._coding.numbers, self._coding.texts
        for read in reader.batches(numbers, texts=texts, strict=False):
            return self._batch(read, start)
        return Batch(start, self._keys(rows, start), np.empty((0, self._coding.width)))

    def _faults(self, rows: pa.RecordBatch) -> dict[int, str]:
        """Return the rows with infinite numbers: position -> what is wrong."""
        faults: dict[int, str] = {}
        for name in self._coding.numbers:
            for place in np.flatnonzero(self._are_infinite(rows.column(name))).tolist():
                cell = shown(rows.column(name)[place].as_py())
                faults.setdefault(
                    place, f"column {shown(name)}: expected a finite number, got {cell}"
                )
        return faults

    def _are_infinite(self, column: pa.Array) -> NDArray[np.bool_]:
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if is_text(column.type):
            return parse_numbers(column, self._reader.missing).is_infinite
        if not pa.types.is_floating(column.type):
            return np.zeros(len(column), dtype=bool)
        return are_true(pc.is_inf(column.cast(pa.float64())))

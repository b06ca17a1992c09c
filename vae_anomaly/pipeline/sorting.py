"""Results with the most anomalous rows first.

The rows wait in a temporary file, as large as the result; memory holds 16 bytes for each, and the
rows of one batch.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_anomaly.data.arrow import array_of
from vae_anomaly.data.parsing import plain_type
from vae_anomaly.pipeline.results import concatenated
from vae_anomaly.pipeline.writers import Write
from vae_anomaly.storage.atomic import output_error

__all__ = ["most_anomalous_first"]

MAX_ROWS = 65_536
"""Rows that are written at a time."""


@contextmanager
def most_anomalous_first(write: Write, all_columns: pa.Schema, score: int) -> Iterator[Write]:
    """Collect the rows of a result, and write them by their scores in the end.

    Rows of equal scores stay in their order; those without a score come last.

    Parameters
    ----------
    write : callable
        Writes a batch.
    all_columns : pyarrow.Schema
        Columns of the batches.
    score : int
        Position of the scores among them.

    Yields
    ------
    callable
        Takes a batch.

    Raises
    ------
    OutputError
        If there is no room for the temporary file.
    """
    scores: list[NDArray[np.float64]] = [np.empty(0)]
    types = [plain_type(dtype) for dtype in all_columns.types]
    schema = pa.schema(list(zip(all_columns.names, types, strict=True)))
    with tempfile.NamedTemporaryFile(prefix="vae-anomaly-") as file:
        with pa.ipc.new_file(file.name, schema) as writer:

            def add(batch: pa.RecordBatch) -> None:
                column = batch.column(score).fill_null(np.nan)
                scores.append(column.to_numpy(zero_copy_only=False))
                columns = [one.cast(to) for one, to in zip(batch.columns, types, strict=True)]
                try:
                    writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
                except OSError as cause:
                    place = tempfile.gettempdir()
                    raise output_error(f"the rows to sort in {place}", cause) from cause

            yield add
        order = np.argsort(-np.concatenate(scores), kind="stable")  # NaN last
        starts = np.cumsum([len(part) for part in scores[1:]]) - [len(s) for s in scores[1:]]
        with pa.memory_map(file.name) as mapped:
            rows = pa.ipc.open_file(mapped)
            for start in range(0, len(order), MAX_ROWS):
                taken = _taken(rows, starts, order[start : start + MAX_ROWS])
                write(taken.cast(all_columns))


def _taken(
    rows: pa.ipc.RecordBatchFileReader, starts: NDArray[np.int64], places: NDArray[np.int64]
) -> pa.RecordBatch:
    """Return rows of a file by their places, of which each batch starts at one."""
    owner = np.searchsorted(starts, places, side="right") - 1
    by_batch = np.argsort(owner, kind="stable")
    parts = []
    for i in np.unique(owner):
        here = places[owner == i] - starts[i]
        parts.append(rows.get_batch(int(i)).take(array_of(here)))
    return concatenated(parts).take(array_of(np.argsort(by_batch, kind="stable")))

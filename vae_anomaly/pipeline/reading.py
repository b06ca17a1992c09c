"""Complete reading of a source into memory, or of a random sample of its records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pyarrow as pa

from vae_anomaly.data.arrow import array_of
from vae_anomaly.data.base import Batch, Records, Source
from vae_anomaly.data.cell_texts import CellTexts
from vae_anomaly.data.sampling import RowSample
from vae_anomaly.pipeline.progress import Progress
from vae_anomaly.pipeline.texts import texts_of

__all__ = ["Reading", "Sample", "read_all", "read_sample"]


class Sample(NamedTuple):
    """Random sample of the records of a source.

    Attributes
    ----------
    records : records
    n_seen : int
        Readable records of the source.
    """

    records: Records
    n_seen: int


class Reading(NamedTuple):
    """All readable records of a source.

    Attributes
    ----------
    records : records
    keys : list of (str or None)
        Their names, as a result in CSV has them.
    texts : CellTexts
        Of unseen levels and stray cells.
    """

    records: Records
    keys: list[str | None]
    texts: CellTexts


def read_sample(
    source: Source, progress: Progress, max_records: Callable[[], int | None], seed: int = 0
) -> Sample:
    """Read and check all records of a source, and keep a random sample of them, or all.

    `max_records` returns how many; it is asked when the source begins, and again at its end,
    when all levels are known.

    Raises
    ------
    DataError
        If a record cannot be used.
    """
    sample = RowSample(source.record_shape, max_records(), seed)
    for batch in _batches(source, progress):
        if batch.start == 0 and sample.seen:
            sample = RowSample(source.record_shape, max_records(), seed)
        sample.add(batch.records)
    sample.limit(max_records())
    records = sample.rows()
    pa.default_memory_pool().release_unused()
    return Sample(records, sample.seen)


def read_all(source: Source, progress: Progress) -> Reading:
    """Read all records of a source, with their keys.

    Raises
    ------
    DataError
        If a record cannot be used.
    """
    keys: list[str | None] = []
    texts: list[tuple[int, CellTexts]] = []
    records = RowSample(source.record_shape, None, seed=0)
    for batch in _batches(source, progress):
        texts.append((records.seen, batch.texts))
        records.add(batch.records)
        readable = batch.keys
        if batch.positions is not None:
            readable = readable.take(array_of(batch.positions))
        keys += texts_of([readable])[0].to_pylist()
    return Reading(records.rows(), keys, CellTexts.joined(texts))


def _batches(source: Source, progress: Progress) -> Iterator[Batch]:
    """Yield the batches of a source, and report how many records are done."""
    with progress("reading", source.n_records, unit=f"{source.unit}s") as update:
        for batch in source.batches():
            yield batch
            update(batch.start + len(batch.keys))

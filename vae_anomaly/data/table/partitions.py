"""Partitions of a table: its files, and large Parquet files by their row groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import pyarrow as pa

from vae_anomaly.data.base import Encoder
from vae_anomaly.data.columnar import Partition
from vae_anomaly.data.table.encoder import TableEncoder
from vae_anomaly.data.table.files import open_part
from vae_anomaly.data.table.listing import PartFile, has_parts, part_files
from vae_anomaly.data.table.opening import matched
from vae_anomaly.data.table.parquet_reader import ParquetReader
from vae_anomaly.data.table.parts import PartsReader
from vae_anomaly.data.table.reader import TableReader
from vae_anomaly.exceptions import DataError

__all__ = ["PARTITION_ROWS", "partitions_of", "read_partition"]

PARTITION_ROWS = 500_000
"""Rows from which on a partition takes no further row group."""


def partitions_of(path: str, encoder: Encoder, key: str | None) -> list[Partition]:
    """Divide a table, whose columns are matched to an encoder.

    Parameters
    ----------
    path : str
    encoder : TableEncoder
    key : str or None
        Column of the keys; without one, rows are numbered.

    Raises
    ------
    DataError
        If columns are missing, or the rows of CSV files are to be numbered: they are counted only
        by reading them.
    OSError
        If a file cannot be read.
    """
    found: list[Partition] = []
    first = 0
    parts = part_files(path) if has_parts(path) else [PartFile.of(path)]
    for part in parts:
        whole = Partition(part.path, part.place, part.state, first, None, None)
        with _opened(whole) as reader:
            matched(reader, cast("TableEncoder", encoder), () if key is None else (key,))
        with open_part(part) as reader:
            if not isinstance(reader, ParquetReader):
                if key is None:
                    raise DataError(
                        f"{part.name} is CSV, whose rows are counted only by reading them. Name "
                        f"an --id-column, or write Parquet."
                    )
                found.append(whole)
                continue
            for groups, rows in _groups(reader.group_rows()):
                found.append(whole._replace(first=first, n_records=rows, groups=groups))
                first += rows
    return found


def _groups(rows: Sequence[int]) -> Iterator[tuple[tuple[int, int], int]]:
    """Yield consecutive row groups, from one to below another, and the sum of their rows."""
    start = total = 0
    for index, count in enumerate(rows):
        total += count
        if total >= PARTITION_ROWS or index == len(rows) - 1:
            yield (start, index + 1), total
            start, total = index + 1, 0


def read_partition(
    partition: Partition, encoder: Encoder, key: str | None
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a partition: columns that an encoder takes, and the keys.

    Raises
    ------
    DataError
        If the file is not sound, or another one than when the partition was made.
    OSError
        If it cannot be read.
    """
    with _opened(partition) as reader:
        roles = () if key is None else (key,)
        features = matched(reader, cast("TableEncoder", encoder), roles).features
        yield from reader.batches((), roles, texts=features, strict=False)
    if PartFile.of(partition.path).state != partition.state:
        raise DataError(
            f"{partition.path} changed since the command began. Run it again on files that nobody "
            f"writes to."
        )


def _opened(partition: Partition) -> TableReader:
    """Open the file of a partition; folders may bring columns."""

    def open_groups(part: PartFile) -> TableReader:
        reader = open_part(part)
        if isinstance(reader, ParquetReader) and partition.groups is not None:
            reader.row_groups = range(*partition.groups)
        return reader

    part = PartFile.of(partition.path, partition.place)
    if part.partitions:
        return PartsReader(partition.path, part.name, [part], open_groups)
    return open_groups(part)

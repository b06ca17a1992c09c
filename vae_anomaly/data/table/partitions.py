"""Partitions of a table: its files, and large Parquet files by their row groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

from vae_anomaly.data.base import Encoder
from vae_anomaly.data.columnar import Names, Partition, Rows
from vae_anomaly.data.table.columns import ColumnSelection, columns_to_keep
from vae_anomaly.data.table.encoder import TableEncoder
from vae_anomaly.data.table.files import open_part
from vae_anomaly.data.table.listing import PartFile, has_parts, part_files
from vae_anomaly.data.table.opening import matched
from vae_anomaly.data.table.parquet_reader import ParquetReader
from vae_anomaly.data.table.parts import PartsReader
from vae_anomaly.data.table.reader import TableReader
from vae_anomaly.exceptions import DataError

__all__ = ["PARTITION_ROWS", "kept_names", "partitions_of", "read_partition"]

PARTITION_ROWS = 500_000
"""Rows from which on a partition takes no further row group."""


def kept_names(path: str, names: Names) -> Names:
    """Return names with each column to keep by itself, as the first file has them."""
    if not names.keep:
        return names
    first = _parts(path)[0]
    with _opened(_whole(first, 0)) as reader:
        return names._replace(keep=tuple(_keep(reader, names)))


def partitions_of(path: str, encoder: Encoder, names: Names) -> list[Partition]:
    """Divide a table, whose columns are matched to an encoder.

    Parameters
    ----------
    path : str
    encoder : TableEncoder
    names : Names

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
    for part in _parts(path):
        whole = _whole(part, first)
        with _opened(whole) as reader:
            _matched(reader, encoder, names)
        with open_part(part) as reader:
            if not isinstance(reader, ParquetReader):
                if names.key is None:
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


def _parts(path: str) -> list[PartFile]:
    return part_files(path) if has_parts(path) else [PartFile.of(path)]


def _whole(part: PartFile, first: int) -> Partition:
    return Partition(part.path, part.place, part.state, first, None, None)


def _roles(names: Names) -> tuple[str, ...]:
    return () if names.key is None else (names.key,)


def _keep(reader: TableReader, names: Names) -> Sequence[str]:
    """Return the columns to keep, which a file must have."""
    if not names.keep:
        return ()
    return columns_to_keep(reader.name, reader.columns, names.keep, _roles(names))


def _matched(reader: TableReader, encoder: Encoder, names: Names) -> ColumnSelection:
    kept = _keep(reader, names)
    return matched(reader, cast("TableEncoder", encoder), _roles(names), kept)


def _groups(rows: Sequence[int]) -> Iterator[tuple[tuple[int, int], int]]:
    """Yield consecutive row groups, from one to below another, and the sum of their rows."""
    start = total = 0
    for index, count in enumerate(rows):
        total += count
        if total >= PARTITION_ROWS or index == len(rows) - 1:
            yield (start, index + 1), total
            start, total = index + 1, 0


def read_partition(partition: Partition, encoder: Encoder, names: Names) -> Iterator[Rows]:
    """Yield the rows of a partition: columns that an encoder takes, keys, and those to keep.

    Rows that cannot be parsed have missing cells.

    Raises
    ------
    DataError
        If the file is not sound, or another one than when the partition was made.
    OSError
        If it cannot be read.
    """
    with _opened(partition) as reader:
        features = _matched(reader, encoder, names).features
        kept = dict.fromkeys((*_roles(names), *names.keep))
        others = [name for name in kept if name not in features]
        reader.may_skip, start = True, 0
        for batch in reader.batches((), others, texts=features, strict=False):
            end = start + batch.num_rows
            bad = (
                [row for row in range(start, end) if row in reader.faults] if reader.faults else ()
            )
            faults = {row - start: reader.faults.pop(row) for row in bad}
            yield Rows(batch, partition.first + start, faults)
            start = end
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

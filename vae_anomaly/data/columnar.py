"""Contract for modalities whose records are columns of Arrow: batches in memory, and partitions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple, Protocol

from vae_anomaly.data.base import Encoder, Source

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Columnar", "Partition"]


class Partition(NamedTuple):
    """Consecutive records in a file, which a worker reads by itself.

    Attributes
    ----------
    path, place : str
        Path or URL of the file, and its path below the folder that was named.
    state : str
        Describes the file: it differs once that is another one.
    first : int
        Number of records before it, if all of them are counted.
    n_records : int or None
        If it is known without reading them.
    groups : tuple of int or None
        First row group, and the one after the last; None for a whole file.
    """

    path: str
    place: str
    state: str
    first: int
    n_records: int | None
    groups: tuple[int, int] | None


class Columnar(Protocol):
    """Access to records that are columns."""

    def open_batch(self, batch: pa.RecordBatch, encoder: Encoder) -> Source:
        """Open a batch in memory; records that cannot be used are faults.

        Raises
        ------
        DataError
            If columns are missing, or have types that nothing can be made of.
        """

    def partitions(self, path: str, encoder: Encoder, key: str | None) -> list[Partition]:
        """Divide files, whose columns are matched to an encoder.

        Parameters
        ----------
        path : str
        encoder : Encoder
        key : str or None
            Column of the keys; without one, records are numbered.

        Raises
        ------
        DataError
            If columns are missing, or records that are to be numbered cannot be counted.
        OSError
            If a file cannot be read.
        """

    def read(
        self, partition: Partition, encoder: Encoder, key: str | None
    ) -> Iterator[pa.RecordBatch]:
        """Yield the columns of a partition that an encoder takes, and the keys.

        Raises
        ------
        DataError
            If the file is not sound, or another one than when the partition was made.
        OSError
            If it cannot be read.
        """

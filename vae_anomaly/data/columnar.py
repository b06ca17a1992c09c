"""Contract for modalities whose records are columns of Arrow: batches in memory, and partitions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Protocol

from vae_anomaly.data.base import Encoder, Source

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["NUMBERED", "Columnar", "Names", "Partition", "Rows"]


class Rows(NamedTuple):
    """Records as columns of Arrow.

    Attributes
    ----------
    batch : RecordBatch
    first : int
        Number of rows before them.
    faults : mapping of int to str
        Rows that could not be parsed, whose cells are missing -> what is wrong.
    """

    batch: pa.RecordBatch
    first: int = 0
    faults: Mapping[int, str] = MappingProxyType({})


class Names(NamedTuple):
    """Columns that the result has besides scores.

    Attributes
    ----------
    key : str or None
        Column of the keys; without one, records are numbered.
    keep : tuple of str
        Columns to keep as they are, also several in a text, between commas; "all" for all.
    """

    key: str | None = None
    keep: tuple[str, ...] = ()


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


NUMBERED = Names()
"""Records are numbered, and none of their columns is kept."""


class Columnar(Protocol):
    """Access to records that are columns."""

    def open_batch(self, rows: Rows, encoder: Encoder, names: Names = NUMBERED) -> Source:
        """Open rows in memory; records that cannot be used are faults.

        Raises
        ------
        DataError
            If columns are missing, or have types that nothing can be made of.
        """

    def kept(self, path: str, names: Names) -> Names:
        """Return the names, with each of those to keep by itself, as the first file has them.

        Raises
        ------
        DataError
            If one is missing.
        """

    def partitions(self, path: str, encoder: Encoder, names: Names) -> list[Partition]:
        """Divide files, whose columns are matched to an encoder.

        Raises
        ------
        DataError
            If columns are missing, or records that are to be numbered cannot be counted.
        OSError
            If a file cannot be read.
        """

    def read(self, partition: Partition, encoder: Encoder, names: Names) -> Iterator[Rows]:
        """Yield the columns of a partition that an encoder takes, the keys, and those to keep.

        Raises
        ------
        DataError
            If the file is not sound, or another one than when the partition was made.
        OSError
            If it cannot be read.
        """

"""Tables of scores: CSV or Parquet, to a file whole or not at all, or to standard output."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
import pyarrow.parquet as pq

from vae_anomaly.files import atomic_write, output_error

__all__ = ["check_format", "score_writer"]

PARQUET_SUFFIXES = (".parquet", ".pq")
CSV_SUFFIXES = (".csv", "")

Write = Callable[[pa.RecordBatch], None]


def check_format(path: str) -> None:
    """Refuse the name of a score table whose format we cannot write.

    Raises
    ------
    click.UsageError
    """
    suffix = Path(path).suffix.lower()
    if path != "-" and suffix not in PARQUET_SUFFIXES + CSV_SUFFIXES:
        raise click.UsageError(
            f"Cannot write scores as {suffix!r}. Name a .csv or .parquet file, or - for "
            f"standard output."
        )


@contextmanager
def score_writer(path: str, schema: pa.Schema) -> Iterator[Write]:
    """Open a table of scores.

    Parameters
    ----------
    path : str
        ``.parquet`` or ``.pq`` for Parquet, else CSV; "-" for standard output.
    schema : pyarrow.Schema
        Of the batches to come.

    Yields
    ------
    callable
        Writes a batch.

    Raises
    ------
    OutputError
    """
    if path == "-":
        with _stdout() as text:
            yield _csv(text, schema)
    elif Path(path).suffix.lower() in PARQUET_SUFFIXES:
        with (
            atomic_write(path) as file,
            pq.ParquetWriter(file, schema, write_page_checksum=True) as writer,
        ):
            yield writer.write_batch
    else:
        with atomic_write(path, "w", encoding="utf-8", newline="") as file:
            yield _csv(file, schema)


class _Stdout:
    """Standard output as UTF-8, whatever the locale."""

    def write(self, text: str) -> int:
        return sys.stdout.buffer.write(text.encode())


@contextmanager
def _stdout() -> Iterator[_Stdout]:
    try:
        yield _Stdout()
        sys.stdout.buffer.flush()
    except OSError as cause:
        if cause.filename is not None:  # a file that the block reads
            raise
        raise output_error("standard output", cause) from cause


def _csv(file: Any, schema: pa.Schema) -> Write:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(schema.names)
    flags = [i for i, kind in enumerate(schema.types) if pa.types.is_boolean(kind)]

    def write(batch: pa.RecordBatch) -> None:
        columns = [column.to_pylist() for column in batch.columns]
        for i in flags:
            columns[i] = [None if value is None else int(value) for value in columns[i]]
        writer.writerows(zip(*columns, strict=True))

    return write

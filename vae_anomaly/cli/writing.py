"""Tables of scores: CSV or Parquet, to a file whole or not at all, or to standard output."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
import pyarrow as pa
import pyarrow.csv as pa_csv
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
        with _stdout() as write:
            yield _csv(write, schema)
    elif Path(path).suffix.lower() in PARQUET_SUFFIXES:
        with (
            atomic_write(path) as file,
            pq.ParquetWriter(file, schema, write_page_checksum=True) as writer,
        ):
            yield writer.write_batch
    else:
        with atomic_write(path) as file:
            yield _csv(file.write, schema)


@contextmanager
def _stdout() -> Iterator[Callable[[bytes], object]]:
    try:
        yield sys.stdout.buffer.write
        sys.stdout.buffer.flush()
    except OSError as cause:
        if cause.filename is not None:  # a file that the block reads
            raise
        raise output_error("standard output", cause) from cause


def _csv(put: Callable[[bytes], object], schema: pa.Schema) -> Write:
    """Write a line of names, and then batches: UTF-8, quoted where need be, flags as 0 and 1."""
    as_written = pa.schema(
        [
            field.with_type(pa.uint8()) if pa.types.is_boolean(field.type) else field
            for field in schema
        ]
    )
    options = pa_csv.WriteOptions(include_header=False, quoting_style="none")

    def write(batch: pa.RecordBatch) -> None:
        batch, text = batch.cast(as_written), pa.BufferOutputStream()
        try:
            pa_csv.write_csv(batch, text, options)
        except pa.ArrowInvalid:  # a text to be quoted, where pyarrow would quote them all
            columns = [column.to_pylist() for column in batch.columns]
            put(_quoted(zip(*columns, strict=True)))
        else:
            put(text.getvalue().to_pybytes())

    put(_quoted([schema.names]))
    return write


def _quoted(rows: Iterable[Sequence[object]]) -> bytes:
    """Spell rows as CSV, with quotes where they are needed."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()

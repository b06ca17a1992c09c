"""Tables of scores: CSV or Parquet, to a file whole or not at all, or to standard output."""

from __future__ import annotations

import csv
import io
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vae_anomaly.data.cells import is_number
from vae_anomaly.storage.atomic import atomic_write, output_error

__all__ = ["check_format", "column_of", "score_writer"]

PARQUET_SUFFIXES = (".parquet", ".pq")
CSV_SUFFIXES = (".csv", "")

FORMULA = re.compile(r"(^|[;\t])(?=[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20])")
"""Where a spreadsheet would begin a formula: in a cell, or after what may part cells."""

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


SPREADSHEET_WORDS = (
    "a ' was put before text that a spreadsheet would run as a formula. Write a .parquet file "
    "where it must be as it was."
)


class SpreadsheetWarning(UserWarning):
    """Text in a CSV file is not what it was."""


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
    texts = [i for i, kind in enumerate(schema.types) if not _is_of_numbers(kind)]
    told: list[bool] = []

    def write(batch: pa.RecordBatch) -> None:
        safe = _without_formulas(batch, texts)
        if safe is not batch and not told:
            told.append(True)
            warnings.warn(SPREADSHEET_WORDS, SpreadsheetWarning, stacklevel=2)
        batch, text = safe.cast(as_written), pa.BufferOutputStream()
        try:
            pa_csv.write_csv(batch, text, options)
        except pa.ArrowInvalid:  # a text to be quoted, where pyarrow would quote them all
            columns = [column.to_pylist() for column in batch.columns]
            put(_quoted(zip(*columns, strict=True)))
        else:
            put(text.getvalue().to_pybytes())

    put(_quoted([[_defused(name) for name in schema.names]]))
    return write


def column_of(values: NDArray[Any]) -> pa.Array:
    """Make a column of numbers or flags, as `pyarrow.array` does, which imports pandas."""
    kind, data = pa.from_numpy_dtype(values.dtype), np.ascontiguousarray(values)
    if pa.types.is_boolean(kind):
        data = np.packbits(data, bitorder="little")
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(data)])


def _quoted(rows: Iterable[Sequence[object]]) -> bytes:
    """Spell rows as CSV, with quotes where they are needed."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _without_formulas(batch: pa.RecordBatch, texts: Sequence[int]) -> pa.RecordBatch:
    """Defuse columns of text; the same batch if there is nothing to defuse."""
    for i in texts:
        given = batch.column(i).to_pylist()
        safe = [_defused(value) for value in given]
        if safe != given:
            field = batch.schema.field(i)
            batch = batch.set_column(i, field, pa.array(safe, field.type))
    return batch


def _is_of_numbers(kind: pa.DataType) -> bool:
    return bool(pa.types.is_primitive(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind))


def _defused(value: object) -> object:
    """Put a ' before text that a spreadsheet would run as a formula.

    So advises OWASP ("CSV injection"). Numbers stay as they are, those spelled in
    text too; what has to be exact belongs into Parquet.

    Examples
    --------
    >>> [_defused(value) for value in ("pump 1", "-1.5e3", None, 7)]
    ['pump 1', '-1.5e3', None, 7]
    """
    if value is None or isinstance(value, int | float):
        return value
    text = str(value)
    if is_number(text) or not FORMULA.search(text):
        return value
    return FORMULA.sub(r"\1'", text)

"""Writers of results: CSV or Parquet, whole or not at all, or to standard output."""

from __future__ import annotations

import csv
import io
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from vae_anomaly.data.cells import is_number
from vae_anomaly.pipeline.paths import PARQUET_SUFFIXES
from vae_anomaly.storage.atomic import atomic_write, output_error

__all__ = ["result_writer"]

FORMULA = re.compile(r"(^|[;\t])(?=[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20])")
"""Start of a spreadsheet formula: of a cell, or after a character that may separate cells."""

Write = Callable[[pa.RecordBatch], None]


SPREADSHEET_WARNING = (
    "a ' was put before text that a spreadsheet would run as a formula. Write a .parquet file "
    "where it must be as it was."
)


class SpreadsheetWarning(UserWarning):
    """Text in a CSV file differs from the input."""


@contextmanager
def result_writer(path: str, schema: pa.Schema) -> Iterator[Write]:
    """Open a result for writing.

    Parameters
    ----------
    path : str
        ``.parquet`` or ``.pq`` for Parquet, else CSV; "-" for standard output.
    schema : pyarrow.Schema
        Schema of the batches.

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
    """Write the column names, and return a writer of batches: UTF-8, flags as 0 and 1."""
    as_written = pa.schema(
        [
            field.with_type(pa.uint8()) if pa.types.is_boolean(field.type) else field
            for field in schema
        ]
    )
    options = pa_csv.WriteOptions(include_header=False, quoting_style="none")
    texts = [i for i, dtype in enumerate(schema.types) if not _is_numeric(dtype)]
    has_warned = False

    def write(batch: pa.RecordBatch) -> None:
        nonlocal has_warned
        safe = _without_formulas(batch, texts)
        if safe is not batch and not has_warned:
            has_warned = True
            warnings.warn(SPREADSHEET_WARNING, SpreadsheetWarning, stacklevel=2)
        batch = safe.cast(as_written)
        text = pa.BufferOutputStream()
        try:
            pa_csv.write_csv(batch, text, options)
        except pa.ArrowInvalid:  # text that needs quotes; pyarrow would quote all text
            columns = [column.to_pylist() for column in batch.columns]
            put(_quoted(zip(*columns, strict=True)))
        else:
            put(text.getvalue().to_pybytes())

    put(_quoted([[_without_formula(name) for name in schema.names]]))
    return write


def _quoted(rows: Iterable[Sequence[object]]) -> bytes:
    """Return rows as CSV, with quotes where they are needed."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _without_formulas(batch: pa.RecordBatch, texts: Sequence[int]) -> pa.RecordBatch:
    """Return a batch whose text columns hold no formulas; the same batch if there were none."""
    for i in texts:
        column = batch.column(i)
        if pa.types.is_string(column.type):  # of equal texts one is checked
            column = column.dictionary_encode()
            given = column.dictionary.to_pylist()
        else:
            given = column.to_pylist()
        safe = [_without_formula(value) for value in given]
        if safe != given:
            field = batch.schema.field(i)
            if pa.types.is_dictionary(column.type) and not pa.types.is_dictionary(field.type):
                column = pa.array(safe, field.type).take(column.indices)
            else:
                column = pa.array(safe, field.type)
            batch = batch.set_column(i, field, column)
    return batch


def _is_numeric(dtype: pa.DataType) -> bool:
    return bool(
        pa.types.is_primitive(dtype) or pa.types.is_decimal(dtype) or pa.types.is_null(dtype)
    )


def _without_formula(value: object) -> object:
    """Return a value with a ' before text that a spreadsheet would run as a formula.

    OWASP advises this ("CSV injection"). Numbers stay as they are, also those in text.

    Examples
    --------
    >>> [_without_formula(value) for value in ("pump 1", "-1.5e3", None, 7)]
    ['pump 1', '-1.5e3', None, 7]
    """
    if value is None or isinstance(value, int | float):
        return value
    text = str(value)
    if not FORMULA.search(text) or is_number(text):
        return value
    return FORMULA.sub(r"\1'", text)

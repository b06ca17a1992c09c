"""Writers of results: CSV or Parquet, whole or not at all, or to standard output."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vae_anomaly.data.cells import is_number
from vae_anomaly.pipeline.paths import PARQUET_SUFFIXES
from vae_anomaly.pipeline.texts import texts_of
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
    are_numeric = [_is_numeric(dtype) for dtype in schema.types]
    has_warned = False

    def write(batch: pa.RecordBatch) -> None:
        nonlocal has_warned
        columns = []
        for column, is_numeric in zip(batch.columns, are_numeric, strict=True):
            texts = texts_of(column)
            if not is_numeric:
                safe = _without_formulas(texts)
                if safe is not texts and not has_warned:
                    has_warned = True
                    warnings.warn(SPREADSHEET_WARNING, SpreadsheetWarning, stacklevel=2)
                texts = _quoted(safe)
            columns.append(texts)
        put(_lines(columns))

    names = _quoted(_without_formulas(pa.array(schema.names, pa.large_string())))
    put(_lines([names[i : i + 1] for i in range(len(names))]))
    return write


def _lines(columns: Sequence[pa.Array]) -> bytes:
    """Return columns of text as lines, in which a missing value is empty."""
    empty = {"null_handling": "replace", "null_replacement": ""}
    comma = pa.scalar(",", pa.large_string())
    rows = pc.binary_join_element_wise(*columns, comma, **empty)
    return "".join(f"{row}\n" for row in rows.to_pylist()).encode()


def _quoted(texts: pa.Array) -> pa.Array:
    """Return texts with quotes where they are needed: `csv` forgets a lone carriage return."""
    structural = pc.match_substring_regex(texts, '[",\r\n]')
    if not structural.true_count:
        return texts
    quote, nothing = pa.scalar('"', texts.type), pa.scalar("", texts.type)
    doubled = pc.replace_substring(texts, '"', '""')
    quoted = pc.binary_join_element_wise(quote, doubled, quote, nothing)
    return pc.if_else(structural, quoted, texts)


def _without_formulas(texts: pa.Array) -> pa.Array:
    """Return texts without formulas; the same array if there were none."""
    encoded = texts.dictionary_encode()  # of equal texts one is checked
    given = encoded.dictionary.to_pylist()
    safe = [_without_formula(text) for text in given]
    return texts if safe == given else pa.array(safe, texts.type).take(encoded.indices)


def _is_numeric(dtype: pa.DataType) -> bool:
    return bool(
        pa.types.is_primitive(dtype) or pa.types.is_decimal(dtype) or pa.types.is_null(dtype)
    )


def _without_formula(text: str) -> str:
    """Return text with a ' before what a spreadsheet would run as a formula.

    OWASP advises this ("CSV injection"). Numbers stay as they are.

    Examples
    --------
    >>> [_without_formula(text) for text in ("pump 1", "-1.5e3", "=1+1")]
    ['pump 1', '-1.5e3', "'=1+1"]
    """
    if not FORMULA.search(text) or is_number(text):
        return text
    return FORMULA.sub(r"\1'", text)

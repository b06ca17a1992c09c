"""Writers of results: CSV, JSON Lines or Parquet, whole or not at all, or to standard output."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from json import JSONEncoder
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from vae_anomaly._types import Json
from vae_anomaly.data.cells import is_number
from vae_anomaly.names import JSON_SUFFIXES, PARQUET_SUFFIXES
from vae_anomaly.pipeline.texts import texts_of
from vae_anomaly.storage.atomic import atomic_write, output_error

if TYPE_CHECKING:
    import pyarrow.parquet as pq

__all__ = ["parquet_writer", "result_writer"]

BEFORE_FORMULA, FORMULA_START = "(^|[;\t])", "[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]"
"""Start of a cell, or a character that may separate cells; first character of a formula."""

FORMULA = re.compile(f"{BEFORE_FORMULA}(?={FORMULA_START})")


STRUCTURAL = re.compile('[",\r\n]')
"""Characters of a cell that needs quotes."""

WITHOUT_QUOTES = pa_csv.WriteOptions(include_header=False, quoting_style="none")

encoded = JSONEncoder(ensure_ascii=False, allow_nan=False).encode

Write = Callable[[pa.RecordBatch], None]


SPREADSHEET_WARNING = (
    "a ' was put before text that a spreadsheet would run as a formula. Write a .parquet file "
    "where it must be as it was."
)


class SpreadsheetWarning(UserWarning):
    """Text in a CSV file differs from the input."""


@contextmanager
def result_writer(path: str, schema: pa.Schema, *, json: bool = False) -> Iterator[Write]:
    """Open a result for writing.

    Parameters
    ----------
    path : str
        ``.parquet`` or ``.pq`` for Parquet, ``.jsonl`` or ``.ndjson`` for JSON Lines, else CSV;
        "-" for standard output.
    schema : pyarrow.Schema
        Schema of the batches.
    json : bool, default=False
        Write JSON Lines instead of CSV to standard output.

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
            yield _json_lines(write, schema) if json else _csv(write, schema)
    elif Path(path).suffix.lower() in PARQUET_SUFFIXES:
        with atomic_write(path) as file, parquet_writer(file, schema) as writer:
            yield writer.write_batch
    else:
        is_json = Path(path).suffix.lower() in JSON_SUFFIXES
        with atomic_write(path) as file:
            yield _json_lines(file.write, schema) if is_json else _csv(file.write, schema)


def parquet_writer(file: object, schema: pa.Schema) -> pq.ParquetWriter:
    """Return a writer of results in Parquet to a binary file; the first column holds the keys.

    Keys and scores are mostly different, and a dictionary of them would cost time and space.
    """
    import pyarrow.parquet as pq

    repeating = [name for name in schema.names[1:] if name != "anomaly_score"]
    return pq.ParquetWriter(file, schema, use_dictionary=repeating, write_page_checksum=True)


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
        for texts, is_numeric in zip(texts_of(batch.columns), are_numeric, strict=True):
            safe = texts if is_numeric else _without_formulas(texts)
            if safe is not texts and not has_warned:
                has_warned = True
                warnings.warn(SPREADSHEET_WARNING, SpreadsheetWarning, stacklevel=2)
            columns.append(safe)
        put(_lines(columns, schema.names))

    put(_line([_without_formula(name) for name in schema.names]).encode())
    return write


def _json_lines(put: Callable[[bytes], object], schema: pa.Schema) -> Write:
    """Return a writer of batches: an object on each line, null where a value is missing."""

    def write(batch: pa.RecordBatch) -> None:
        columns = [_json_values(column) for column in batch.columns]
        rows = (dict(zip(schema.names, row, strict=True)) for row in zip(*columns, strict=True))
        put("".join(f"{encoded(row)}\n" for row in rows).encode())

    return write


def _json_values(column: pa.Array) -> list[Json]:
    """Return the values of a column: numbers and flags as such, others as text."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    types = pa.types
    if types.is_boolean(column.type) or types.is_integer(column.type):
        return list(column.to_pylist())
    if types.is_floating(column.type):
        return [one if one is None or isfinite(one) else None for one in column.to_pylist()]
    return list(texts_of([column])[0].to_pylist())


def _lines(columns: Sequence[pa.Array], names: Sequence[str]) -> bytes:
    """Return columns of text as lines, in which a missing value is empty."""
    lines = pa.BufferOutputStream()
    try:
        pa_csv.write_csv(pa.RecordBatch.from_arrays(columns, names), lines, WITHOUT_QUOTES)
    except pa.ArrowInvalid:  # text that needs quotes; pyarrow would quote all text
        rows = zip(*(column.to_pylist() for column in columns), strict=True)
        return "".join(map(_line, rows)).encode()
    return bytes(lines.getvalue().to_pybytes())


def _line(texts: Iterable[str | None]) -> str:
    """Return a line with quotes where they are needed, also around a lone carriage return."""
    cells = ("" if text is None else text for text in texts)
    quoted = (
        '"{}"'.format(cell.replace('"', '""')) if STRUCTURAL.search(cell) else cell
        for cell in cells
    )
    return f"{','.join(quoted)}\n"


def _without_formulas(texts: pa.Array) -> pa.Array:
    """Return texts without formulas; the same array if there were none."""
    if not pc.any(pc.match_substring_regex(texts, BEFORE_FORMULA + FORMULA_START)).as_py():
        return texts
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

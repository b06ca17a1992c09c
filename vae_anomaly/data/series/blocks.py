"""Files of series that are too large to be read at once, in blocks."""

from __future__ import annotations

import codecs
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pyarrow.parquet as pq

from vae_anomaly._text import display_name
from vae_anomaly.data.csv_content import check_bytes
from vae_anomaly.data.dialect import Dialect
from vae_anomaly.data.series.columns import Columns, Roles
from vae_anomaly.data.series.csv_text import SEPARATOR_LINE, columns_of_csv, dialect_of
from vae_anomaly.data.series.files import GZIP, PARQUET, UTF16, is_plain_csv

__all__ = ["BLOCK_BYTES", "blocks_of"]

BLOCK_BYTES = 2**24
"""Bytes of text in a block; files with fewer are read as a whole."""

MAX_TRIES = 1000
"""Line ends that are tried as the end of a block: others are within quotes."""

BYTES_PER_CELL = 8


class Header(NamedTuple):
    """Start of a CSV file: the line of column names, and the dialect."""

    text: str
    dialect: Dialect


def blocks_of(path: str | Path, roles: Roles, block_bytes: int) -> Iterator[Columns] | None:
    """Return the rows of a large file in blocks, in order.

    Parameters
    ----------
    path : str or Path
    roles : Roles
    block_bytes : int

    Returns
    -------
    iterator of Columns, or None
        None if the file is smaller than a block, or of a form that is read as a whole. Parquet
        and CSV, also packed with gzip, are not, if each channel has a column.
    """
    path = Path(path)
    if roles.metric_column is not None or roles.value_column is not None:
        return None
    with path.open("rb") as file:
        start = file.read(len(PARQUET))
    if start == PARQUET:
        large = path.stat().st_size > block_bytes
        return _parquet_blocks(path, block_bytes) if large else None
    header = _header_of(path, block_bytes)
    return None if header is None else _csv_blocks(path, header, roles, block_bytes)


def _parquet_blocks(path: Path, block_bytes: int) -> Iterator[Columns]:
    name = display_name(path)
    with pq.ParquetFile(path, buffer_size=2**20) as file:
        names = list(map(str, file.schema_arrow.names))
        n_rows = max(1, block_bytes // (BYTES_PER_CELL * len(names)))
        for batch in file.iter_batches(batch_size=n_rows):
            cells = dict(zip(names, batch.columns, strict=True))
            yield Columns(cells, lambda row: f"{name}, row {row + 1}", name)


def _opened(path: Path) -> BinaryIO | gzip.GzipFile:
    with path.open("rb") as file:
        packed = file.read(len(GZIP)) == GZIP
    return gzip.open(path) if packed else path.open("rb")


def _header_of(path: Path, block_bytes: int) -> Header | None:
    """Return the start of a plain CSV file of more than a block; None for others."""
    with _opened(path) as file:
        content = file.read(block_bytes)
        if not file.read(1) or content.startswith(UTF16):
            return None
    content = content.removeprefix(codecs.BOM_UTF8).lstrip(b"\r\n")
    end = content.find(b"\n") + 1
    try:
        header, text = content[:end].decode(), content[: content.rfind(b"\n") + 1].decode()
    except UnicodeDecodeError:
        return None
    is_odd = '"' in header and header.count('"') % 2 > 0
    if not end or is_odd or header[: len(SEPARATOR_LINE)].lower() == SEPARATOR_LINE:
        return None
    return Header(header, dialect_of(text)) if is_plain_csv(text, display_name(path)) else None


def _csv_blocks(path: Path, header: Header, roles: Roles, block_bytes: int) -> Iterator[Columns]:
    name = display_name(path)
    as_text = [one for one in (roles.time_column, roles.series_column) if one is not None]
    with _opened(path) as file:
        rest = file.read(block_bytes).removeprefix(codecs.BOM_UTF8).lstrip(b"\r\n")
        rest = rest[len(header.text.encode()) :]
        more = file.read(block_bytes)
        while rest:
            stop = _last_end(rest) if more else len(rest)
            check_bytes(name, rest[:stop], 0, final=True)
            text = rest[:stop].decode()
            if text.strip():
                text = header.text + text
                cells = columns_of_csv(text, name, as_text=as_text, dialect=header.dialect).cells
                yield Columns(cells, lambda row: f"{name}, row {row + 1}", name)
            rest, more = rest[stop:] + more, file.read(block_bytes)


def _last_end(content: bytes) -> int:
    """Return the last end of a record; 0 if none is found, so that the block grows."""
    end = len(content)
    for _ in range(MAX_TRIES):
        end = content.rfind(b"\n", 0, end)
        if end < 0:
            break
        if content.count(b'"', 0, end) % 2 == 0:
            return end + 1
    return 0

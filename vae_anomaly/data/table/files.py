"""Readers of tables by the content of a path."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import BinaryIO

from vae_anomaly._text import display_name
from vae_anomaly.data.json_objects import is_json_object
from vae_anomaly.data.table.csv_reader import CsvReader
from vae_anomaly.data.table.jsonl_reader import JsonLinesReader
from vae_anomaly.data.table.listing import PartFile, has_parts, part_files
from vae_anomaly.data.table.parts import PartsReader
from vae_anomaly.data.table.reader import TableReader
from vae_anomaly.exceptions import DataError
from vae_anomaly.names import JSON_SUFFIXES, PARQUET_SUFFIXES
from vae_anomaly.storage.atomic import output_error

__all__ = ["open_part", "open_table"]

PARQUET = b"PAR1"

START_BYTES = 64
"""Bytes that tell the format."""

DATABASES = ("duckdb://", "sqlite://", "postgresql://", "postgres://")
"""Starts of URLs that need a query."""

FOREIGN = {
    b"[{": "a JSON list. Write each of its objects on a line of its own: jq -c '.[]' FILE",
    b"\x1f\x8b": "a gzip archive. Unpack it first, or pipe it in: gzip -dc FILE | ...",
    b"BZh": "a bzip2 archive. Unpack it first, or pipe it in: bzip2 -dc FILE | ...",
    b"\xfd7zXZ": "an xz archive. Unpack it first, or pipe it in: xz -dc FILE | ...",
    b"\x28\xb5\x2f\xfd": "a zstd archive. Unpack it first, or pipe it in: zstd -dc FILE | ...",
    b"PK\x03\x04": "a zip archive or an Excel workbook. Unpack it, or export it as CSV.",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook. Export it as CSV.",
    b"\x89PNG": "a PNG image. Expected a CSV or Parquet table.",
    b"\xff\xd8\xff": "a JPEG image. Expected a CSV or Parquet table.",
    b"%PDF": "a PDF document. Expected a CSV or Parquet table.",
    b"PARE": "an encrypted Parquet file. Decrypt it first.",
    b"ARROW1": "an Arrow or Feather file. Save it as Parquet or CSV.",
    b"\x89HDF": "an HDF5 file. Save it as Parquet or CSV.",
}


def open_table(
    path: str | Path, *, stdin: BinaryIO | None = None, sql: str | None = None
) -> TableReader:
    r"""Open a CSV or Parquet table, or JSON Lines.

    Parameters
    ----------
    path : str or Path
        A file, or "-" for standard input. What is not a regular file, such as
        a pipe, is copied to a temporary file, so that it can be read twice. Or
        several files with the same columns: a folder, a pattern, or a URL; see
        `vae_anomaly.data.table.listing`.
    stdin : binary file, optional
        Replacement for standard input.
    sql : str, optional
        Query, where the path is the URL of a database; see `vae_anomaly.data.table.database`.

    Returns
    -------
    TableReader
        A context manager; leaving it removes the temporary copy.

    Raises
    ------
    DataError
        If it is no table of a known format.
    OSError
        If it cannot be opened.

    Examples
    --------
    >>> path = Path(tempfile.mkdtemp()) / "pump.csv"
    >>> _ = path.write_text("flow,pressure\n1,20\n2,30\n")
    >>> with open_table(path) as table:
    ...     print(table.columns, table.check(["pressure"]))
    ('flow', 'pressure') 2
    """
    if sql is not None or str(path).startswith(DATABASES):
        from vae_anomaly.data.table.database import open_query

        return open_query(str(path), sql)
    if str(path) == "-":
        copy = _spooled(stdin or sys.stdin.buffer, "standard input")
        return _reader(Path(copy.name), "standard input", copy)
    path, text = Path(path), str(path)
    if path.is_file():
        return _reader(path, display_name(path), None)
    if has_parts(text):
        return _open_parts(text)
    with path.open("rb") as file:
        copy = _spooled(file, text)
    return _reader(Path(copy.name), display_name(path), copy)


def _open_parts(path: str) -> TableReader:
    """Open a table in several files, or one that is not on this machine."""
    parts = part_files(path)
    if len(parts) == 1 and not parts[0].partitions:
        return open_part(parts[0])
    return PartsReader(path, display_name(path), parts, open_part)


def open_part(part: PartFile) -> TableReader:
    """Open one of the files of a table; CSV in an object store is copied to a temporary file."""
    if isinstance(part.file, Path):
        return _reader(part.file, part.name, None)
    with part.file.open() as file:
        if file.read(len(PARQUET)) == PARQUET:
            from vae_anomaly.data.table.parquet_reader import ParquetReader

            return ParquetReader(Path(part.place), part.name, remote=part.file)
        file.seek(0)
        copy = _spooled(file, part.name)
    return _reader(Path(copy.name), part.name, copy)


def _spooled(stream: BinaryIO, name: str) -> tempfile._TemporaryFileWrapper[bytes]:
    copy = tempfile.NamedTemporaryFile(prefix="vae-anomaly-")  # noqa: SIM115 - the reader closes it
    try:
        shutil.copyfileobj(stream, copy)
        copy.flush()
    except OSError as cause:
        copy.close()
        raise output_error(f"a copy of {name} in {tempfile.gettempdir()}", cause) from cause
    return copy


def _reader(
    path: Path, name: str, copy: tempfile._TemporaryFileWrapper[bytes] | None
) -> TableReader:
    try:
        with path.open("rb") as file:
            start = file.read(START_BYTES)
        for magic, words in FOREIGN.items():
            if start.startswith(magic):
                raise DataError(f"{name} looks like {words}")
        if start.startswith(PARQUET):
            from vae_anomaly.data.table.parquet_reader import ParquetReader

            return ParquetReader(path, name, copy)
        if path.suffix.lower() in PARQUET_SUFFIXES:
            raise DataError(f"{name} is not a Parquet file, in spite of its name.")
        if is_json_object(start) or path.suffix.lower() in JSON_SUFFIXES:
            return JsonLinesReader(path, name, copy)
        return CsvReader(path, name, copy)
    except BaseException:
        if copy is not None:
            copy.close()
        raise

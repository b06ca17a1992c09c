"""Results of SQL as tables: a query is run once, into a temporary Parquet file.

A source is read several times, and a query need not give the same rows in the same order again.
Databases are opened read-only.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from vae_anomaly._extras import of_extra
from vae_anomaly.data.table.parquet_reader import ParquetReader
from vae_anomaly.exceptions import DataError

__all__ = ["open_query"]

BATCH_ROWS = 50_000

DUCKDB, SQLITE = "duckdb://", "sqlite://"
POSTGRESQL = ("postgresql://", "postgres://")

TYPE = b"ADBC:postgresql:typname"
"""Metadata of a field: its type in PostgreSQL, where Arrow has none that is like it."""

Cell = object


def open_query(url: str, sql: str | None) -> ParquetReader:
    """Run a query, and open its result.

    Parameters
    ----------
    url : str
        ``duckdb:///FILE`` or ``sqlite:///FILE``, with a fourth slash for an absolute path. Without
        a file, DuckDB reads other files that the query names. Or ``postgresql://HOST/NAME``.
    sql : str or None
        Needed.

    Raises
    ------
    ParameterError
        If DuckDB or the driver of PostgreSQL is not installed.
    DataError
        If there is no query, the database cannot be opened, or refuses the query.
    """
    _refuse_password(url)
    if sql is None:
        raise DataError(f"{url} is a database. Say with --sql what to read of it.")
    copy = tempfile.NamedTemporaryFile(prefix="vae-anomaly-")  # noqa: SIM115 - the reader closes it
    try:
        if url.startswith(DUCKDB):
            _copy_of_duckdb(_path_of(url, DUCKDB), sql, copy.name)
        elif url.startswith(SQLITE):
            _copy_of_sqlite(_path_of(url, SQLITE), sql, copy.name)
        elif url.startswith(POSTGRESQL):
            _copy_of_postgresql(url, sql, copy.name)
        else:
            raise DataError(
                f"--sql is for databases, duckdb:///FILE, sqlite:///FILE or "
                f"postgresql://HOST/NAME. Got {url!r} instead."
            )
        return ParquetReader(Path(copy.name), f"the query on {url}", copy)
    except BaseException:
        copy.close()
        raise


def _refuse_password(url: str) -> None:
    """Raise if a URL holds a password, which the list of processes would show."""
    if not url.startswith(POSTGRESQL):
        return
    parts = urlsplit(url)
    if ":" in parts.netloc.rpartition("@")[0] or "password" in parse_qs(parts.query):
        raise DataError(
            "The URL of the database holds a password, which the list of processes shows to all "
            "users of this machine. Leave it out: PostgreSQL's library reads it from PGPASSWORD, "
            "or from the file .pgpass of your home."
        )


def _path_of(url: str, scheme: str) -> str:
    return url.removeprefix(scheme).removeprefix("/")


def _refused(path: str, cause: Exception) -> DataError:
    words = str(cause).splitlines()[0].rstrip(".")
    return DataError(f"{path or 'DuckDB'} refuses the query: {words}. Correct it.")


def _copy_of_duckdb(path: str, sql: str, copy: str) -> None:
    """Write the result of a query of DuckDB."""
    duckdb = of_extra("duckdb", "sql", "--sql on duckdb://")
    try:
        with duckdb.connect(path or ":memory:", read_only=bool(path)) as database:
            rows = database.execute(sql).to_arrow_reader(BATCH_ROWS)
            with pq.ParquetWriter(copy, rows.schema) as writer:
                for batch in rows:
                    writer.write_batch(batch)
    except duckdb.Error as cause:
        raise _refused(path, cause) from cause


def _copy_of_postgresql(url: str, sql: str, copy: str) -> None:
    """Write the result of a query of PostgreSQL."""
    driver = of_extra("adbc_driver_postgresql.dbapi", "postgresql", "--sql on postgresql://")
    try:
        database = driver.connect(url)
    except driver.Error as cause:
        raise DataError(
            f"{url} cannot be opened: {_words_of(cause)}. Check the address; user and password "
            f"are those of PGUSER and PGPASSWORD, or of the file .pgpass of your home."
        ) from cause
    try:
        with database, database.cursor() as cursor:
            cursor.execute("set transaction read only")
            cursor.execute(sql)
            rows = cursor.fetch_record_batch()
            if not rows.schema.names:
                raise DataError(f"The query on {url} gives no columns. Expected some.")
            schema = pa.schema([_plain_field(field) for field in rows.schema])
            with pq.ParquetWriter(copy, schema) as writer:
                for batch in rows:
                    writer.write_batch(_plain(batch, schema))
    except driver.Error as cause:
        raise DataError(f"{url} refuses the query: {_words_of(cause)}. Correct it.") from cause


def _words_of(cause: Exception) -> str:
    """Return what a server says of an error, without what the driver adds."""
    line = str(cause).splitlines()[0]
    for mark in ("ERROR:", "FATAL:", "Failed to connect:"):
        line = line.rpartition(mark)[2]
    return line.strip().rstrip(".")


def _plain_field(field: pa.Field) -> pa.Field:
    """Return the field as which a column of PostgreSQL is written.

    Raises
    ------
    DataError
        If no other program knows its type.
    """
    type_ = (field.metadata or {}).get(TYPE, b"").decode()
    if type_ == "numeric":  # comes as text
        return pa.field(field.name, pa.float64())
    is_extension = isinstance(field.type, pa.BaseExtensionType)
    dtype = field.type.storage_type if is_extension else field.type
    is_foreign = is_extension or type_ or pa.types.is_interval(dtype)
    if is_foreign and not pa.types.is_string(dtype):
        raise DataError(
            f"The column {field.name!r} of the query has the type {type_ or field.type}. Convert "
            f"it in the query, as in {field.name}::text, or leave it out."
        )
    return pa.field(field.name, dtype)


def _plain(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return the rows of PostgreSQL in the types of fields."""
    arrays = [
        (column.storage if isinstance(column, pa.ExtensionArray) else column).cast(field.type)
        for column, field in zip(batch.columns, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _copy_of_sqlite(path: str, sql: str, copy: str) -> None:
    """Write the result of a query of SQLite, whose cells have types and whose columns have none.

    A column of which all cells are numbers is one of numbers, others are texts.
    """
    try:
        with closing(sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True)) as database:
            types: dict[int, set[type]] = {}
            names: list[str] = []
            for found_names, rows in _batches(database, sql):
                names = found_names
                for i, cells in enumerate(zip(*rows, strict=True)):
                    types.setdefault(i, set()).update(map(type, cells))
            if not names:
                raise DataError(f"The query on {path} gives no rows. Expected some.")
            found = [_type_of(types[i]) for i in range(len(names))]
            schema = pa.schema(list(zip(names, found, strict=True)))
            with pq.ParquetWriter(copy, schema) as writer:
                for _, rows in _batches(database, sql):
                    columns = zip(zip(*rows, strict=True), found, strict=True)
                    arrays = [_array(cells, dtype) for cells, dtype in columns]
                    writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
    except (sqlite3.Error, sqlite3.Warning) as cause:
        raise _refused(path, cause) from cause


def _batches(
    database: sqlite3.Connection, sql: str
) -> Iterator[tuple[list[str], list[tuple[Cell, ...]]]]:
    """Yield the names of the columns, and rows."""
    with closing(database.execute(sql)) as cursor:
        names = [description[0] for description in cursor.description or ()]
        while rows := cursor.fetchmany(BATCH_ROWS):
            yield names, rows


def _type_of(types: set[type]) -> pa.DataType:
    given = types - {type(None)}
    if given <= {int}:
        return pa.int64()
    return pa.float64() if given <= {int, float} else pa.string()


def _array(cells: tuple[Cell, ...], dtype: pa.DataType) -> pa.Array:
    if not pa.types.is_string(dtype):
        return pa.array(cells, dtype)
    return pa.array([cell if cell is None else _text(cell) for cell in cells], dtype)


def _text(cell: Cell) -> str:
    return cell.decode("utf-8", "replace") if isinstance(cell, bytes) else str(cell)

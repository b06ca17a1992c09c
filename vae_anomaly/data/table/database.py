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
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from vae_anomaly._extras import of_extra
from vae_anomaly.data.table.parquet_reader import ParquetReader
from vae_anomaly.exceptions import DataError

__all__ = ["open_query"]

BATCH_ROWS = 50_000

DUCKDB, SQLITE = "duckdb://", "sqlite://"

Cell = object


def open_query(url: str, sql: str) -> ParquetReader:
    """Run a query, and open its result.

    Parameters
    ----------
    url : str
        ``duckdb:///FILE`` or ``sqlite:///FILE``, with a fourth slash for an absolute path. Without
        a file, DuckDB reads other files that the query names.
    sql : str

    Raises
    ------
    ParameterError
        If DuckDB is not installed.
    DataError
        If the database cannot be opened, or refuses the query.
    """
    copy = tempfile.NamedTemporaryFile(prefix="vae-anomaly-")  # noqa: SIM115 - the reader closes it
    try:
        if url.startswith(DUCKDB):
            _copy_of_duckdb(_path_of(url, DUCKDB), sql, copy.name)
        elif url.startswith(SQLITE):
            _copy_of_sqlite(_path_of(url, SQLITE), sql, copy.name)
        else:
            raise DataError(
                f"--sql is for databases, duckdb:///FILE or sqlite:///FILE. Got {url!r} instead."
            )
        return ParquetReader(Path(copy.name), f"the query on {url}", copy)
    except BaseException:
        copy.close()
        raise


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

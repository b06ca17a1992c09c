"""Columns of JSON text: records, one a line."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.json as pa_json

from vae_anomaly.data.series.columns import Columns
from vae_anomaly.data.series.stamps import Place
from vae_anomaly.exceptions import DataError

__all__ = ["columns_of_json", "records_of"]


def columns_of_json(text: str, place: Place, name: str) -> Columns:
    r"""Return the columns of records, one a line; times stay text.

    Fields of a field have the names of both. Lists are missing values.

    Raises
    ------
    DataError
        For a line that is not JSON, or a field that changes its type.

    Examples
    --------
    >>> text = '{"t": "2024-03-01", "in": {"flow": 1}}\n{"t": "2024-03-02"}\n'
    >>> {name: cells.to_pylist() for name, cells in columns_of_json(text, str, "a").cells.items()}
    {'t': ['2024-03-01', '2024-03-02'], 'in.flow': [1, None]}
    """
    try:
        whole = records_of(text, len(text.encode()) + 1)  # one block, in which rows are counted
    except pa.ArrowInvalid as cause:
        words = str(cause).splitlines()[0].removeprefix("JSON parse error: ")
        at = re.fullmatch(r"(.*?)\.? in row (\d+)", words)
        where, words = (place(int(at[2])), at[1]) if at else (name, words)
        raise DataError(
            f"{where}: not JSON like the other records ({words}). Correct it."
        ) from cause
    return Columns(dict(_flattened(whole)), place, name)


def records_of(text: str, block_bytes: int) -> dict[str, pa.ChunkedArray]:
    """Return the fields of records, one a line.

    Times are text, because the reader would drop their zone.

    Raises
    ------
    pyarrow.ArrowInvalid
        If a line is not JSON, or a field changes its type.
    """
    content = text.encode()
    options = pa_json.ReadOptions(block_size=block_bytes)
    found = pa_json.read_json(io.BytesIO(content), options)
    types = {field.name: _without_times(field.type) for field in found.schema}
    schema = pa.schema(list(types.items()))
    if schema != found.schema:
        found = pa_json.read_json(io.BytesIO(content), options, pa_json.ParseOptions(schema))
    return dict(zip(found.column_names, found.columns, strict=True))


def _without_times(dtype: pa.DataType) -> pa.DataType:
    if pa.types.is_struct(dtype):
        return pa.struct([(field.name, _without_times(field.type)) for field in dtype])
    return pa.string() if pa.types.is_timestamp(dtype) else dtype


def _flattened(columns: Mapping[str, pa.ChunkedArray | pa.Array]) -> Iterator[tuple[str, pa.Array]]:
    """Yield columns, and the fields of structures: "tags.host"."""
    for name, column in columns.items():
        column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        if pa.types.is_struct(column.type):
            fields = [f"{name}.{field.name}" for field in column.type]
            yield from _flattened(dict(zip(fields, column.flatten(), strict=True)))
        else:
            yield name, pa.nulls(len(column)) if pa.types.is_list(column.type) else column

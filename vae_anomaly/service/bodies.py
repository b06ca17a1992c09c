"""Bodies and options of requests, which are not trusted, and bodies of answers."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress

import pyarrow as pa

from vae_anomaly._types import Json, JsonObject
from vae_anomaly.exceptions import ParameterError

__all__ = [
    "ARROW",
    "JSON",
    "RefusedError",
    "batches_of",
    "cells_of",
    "options_of",
    "stream_of",
]

ARROW = "application/vnd.apache.arrow.stream"
JSON = "application/json"


class RefusedError(Exception):
    """A request that is not answered with scores."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _switch(text: str) -> bool:
    return {"1": True, "true": True, "": True, "0": False, "false": False}[text.lower()]


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


OPTIONS: dict[str, tuple[Callable[[str], Json], str]] = {
    "score": (str, "the name of a score"),
    "explain": (int, "a whole number"),
    "p_values": (_switch, "true or false"),
    "also": (_names, "names of scores between commas"),
    "keep": (_names, "names of columns between commas"),
    "threshold": (_number, "a number"),
    "repair": (_switch, "true or false"),
}
"""Option of a query -> what reads it, and what is expected."""


def options_of(query: Mapping[str, str]) -> JsonObject:
    """Return the options of a query.

    Raises
    ------
    ParameterError
    """
    found = {}
    for name, text in query.items():
        if name not in OPTIONS:
            raise ParameterError(
                f"There is no option {name!r}. Those of a query are {', '.join(OPTIONS)}."
            )
        read, expected = OPTIONS[name]
        try:
            found[name] = read(text)
        except (ValueError, KeyError):
            raise ParameterError(f"{name} must be {expected}. Got {text!r} instead.") from None
    return found


def batches_of(
    media_type: str, body: bytes, max_rows: int, optional: Collection[str] = ()
) -> Sequence[pa.RecordBatch]:
    """Return the rows of a body.

    Parameters
    ----------
    media_type : str
    body : bytes
    max_rows : int
    optional : collection of str, optional
        Columns that are missing where no object of JSON has them. A key that only some objects
        lack is a missing cell of these, whatever the column.

    Raises
    ------
    RefusedError
        If it is of another type, cannot be read, or holds too many rows.
    """
    if media_type not in (ARROW, JSON):
        raise RefusedError(
            415, f"Expected the type {JSON} or {ARROW}, got {media_type or 'none'!r}."
        )
    batches = _arrow_batches(body) if media_type == ARROW else _json_batches(body, optional)
    if sum(batch.num_rows for batch in batches) > max_rows:
        raise RefusedError(413, f"The body has more than {max_rows:,} rows. Send fewer.")
    return batches


def _arrow_batches(body: bytes) -> list[pa.RecordBatch]:
    """Return the batches of a stream, at least one; which is validated."""
    try:
        with pa.ipc.open_stream(body) as stream:
            batches = list(stream)
            for batch in batches:
                batch.validate(full=True)
            return batches or [pa.RecordBatch.from_pylist([], schema=stream.schema)]
    except (pa.ArrowException, OSError, UnicodeDecodeError, EOFError) as cause:
        words = str(cause).splitlines()[0].rstrip(".")
        raise RefusedError(400, f"The body is no stream of Arrow: {words}.") from cause


def _json_batches(body: bytes, optional: Collection[str]) -> list[pa.RecordBatch]:
    """Return rows of JSON: a list of objects, or an object with such a list as its rows."""
    try:
        rows = json.loads(body)
    except (ValueError, RecursionError) as cause:
        raise RefusedError(400, f"The body is no JSON: {cause}.") from cause
    if isinstance(rows, dict):
        rows = rows.get("rows")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise RefusedError(
            400, 'Expected a list of rows such as [{"flow": 1.5}], or {"rows": [...]}.'
        )
    names = dict.fromkeys(name for row in [*rows, dict.fromkeys(optional)] for name in row)
    columns = {name: _column([row.get(name) for row in rows]) for name in names}
    return [pa.RecordBatch.from_pydict(columns)] if rows else []


def _column(cells: list[Json]) -> pa.Array:
    """Return cells as an array: of text if they are of several types."""
    with suppress(pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array(cells)
    return pa.array([cell if cell is None else _text(cell) for cell in cells], pa.string())


def _text(cell: Json) -> str:
    return cell if isinstance(cell, str) else json.dumps(cell)


def cells_of(row: JsonObject) -> JsonObject:
    """Return a row in which cells that are no numbers for JSON are missing."""
    return {
        name: None if isinstance(cell, float) and not math.isfinite(cell) else cell
        for name, cell in row.items()
    }


def stream_of(batches: Sequence[pa.RecordBatch]) -> bytes:
    """Return batches as a stream of Arrow."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())

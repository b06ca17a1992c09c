"""Telegraf's outputs: JSON with one metric a line, and line protocol of InfluxDB."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vae_anomaly._text import shown
from vae_anomaly._types import Json
from vae_anomaly.data.series.columns import Columns, Roles
from vae_anomaly.data.series.labels import TIME, Form, channel_names, measured, series_names
from vae_anomaly.data.series.stamps import Place
from vae_anomaly.exceptions import DataError

__all__ = ["LINE_PROTOCOL", "form_of_json", "form_of_lines", "is_metric"]

LINE_PROTOCOL = re.compile(
    r"^(?P<key>(?:[^ \\#,]|\\.)(?:[^ \\]|\\.)*) "
    r'(?P<fields>[^ =,"]+=(?:"(?:[^"\\]|\\.)*"|[^ "\\]|\\.)+)(?: (?P<time>-?\d+))?\s*$'
)
"""A measurement with its tags, fields, and a time."""

STRING = r'"(?:[^"\\]|\\.)*"'

NUMBER_SUFFIX = "[iu]$"
"""Ends of whole numbers."""

TRUTH = {"t": "1", "T": "1", "true": "1", "True": "1", "TRUE": "1"} | dict.fromkeys(
    ("f", "F", "false", "False", "FALSE"), "0"
)

Codes = NDArray[np.int64]


class _Fields(NamedTuple):
    """Values of one field of rows with one measurement and one set of tags."""

    measurement: str
    tags: Mapping[str, str]
    field: str
    source: int
    rows: Codes
    values: NDArray[np.float64]


def is_metric(document: Json) -> bool:
    """Return whether a JSON document is a metric of Telegraf, or a batch of them."""
    if isinstance(document, dict) and isinstance(document.get("metrics"), list):
        return bool(document["metrics"]) and is_metric(document["metrics"][0])
    return isinstance(document, dict) and {"fields", "name", "timestamp"} <= set(document)


# ----------------------------------------------------------------------------------- JSON


def form_of_json(
    documents: Sequence[Json], place: Place, name: str, series_column: str | None
) -> Form:
    """Return the rows of metrics as JSON.

    Parameters
    ----------
    documents : sequence of dict
    place : callable
    name : str
        Of the file.
    series_column : str, optional
        Tag whose values are series.

    Raises
    ------
    DataError
        For the first document that is no metric.
    """
    by_key: dict[str, list[int]] = {}
    for row, one in enumerate(documents):
        if not is_metric(one) or not isinstance(one["fields"], dict):
            raise DataError(
                f"{place(row)}: expected a metric with name, fields and timestamp, got "
                f"{shown(one)}. Correct the line or remove it."
            )
        tags = one.get("tags") or {}
        by_key.setdefault(json.dumps([one["name"], tags], sort_keys=True), []).append(row)
    found = []
    for source, (key, rows) in enumerate(by_key.items()):
        measurement, tags = json.loads(key)
        fields = dict.fromkeys(field for row in rows for field in documents[row]["fields"])
        for field in fields:
            cells = [documents[row]["fields"].get(field) for row in rows]
            numbers = [float(v) if isinstance(v, bool | int | float) else np.nan for v in cells]
            found.append(
                _Fields(measurement, tags, field, source, np.array(rows), np.array(numbers))
            )
    times = pa.array([one["timestamp"] for one in documents])
    return _form(found, times, place, name, series_column)


# -------------------------------------------------------------------------- line protocol


def form_of_lines(text: str, name: str, series_column: str | None) -> Form:
    """Return the rows of line protocol; lines that begin with # are comments.

    Raises
    ------
    DataError
        With the first line that is not in line protocol.
    """
    lines = pa.array(text.splitlines(), pa.string())
    is_row = pc.match_substring_regex(lines, r"^\s*[^#\s]")
    kept = np.flatnonzero(np.array(is_row, dtype=bool))
    lines = lines.take(pa.array(kept))
    parts = pc.extract_regex(lines, LINE_PROTOCOL.pattern)

    def place(row: int) -> str:
        return f"{name}, line {kept[row] + 1}"

    bad = np.array(parts.is_null(), dtype=bool)
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(
            f"{place(row)}: expected line protocol, such as 'cpu,host=a usage=1.5 1700000000000', "
            f"got {shown(lines[row].as_py())}. Correct the line or remove it."
        )
    keys = pc.struct_field(parts, "key").dictionary_encode()
    codes = np.array(keys.indices, dtype=np.int64)
    fields = pc.replace_substring_regex(pc.struct_field(parts, "fields"), STRING, "text")
    shapes = pc.replace_substring_regex(fields, r"=[^,]*", "=").dictionary_encode()
    shape_of_row = np.array(shapes.indices, dtype=np.int64)
    found = []
    names = shapes.dictionary.to_pylist()
    for source, key in enumerate(keys.dictionary.to_pylist()):
        measurement, tags = _measurement_and_tags(key)
        for shape in np.unique(shape_of_row[codes == source]).tolist():
            rows = np.flatnonzero((codes == source) & (shape_of_row == shape))
            cells = pc.split_pattern(fields.take(pa.array(rows)), ",")
            for i, field in enumerate(names[shape].rstrip("=").split("=,")):
                values = _numbers(pc.list_element(cells, i))
                found.append(_Fields(measurement, tags, _plain(field), source, rows, values))
    times = pc.struct_field(parts, "time")
    return _form(found, times, place, name, series_column)


def _measurement_and_tags(key: str) -> tuple[str, dict[str, str]]:
    first, *rest = re.split(r"(?<!\\),", key)
    pairs = [re.split(r"(?<!\\)=", one, maxsplit=1) for one in rest]
    return _plain(first), {_plain(one[0]): _plain(one[-1]) for one in pairs}


def _plain(text: str) -> str:
    """Return a text without the backslashes that escape blanks, commas and equals signs."""
    return re.sub(r"\\([ ,=])", r"\1", text)


def _numbers(cells: pa.Array) -> NDArray[np.float64]:
    """Return the values of fields; NaN where they are text."""
    values = pc.replace_substring_regex(cells, "^[^=]*=", "")
    values = pc.replace_substring_regex(values, NUMBER_SUFFIX, "")
    for text, number in TRUTH.items():
        values = pc.if_else(pc.equal(values, text), number, values)
    numeric = pc.match_substring_regex(values, r"^[-+]?[0-9.]+([eE][-+]?[0-9]+)?$")
    numbers = pc.if_else(numeric, values, None).cast(pa.float64())
    return np.array(pc.fill_null(numbers, np.nan), dtype=np.float64)


# ---------------------------------------------------------------------------------- both


def _form(
    found: Sequence[_Fields],
    times: pa.Array,
    place: Callable[[int], str],
    name: str,
    series_column: str | None,
) -> Form:
    """Return rows with one channel for each field of each metric."""
    metrics = measured([(one.measurement, one.field, one.tags) for one in found])
    other = () if series_column is None else (series_column,)
    channels = channel_names(metrics, other)
    n_rows = len(times)
    values = {channel: np.full(n_rows, np.nan) for channel in channels}
    sources = np.zeros(n_rows, np.int64)
    for channel, one in zip(channels, found, strict=True):
        values[channel][one.rows] = one.values
        sources[one.rows] = one.source
    cells = {TIME: times} | {channel: pa.array(one) for channel, one in values.items()}
    if series_column is not None:
        of_row = np.empty(n_rows, dtype=object)
        for label, one in zip(series_names(metrics, series_column, name), found, strict=True):
            of_row[one.rows] = label
        cells[series_column] = pa.array(of_row, pa.string())
    roles = Roles(time_column=TIME, series_column=series_column)
    return Form(Columns(cells, place, name, sources=sources), roles)

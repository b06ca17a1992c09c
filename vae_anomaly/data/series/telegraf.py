"""Telegraf's outputs: JSON with one metric a line, and line protocol of InfluxDB."""

from __future__ import annotations

import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vae_anomaly._text import shown
from vae_anomaly._types import Json
from vae_anomaly.data.series.columns import Roles
from vae_anomaly.data.series.json_text import records_of
from vae_anomaly.data.series.labels import Fields, Form, Metric, fields_form
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

METRIC_PARTS = {"fields", "name", "timestamp"}

BLOCK_BYTES = 2**24

UNIT_SEPARATOR = "\x1f"
"""Joins the parts of a key. No tag contains it."""

Codes = NDArray[np.int64]


def is_metric(document: Json) -> bool:
    """Return whether a JSON document is a metric of Telegraf, or a batch of them."""
    if isinstance(document, dict) and isinstance(document.get("metrics"), list):
        return bool(document["metrics"]) and is_metric(document["metrics"][0])
    return isinstance(document, dict) and set(document) >= METRIC_PARTS


# ----------------------------------------------------------------------------------- JSON


def form_of_json(text: str, place: Place, name: str, roles: Roles) -> Form:
    """Return the rows of metrics as JSON, one a line.

    Parameters
    ----------
    text : str
    place : callable
    name : str
        Of the file.
    roles : Roles
        `series_column` is a tag.

    Raises
    ------
    DataError
        For the first line that is no metric, or a field that changes its type.
    """
    try:
        columns = records_of(text, BLOCK_BYTES)
    except pa.ArrowInvalid as cause:
        _check_json(text, place)
        raise DataError(f"{name} cannot be read as metrics: {cause}.") from cause
    if not set(columns) >= METRIC_PARTS or columns["name"].null_count:
        _check_json(text, place)
    fields = _struct(columns["fields"])
    tags = _struct(columns["tags"]) if "tags" in columns else {}
    texts = [pc.fill_null(one.cast(pa.string()), "") for one in (columns["name"], *tags.values())]
    joined = pc.binary_join_element_wise(*texts, UNIT_SEPARATOR).combine_chunks()
    keys = joined.dictionary_encode()
    codes = np.array(keys.indices, dtype=np.int64)
    rows_of_key = [np.flatnonzero(codes == code) for code in range(len(keys.dictionary))]
    found = []
    for field, cells in fields.items():
        values = _json_numbers(cells)
        is_given = np.array(cells.is_valid(), dtype=bool)
        for source, key in enumerate(keys.dictionary.to_pylist()):
            rows = rows_of_key[source]
            if is_given[rows].any():
                measurement, *of_tags = key.split(UNIT_SEPARATOR)
                given = {tag: one for tag, one in zip(tags, of_tags, strict=True) if one}
                metric = Metric(field, given, measurement)
                found.append(Fields(metric, source, rows, values[rows]))
    return fields_form(found, columns["timestamp"], place, name, roles)


def _struct(column: pa.ChunkedArray) -> dict[str, pa.ChunkedArray]:
    """Return the columns of a struct."""
    if not pa.types.is_struct(column.type):
        return {}
    names = [column.type.field(i).name for i in range(column.type.num_fields)]
    return {one: pc.struct_field(column, one) for one in names}


def _json_numbers(cells: pa.ChunkedArray) -> NDArray[np.float64]:
    types = pa.types
    if types.is_boolean(cells.type):
        cells = cells.cast(pa.uint8())
    if not types.is_integer(cells.type) and not types.is_floating(cells.type):
        return np.full(len(cells), np.nan)
    return np.array(pc.fill_null(cells.cast(pa.float64()), np.nan))


def _check_json(text: str, place: Place) -> None:
    """Raise for the first line that is no metric."""
    for row, line in enumerate(filter(str.strip, text.splitlines())):
        try:
            document = json.loads(line)
        except json.JSONDecodeError as cause:
            raise _no_metric(row, line, place) from cause
        if not is_metric(document) or not isinstance(document["fields"], dict):
            raise _no_metric(row, line, place)


def _no_metric(row: int, line: str, place: Place) -> DataError:
    return DataError(
        f"{place(row)}: expected a metric as JSON, with name, fields and timestamp, got "
        f"{shown(line)}. Correct the line or remove it."
    )


# -------------------------------------------------------------------------- line protocol


def form_of_lines(text: str, name: str, roles: Roles) -> Form:
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
                metric = Metric(_plain(field), tags, measurement)
                found.append(Fields(metric, source, rows, values))
    times = pc.struct_field(parts, "time")
    return fields_form(found, times, place, name, roles)


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

"""Series from files, by their content."""

from __future__ import annotations

import codecs
import gzip
import json
import re
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from vae_anomaly._text import display_name
from vae_anomaly._types import Json
from vae_anomaly.data.csv_content import check_bytes
from vae_anomaly.data.series.columns import Columns, Roles, rows_of
from vae_anomaly.data.series.csv_text import columns_of_csv
from vae_anomaly.data.series.influx import (
    ANNOTATION,
    form_of_annotated,
    form_of_fields,
    is_of_influx,
)
from vae_anomaly.data.series.json_text import columns_of_json
from vae_anomaly.data.series.labels import Form
from vae_anomaly.data.series.prometheus import (
    DUMP_LINE,
    QUERY_LINE,
    form_of_answer,
    form_of_dump,
    form_of_query,
    is_answer,
)
from vae_anomaly.data.series.rows import Rows
from vae_anomaly.data.series.stamps import Place
from vae_anomaly.data.series.telegraf import LINE_PROTOCOL, form_of_json, form_of_lines, is_metric
from vae_anomaly.exceptions import DataError

__all__ = ["GZIP", "PARQUET", "UTF16", "is_plain_csv", "rows_of_file"]

PARQUET = b"PAR1"

GZIP = b"\x1f\x8b"

UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

HOME_ASSISTANT = ("entity_id", "state", "last_changed")
"""Columns of a history that Home Assistant exports."""

NO_STATE = ("unavailable", "unknown")
"""States of Home Assistant that are missing values."""


def rows_of_file(path: str | Path, roles: Roles) -> Rows:
    """Return the rows of a file.

    It may be CSV, also of InfluxDB or the history of Home Assistant; Parquet; the
    answer of Prometheus to a range query, or text of promtool; metrics of Telegraf as JSON or
    line protocol; other records as JSON; each also packed with gzip.

    Parameters
    ----------
    path : str or Path
    roles : Roles
        Those that are given precede those of the form.

    Returns
    -------
    Rows

    Raises
    ------
    DataError
        If it is in none of these forms, or not sound.
    OSError
        If it cannot be read.
    """
    path, name = Path(path), display_name(path)
    content = path.read_bytes()
    if content.startswith(GZIP):
        try:
            content = gzip.decompress(content)
        except (EOFError, OSError) as cause:
            raise DataError(f"{name} is not a sound gzip archive: {cause}.") from cause
    form = _form_of_parquet(content, name) if content.startswith(PARQUET) else None
    if form is None:
        form = _form_of_text(_decoded(content, name), name, roles)
    return rows_of(form.columns, _merged(roles, form.roles))


def _merged(given: Roles, of_form: Roles) -> Roles:
    """Return roles as given, and otherwise those of the form."""
    if given.time_column or given.metric_column or given.value_column:
        return given
    return replace(
        given,
        time_column=of_form.time_column,
        series_column=given.series_column or of_form.series_column,
        metric_column=of_form.metric_column,
        value_column=of_form.value_column,
        missing=(*given.missing, *of_form.missing),
    )


def _form_of_parquet(content: bytes, name: str) -> Form:
    try:
        whole = pq.ParquetFile(pa.BufferReader(content)).read()
    except (pa.ArrowException, OSError) as cause:
        words = str(cause).splitlines()[0].rstrip(".")
        raise DataError(f"{name} is not a sound Parquet file: {words}. Write it again.") from cause
    cells = {
        column: _combined(whole.column(i)) for i, column in enumerate(map(str, whole.column_names))
    }
    if not whole.num_rows:
        raise DataError(f"{name} has no rows. Expected at least one.")
    return Form(Columns(cells, lambda row: f"{name}, row {row + 1}", name), Roles())


def _combined(column: pa.ChunkedArray) -> pa.Array:
    array = column.combine_chunks()
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _decoded(content: bytes, name: str) -> str:
    """Return the text of a file.

    Raises
    ------
    DataError
        If it is empty or no text.
    """
    if content.startswith(UTF16):
        content = content.decode("utf-16").encode()
    check_bytes(name, content, 0, final=True)
    text = content.decode("utf-8-sig")
    if not text or text.isspace():
        raise DataError(f"{name} is empty. Expected rows of a time series.")
    return text


def _form_of_text(text: str, name: str, roles: Roles) -> Form:
    """Return the columns of a text by its first line that is not empty."""
    first = text.lstrip().partition("\n")[0].strip()
    if re.match(DUMP_LINE, first):
        return form_of_dump(text, name, roles)
    if first[0] in "{[" and not re.match(QUERY_LINE, first):
        return _form_of_json(text, name, roles)
    if re.match(QUERY_LINE, first):
        return form_of_query(text, name, roles)
    if ANNOTATION.match(first):
        return form_of_annotated(text, name, roles)
    if first.startswith("#") or LINE_PROTOCOL.match(first):
        return form_of_lines(text, name, roles)
    named = (roles.time_column, roles.series_column, roles.metric_column)
    as_text = [column for column in named if column is not None]
    columns = columns_of_csv(text, name, as_text=as_text)
    if is_of_influx(columns) and not (roles.time_column or roles.metric_column):
        return form_of_fields(columns_of_csv(text, name), roles)
    if set(HOME_ASSISTANT) <= set(columns.cells):
        entity, state, time = HOME_ASSISTANT
        cells = {column: columns.cells[column] for column in HOME_ASSISTANT}
        return Form(
            replace(columns, cells=cells, holds=True),
            Roles(time_column=time, metric_column=entity, value_column=state, missing=NO_STATE),
        )
    return Form(columns, Roles())


def is_plain_csv(text: str, name: str) -> bool:
    """Return whether the start of a text is that of CSV without a form of its own."""
    first = text.lstrip().partition("\n")[0].strip()
    forms = (DUMP_LINE, QUERY_LINE, ANNOTATION, LINE_PROTOCOL)
    if first[:1] in {*"#{[", ""} or any(re.match(form, first) for form in forms):
        return False
    try:
        columns = columns_of_csv(text, name)
    except DataError:
        return False
    return not (is_of_influx(columns) or set(HOME_ASSISTANT) <= set(columns.cells))


def _form_of_json(text: str, name: str, roles: Roles) -> Form:
    """Return the columns of JSON: an answer of Prometheus, metrics of Telegraf, or records.

    Raises
    ------
    DataError
        If it is none of them.
    """
    first = _record_of(text.lstrip().partition("\n")[0])
    if first is not None and "\n" in text.strip() and not is_answer(first):
        place = _line_of(text, name)
        if is_metric(first):
            return form_of_json(text, place, name, roles)
        return Form(columns_of_json(text, place, name), Roles())
    try:
        document = json.loads(text)
    except json.JSONDecodeError as cause:
        raise DataError(
            f"{name}, line {cause.lineno}: not JSON ({cause.msg}). Export the file again."
        ) from cause
    if is_answer(document):
        return form_of_answer(document, name, roles)
    records = document.get("metrics", [document]) if isinstance(document, dict) else document
    is_list = isinstance(records, list) and all(isinstance(one, dict) for one in records)
    if not is_list or not records or not (is_metric(records[0]) or records is document):
        raise DataError(
            f"{name} is JSON of an unknown form. Expected an answer of Prometheus to a range "
            f"query, metrics of Telegraf, or a list of records. Convert it to CSV."
        )
    text = "\n".join(map(json.dumps, records))
    if is_metric(records[0]):
        return form_of_json(text, lambda row: f"{name}, metric {row + 1}", name, roles)
    return Form(columns_of_json(text, lambda row: f"{name}, record {row + 1}", name), Roles())


def _record_of(line: str) -> Json:
    """Return the object that a line holds; None if it holds none."""
    try:
        document = json.loads(line)
    except json.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None


def _line_of(text: str, name: str) -> Place:
    """Return a function of a row that says on which line it is; empty lines are no rows."""

    def place(row: int) -> str:
        lines = [i for i, line in enumerate(text.splitlines(), 1) if line.strip()]
        return f"{name}, line {lines[row]}"

    return place

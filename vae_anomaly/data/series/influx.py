"""CSV of InfluxDB, with or without annotations."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vae_anomaly._text import listed
from vae_anomaly.data.series.columns import Columns, Roles, check_text
from vae_anomaly.data.series.csv_text import columns_of_csv
from vae_anomaly.data.series.labels import Fields, Form, Metric, fields_form, labelled_form
from vae_anomaly.data.series.numbers import numbers_of
from vae_anomaly.exceptions import DataError

__all__ = ["ANNOTATION", "form_of_annotated", "form_of_fields", "is_of_influx"]

ANNOTATION = re.compile(r"#(datatype|group|default)\b")
"""Start of a line above the column names."""

TIME, VALUE, FIELD, MEASUREMENT = "_time", "_value", "_field", "_measurement"

BOOKKEEPING = {"", "result", "table", "_start", "_stop"}
"""Columns about the answer itself."""

UNIT_SEPARATOR = "\x1f"
"""Joins the parts of a key. No tag contains it."""


class _Section(NamedTuple):
    """Rows below one set of annotations, in columns of text."""

    columns: Columns
    rows: NDArray[np.int64]  # positions among the rows of `columns`, without repeated headers
    tags: frozenset[str]  # columns by which tables are grouped


def is_of_influx(columns: Columns) -> bool:
    """Return whether columns are those of a query of InfluxDB."""
    return {TIME, VALUE, FIELD} <= set(columns.cells)


def form_of_annotated(text: str, name: str, roles: Roles) -> Form:
    """Return the rows of annotated CSV.

    Columns without `_field` are channels, as after ``pivot``.

    Raises
    ------
    DataError
        If there are no rows, or no times.
    """
    sections = _sections(text, name)
    for section in sections:
        if TIME not in section.columns.cells:
            raise DataError(
                f"{name}: expected a column {TIME!r} in each part, got "
                f"{listed(list(section.columns.cells))}. Leave it in the query."
            )
    starts = np.cumsum([0, *(len(section.rows) for section in sections[:-1])])

    def place(row: int) -> str:
        at = int(np.searchsorted(starts, row, side="right")) - 1
        section = sections[at]
        return section.columns.place(int(section.rows[row - int(starts[at])]))

    names = list(dict.fromkeys(one for section in sections for one in section.columns.cells))
    cells = {one: _joined(sections, one) for one in names if one not in BOOKKEEPING}
    columns = Columns(cells, place, name)
    if is_of_influx(columns):
        return form_of_fields(columns, roles)
    tags = {tag for section in sections for tag in section.tags} & set(cells)
    if tags:
        return _form_of_pivot(columns, sorted(tags), roles)
    return Form(columns, Roles(time_column=TIME, series_column=roles.series_column))


def form_of_fields(columns: Columns, roles: Roles) -> Form:
    """Return rows with one value each, of a field.

    Tags that differ are parts of the names of channels, unless they name the series.
    """
    cells = {one: cells for one, cells in columns.cells.items() if one not in BOOKKEEPING}
    keys = _keys_of(cells, [one for one in cells if one not in (TIME, VALUE)])
    return labelled_form(
        [_metric(labels[FIELD], labels) for labels in keys.labels],
        keys.codes,
        cells[TIME],
        cells[VALUE],
        columns.place,
        columns.name,
        roles,
    )


def _form_of_pivot(columns: Columns, tags: list[str], roles: Roles) -> Form:
    """Return rows with one column a field."""
    keys = _keys_of(columns.cells, tags)
    one_group = np.zeros(columns.n_rows, np.int64)
    found = []
    for field in columns.cells:
        if field == TIME or field in tags:
            continue
        numbers = numbers_of(columns.cells[field], roles.missing, one_group, 1)
        if numbers.holds_numbers.all():
            check_text(numbers.is_text, columns, field)
        for code, labels in enumerate(keys.labels):
            rows = np.flatnonzero(keys.codes == code)
            found.append(Fields(_metric(field, labels), code, rows, numbers.values[rows]))
    return fields_form(found, columns.cells[TIME], columns.place, columns.name, roles)


def _metric(field: str, labels: Mapping[str, str]) -> Metric:
    tags = {tag: value for tag, value in labels.items() if tag not in (FIELD, MEASUREMENT)}
    return Metric(field, tags, labels.get(MEASUREMENT, ""))


class _Keys(NamedTuple):
    """Distinct sets of labels, and which one each row has."""

    labels: list[dict[str, str]]
    codes: NDArray[np.int64]


def _keys_of(cells: Mapping[str, pa.Array], names: list[str]) -> _Keys:
    joined = pc.binary_join_element_wise(*(cells[one] for one in names), UNIT_SEPARATOR)
    keys = joined.dictionary_encode()
    labels = []
    for key in keys.dictionary.to_pylist():
        values = zip(names, key.split(UNIT_SEPARATOR), strict=True)
        labels.append({name: value for name, value in values if value or name == FIELD})
    return _Keys(labels, np.array(keys.indices, dtype=np.int64))


def _sections(text: str, name: str) -> list[_Section]:
    """Return the parts of a text between annotations."""
    lines = text.splitlines(keepends=True)
    marked = np.array([line.startswith("#") for line in lines])
    starts = np.flatnonzero(marked & ~np.r_[False, marked[:-1]])
    sections = []
    for start, stop in zip(starts, [*starts[1:], len(lines)], strict=True):
        n_marked = int(np.argmin(np.r_[marked[start:stop], False]))
        body = "".join(lines[start + n_marked : stop])
        if not body.strip():
            continue
        defaults = _annotation("#default", lines[start : start + n_marked], body)
        columns = columns_of_csv(body, name, lines_before=int(start) + n_marked)
        cells = {
            one: pc.if_else(pc.equal(values, ""), defaults[one], values)
            if defaults.get(one)
            else values
            for one, values in columns.cells.items()
        }
        rows = np.arange(columns.n_rows)
        if TIME in cells:  # after an empty line, the column names may be repeated
            rows = np.flatnonzero(np.array(pc.not_equal(cells[TIME], TIME), dtype=bool))
        groups = _annotation("#group", lines[start : start + n_marked], body)
        tags = frozenset(one for one, is_group in groups.items() if is_group == "true")
        sections.append(_Section(Columns(cells, columns.place, name), rows, tags))
    if not sections:
        raise DataError(f"{name} holds annotations and no rows.")
    return sections


def _annotation(mark: str, annotations: list[str], body: str) -> Mapping[str, str]:
    """Return the values of a line of annotations: column -> value."""
    header = body.lstrip("\r\n").partition("\n")[0].rstrip("\r").split(",")
    for line in annotations:
        if line.startswith(mark):
            _, *values = line.rstrip("\r\n").split(",")
            return dict(zip(header[1:], values, strict=False))
    return {}


def _joined(sections: list[_Section], column: str) -> pa.Array:
    """Return a column of all sections, empty where a section has none."""
    parts = [
        section.columns.cells[column].take(pa.array(section.rows))
        if column in section.columns.cells
        else pa.array([""] * len(section.rows), pa.string())
        for section in sections
    ]
    return pa.concat_arrays(parts)

"""Annotated CSV of InfluxDB."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vae_anomaly._text import listed
from vae_anomaly.data.series.columns import Columns, Roles
from vae_anomaly.data.series.csv_text import columns_of_csv
from vae_anomaly.data.series.labels import Form, labelled_form, measured
from vae_anomaly.exceptions import DataError

__all__ = ["ANNOTATION", "form_of_annotated"]

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


def form_of_annotated(text: str, name: str, series_column: str | None) -> Form:
    """Return the rows of annotated CSV.

    Tags that differ are parts of the names of channels, unless they name the series. Columns
    without `_field` are channels, as after ``pivot``.

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
    if FIELD not in cells or VALUE not in cells:
        roles = Roles(time_column=TIME, series_column=series_column)
        return Form(Columns(cells, place, name), roles)
    tags = [one for one in cells if one not in (TIME, VALUE, FIELD, MEASUREMENT)]
    if MEASUREMENT not in cells:
        cells[MEASUREMENT] = pa.array([""] * len(cells[TIME]), pa.string())
    parts = [cells[one] for one in (MEASUREMENT, FIELD, *tags)]
    keys = pc.binary_join_element_wise(*parts, UNIT_SEPARATOR).dictionary_encode()
    fields = []
    for key in keys.dictionary.to_pylist():
        measurement, field, *values = key.split(UNIT_SEPARATOR)
        labels = {tag: value for tag, value in zip(tags, values, strict=True) if value}
        fields.append((measurement, field, labels))
    codes = np.array(keys.indices, dtype=np.int64)
    return labelled_form(
        measured(fields), codes, cells[TIME], cells[VALUE], place, name, series_column
    )


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
        defaults = _defaults(lines[start : start + n_marked], body)
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
        sections.append(_Section(Columns(cells, columns.place, name), rows))
    if not sections:
        raise DataError(f"{name} holds annotations and no rows.")
    return sections


def _defaults(annotations: list[str], body: str) -> Mapping[str, str]:
    """Return the values of empty cells: column -> value."""
    header = body.lstrip("\r\n").partition("\n")[0].rstrip("\r").split(",")
    for line in annotations:
        if line.startswith("#default"):
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

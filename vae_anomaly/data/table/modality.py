"""Tables as a modality."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from vae_anomaly._text import MAX_VALUE_LENGTH, listed, shown
from vae_anomaly._types import Json
from vae_anomaly.data.base import (
    Array,
    DataParameters,
    Defaults,
    Encoder,
    Modality,
    Records,
    Schema,
    Source,
)
from vae_anomaly.data.table.column import DATE, NUMBER
from vae_anomaly.data.table.encoder import TableEncoder
from vae_anomaly.data.table.listing import has_parts
from vae_anomaly.data.table.missing import MissingValues
from vae_anomaly.data.table.schema import TableSchema
from vae_anomaly.names import may_be_labels

__all__ = ["MODALITY", "Tables"]

NUMBERS = ("mean", "deviation", "low", "high")
"""Properties of a column that a description shows."""

SAMPLE_BYTES = 4096
"""Bytes at the start of a file of which none is NUL in a text file."""


class Tables(Modality):
    """Tables: CSV and Parquet files, folders of them, matrices and data frames."""

    name = "table"
    unit = "row"
    contents = "a table"
    options: Mapping[str, str] = {
        "ignore": "--ignore",
        "column_types": "--type",
        "missing_values": "--missing",
        "id_column": "--id-column",
        "sql": "--sql",
        "label_column": "--label-column",
        "keep": "--keep",
        "explain": "--explain",
        "repair": "--repair",
        "memory_limit": "--memory-limit",
    }
    defaults = Defaults(latent_dim=32, score_type="exemplar")
    encoder: type[Encoder] = TableEncoder

    def accepts(self, path: str) -> bool:
        """Return whether a path holds a table; see `Modality.accepts`."""
        if path == "-" or has_parts(path):
            return True
        if not Path(path).is_file():
            return False
        with Path(path).open("rb") as file:
            start = file.read(SAMPLE_BYTES)
        return start.startswith(b"PAR1") or b"\0" not in start

    def open(
        self,
        path: str,
        encoder: Encoder | None = None,
        *,
        fitting: bool = False,
        labelled: bool = False,
        **options: Json,
    ) -> Source:
        """Open a CSV or Parquet table; see `Modality.open`.

        Parameters
        ----------
        path : str
        encoder : TableEncoder, optional
            Columns are matched to its features, by name, or by position where it has no names.
            Without one, all columns are features that are not left out.
        fitting : bool, default=False
        labelled : bool, default=False
            Labels are wanted if there is a `label_column`. Without either, rows that cannot be
            parsed are skipped.
        **options
            Those of `vae_anomaly.data.table.opening.open_source`: ignore,
            column_types, missing_values, id_column, label_column, normal_label, keep, strict; and
            sql, a query where the path is the URL of a database.
        """
        from vae_anomaly.data.table.files import open_table
        from vae_anomaly.data.table.opening import open_source

        reader = open_table(path, sql=options.pop("sql", None))
        # Rows that are learned, calibrate or measure a model are refused if they cannot be parsed.
        reader.may_skip = not (fitting or labelled or encoder is None or options.get("strict"))
        source = open_source(reader, cast("TableEncoder | None", encoder), **options)
        if fitting and encoder is not None and "label_column" not in options:
            fitted = cast("TableEncoder", encoder)
            source.notes = [*source.notes, *_label_notes(fitted.ignored, reader.columns)]
        return source

    def accepts_array(self, X: Records) -> bool:
        """Return whether an array-like has rows and columns."""
        return len(getattr(X, "shape", ())) == 2

    def schema(self, X: Records, parameters: DataParameters) -> Schema:
        """Find the types of the columns."""
        missing = MissingValues(tuple(parameters.missing_values))
        return TableSchema.of(X, parameters.column_types or {}, missing)

    def fit(
        self,
        records: Array,
        schema: Schema,
        names: Sequence[str] | None,
        parameters: DataParameters,
    ) -> Encoder:
        """Measure the columns of training rows."""
        return TableEncoder.fit(records, cast("TableSchema", schema), names, parameters)

    def bind(self, encoder: Encoder, source: Source) -> Encoder:
        """Return the encoder with the columns of the source that are no features."""
        from vae_anomaly.data.table.training_source import TrainingTable

        if isinstance(source, TrainingTable):
            return source.remembered(cast("TableEncoder", encoder))
        return encoder

    def describe(self, facts: Mapping[str, Json]) -> Sequence[str]:
        """Return the names and ranges of the columns, aligned."""
        columns = facts["columns"]
        cells = [("name", *NUMBERS, "")]
        for column in columns:
            name = column["name"]
            if not name.isprintable() or len(name) > MAX_VALUE_LENGTH:
                name = shown(name)
            numbers = (f"{column[key]:.6g}" if key in column else "" for key in NUMBERS)
            cells.append((name, *numbers, _remarks(column)))
        width, *widths = [max(map(len, values)) for values in zip(*cells, strict=True)]
        lines = [f"columns      {len(columns)}"]
        if facts["id_column"] is not None:
            lines.append(f"identifier   {shown(facts['id_column'])}")
        others = [name for name in facts["ignored"] if name != facts["id_column"]]
        if others:
            lines.append(f"left out     {listed(others)}")
        lines.append("")
        for first, *rest, remarks in cells:
            text = "  ".join(cell.rjust(n) for cell, n in zip(rest, widths, strict=False))
            lines.append(f"{first.ljust(width)}  {text}  {remarks}".rstrip())
        return lines


def _label_notes(ignored: Sequence[str], columns: Sequence[str]) -> list[str]:
    """Return a warning for columns that a fit left out and that may tell which rows are normal."""
    found = [name for name in ignored if name in columns and may_be_labels(name)]
    return [
        f"warning: {shown(name)}, which the fit left out, may hold labels. If so, only normal rows "
        f"should calibrate: --label-column {shlex.quote(name)}"
        for name in found
    ]


def _remarks(column: Mapping[str, Json]) -> str:
    """Return what is to be said of a column besides its range."""
    remarks = []
    if "levels" in column:
        remarks.append(f"category, {column['reason']}: {listed(column['levels'])}")
    elif column.get("type") == DATE:
        days = f"; {column['first']} to {column['last']}" if "first" in column else ""
        remarks.append(f"date, {column['reason']}{days}")
    elif column.get("type", NUMBER) != NUMBER:
        remarks.append(f"left out, {column['type']}: {column['reason']}")
    if column.get("constant"):
        remarks.append("constant")
    if column.get("missing_rows"):
        remarks.append(f"missing in {column['missing_rows']:,} training rows")
    return "; ".join(remarks)


MODALITY: Modality = Tables()

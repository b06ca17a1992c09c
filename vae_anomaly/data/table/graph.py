"""Encoder of tables in an ONNX graph: codes of cells to inputs, targets and penalties."""

from __future__ import annotations

import json
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._types import Symbol
from vae_anomaly.data.cells import STRAY
from vae_anomaly.data.graph import EncodedSymbols
from vae_anomaly.data.scaling import ColumnScaler
from vae_anomaly.data.table.column import NUMBER
from vae_anomaly.data.table.levels import LevelIndicators
from vae_anomaly.data.table.schema import TableSchema

__all__ = ["FittedTable", "encoded_in_graph"]

Array = NDArray[np.float64]


class FittedTable(Protocol):
    """What a graph needs of `TableEncoder`."""

    @property
    def names(self) -> tuple[str, ...] | None:
        """Names of the columns; None if training rows had none."""

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the columns, or x0, x1, ..."""

    @property
    def scaler(self) -> ColumnScaler:
        """Of the numbers and the parts of dates."""

    @property
    def likelihood(self) -> str:
        """Of the numbers and the parts of dates."""

    @property
    def schema(self) -> TableSchema:
        """Types of the columns."""

    @property
    def levels(self) -> LevelIndicators:
        """Of the categories."""

    @property
    def n_missing(self) -> Array:
        """Training rows in which each column is missing."""

    @property
    def n_rows(self) -> int:
        """Number of training rows."""

    @property
    def is_plain(self) -> bool:
        """Whether all columns are numbers, and none was missing in training."""

    @property
    def has_masks(self) -> bool:
        """Whether inputs say which cells are observed."""

    @property
    def date_widths(self) -> tuple[int, ...]:
        """Parts of each date that vary."""


def encoded_in_graph(table: FittedTable, rows: Symbol) -> EncodedSymbols:
    """Add `TableEncoder.encode` to a graph, and what its rows are to the metadata."""
    schema, never = table.schema, table.n_missing == 0
    if table.is_plain:
        n = len(table.scaler.center)
        schema = TableSchema.of_numbers(table.names, n, schema.missing)
        never = np.ones(n, bool)
    _describe(table, rows)

    # Numbers and dates.
    valued, n_numbers = np.concatenate([schema.numbers, schema.dates]), len(schema.numbers)
    cells = rows.columns(valued)
    missing = cells.is_nan()
    for number in schema.missing.numbers:
        missing = missing + cells.test("Equal", number) * (np.arange(len(valued)) < n_numbers)
    stray = cells.test("Equal", STRAY) * (not table.is_plain)
    known = 1.0 - missing - stray
    values, penalties = cells.where(known, np.nan), []
    cost = np.log(table.n_rows + 1.0)
    if len(schema.dates):
        dates = values.taken(n_numbers, None)
        first, last = schema.date_parts.limits
        penalties = [(dates.test("Less", first) + dates.test("Greater", last)) * cost]
        values = _joined(values.taken(0, n_numbers), schema.date_parts.in_graph(dates))
    absent = values.is_nan()
    # The center costs nothing.
    scaled = table.scaler.in_graph(
        values.where(1.0 - absent, table.scaler.center), table.likelihood
    )

    varies = table.scaler.varies
    of_values = scaled.penalty * ~varies if table.has_masks else scaled.penalty
    widths = np.array(() if table.is_plain else table.date_widths)
    vary = np.concatenate([varies[:n_numbers], widths > 0])
    penalties += [(missing * never[valued] + stray) * cost, of_values]
    targets, inputs = [scaled.targets], [scaled.inputs]
    observed = [known.columns(np.flatnonzero(vary))]
    if len(schema.categories):
        codes = rows.columns(schema.categories)
        missing_codes = codes.is_nan()
        indicators, unseen = table.levels.in_graph(codes)
        known_codes = 1.0 - missing_codes - unseen.test("Greater", 0.0)
        penalties += [missing_codes * (never[schema.categories] * cost), unseen]
        observed.append(known_codes.columns(np.flatnonzero(table.levels.widths)))
        targets.append(indicators)
        inputs.append(indicators)
    masks = _joined(*observed)
    inputs += [masks] if table.has_masks else []
    return EncodedSymbols(_joined(*inputs), _joined(*targets), _joined(*penalties), masks)


def _describe(table: FittedTable, rows: Symbol) -> None:
    """Write columns, levels, formats of dates and further missing values to the metadata."""
    columns, metadata = table.schema.columns, rows.graph.metadata
    types = [one.type for one in columns] or [NUMBER] * len(table.features)
    metadata["columns"] = json.dumps(table.features)
    metadata["column_types"] = json.dumps(types)
    if len(table.schema.categories):
        levels = {table.features[i]: columns[i].levels for i in table.schema.categories}
        metadata["levels"] = json.dumps(levels)
    if len(table.schema.dates):
        formats = {table.features[i]: columns[i].format for i in table.schema.dates}
        metadata["dates"] = json.dumps(formats)
    if table.schema.missing.texts:
        metadata["missing_values"] = json.dumps(table.schema.missing.texts)


def _joined(*parts: Symbol) -> Symbol:
    """Join columns."""
    return parts[0].apply("Concat", *parts[1:], axis=1) if len(parts) > 1 else parts[0]

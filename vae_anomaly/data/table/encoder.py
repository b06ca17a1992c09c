"""Encoder of tables: standardised numbers, parts of dates, and indicators of levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._text import listed, shown
from vae_anomaly._types import Json, JsonObject, Symbol
from vae_anomaly.data.base import DataParameters, Encoded, Records
from vae_anomaly.data.cell_texts import CellTexts
from vae_anomaly.data.cells import STRAY
from vae_anomaly.data.graph import EncodedSymbols
from vae_anomaly.data.scaling import ColumnScaler
from vae_anomaly.data.state import EncoderState, Outline
from vae_anomaly.data.table.column import NUMBER, without_strays
from vae_anomaly.data.table.dates import day_of
from vae_anomaly.data.table.graph import encoded_in_graph
from vae_anomaly.data.table.levels import LevelIndicators
from vae_anomaly.data.table.missing import MissingValues
from vae_anomaly.data.table.schema import TableSchema, as_frame
from vae_anomaly.data.table.settings import (
    MixedSizes,
    mixed_outline,
    outline_of_table,
    schema_of,
    sizes_of,
)
from vae_anomaly.exceptions import DataError, ParameterError
from vae_anomaly.stats.soft_clip import soft_clip

__all__ = ["TableEncoder"]

Array = NDArray[np.float64]

MAX_LISTED = 10
"""Columns that a message lists."""


@dataclass(frozen=True, eq=False)
class TableEncoder:
    """Columns of a table; see `data.base.Encoder`.

    Targets are the numbers that vary, then the parts of each date that vary, then the
    indicators of each category with two levels or more. A table with categories, dates or
    missing cells also has an input for each of these columns that says which cells are
    observed. A missing cell is 0 among inputs and targets. So are the days since a first date
    that is missing: the mean of training.

    Attributes
    ----------
    names : tuple of str or None
        Names of the columns; None if training rows had none.
    scaler : ColumnScaler
        Of the numbers and the parts of dates.
    likelihood : str
        Of the numbers and the parts of dates.
    schema : TableSchema
        Types of the columns; without columns if all are numbers, and none was missing in
        training.
    levels : LevelIndicators
        Of the categories.
    n_missing : ndarray of shape (n_features,)
        Training rows in which the cell of a column is missing; () without a schema.
    n_rows : int
        Number of training rows.
    id_column : str or None
        Column of the keys in the file that was learned.
    ignored : tuple of str
        Columns of that file that were left out.
    """

    modality: ClassVar[str] = "table"
    may_miss: ClassVar[bool] = True
    shape: ClassVar[None] = None

    names: tuple[str, ...] | None
    scaler: ColumnScaler
    likelihood: str
    schema: TableSchema = field(default_factory=TableSchema)
    levels: LevelIndicators = field(default_factory=LevelIndicators)
    n_missing: Array = field(default_factory=lambda: np.empty(0))
    n_rows: int = 0
    id_column: str | None = None
    ignored: tuple[str, ...] = ()

    @classmethod
    def fit(
        cls,
        records: Array,
        schema: TableSchema,
        names: Sequence[str] | None,
        parameters: DataParameters,
    ) -> TableEncoder:
        """Measure the columns of training rows, (n, n_features).

        Raises
        ------
        DataError
            If all columns are left out.
        ParameterError
            If custom networks meet categories, dates or missing cells.

        Warns
        -----
        PrecisionWarning
            If the numbers of a column are too large for float64 to tell them apart.
        """
        columns = None if names is None else tuple(str(name) for name in names)
        if not schema.columns and not np.isnan(records).any():
            scaler = ColumnScaler.from_rows(records)
            encoder = cls(columns, scaler, parameters.likelihood, schema, n_rows=len(records))
        else:
            encoder = cls._of_mixed(records, schema, columns, parameters)
        features = encoder.features
        numbers = range(len(features)) if encoder.is_plain else encoder.schema.numbers
        encoder.scaler.warn_of_lost_digits([features[i] for i in numbers])
        return encoder

    @classmethod
    def _of_mixed(
        cls,
        records: Array,
        schema: TableSchema,
        names: tuple[str, ...] | None,
        parameters: DataParameters,
    ) -> TableEncoder:
        """Measure columns of different types, or with missing cells; see `fit`."""
        if not schema.columns:
            schema = TableSchema.of_numbers(names, records.shape[1], schema.missing)
        if not len(schema.used):
            left_out = [
                f"{shown(name)} ({column.type}: {column.reason})"
                for name, column in zip(names or (), schema.columns, strict=False)
            ]
            raise DataError(
                f"No column is left to learn from: {', '.join(left_out[:MAX_LISTED])}. Expected "
                f"at least one of numbers, categories or dates. If one is, say so, as in "
                f"column_types={{{shown((names or ('x0',))[0])}: 'number'}}."
            )
        if not isinstance(parameters.architecture, str):
            raise ParameterError(
                "Custom networks take numbers without missing cells. Encode categories and dates "
                "and fill the cells before, or leave architecture at its default."
            )
        values = schema.values(without_strays(records))
        scaler = ColumnScaler.from_columns([column[~np.isnan(column)] for column in values.T])
        categories = [schema.columns[i] for i in schema.categories.tolist()]
        levels = LevelIndicators.fit(
            records[:, schema.categories],
            [len(column.levels) for column in categories],
            [column.last_share for column in categories],
        )
        n_missing = np.isnan(records).sum(axis=0).astype(np.float64)
        likelihood = parameters.likelihood
        return cls(names, scaler, likelihood, schema, levels, n_missing, len(records))

    @cached_property
    def features(self) -> tuple[str, ...]:
        """Names of the columns, or x0, x1, ..."""
        n = len(self.scaler.center) if self.is_plain else len(self.schema.columns)
        return self.names or tuple(f"x{i}" for i in range(n))

    @property
    def used_names(self) -> tuple[str, ...] | None:
        """Names of the columns that are not left out, where the training data had names."""
        if self.names is None or self.is_plain:
            return self.names
        return tuple(self.names[i] for i in self.schema.used)

    @property
    def is_plain(self) -> bool:
        """Whether all columns are numbers, and none was missing in training."""
        return not self.schema.columns

    @cached_property
    def has_masks(self) -> bool:
        """Whether inputs say which cells are observed."""
        if self.is_plain:
            return False
        schema = self.schema
        if len(schema.categories) or len(schema.dates):
            return True
        return bool(self.n_missing[schema.numbers].any())

    @cached_property
    def date_widths(self) -> tuple[int, ...]:
        """Parts of each date that vary."""
        varies = self.scaler.varies[len(self.schema.numbers) :]
        owner = self.schema.date_parts.column_of_part[varies]
        return tuple(np.bincount(owner, minlength=len(self.schema.dates)).tolist())

    @cached_property
    def outline(self) -> Outline:
        """Sizes: a target for each number and part of a date that varies, and for each level."""
        if self.is_plain:
            return self.scaler.outline(self.likelihood)
        return mixed_outline(self.likelihood, self.schema, self._mixed_sizes())

    def _mixed_sizes(self) -> MixedSizes:
        """Return the sizes of a table with a schema."""
        n_varying = int(self.scaler.varies[: len(self.schema.numbers)].sum())
        return MixedSizes(n_varying, self.date_widths, self.levels.widths, self.has_masks)

    @cached_property
    def explained(self) -> NDArray[np.intp]:
        """Columns that vary: first the numbers, then the dates, then the categories."""
        if self.is_plain:
            return np.flatnonzero(self.scaler.varies)
        schema, sizes = self.schema, (self.date_widths, self.levels.widths)
        varies = self.scaler.varies[: len(schema.numbers)]
        of_dates, of_levels = (np.array(widths, dtype=np.intp) > 0 for widths in sizes)
        parts = [schema.numbers[varies], schema.dates[of_dates], schema.categories[of_levels]]
        return np.concatenate(parts)

    @cached_property
    def are_numbers(self) -> NDArray[np.bool_]:
        """Which columns are numbers."""
        if self.is_plain:
            return np.ones(len(self.scaler.center), dtype=bool)
        return np.array([column.type == NUMBER for column in self.schema.columns])

    @cached_property
    def named_targets(self) -> Mapping[int, tuple[str, ...]]:
        """Dates that vary -> the cycle of each target, or the time since another date."""
        if self.is_plain:
            return {}
        dates = self.schema.dates.tolist()
        varies = iter(self.scaler.varies[len(self.schema.numbers) :])
        names = self.schema.date_parts.names(self.features[dates[0]]) if dates else []
        kept = [tuple(name for name in own if next(varies)) for own in names]
        return {i: own for i, own in zip(dates, kept, strict=True) if own}

    @property
    def undetermined(self) -> NDArray[np.intp]:
        """The dates: targets do not say of which year they are."""
        return self.schema.dates

    def moved(self, values: Array, records: Array, changed: NDArray[np.bool_]) -> Array:
        """Move dates by one time in a row: see `DateParts.moved`."""
        return self.schema.date_parts.moved(values, records, changed)

    @property
    def missing_shares(self) -> Array:
        """Shares of training rows in which each column is missing; 0 of those left out."""
        shares = np.zeros(len(self.features))
        if not self.is_plain:
            used = self.schema.used
            shares[used] = self.n_missing[used] / self.n_rows
        return shares

    def matrix(self, X: Records) -> Records:
        """Return the cells as numbers: NaN where missing, categories as codes.

        Raises
        ------
        DataError
            If an array has more than two axes, or most cells of a number are text.
        """
        shape = getattr(X, "shape", ())
        if len(shape) > 2:
            raise DataError(
                f"Expected rows of numbers, as in training, got an array of shape {shape}."
            )
        return self.schema.matrix(X)

    def encode(self, records: Array) -> Encoded:
        """Encode rows, (n, n_features)."""
        missing = np.isnan(records)
        any_missing = bool(missing.any())
        if self.is_plain and not any_missing:
            return self.scaler.encode(records, self.likelihood)
        n_features = records.shape[1]
        schema = TableSchema.of_numbers(self.names, n_features) if self.is_plain else self.schema
        stray = (records == STRAY) & (not self.is_plain)
        missing |= stray
        values = schema.values(np.where(stray, np.nan, records))
        absent = np.isnan(values)
        scaled = self.scaler.encode(np.where(absent, self.scaler.center, values), self.likelihood)
        indicators, unseen = self.levels.encode(records[:, schema.categories])

        # As unexpected as a level that no training row had.
        never = np.ones(n_features, bool) if self.is_plain else self.n_missing == 0
        unexpected = missing & never | stray
        unexpected[:, schema.dates] |= schema.date_parts.are_far(records[:, schema.dates])
        penalty = np.where(unexpected, np.log(self.n_rows + 1.0), 0.0)
        # Tails of training cells take the place of the Jacobian where networks have masks.
        known = absent | self.scaler.varies if self.has_masks else absent
        of_values = np.where(known, 0.0, scaled.penalty)
        np.add.at(penalty.T, schema.column_of_value, of_values.T)
        penalty[:, schema.categories] += unseen
        missing[:, schema.categories] |= unseen > 0
        targets = np.concatenate([scaled.targets, indicators], axis=1)
        inputs = np.concatenate([scaled.inputs, indicators], axis=1)
        if self.has_masks:
            inputs = np.concatenate([inputs, ~missing[:, self.explained]], axis=1)
        return Encoded(inputs, targets, penalty, ~missing)

    def decode(self, targets: Array) -> Array:
        """Return the rows that targets stand for as numbers, see `matrix`: (n, n_features).

        Dates are missing: see `undetermined`.
        """
        k = int(self.scaler.varies.sum())
        values = self.scaler.decode(targets[:, :k], self.likelihood)
        if self.is_plain:
            return values
        codes = np.full((len(targets), len(self.schema.columns)), np.nan)
        codes[:, self.schema.numbers] = values[:, : len(self.schema.numbers)]
        codes[:, self.schema.categories] = self.levels.decode(targets[:, k:])
        return codes

    def encode_targets(self, targets: Array) -> Encoded:
        """Encode the rows that targets stand for."""
        return self.encode(self.decode(targets))

    def in_graph(self, rows: Symbol) -> EncodedSymbols:
        """Add `encode` to an ONNX graph; see `data.table.graph`."""
        return encoded_in_graph(self, rows)

    def standardized(self, records: Records) -> Array:
        """Return the columns in standard deviations, soft-clipped: (n, n_features).

        0 for missing cells, and for what is no number.
        """
        rows = np.asarray(records, dtype=np.float64)
        if self.is_plain:
            return np.nan_to_num(soft_clip(self.scaler.standardize(rows)))
        z, numbers = np.zeros(rows.shape), self.schema.numbers
        values = soft_clip(self.scaler.standardize(self.schema.values(without_strays(rows))))
        z[:, numbers] = np.nan_to_num(values[:, : len(numbers)])
        return z

    def describe(self) -> JsonObject:
        """Return the names, types and ranges of the columns, and those that are no features."""
        others: JsonObject = {"id_column": self.id_column, "ignored": list(self.ignored)}
        if self.is_plain:
            return {"columns": self.scaler.describe(self.features)} | others
        of_numbers = [self.features[i] for i in self.schema.numbers]
        known = {one["name"]: one for one in self.scaler.describe(of_numbers)}
        described = []
        for i, (name, column) in enumerate(zip(self.features, self.schema.columns, strict=True)):
            facts: JsonObject = {"name": name, "type": column.type, "reason": column.reason}
            if column.levels:
                counts = self.levels.counts[self.schema.categories.tolist().index(i)]
                facts["levels"] = list(column.levels)
                facts["level_rows"] = counts[:-1].astype(int).tolist()
            if column.span:
                facts["first"], facts["last"] = map(day_of, column.span)
            if column.is_used:
                facts["missing_rows"] = int(self.n_missing[i])
            described.append(known.get(name, {}) | facts)
        return {"columns": described} | others

    def notes(self) -> list[str]:
        """Return lines about columns that are no plain numbers, or constant."""
        lines = self.schema.notes(self.features, self.n_missing, self.n_rows, self.levels.words)
        values = self.schema.column_of_value.tolist()
        places = values + self.schema.categories.tolist()
        if self.is_plain:
            places = range(len(self.features))
        constant = [self.features[i] for i in sorted(set(places) - set(self.explained.tolist()))]
        if constant:
            lines.append(
                f"constant in training, any other value will count as anomalous: {listed(constant)}"
            )
        return lines

    def rows(self, records: Array, like: Records = None) -> Records:
        """Return numbers as they are, mixed rows as a data frame: (n, n_features)."""
        if self.is_plain or self.schema.is_numeric:
            return records
        return self.schema.frame(records, as_frame(like))

    def cells(self, values: Array, feature: NDArray[np.intp]) -> list[Json]:
        """Return values, each of a column, (n,) both, in the types of training; None if missing."""
        if self.is_plain or self.schema.is_numeric:
            return list(values.tolist())
        found: list[Json] = [None] * len(values)
        for i in np.unique(feature):
            here = np.flatnonzero(feature == i)
            cells = self.schema.columns[i].cells(values[here])
            for place, cell, known in zip(here.tolist(), cells, cells.notna(), strict=True):
                found[place] = cell if known else None
        return found

    def texts(self, X: Records, codes: Array) -> CellTexts:
        """Return the texts of unseen levels and stray cells of a data frame."""
        return self.schema.texts(X, codes)

    def to_state(self) -> EncoderState:
        """Return the settings and arrays for a model file."""
        settings: JsonObject = {
            "likelihood": self.likelihood,
            "n_features": self.outline.n_features,
            "n_inputs": self.outline.n_inputs,
            "names": None if self.names is None else list(self.names),
            "n_rows": self.n_rows,
            "missing": list(self.schema.missing.texts),
            "id_column": self.id_column,
            "ignored": list(self.ignored),
            "mixed": None,
        }
        arrays = self.scaler.arrays()
        if not self.is_plain:
            settings["mixed"] = {
                "columns": [column.to_plain() for column in self.schema.columns],
                **self._mixed_sizes()._asdict(),
            }
            arrays["level_counts"] = np.concatenate([*self.levels.counts, np.empty(0)])
            arrays["n_missing"] = self.n_missing
        return EncoderState(settings, arrays)

    @classmethod
    def outline_of(cls, settings: Mapping[str, Json]) -> Outline:
        """Check settings from a file, and return their outline; see `Encoder`."""
        return outline_of_table(settings)

    @classmethod
    def from_state(cls, state: EncoderState) -> TableEncoder:
        """Build the encoder that `to_state` described."""
        settings, arrays = state.settings, dict(state.arrays)
        names = None if settings["names"] is None else tuple(settings["names"])
        likelihood, n_rows = settings["likelihood"], settings["n_rows"]
        mixed, missing = settings["mixed"], MissingValues(tuple(settings["missing"]))
        others = {"id_column": settings["id_column"], "ignored": tuple(settings["ignored"])}
        if mixed is None:
            scaler = ColumnScaler.from_arrays(arrays, settings["n_inputs"])
            schema = TableSchema(missing=missing)
            return cls(names, scaler, likelihood, schema, n_rows=n_rows, **others)
        counts, n_missing = arrays.pop("level_counts"), arrays.pop("n_missing")
        n_varying = mixed["n_varying"] + sum(mixed["date_widths"])
        scaler = ColumnScaler.from_arrays(arrays, n_varying)
        schema = replace(schema_of(mixed["columns"], names), missing=missing)
        sizes = [len(schema.columns[i].levels) + 1 for i in schema.categories.tolist()]
        levels = LevelIndicators(tuple(np.split(counts, np.cumsum(sizes)[:-1]) if sizes else ()))
        encoder = cls(names, scaler, likelihood, schema, levels, n_missing, n_rows, **others)
        for array in (counts, n_missing):
            if ((array < 0) | (array > n_rows) | (array != np.floor(array))).any():
                raise ValueError("its columns count rows that there are not")
        if encoder._mixed_sizes() != sizes_of(mixed):
            raise ValueError("its columns do not vary as its settings say")
        return encoder

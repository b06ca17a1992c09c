"""Encoder of tables: columns of numbers, each standardised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._types import Json, JsonObject, Symbol
from vae_anomaly.data.base import (
    DataParameters,
    Encoded,
    EncoderState,
    Outline,
    Records,
)
from vae_anomaly.data.scaling import ColumnScaler, checked_outline
from vae_anomaly.exceptions import DataError
from vae_anomaly.stats.soft_clip import soft_clip

__all__ = ["TableEncoder"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TableEncoder:
    """Columns of a table; see `data.base.Encoder`.

    Attributes
    ----------
    names : tuple of str or None
        Names of the columns; None if training rows had none.
    scaler : ColumnScaler
    likelihood : str
        Of all columns.
    """

    modality: ClassVar[str] = "table"

    names: tuple[str, ...] | None
    scaler: ColumnScaler
    likelihood: str

    @classmethod
    def fit(
        cls, records: Array, names: Sequence[str] | None, parameters: DataParameters
    ) -> TableEncoder:
        """Measure the columns of training rows, (n, n_features)."""
        columns = None if names is None else tuple(str(name) for name in names)
        return cls(columns, ColumnScaler.from_rows(records), parameters.likelihood)

    @cached_property
    def features(self) -> tuple[str, ...]:
        """Names of the columns, or x0, x1, ..."""
        return self.names or tuple(f"x{i}" for i in range(len(self.scaler.center)))

    @cached_property
    def outline(self) -> Outline:
        """Sizes: an input and a target for each column that varies."""
        return self.scaler.outline(self.likelihood)

    @cached_property
    def explained(self) -> NDArray[np.intp]:
        """Columns that vary."""
        return np.flatnonzero(self.scaler.varies)

    def matrix(self, X: Records) -> Records:
        """Return the data as they are, unless an array has more than two axes."""
        shape = getattr(X, "shape", ())
        if len(shape) > 2:
            raise DataError(
                f"Expected rows of numbers, as in training, got an array of shape {shape}."
            )
        return X

    def encode(self, records: Array) -> Encoded:
        """Encode rows, (n, n_features)."""
        return self.scaler.encode(records, self.likelihood)

    def decode(self, targets: Array, like: Records = None) -> Array:
        """Return the rows that targets stand for: (n, n_features)."""
        return self.scaler.decode(targets, self.likelihood)

    def in_graph(self, rows: Symbol) -> tuple[Symbol, Symbol, Symbol]:
        """Add `encode` to an ONNX graph."""
        return self.scaler.in_graph(rows, self.likelihood)

    def standardized(self, records: Records) -> Array:
        """Return the columns in standard deviations, soft-clipped: (n, n_features)."""
        return soft_clip(self.scaler.standardize(np.asarray(records, dtype=np.float64)))

    def describe(self) -> JsonObject:
        """Return the names and ranges of the columns."""
        return {"columns": self.scaler.describe(self.features)}

    def to_state(self) -> EncoderState:
        """Return the settings and arrays for a model file."""
        settings = {
            "likelihood": self.likelihood,
            "n_features": self.outline.n_features,
            "n_inputs": self.outline.n_inputs,
            "names": None if self.names is None else list(self.names),
        }
        return EncoderState(settings, self.scaler.arrays())

    @classmethod
    def outline_of(cls, settings: Mapping[str, Json]) -> Outline:
        """Check settings from a file, and return their outline; see `Encoder`."""
        return checked_outline(settings, {"names"})

    @classmethod
    def from_state(cls, state: EncoderState) -> TableEncoder:
        """Build the encoder that `to_state` described."""
        settings, names = state.settings, state.settings["names"]
        scaler = ColumnScaler.from_arrays(state.arrays, settings["n_inputs"])
        return cls(None if names is None else tuple(names), scaler, settings["likelihood"])

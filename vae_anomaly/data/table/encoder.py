"""Encoder of tables: columns of numbers, each standardised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.data.base import DataParameters, Encoded, Records
from vae_anomaly.data.scaling import ColumnScaler, Symbol
from vae_anomaly.stats.likelihoods import Block
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
    grid: ClassVar[None] = None

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
    def blocks(self) -> tuple[Block, ...]:
        """One block: a target for each column that varies."""
        return self.scaler.blocks(self.likelihood)

    @cached_property
    def explained(self) -> NDArray[np.intp]:
        """Columns that vary."""
        return np.flatnonzero(self.scaler.varies)

    @property
    def n_inputs(self) -> int:
        """Number of columns that vary."""
        return len(self.explained)

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

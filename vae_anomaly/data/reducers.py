"""Reducers: from scores of records to rows of the result."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["OneRowEach", "Reducer", "Rows"]

Array = NDArray[np.float64]


class Rows(NamedTuple):
    """Rows of the result that are ready."""

    keys: pa.Array
    scores: Array
    contributions: Array | None


class Reducer(Protocol):
    """Scores of records to rows of the result; may keep state from batch to batch."""

    def add(self, rows: Rows) -> Rows:
        """Take the scores of the next records, and return the rows that are ready."""

    def finish(self) -> Rows | None:
        """Return the remaining rows."""


class OneRowEach:
    """Reducer of modalities whose records are the rows of the result."""

    def add(self, rows: Rows) -> Rows:
        """Return the rows as they are."""
        return rows

    def finish(self) -> None:
        """Return nothing: no row is kept back."""

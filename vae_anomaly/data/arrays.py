"""Array-like data of a user: frames of any library, and arrays with masked cells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._types import Records
from vae_anomaly.exceptions import DataError

__all__ = ["as_records", "take"]


def as_records(X: Records) -> Records:
    """Return array-like data without what NumPy would drop from them in silence.

    Frames of Polars, PyArrow and others become frames of pandas, which keep the names of their
    columns. Masked cells become NaN: what lies beneath a mask is no value. Arrays in a list
    become one. All else is returned as it is.

    Examples
    --------
    >>> as_records(np.ma.masked_greater([[1.0, 99.0]], 9.0)).tolist()
    [[1.0, nan]]
    """
    if isinstance(X, list | tuple) and any(isinstance(one, np.ma.MaskedArray) for one in X):
        X = np.ma.stack(X)
    if isinstance(X, list | tuple) and X and hasattr(X[0], "__array_interface__"):
        X = _stacked(X)
    if isinstance(X, np.ma.MaskedArray):
        return np.where(np.ma.getmaskarray(X), np.nan, X.data) if np.ma.is_masked(X) else X.data
    if hasattr(X, "to_pandas") and len(getattr(X, "shape", ())) == 2:
        return X.to_pandas()
    return X


def _stacked(X: Sequence[Records]) -> Records:
    """Return arrays in a list as one.

    Raises
    ------
    DataError
        If they have different shapes.
    """
    shapes = [np.shape(one) for one in X]
    for i, shape in enumerate(shapes):
        if shape != shapes[0]:
            raise DataError(
                f"Expected records of one shape, got {shapes[0]} and, in number {i}, {shape}. "
                f"Bring them to one shape."
            )
    return np.stack([np.asarray(one) for one in X])


def take(X: Records, rows: slice | NDArray[np.intp]) -> Records:
    """Return rows of array-like data by position; a frame stays one."""
    given = as_records(X)
    return given.iloc[rows] if hasattr(given, "iloc") else np.asarray(given)[rows]

"""Validation of array-like data: scikit-learn checks it, messages say what to do."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from vae_anomaly._text import MAX_LISTED, counted, shown
from vae_anomaly._types import AnyArray, Parameter, Records
from vae_anomaly.data.arrays import as_records
from vae_anomaly.data.base import Encoder, Schema
from vae_anomaly.data.registry import DEFAULT
from vae_anomaly.exceptions import DataError

__all__ = ["check_form", "checked_records", "validated"]

Array = NDArray[np.float64]

ROWS = "rows of shape (n_samples, n_features)"

ADVICE = {
    "Complex data not supported": "Give real numbers, such as both parts as columns.",
    "Found array with dim": "Give an array of fewer dimensions.",
    "The feature names should match": (
        "Give the columns of training: X[list(detector.feature_names_in_)] selects them."
    ),
    "feature(s) (shape=": "Give at least one column.",
}
"""Part of a message of scikit-learn -> what to do."""


def check_form(X: Records, modality: str) -> None:
    """Raise if data are a path, or array-like data of the default modality no rows.

    Raises
    ------
    DataError
        If they are a path, a single row, or rows of different lengths.
    """
    if isinstance(X, str | bytes | os.PathLike):
        expected = ROWS if modality == DEFAULT else "an array of records"
        raise DataError(
            f"Expected {expected}, got the path {shown(os.fspath(X))}. Read files first, "
            f"such as with pandas or Pillow."
        )
    if modality != DEFAULT:
        return
    shape = getattr(X, "shape", None)
    if isinstance(X, list | tuple):
        try:
            shape = np.shape(X)
        except ValueError as cause:
            raise DataError(f"Expected {ROWS}, got rows of different lengths: {cause}") from None
    if shape is None and not hasattr(X, "__len__") and not hasattr(X, "__array__"):
        raise DataError(f"Expected {ROWS}, got {shown(X)}. Give an array or a data frame.")
    if shape is not None and len(shape) < 2:
        raise DataError(
            f"Expected {ROWS}, got {type(X).__name__} of shape {shape}. Reshape your data: "
            f"np.reshape(X, (1, -1)) is one row, np.reshape(X, (-1, 1)) one column."
        )


def checked_records(detector: BaseEstimator, X: Records, encoder: Encoder) -> Array:
    """Return array-like data for a fitted model: (n_samples, n_features).

    Raises
    ------
    DataError
        As `check_form` and `validated`.
    """
    given = as_records(X)
    check_form(given, encoder.modality)
    return validated(detector, given, encoder, reset=False)


def validated(
    detector: BaseEstimator, X: Records, reader: Schema | Encoder, **options: Parameter
) -> Array:
    """Return the matrix of a schema or encoder, checked by scikit-learn.

    Raises
    ------
    DataError
        If it has another shape or other names than in training, or cells that are no numbers.
    """
    finite = "allow-nan" if reader.may_miss else True
    options |= {"dtype": getattr(reader, "dtype", np.float64), "order": "C"}
    options["ensure_all_finite"] = finite
    matrix = reader.matrix(X)
    try:
        with np.errstate(invalid="ignore"):  # inf - inf, in a sum that looks for them
            return validate_data(detector, matrix, **options)
    except DataError:
        raise
    except ValueError as error:
        raise DataError(_words(str(error), detector, X, matrix, may_miss=reader.may_miss)) from None


def _words(
    error: str, detector: BaseEstimator, X: Records, matrix: Records, *, may_miss: bool
) -> str:
    """Return what was expected, what came, and what to do, for an error of scikit-learn."""
    shape = np.shape(X)
    if "could not convert string" in error or "cannot convert" in error:
        return _of_text(X, matrix)
    if error.startswith("Input X contains"):
        return _of_numbers(X, matrix, may_miss=may_miss)
    if "sample(s)" in error:
        least = 1 if hasattr(detector, "model_") else 2
        return (
            f"Expected at least {counted(least, 'row')}, got {counted(shape[0], 'sample')}, an "
            f"array of shape {shape}. Give more rows."
        )
    if "is expecting" in error:
        if (len(shape) == 2 and getattr(matrix, "shape", shape) != shape) or _grid(detector):
            return _of_grid(detector, shape, error)
        return f"{error.rstrip('.')}. Give all columns of training, in their order."
    advice = next((words for part, words in ADVICE.items() if part in error), "")
    if error.startswith("Complex data"):  # the array follows
        error = "Complex data not supported."
    return f"{error.rstrip()}\n{advice}".rstrip()


def _grid(detector: BaseEstimator) -> tuple[int, ...] | None:
    """Return the shape of a record of the fitted model, if it is a grid."""
    model = getattr(detector, "model_", None)
    return None if model is None else model.encoder.shape


def _of_grid(detector: BaseEstimator, shape: tuple[int, ...], error: str) -> str:
    grid = _grid(detector)
    if grid is None:
        return error
    alone = shape in (grid, grid[:2])
    advice = "X[np.newaxis] is a single one." if alone else "Resize them as in training."
    return (
        f"Expected an array of shape (n_samples, {', '.join(map(str, grid))}), as in training, got "
        f"{shape}. {advice}"
    )


def _of_text(X: Records, matrix: Records) -> str:
    """Return words about text among numbers: every column with its first cell."""
    cells = np.asarray(matrix, dtype=object)
    cells = cells.reshape(len(cells), -1)
    is_text = np.array([[_is_text(cell) for cell in row] for row in cells], dtype=bool)
    is_text = is_text.reshape(cells.shape)
    found = _places(X, is_text, cells)
    frame = "" if hasattr(X, "columns") else " Categories and dates are for data frames."
    return f"Expected numbers, got text in {found}. Correct the cells, or make them NaN.{frame}"


def _is_text(cell: object) -> bool:
    if not isinstance(cell, str | bytes):
        return False
    try:
        float(cell)
    except ValueError:
        return True
    return False


def _of_numbers(X: Records, matrix: Records, *, may_miss: bool) -> str:
    """Return words about numbers that are not finite: every column with its first cell."""
    cells: AnyArray = np.asarray(matrix, dtype=np.float64)
    cells = cells.reshape(len(cells), -1)
    if may_miss:
        found = _places(X, np.isinf(cells), cells)
        return (
            f"Expected finite numbers, got inf in {found}. Correct the cells, or make them NaN if "
            f"they are missing."
        )
    n_wrong, first = _rows_of(~np.isfinite(cells))
    return (
        f"Expected finite numbers, got NaN or inf in {n_wrong:,} of {len(cells):,} arrays, first "
        f"in number {first}. Leave them out, or fill them."
    )


def _rows_of(wrong: NDArray[np.bool_]) -> tuple[int, int]:
    """Return how many rows have wrong cells, and the first of them."""
    rows = np.flatnonzero(wrong.any(axis=1))
    return len(rows), int(rows[0])


def _places(X: Records, wrong: NDArray[np.bool_], cells: AnyArray) -> str:
    """Return counts of wrong cells, and the first of each column."""
    columns = np.flatnonzero(wrong.any(axis=0))
    named = hasattr(X, "columns")
    names = X.columns if named else [f"x{i}" for i in range(wrong.shape[1])]
    labels = X.index if named else range(len(wrong))
    first = []
    for i in columns[:MAX_LISTED].tolist():
        row = int(wrong[:, i].argmax())
        cell = cells[row, i]
        cell = float(cell) if isinstance(cell, np.floating) else cell
        first.append(f"{shown(str(names[i]))} (index {labels[row]}: {shown(cell)})")
    more = len(columns) - len(first)
    rest = f" and {more} more" if more else ""
    total = int(np.count_nonzero(wrong))
    return (
        f"{counted(total, 'cell')} of {counted(len(columns), 'column')}: {', '.join(first)}{rest}"
    )

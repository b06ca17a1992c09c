"""Normal scores: values of a column on a scale on which those of training are nearly normal.

Halfway between a value and its normal score, the quantile of N(0, 1) at its rank: skewed
columns become less skewed, and what is far away stays far.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["NormalScores"]

Array = NDArray[np.float64]
Weights = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class NormalScores:
    """Maps of the columns, each monotone, and of slope 1 or more beyond the range of training.

    The score of a value of rank r among m, the mean rank of equal ones, is the quantile of
    N(0, 1) at ``(r - 1/2) / m``: B. L. van der Waerden, "Order tests for the two-sample problem
    and their power", Indagationes Mathematicae 55 (1952), with the ranks of A. Hazen, 1914.

    Attributes
    ----------
    values, scores : tuple of ndarray
        Distinct values of each column, ascending, and their normal scores.

    Examples
    --------
    >>> maps = NormalScores.fit(np.array([[0.0], [1.0], [10.0]]))
    >>> maps.apply(np.array([[1.0], [12.0]])).round(2).tolist()
    [[0.5], [7.48]]
    """

    values: tuple[Array, ...]
    scores: tuple[Array, ...]

    @classmethod
    def fit(cls, columns: Array | Weights) -> NormalScores:
        """Measure columns, (m, n_columns)."""
        from scipy.special import ndtri

        values, scores = [], []
        for column in columns.astype(np.float64).T:
            distinct, count = np.unique(column, return_counts=True)
            middle = np.cumsum(count) - 0.5 * count  # mean rank - 1/2
            values.append(distinct)
            scores.append(ndtri(middle / len(column)))
        return cls(tuple(values), tuple(scores))

    def apply(self, columns: Array | Weights) -> Array:
        """Return columns, (n, n_columns), halfway to their normal scores."""
        found = np.empty(columns.shape)
        for i, (values, scores) in enumerate(zip(self.values, self.scores, strict=True)):
            column = columns[:, i].astype(np.float64)
            beyond = column - np.clip(column, values[0], values[-1])
            found[:, i] = 0.5 * (column + np.interp(column, values, scores) + beyond)
        return found

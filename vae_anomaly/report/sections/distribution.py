"""Distributions of columns, for small bars beside their descriptions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["HEIGHT", "STEP", "Distribution", "of_levels", "of_numbers"]

Array = NDArray[np.float64]

N_BINS = 16
"""Bins of the training range, and most levels that have separate bars."""

STEP, HEIGHT = 5, 20
"""Width of a bar with the gap beside it, and greatest height, in units of the drawing."""


@dataclass(frozen=True)
class Distribution:
    """Shares of the cells of a column, one for each bar.

    Attributes
    ----------
    here : tuple of float
        Among the cells of the report that are not missing.
    training : tuple of float
        The same in training; () where a model does not know.
    is_new : tuple of bool
        Which bars stand for values that training did not have.
    """

    here: tuple[float, ...]
    training: tuple[float, ...]
    is_new: tuple[bool, ...]

    @property
    def width(self) -> int:
        """Width of the drawing."""
        return STEP * len(self.here)

    @property
    def training_path(self) -> str:
        """SVG path of the bars of training."""
        return self._path(self.training, [True] * len(self.training), inset=0)

    @property
    def known_path(self) -> str:
        """SVG path of the bars of values as in training, narrower than those behind them."""
        return self._path(self.here, [not one for one in self.is_new], bool(self.training))

    @property
    def new_path(self) -> str:
        """SVG path of the bars of values that training did not have."""
        return self._path(self.here, self.is_new, bool(self.training))

    def _path(self, shares: Sequence[float], drawn: Sequence[bool], inset: int) -> str:
        """Return rectangles on the base line, the highest of all as high as the drawing."""
        peak = max(*self.here, *self.training, 0.0) or 1.0
        bars, width = [], STEP - 1 - 2 * inset
        for i, (share, is_drawn) in enumerate(zip(shares, drawn, strict=True)):
            if share > 0 and is_drawn:
                height = max(1.0, HEIGHT * share / peak)  # visible, however rare
                bars.append(f"M{STEP * i + inset} {HEIGHT}v-{height:.3g}h{width}v{height:.3g}z")
        return "".join(bars)


def of_numbers(
    values: Array, low: float, high: float, training: Array | None = None
) -> Distribution:
    """Count values in bins between two numbers, and those below and above.

    Parameters
    ----------
    values : ndarray of shape (n,)
        Of the cells of the report; NaN where one is missing.
    low, high : float
    training : ndarray of shape (m,), optional
        The same of training.

    Examples
    --------
    >>> found = of_numbers(np.array([-1.0, 0.0, 0.1, 8.0, np.nan]), 0.0, 8.0)
    >>> found.here[:2], found.here[-2:]
    ((0.25, 0.5), (0.25, 0.0))
    """
    here = _shares(values, low, high)
    before = () if training is None else _shares(training, low, high)
    return Distribution(here, before, (True, *[False] * N_BINS, True))


def _shares(values: Array, low: float, high: float) -> tuple[float, ...]:
    """Return the shares of values below a range, in its bins, and above it."""
    known = values[~np.isnan(values)]
    inside = known[(known >= low) & (known <= high)]
    # Halves, as the distance of finite numbers may be infinite.
    place = (inside / 2 - low / 2) / max(high / 2 - low / 2, np.finfo(float).tiny)
    bins = np.bincount((place * N_BINS).astype(int).clip(0, N_BINS - 1), minlength=N_BINS)
    counts = [(known < low).sum(), *bins, (known > high).sum()]
    return tuple((np.array(counts) / max(len(known), 1)).tolist())


def of_levels(codes: Array, rows: Sequence[int], n_others: int) -> Distribution:
    """Count levels, the most frequent ones in training first; the last bar is all others.

    Parameters
    ----------
    codes : ndarray of shape (n,)
        Position of the level of each cell, NaN where it is missing.
    rows : sequence of int
        Training rows with each level.
    n_others : int
        Training rows with levels that are not told apart.

    Examples
    --------
    >>> of_levels(np.array([1.0, 1.0, 2.0, np.nan]), (1, 3), 0).here
    (0.6666666666666666, 0.0, 0.3333333333333333)
    """
    known = np.minimum(codes[~np.isnan(codes)], len(rows)).astype(int)
    here = np.bincount(known, minlength=len(rows) + 1)
    training = np.array([*rows, n_others])
    order = np.argsort(-training[:-1], kind="stable")
    shown, rest = order[:N_BINS], [*order[N_BINS:], len(rows)]

    def shares(counts: NDArray[np.intp]) -> tuple[float, ...]:
        parts = np.append(counts[shown], counts[rest].sum()) / max(counts.sum(), 1)
        return tuple(parts.tolist())

    never = np.append(training[shown], training[rest].sum()) == 0
    return Distribution(shares(here), shares(training), tuple(never.tolist()))

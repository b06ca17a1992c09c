"""Small histograms of training values, with the normal range and the value of one row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.model.reasons import NormalValues

__all__ = ["HEIGHT", "MARGIN", "WIDTH", "TrainingHistogram"]

Array = NDArray[np.float64]

WIDTH, HEIGHT = 120, 24
"""Size of the drawing, in its own units."""

MARGIN = 20
"""Width on either side for what lies beyond the range of training, compressed."""

N_BINS = 20
MAX_LEVELS = 12
"""Levels that have a bar, the most frequent ones; one more bar is of all others."""

GAP = 1


@dataclass(frozen=True)
class TrainingHistogram:
    """Histogram of the training values of a column.

    Of a number the bars span the range in training; what lies beyond it is drawn in the margins,
    the nearer to the edge the further away it is. Of a category each bar is a level, the most
    frequent first, and the last bar is all others.

    Attributes
    ----------
    path : str
        SVG path of the bars.
    bounds : tuple of float or None
        Range in training; None for a category.
    normal : tuple of float or None
        Left and right end of the normal range, as drawn.
    levels : tuple of int
        Codes of the levels that have a bar.
    """

    path: str
    bounds: tuple[float, float] | None = None
    normal: tuple[float, float] | None = None
    levels: tuple[int, ...] = ()

    @classmethod
    def of(cls, normal: NormalValues, feature: int) -> Self | None:
        """Draw the histogram of a feature; None where it has no values to count, such as dates.

        Parameters
        ----------
        normal : NormalValues
        feature : int
        """
        shares = normal.level_shares.get(feature)
        if shares is not None:
            return cls._of_levels(shares)
        low, high = float(normal.least[feature]), float(normal.greatest[feature])
        column = normal.records[:, feature]
        known = column[np.isfinite(column)]
        if not (len(known) and np.isfinite(high / 2 - low / 2)):
            return None
        bounds = (low, high)
        # Positions instead of values: the distance of finite numbers may be infinite.
        places = _inside(known, bounds)
        bins = np.minimum((places * N_BINS).astype(int), N_BINS - 1)
        counts = np.bincount(bins, minlength=N_BINS)
        first = cls(_bars(counts, (WIDTH - 2 * MARGIN) / N_BINS), bounds)
        ends = (first.at(float(normal.low[feature])), first.at(float(normal.high[feature])))
        return cls(first.path, bounds, ends)

    @classmethod
    def _of_levels(cls, shares: Array) -> Self:
        order, others = np.split(np.argsort(-shares, kind="stable"), [MAX_LEVELS])
        counts = np.append(shares[order], shares[others].sum())
        width = (WIDTH - 2 * MARGIN) / len(counts)
        return cls(_bars(counts, width), levels=tuple(order.tolist()))

    def at(self, value: float) -> float:
        """Return the position of a value from the left, in units of the drawing."""
        inner = WIDTH - 2 * MARGIN
        if self.bounds is None:
            code = int(value)
            place = self.levels.index(code) if code in self.levels else len(self.levels)
            return MARGIN + inner * (place + 0.5) / (len(self.levels) + 1)
        share = float(_inside(np.array([value]), self.bounds)[0])
        if share < 0:
            return MARGIN * (1 - _compressed(-share))
        if share > 1:
            return WIDTH - MARGIN * (1 - _compressed(share - 1))
        return MARGIN + inner * share


def _inside(values: Array, bounds: tuple[float, float]) -> Array:
    """Return positions in a range: 0 at its lower end, 1 at its upper one."""
    low, high = bounds
    if low == high:
        return np.sign(values - low) + 0.5
    with np.errstate(over="ignore"):
        return (values / 2 - low / 2) / (high / 2 - low / 2)


def _compressed(distance: float) -> float:
    """Return a distance from the range of training, in its widths, between 0.1 and 0.95."""
    return 0.95 if not np.isfinite(distance) else 0.1 + 0.85 * distance / (1 + distance)


def _bars(counts: NDArray[np.generic], width: float) -> str:
    """Return bars on the base line, the highest as high as the drawing."""
    heights = np.asarray(counts, dtype=np.float64)
    heights = HEIGHT * heights / (heights.max(initial=0.0) or 1.0)
    drawn = []
    for i, height in enumerate(heights):
        if height > 0:
            left, tall = f"{MARGIN + i * width:.4g}", f"{max(1.0, height):.3g}"
            drawn.append(f"M{left} {HEIGHT}v-{tall}h{width - GAP:.3g}v{tall}z")
    return "".join(drawn)

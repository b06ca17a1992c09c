"""Lattices: numbers with a common step, such as counts and codes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.stats.soft_clip import CLIP_THRESHOLD

__all__ = ["lattice_of"]

Array = NDArray[np.float64]

MIN_STEP = 1e-3
"""Smallest step of a lattice, as a share of the range of the column."""

STEP_TOLERANCE = 0.01
"""Tolerance of the gaps between values on a lattice, in units of the smallest step."""


def lattice_of(values: Array) -> tuple[float, float]:
    """Return the step of the lattice of values, and a value on it; (0, 0) if it is too fine."""
    distinct = np.unique(values[np.abs(values) <= CLIP_THRESHOLD])  # larger values are soft-clipped
    gaps = np.diff(distinct)
    if not len(gaps):
        return 0.0, 0.0
    finest = MIN_STEP * (distinct[-1] - distinct[0])
    step = gaps.min()
    while step > finest:  # Euclid's algorithm, with rounding
        over = np.abs(gaps - step * np.rint(gaps / step))
        if over.max() <= STEP_TOLERANCE * finest:
            return float(step), float(distinct[0])
        step = over[over > STEP_TOLERANCE * finest].min()
    return 0.0, 0.0

"""Maps of anomalies: interpolation of values on a grid, and their balance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["balanced", "interpolated"]

Array = NDArray[np.float64]

LEVEL_SHARE = 0.5
"""Share of the mean of a map that is subtracted from it."""

CONTRAST_POWER = 0.25
"""Power of its standard deviation that a map is divided by."""


def interpolated(grid: Array, height: int, width: int) -> Array:
    """Interpolate values at the centres of equal patches, linearly, at those of pixels.

    Parameters
    ----------
    grid : ndarray of shape (h, w)
    height, width : int
        Pixels that the grid covers; beyond the outer centres values stay as they are there.

    Examples
    --------
    >>> interpolated(np.array([[0.0, 1.0]]), 1, 4).tolist()
    [[0.0, 0.25, 0.75, 1.0]]
    """
    for axis, pixels in ((0, height), (1, width)):
        count = grid.shape[axis]
        place = np.clip((np.arange(pixels) + 0.5) * count / pixels - 0.5, 0, count - 1)
        below = np.minimum(place.astype(np.intp), max(0, count - 2))
        share = np.expand_dims(place - below, 1 - axis)
        above = np.minimum(below + 1, count - 1)
        grid = (1 - share) * grid.take(below, axis) + share * grid.take(above, axis)
    return grid


def balanced(maps: Array) -> Array:
    """Bring maps, (n, height, width), nearer to each other in level and contrast.

    Half of its mean is subtracted from each, for what is unusual everywhere, as another exposure
    is, says nothing of places; and each is divided by the fourth root of its standard deviation,
    so that the greatest anomalies leave room for others.

    Examples
    --------
    >>> balanced(np.array([[[0.0, 32.0]]])).tolist()
    [[[-4.0, 12.0]]]
    """
    level = LEVEL_SHARE * maps.mean(axis=(1, 2), keepdims=True)
    spread = maps.std(axis=(1, 2), keepdims=True)
    return (maps - level) / np.where(spread > 0, spread, 1.0) ** CONTRAST_POWER

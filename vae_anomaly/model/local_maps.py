"""Maps by local comparison: how the surroundings of a place differ from those in training.

The reconstruction error of single places shows edges that a VAE blurs rather than defects. Here
values and their gradients, each divided by its standard deviation over training records, are
compared with those of training records around the same place.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.stats.maps import balanced, interpolated

__all__ = ["LocalReference"]

Array = NDArray[np.float64]
Weights = NDArray[np.float32]

MAX_SIDE = 32
"""Places of the longer side of grids that are compared: larger ones are shrunk."""

DEVIATION = 1.2
"""Standard deviation of the Gaussian weights of the surroundings, in places of these."""

OFFSETS = (-1, 0, 1)
"""Rows and columns by which training records may lie elsewhere, likewise."""

MAX_COMPARED = 64
"""Training records that one is compared with: those most similar as a whole."""

TINY = 1e-12
"""Least standard deviation of a channel."""


class LocalReference(NamedTuple):
    """Training records on a grid to compare with.

    Attributes
    ----------
    channels : ndarray of shape (m, c + 2, h, w)
        Shrunk records, and their gradients, all of one scale.
    scale : ndarray of shape (c + 2, 1, 1)
        Standard deviations of these channels.
    n_skipped : int
        Most similar surroundings that do not count: training records may hold anomalies.
    """

    channels: Weights
    scale: Weights
    n_skipped: int = 0

    @classmethod
    def of(cls, grids: Array, n_skipped: int = 0) -> Self:
        """Shrink training records, (m, height, width, c), and measure their channels."""
        channels = _channels(grids)
        scale = np.maximum(channels.std(axis=(0, 2, 3), keepdims=True)[0], TINY)
        return cls(channels / scale, scale, n_skipped)

    def maps(self, grids: Array) -> Array:
        """Compare records, (n, height, width, c), each by itself: (n, height, width).

        The value of a place is half the mean squared difference between the channels around it
        and around a place at most one away, of the training record where it is least; see
        also `balanced`. A training record with the very same values counts as the record itself
        and is left out.
        """
        n, height, width, _ = grids.shape
        found = np.empty((n, height, width))
        for i in range(n):
            own = _channels(grids[i : i + 1])[0] / self.scale
            found[i] = interpolated(self._differences(own), height, width)
        return balanced(found)

    def _differences(self, own: Weights) -> Array:
        """Compare the channels of a record: (h, w)."""
        whole = ((self.channels - own) ** 2).mean(axis=(1, 2, 3))
        others = np.flatnonzero(whole > 0)
        if not len(others):
            return np.zeros(own.shape[1:])
        order = others[np.argsort(whole[others], kind="stable")[:MAX_COMPARED]]
        least = np.full((len(order), *own.shape[1:]), np.inf)
        for moved in _moved(self.channels[order]):
            least = np.minimum(least, _weighted(((moved - own) ** 2).mean(axis=1)))
        rank = min(self.n_skipped, len(order) - 1)
        return np.asarray(0.5 * np.partition(least, rank, axis=0)[rank])


def _channels(grids: Array) -> Weights:
    """Return shrunk grids and the gradients of their mean over channels: (n, c + 2, h, w)."""
    small = _shrunk(grids)
    edged = np.pad(small.mean(axis=3), ((0, 0), (1, 1), (1, 1)), mode="edge")
    down = 0.5 * (edged[:, None, 2:, 1:-1] - edged[:, None, :-2, 1:-1])
    right = 0.5 * (edged[:, None, 1:-1, 2:] - edged[:, None, 1:-1, :-2])
    parts = (small.transpose(0, 3, 1, 2), down, right)
    return np.concatenate(parts, axis=1).astype(np.float32)


def _shrunk(grids: Array) -> Array:
    """Average squares of places, so that no side has more than `MAX_SIDE`: (n, h, w, c)."""
    _, height, width, _ = grids.shape
    side = -(-max(height, width) // MAX_SIDE)
    for axis, places in ((1, height), (2, width)):
        starts = np.arange(0, places, side)
        counts = np.diff(np.append(starts, places)).reshape(-1, *(1,) * (3 - axis))
        grids = np.add.reduceat(grids, starts, axis=axis) / counts
    return grids


def _moved(channels: Weights) -> Iterator[Weights]:
    """Yield grids moved by each of `OFFSETS`, their edges repeated."""
    height, width = channels.shape[2:]
    for down in OFFSETS:
        rows = np.clip(np.arange(height) + down, 0, height - 1)
        for right in OFFSETS:
            columns = np.clip(np.arange(width) + right, 0, width - 1)
            yield channels[:, :, rows][:, :, :, columns]


def _weighted(squares: Weights) -> Weights:
    """Average over the surroundings of each place: (m, h, w)."""
    from scipy.ndimage import gaussian_filter  # late: only maps need it

    return np.asarray(gaussian_filter(squares, (0, DEVIATION, DEVIATION), mode="nearest"))

"""Training windows, and the search for those that are nearest to a window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from vae_anomaly._threads import PADDING, SINGLE_THREAD
from vae_anomaly.stats.nearest import (
    FAR,
    candidates,
    group_size,
    half_squares,
    least_of_groups,
    scratch,
)

__all__ = ["TrainingWindows"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]
Weights = NDArray[np.float32]

N_COMPONENTS = 64
"""Principal components in which candidates are chosen."""

TILE_WINDOWS = 128
"""Windows whose distances then stay in the cache of a processor."""

N_CANDIDATES = 16
"""Candidates among which the nearest are found by their exact distances."""

SELF_MATCH_TOLERANCE = 1e-6
"""Half the squared distance up to which a training window counts as the window itself."""

TINY = 1e-12
"""Least length of an axis: training windows that are all alike have none."""


@dataclass(frozen=True, eq=False)
class TrainingWindows:
    """Flat windows of training, in standard deviations of the channels.

    Attributes
    ----------
    points : ndarray of float32 of shape (n_windows, window * channels)
    """

    points: Weights

    def nearest(self, windows: Weights, count: int) -> Indices:
        """Find the training windows nearest to each window, (n, d), but not itself: (n, count).

        Candidates are those that are nearest in the leading principal components if what is
        left of a window and of a training window is orthogonal: ``|x - y|^2`` is then the
        squared distance of the projections and the squared lengths of both rests. The nearest
        candidates are found by their exact distances.

        Fewer than `count` are found if there are fewer training windows.
        """
        return self._by_tiles(lambda tile: self._nearest(windows[tile], count), len(windows))

    def nearest_by(self, windows: Weights, known: Flags, count: int) -> Indices:
        """Find the training windows nearest to each window in what is known of it, (n, d).

        Candidates are those of all coordinates that are known.
        """
        return self._by_tiles(
            lambda tile: self._nearest(windows[tile], count, known[tile]), len(windows)
        )

    @staticmethod
    def _by_tiles(found: Callable[[slice], Indices], n_windows: int) -> Indices:
        starts = range(0, n_windows, TILE_WINDOWS)
        return np.concatenate([found(slice(start, start + TILE_WINDOWS)) for start in starts])

    def _nearest(self, windows: Weights, count: int, known: Flags | None = None) -> Indices:
        place = self._candidates(windows) if known is None else self._known_by(windows, known)
        away = scratch("away", *place.shape, windows.shape[1])
        self.points.take(place, axis=0, out=away, mode="clip")
        away -= windows[:, None]
        if known is not None:
            away *= known[:, None]
        apart = half_squares(away)
        order = np.argsort(apart, axis=1, kind="stable")
        least = np.take_along_axis(apart, order[:, :1], axis=1)
        is_self = (least <= SELF_MATCH_TOLERANCE) & (len(self.points) > 1)
        most = max(1, min(count, len(self.points) - 1))
        order = np.take_along_axis(order, is_self + np.arange(most), axis=1)
        return np.take_along_axis(place, order, axis=1)

    def _known_by(self, windows: Weights, known: Flags) -> Indices:
        """Return the training windows nearest in known coordinates: (n, candidates)."""
        weights = known.astype(np.float32)
        distance = weights @ self._half_squares.T  # but for a constant of each window
        distance -= (weights * windows) @ self.points.T
        count = min(N_CANDIDATES, len(self.points))
        return np.argpartition(distance, count - 1, axis=1)[:, :count]

    def _candidates(self, windows: Weights) -> Indices:
        """Return the training windows that seem nearest to each window: (n, candidates)."""
        center, axes, _ = self.search
        n, m, (width, r) = len(windows), len(self.points), self._grouped.shape
        padded = np.zeros((n + 2 * PADDING, len(center)), dtype=np.float32)
        np.subtract(windows, center, out=padded[PADDING:-PADDING])
        factors = np.ones((len(padded), r), dtype=np.float32)
        np.matmul(padded, axes.T, out=factors[:, :-2])
        factors[:, -2] = half_squares(factors[:, :-2])
        distance = scratch("distance", len(padded), width)
        np.matmul(factors, self._grouped.T, out=distance)
        own, count = distance[PADDING:-PADDING], min(N_CANDIDATES, m)
        least = scratch("least", n, width // group_size(m, count), dtype=np.int32)
        least_of_groups(own, least)
        return candidates(own, least, count)[0]

    @cached_property
    def _grouped(self) -> Weights:
        """Coefficients of the whole distances, with padding to whole groups: (places, r + 2)."""
        coefficients, m = self.search[2], len(self.points)
        missing = -m % group_size(m, min(N_CANDIDATES, m))
        grouped = np.zeros((m + missing, coefficients.shape[1] + 1), dtype=np.float32)
        grouped[:m, :-2], grouped[:m, -1] = coefficients[:, :-1], coefficients[:, -1]
        grouped[:m, -2], grouped[m:, -1] = 1.0, FAR
        return grouped

    @cached_property
    def _half_squares(self) -> Weights:
        return np.float32(0.5) * self.points**2

    @cached_property
    def search(self) -> tuple[Weights, Weights, Weights]:
        """Centre (d,), principal axes (r, d), and coefficients of the distances (m, r + 1).

        A distance is half its square, but for a constant of each window.
        """
        with SINGLE_THREAD:
            center = self.points.mean(axis=0, dtype=np.float64)
            away = self.points - center  # (m, d)
            axes = _principal_axes(away)
            squares = 0.5 * (away**2).sum(axis=1)
            coefficients = np.column_stack([-away @ axes.T, squares])
        return center.astype(np.float32), axes.astype(np.float32), coefficients.astype(np.float32)


def _principal_axes(rows: Array) -> Array:
    """Return the leading principal axes of centred rows, (m, d), one below the other: (r, d)."""
    m, d = rows.shape
    size = min(m, d)
    few = {"subset_by_index": (size - min(N_COMPONENTS, size), size - 1)}
    if d <= m:
        return np.ascontiguousarray(eigh(rows.T @ rows, **few)[1].T)
    axes = eigh(rows @ rows.T, **few)[1].T @ rows  # the same, from the smaller product
    return axes / np.maximum(np.linalg.norm(axes, axis=1, keepdims=True), TINY)

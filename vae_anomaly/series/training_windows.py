"""Training windows, and the search for those that are nearest to a window."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from vae_anomaly._threads import PADDING, SINGLE_THREAD

__all__ = ["TrainingWindows"]

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
Weights = NDArray[np.float32]

N_COMPONENTS = 64
"""Principal components in which candidates are chosen."""

N_CANDIDATES = 16
"""Candidates among which the nearest are found by their exact distances."""

N_GROUPS = 128
"""Groups of training windows, of which those that hold the nearest candidates are searched."""

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
        candidates = self._candidates(windows)
        apart = 0.5 * np.stack(
            [((windows - self.points[of]) ** 2).sum(axis=1) for of in candidates.T], axis=1
        )  # (n, candidates)
        order = np.argsort(apart, axis=1, kind="stable")
        most = max(1, min(count, len(self.points) - 1))
        least = np.take_along_axis(apart, order[:, :1], axis=1)
        is_self = (least <= SELF_MATCH_TOLERANCE) & (len(self.points) > 1)
        place = np.arange(most) + is_self  # (n, most)
        return np.take_along_axis(candidates, np.take_along_axis(order, place, axis=1), axis=1)

    def _candidates(self, windows: Weights) -> Indices:
        """Return the training windows that seem nearest: (n, candidates)."""
        n, m = len(windows), len(self.points)
        count = min(N_CANDIDATES, m)
        center, axes, coefficients = self.search
        padded = np.zeros((len(center), n + 2 * PADDING), dtype=np.float32)
        padded[:, PADDING:-PADDING] = (windows - center).T
        lifted = np.concatenate([axes @ padded, np.ones_like(padded[:1])])
        # Neighbours in time are in different groups: training windows are in order of time.
        size = -(-m // N_GROUPS)
        distance = np.full((size * N_GROUPS, n + 2 * PADDING), np.inf, dtype=np.float32)
        np.matmul(coefficients, lifted, out=distance[:m])
        grouped = distance.reshape(size, N_GROUPS, -1)
        least = np.ascontiguousarray(grouped.min(axis=0)[:, PADDING:-PADDING].T)  # (n, groups)
        groups = np.argpartition(least, min(count, N_GROUPS) - 1, axis=1)[:, :count]
        columns = np.arange(PADDING, PADDING + n)[:, None]
        found = grouped[:, groups, columns]  # (size, n, count)
        found = np.ascontiguousarray(found.swapaxes(0, 1)).reshape(n, -1)
        place = np.argpartition(found, count - 1, axis=1)[:, :count]
        row, column = np.divmod(place, groups.shape[1])
        return np.minimum(row * N_GROUPS + np.take_along_axis(groups, column, axis=1), m - 1)

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

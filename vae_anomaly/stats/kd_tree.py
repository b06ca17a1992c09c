"""K-d tree: divides a space into boxes that hold equally many of its points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["KDTree"]

Array = NDArray[np.float64]
Weights = NDArray[np.float32]
Indices = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class KDTree:
    """Boxes of a k-d tree (J. L. Bentley, :doi:`10.1145/361002.361007`).

    Node j has the children 2 j and 2 j + 1; the root is 1, the boxes are the leaves.

    Attributes
    ----------
    axis : ndarray of shape (boxes,)
        Coordinate that each inner node divides, that with the largest variance in it.
    cut : ndarray of shape (boxes,)
        Values of it, the medians, up to which a point is in the first child.
    low, high : ndarray of shape (boxes, k)
        Bounds of the boxes, which cover the space.
    members : list of ndarray
        Which points each box holds.
    """

    axis: Indices
    cut: Weights
    low: Array
    high: Array
    members: list[Indices]

    @classmethod
    def fit(cls, points: Array, levels: int) -> KDTree:
        """Divide points, (m, k), into two to the power of `levels` boxes.

        Boxes may be empty where points are alike.
        """
        n_boxes, k = 2**levels, points.shape[1]
        axis, cut = np.zeros(n_boxes, dtype=np.intp), np.zeros(n_boxes, dtype=np.float32)
        low, high = np.full((2 * n_boxes, k), -np.inf), np.full((2 * n_boxes, k), np.inf)
        members = [np.arange(len(points))] * (2 * n_boxes)
        for node in range(1, n_boxes):
            inside = members[node]
            if len(inside):
                axis[node] = points[inside].var(axis=0).argmax()
                cut[node] = np.median(points[inside, axis[node]])
            is_above = points[inside, axis[node]] > cut[node]
            first, second = 2 * node, 2 * node + 1
            members[first], members[second] = inside[~is_above], inside[is_above]
            low[first], high[first] = low[node], high[node]
            low[second], high[second] = low[node], high[node]
            high[first, axis[node]] = low[second, axis[node]] = cut[node]
        return cls(axis, cut, low[n_boxes:], high[n_boxes:], members[n_boxes:])

    def box_of(self, points: Weights) -> Indices:
        """Return the boxes that points, (n, k), are in: (n,)."""
        n_boxes, row = len(self.axis), np.arange(len(points))
        node = np.ones(len(points), dtype=np.intp)
        for _ in range(n_boxes.bit_length() - 1):
            node = 2 * node + (points[row, self.axis[node]] > self.cut[node])
        return node - n_boxes

    def squared_distances(self, box: int, points: Array) -> Array:
        """Return the squared distances of points, (m, k), from a box: (m,)."""
        low, high = self.low[box], self.high[box]
        is_bounded = np.isfinite(low) | np.isfinite(high)
        points = points[:, is_bounded]
        away = np.maximum(low[is_bounded] - points, points - high[is_bounded])
        squares: Array = (np.maximum(away, 0.0) ** 2).sum(axis=1)
        return squares

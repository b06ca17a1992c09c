"""Training rows that are similar to a row, and what they let expect of each of its features.

Rows are compared by their targets. The features in which two rows differ most do not count: a
row with errors in a few features is then still compared with rows like it. For each feature the
same is done once more without it: what the similar rows have there is what the rest of the row
lets expect.

How far a feature is from similar rows says little by itself where columns follow from each other:
`model.suspicion` says which one or two features the difference of a row is due to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._types import AnyArray
from vae_anomaly.model.suspicion import log_suspicion
from vae_anomaly.stats.exemplars import SELF_MATCH_TOLERANCE
from vae_anomaly.stats.likelihoods import JointLikelihood
from vae_anomaly.stats.nearest import scratch
from vae_anomaly.stats.normal_scores import NormalScores

__all__ = ["N_SIMILAR", "Comparison", "SimilarRows"]

Array = NDArray[np.float64]
Weights = NDArray[np.float32]
Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]

N_SIMILAR = 5
"""Similar exemplars that a feature is expected from."""

N_COMPARED = 8
"""Most similar exemplars from which the differences of a row are averaged."""

MAX_LEFT_OUT = 2
"""Features that do not count: those that differ most."""

N_CANDIDATES = 128
"""Most similar exemplars among which those are sought that a feature is expected from."""

MAX_CELLS = 2**20
"""Numbers of exemplars, or differences from them, that are processed at a time."""

TILE_CELLS = 2**16
"""Differences that are summed at a time: more do not fit into the cache of a processor."""

N_FITTED = 96
"""Most similar exemplars to which a Gaussian is fitted."""

MIN_DIFFERENCE = 1e-3
"""Added to differences, in squared standard deviations: their log would be minus infinity."""


class Comparison(NamedTuple):
    """Rows beside similar exemplars.

    Attributes
    ----------
    expected : ndarray of shape (n, n_targets)
        Mean targets of the exemplars that are most similar without the feature, and without the
        one that differs most besides.
    weights : ndarray of shape (n, n_features)
        How suspect each feature is, from 0 to 1 of the most suspect one: ``(1 + L)^-2``, where L
        is the log of the ratio of their probabilities, see `suspicion.log_suspicion`. Their
        log-weights are the logs of differences from similar rows, `N_COMPARED` of them: the mean
        products of those of targets and of residuals. One says how unusual a value is, the other
        how badly the networks account for it.
    differences : ndarray of shape (n, n_features)
        These differences themselves.
    similar : ndarray of int of shape (n,)
        The most similar exemplar.
    """

    expected: Array
    weights: Array
    differences: Array
    similar: Indices


class SimilarRows:
    """Exemplars as columns of arrays, to compare rows with.

    Parameters
    ----------
    targets, points : ndarray of shape (m, n_targets)
        Targets of the exemplars, and their residuals in standard deviations.
    joint : JointLikelihood
    normal_scores : NormalScores
        Of the targets.
    scored : ndarray of shape (m, n_targets)
        Targets of the exemplars, as `normal_scores` maps them.
    n_skipped_neighbors : int
        See `stats.exemplars.Exemplars`.
    """

    def __init__(
        self,
        targets: Weights,
        points: Weights,
        joint: JointLikelihood,
        normal_scores: NormalScores,
        scored: Array,
        n_skipped_neighbors: int,
    ) -> None:
        self._normal_scores, self._scored = normal_scores, scored
        self._targets = np.ascontiguousarray(targets.T)  # (n_targets, m)
        self._points = np.ascontiguousarray(points.T)
        self._feature = joint.feature_of_target
        self._starts = np.searchsorted(self._feature, np.arange(joint.n_features))
        self._is_simple = joint.n_features == len(self._feature)
        self._n_left_out = min(MAX_LEFT_OUT, joint.n_features // 3)
        self._n_skipped = min(n_skipped_neighbors, max(0, len(targets) - 1 - N_SIMILAR))

    def nearest(self, targets: Array, observed: Flags | None, count: int) -> tuple[Indices, Array]:
        """Find the most similar exemplars: (n, count), and their distances.

        A distance is the root of the mean squared difference of the features that count, in
        standard deviations. An exemplar at the very place of a row counts as the row itself, and
        is none of them.

        Parameters
        ----------
        targets : ndarray of shape (n, n_targets)
        observed : ndarray of bool of shape (n, n_features) or None
            Of the features that have targets; None where all are.
        count : int
            At most `max_count`.
        """
        found = [
            self._nearest(targets[part], None if observed is None else observed[part], count)
            for part in _parts(len(targets), self._targets.shape[1])
        ]
        places, distances = zip(*found, strict=True) if found else ((), ())
        none = np.empty((0, count))
        return np.concatenate([none.astype(np.intp), *places]), np.concatenate([none, *distances])

    def _nearest(self, targets: Array, observed: Flags | None, count: int) -> tuple[Indices, Array]:
        """Find the most similar exemplars of a few rows."""
        squares = self._distances(targets, observed)
        order = self._least(squares, count)
        n_counting = len(self._starts) if observed is None else observed.sum(axis=1, keepdims=True)
        squares = np.take_along_axis(squares, order, axis=1).astype(np.float64)
        return order, np.sqrt(squares / np.maximum(1, n_counting - self._n_left_out))

    @property
    def max_count(self) -> int:
        """Number of exemplars that a row can be compared with."""
        return max(1, self._targets.shape[1] - 1 - self._n_skipped)

    def compare(
        self, targets: Array, points: Array, observed: Flags | None, *, expected: bool = True
    ) -> Comparison:
        """Compare rows with similar exemplars.

        Parameters
        ----------
        targets, points : ndarray of shape (n, n_targets)
            Targets, and residuals in standard deviations.
        observed : ndarray of bool of shape (n, n_features) or None
        expected : bool, default=True
            Whether to compute what is expected; otherwise it has no columns.
        """
        features = np.empty((len(targets), len(self._starts)))
        similar = np.empty(len(targets), dtype=np.intp)
        values = np.empty(targets.shape if expected else (len(targets), 0))
        found = Comparison(values, features, features.copy(), similar)
        scored = self._normal_scores.apply(targets)
        for part in _parts(len(targets), N_CANDIDATES * len(self._targets)):
            seen = None if observed is None else observed[part]
            compared = self._compare(targets[part], points[part], scored[part], seen, expected)
            for whole, some in zip(found, compared, strict=True):
                whole[part] = some
        return found

    def _compare(
        self,
        targets: Array,
        points: Array,
        scored: Array,
        observed: Flags | None,
        expected: bool,
    ) -> Comparison:
        """Compare some rows, `scored` as `normal_scores` maps their targets."""
        count = min(N_CANDIDATES if expected else N_FITTED, self.max_count)
        order = np.empty((len(targets), count), dtype=np.intp)
        for part in _parts(len(targets), self._targets.shape[1]):
            seen = None if observed is None else observed[part]
            order[part] = self._least(self._distances(targets[part], seen), count)
        sizes = self._differences(targets, points, observed, order[:, :N_COMPARED])
        suspicion = self._log_suspicion(scored, observed, order[:, :N_FITTED], sizes)
        away = suspicion.max(axis=1, keepdims=True) - suspicion
        values = np.empty((len(targets), 0))
        if expected:
            values = self._expected(targets, suspicion, order, observed)
        return Comparison(values, (1.0 + away) ** -2.0, sizes, order[:, 0])

    def _differences(
        self, targets: Array, points: Array, observed: Flags | None, order: Indices
    ) -> Array:
        """Return the mean products of differences from exemplars `order`: (n, n_features)."""
        differences = np.abs(
            (targets.T - self._targets[:, order.T].swapaxes(0, 1))
            * (points.T - self._points[:, order.T].swapaxes(0, 1))
        )  # (k, n_targets, n)
        # Added one after another: the order in which NumPy sums depends on the number of rows.
        total: Array = sum(differences, np.zeros(differences.shape[1:]))
        sizes: Array = self._by_feature(total).T / len(differences)
        return sizes if observed is None else np.where(observed, sizes, 0.0)

    def _expected(
        self, targets: Array, suspicion: Array, order: Indices, observed: Flags | None
    ) -> Array:
        """Return what is expected of each target: (n, n_targets)."""
        near = self._targets[:, order] - targets.astype(np.float32).T[:, :, None]
        near = self._by_feature(near * near)  # (n_features, n, candidates)
        if observed is not None:
            near[~observed.T] = 0.0
        expected: Array = self._conditional(near, suspicion.T, order).mean(axis=2).T
        return expected

    def _log_suspicion(
        self, own: Array, observed: Flags | None, order: Indices, sizes: Array
    ) -> Array:
        """Return how suspect features are beside the exemplars `order`: (n, n_features)."""
        similar = self._scored[order]
        if observed is not None:  # what is not observed agrees with all rows
            seen = observed[:, self._feature]
            own, similar = np.where(seen, own, 0.0), np.where(seen[:, None], similar, 0.0)
        of_targets = log_suspicion(own, similar, np.log(sizes + MIN_DIFFERENCE)[:, self._feature])
        if self._is_simple:
            return of_targets
        found: Array = np.logaddexp.reduceat(of_targets, self._starts, axis=1)
        return found

    def _distances(self, targets: Array, observed: Flags | None) -> Weights:
        """Return sums of the squares that count, (n, m), infinite for a row itself."""
        found = np.empty((len(targets), self._targets.shape[1]), dtype=np.float32)
        for part in _parts(*found.shape, TILE_CELLS):
            apart = self._apart(targets[part], None if observed is None else observed[part])
            squares = found[part]
            largest = _sum_without_largest(apart, self._n_left_out, out=squares)
            if squares.shape[1] > 1:
                rows = np.flatnonzero(squares.min(axis=1) <= SELF_MATCH_TOLERANCE)
                total = squares[rows] + sum(one[rows] for one in largest)
                is_self = total <= SELF_MATCH_TOLERANCE
                itself = is_self.any(axis=1)
                squares[rows[itself], is_self[itself].argmax(axis=1)] = np.inf
        return found

    def _apart(self, targets: Array, observed: Flags | None) -> Iterator[Weights]:
        """Yield the squared differences of rows from all exemplars in each feature, (n, m).

        All in the same memory.
        """
        shape = len(targets), self._targets.shape[1]
        apart, added = scratch("apart", 2, *shape)
        values = targets.astype(np.float32)
        ends = [*self._starts[1:], len(self._targets)]
        for feature, (first, end) in enumerate(zip(self._starts, ends, strict=True)):
            np.subtract(self._targets[first], values[:, first, None], out=apart)
            apart *= apart
            for target in range(first + 1, end):
                np.subtract(self._targets[target], values[:, target, None], out=added)
                added *= added
                apart += added
            if observed is not None:
                apart[~observed[:, feature]] = 0.0
            yield apart

    def _least(self, squares: Weights, count: int) -> Indices:
        """Return the places of the least sums, after those that are skipped: (n, count)."""
        last = min(self._n_skipped + count, squares.shape[1])
        order = np.argpartition(squares, last - 1, axis=1)[:, :last]
        order.sort(axis=1)  # in the order of the exemplars where they are equally similar
        ascending = np.take_along_axis(squares, order, axis=1).argsort(axis=1, kind="stable")
        return np.take_along_axis(order, ascending, axis=1)[:, self._n_skipped :]

    def _conditional(self, apart: Weights, suspicion: Array, order: Indices) -> Array:
        """Return targets of the exemplars that are similar without a feature: (n_targets, n, k).

        `apart`, (n_features, n, candidates), are squared differences from the exemplars `order`.
        """
        squares = apart.astype(np.float64)  # of the whole the rest is a small part
        kept = sum(squares) - squares
        rows = np.arange(len(order))
        if self._n_left_out > 1:
            first, second = np.argsort(-suspicion, axis=0, kind="stable")[:2]
            features = np.arange(len(squares))[:, None]
            kept -= squares[np.where(features == first, second, first), rows]
        count = min(N_SIMILAR, kept.shape[2])
        place = np.argpartition(kept, count - 1, axis=2)[:, :, :count]
        each = order[rows[:, None], place][self._feature]  # (n_targets, n, k)
        return self._targets[np.arange(len(each))[:, None, None], each].astype(np.float64)

    def _by_feature(self, values: AnyArray) -> AnyArray:
        """Sum values of targets, (n_targets, ...), by feature: (n_features, ...)."""
        if self._is_simple:
            return values
        summed: AnyArray = np.add.reduceat(values, self._starts, axis=0)
        return summed


def _parts(n: int, n_cells: int, max_cells: int = MAX_CELLS) -> list[slice]:
    """Divide n rows, each of which needs so many cells."""
    size = max(1, max_cells // n_cells)
    return [slice(i, i + size) for i in range(0, n, size)]


def _sum_without_largest(values: Iterable[Weights], count: int, out: Weights) -> list[Weights]:
    """Write sums of arrays, (n, m), without the largest numbers, and return these.

    At most two are left out. They are never part of a sum: what they leave would be rounded. The
    arrays are overwritten.
    """
    *largest, larger = scratch("largest", count + 1, *out.shape)  # descending
    for place, smaller in enumerate(values):
        for i in range(min(place, count)):
            np.maximum(largest[i], smaller, out=larger)
            np.minimum(largest[i], smaller, out=smaller)
            largest[i], larger = larger, largest[i]
        if place < count:
            largest[place][...] = smaller
        elif place == count:
            out[...] = smaller
        else:
            out += smaller
    return largest

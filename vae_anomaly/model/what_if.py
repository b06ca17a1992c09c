"""Shares of features by what would happen if these had the values of training rows.

The most suspect features of an anomaly, see `model.suspicion`, are mostly those that make it one:
with other values there it would be normal. Where they are not, and the values of the nearest
training row in three others make it normal, these get the largest shares; the more suspect they
are, the better. Where nothing of this is enough, many features are unusual, and each counts as
far as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.model.calibration import Calibration

__all__ = ["Donors", "TrainingRecords", "repairing_shares"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]

N_REPAIRED = 3
"""Features that are to make a record normal, at most."""

N_SUSPECT = 2
"""Features without which a record with so many errors is typical."""

MANY = 0.7
"""Share of what a score is above high ones that remains without two suspects if many are wrong."""

MAX_DISTANCE = 1e6
"""Standard deviations to which distances from the centre are clipped."""

ROUNDING = 1e-6
"""Relative error of squared distances: as near, a training record is the record itself."""

SHARE_TRIED, MIN_TRIED, MAX_TRIED = 0.5, 6, 40
"""Share of the features that are changed, and bounds of their number."""

MAX_FALL = 2.0
"""A feature may still lower a score by so many times as the mean of those before it."""

MIN_PART = 0.05
"""Part of the shares of the changed features that each of them has at least."""

TINY = np.finfo(float).tiny
"""Added to what may be zero and is divided by."""

MAX_CELLS = 2**20
"""Numbers in the records that are scored at a time."""


class Donors(NamedTuple):
    """Training records whose values records could have.

    Attributes
    ----------
    nearest, similar : ndarray of shape (n, n_features)
        The record that is nearest in all features, and the most similar one in most.
    distance : ndarray of shape (n, n_features)
        Squared distances from the nearest one, in standard deviations; minus infinity for
        features that do not change, infinity for those that are alike in all training records.
    """

    nearest: Array
    similar: Array
    distance: Array

    def at(self, rows: Indices) -> Donors:
        """Return those of some records."""
        return Donors(*(part[rows] for part in self))


class TrainingRecords(NamedTuple):
    """Training records, as the encoder takes them, and in standard deviations.

    Attributes
    ----------
    records : ndarray of shape (m, n_features)
    center, scale : ndarray of shape (n_features,)
        Their means and standard deviations.
    standardized : ndarray of shape (m, n_features)
    """

    records: Array
    center: Array
    scale: Array
    standardized: Array

    @classmethod
    def of(cls, records: Array) -> TrainingRecords:
        """Standardise records."""
        largest = np.abs(records).max(axis=0)
        unit = np.where(largest > 0, largest, 1.0)  # squares of 1e300 would overflow
        parts = records / unit
        rows = cls(records, parts.mean(axis=0) * unit, parts.std(axis=0) * unit, records)
        return rows._replace(standardized=rows.standardize(records))

    def standardize(self, records: Array) -> Array:
        """Return records in standard deviations, 0 where nothing is known: (n, n_features)."""
        known = ~np.isnan(records) & (self.scale > 0)
        with np.errstate(over="ignore"):  # the clip takes care of infinity
            away = np.where(known, records - self.center, 0.0)
            away /= np.where(self.scale > 0, self.scale, 1.0)
        return np.clip(away, -MAX_DISTANCE, MAX_DISTANCE)

    def donors(self, records: Array, similar: Indices) -> Donors:
        """Return what records, (n, n_features), are compared with; `similar` are positions."""
        points = self.standardize(records)
        half = (points @ self.standardized.T).astype(np.float32)
        half -= 0.5 * (self.standardized**2).sum(axis=1, dtype=np.float32)
        size = 0.5 * (points**2).sum(axis=1, keepdims=True)
        itself = size * (1 - ROUNDING) - ROUNDING
        rows = np.flatnonzero(half.max(axis=1) >= itself[:, 0])
        half[rows] = np.where(half[rows] >= itself[rows], -np.inf, half[rows])
        nearest = half.argmax(axis=1)
        distance = (points - self.standardized[nearest]) ** 2
        alike = self.scale == 0
        with np.errstate(over="ignore"):
            is_new = np.abs(records - self.center) > ROUNDING * np.abs(self.center)
        distance[np.isnan(records) | (alike & ~is_new)] = -np.inf
        distance[alike & is_new] = np.inf
        return Donors(self.records[nearest], self.records[similar], distance)


def repairing_shares(
    shares: Array,
    differences: Array,
    records: Array,
    scores: Array,
    donors: Donors,
    score: Callable[[Array], Array],
    calibration: Calibration,
) -> Array:
    """Return the shares of features, changed where others make a record normal.

    The suspects are the features with the largest shares. A record keeps its shares if the values
    of the nearest row in three suspects lower its score so that it is not high. Otherwise a third
    feature is sought that does so together with two suspects. If there is none, and the values of
    the most similar row in the two suspects do not make the record typical, with a score of at
    most the median of normal ones, a third feature is sought beside two others: the one that
    lowers the score most by itself, and the one that does with it. Three features that make a
    record not high have the largest shares. Else a record that is mostly as high without the two
    suspects has the shares of its differences.

    Parameters
    ----------
    shares, differences, records : ndarray of shape (n, n_features)
    scores : ndarray of shape (n,)
        Of the records: high ones.
    donors : Donors
    score : callable
        Scores records, (m, n_features): (m,).
    calibration : Calibration
        Scores that are high, and that are typical.
    """
    found, high = shares.copy(), calibration.high
    order = _suspects(shares)  # (n, 3)
    rows = np.flatnonzero(score(_changed(records, donors.nearest, order)) > high)
    if not len(rows):
        return found
    suspects = order[rows, :N_SUSPECT]
    remaining = score(_changed(records[rows], donors.similar[rows], suspects))
    is_typical = remaining <= calibration.typical
    is_many = remaining - high > MANY * (scores[rows] - high)
    if shares.shape[1] > N_REPAIRED:
        some = records[rows], scores[rows], shares[rows], donors.at(rows)
        search = _Search.of(*some, score, high)
        third = search.third(np.arange(len(rows)), suspects, known=order[rows])
        chosen = np.column_stack([suspects, third])
        others, pairs = search.pairs(np.flatnonzero((chosen[:, -1] < 0) & ~is_typical))
        chosen[others] = np.column_stack([pairs, search.third(others, pairs)])
        enough = chosen[:, -1] >= 0
        found[rows[enough]] = _preferring(shares[rows[enough]], chosen[enough])
        is_many &= ~enough
    found[rows[is_many]] = differences[rows[is_many]]
    return found


def _changed(records: Array, donors: Array, features: Indices) -> Array:
    """Return records with the values of others in some features, (n, k)."""
    changed = records.copy()
    np.put_along_axis(changed, features, np.take_along_axis(donors, features, axis=1), axis=1)
    return changed


class _Search(NamedTuple):
    """Search for three features with whose values of the nearest row a record is not high.

    Attributes
    ----------
    records, shares, nearest : ndarray of shape (n, n_features)
    scores : ndarray of shape (n,)
        Of the records.
    tried : ndarray of int of shape (n, k)
        Features that are changed.
    can : ndarray of bool of shape (n, k)
        Whether a feature that is tried can change.
    score : callable
    high : float
    """

    records: Array
    scores: Array
    shares: Array
    nearest: Array
    tried: Indices
    can: Flags
    score: Callable[[Array], Array]
    high: float

    @classmethod
    def of(
        cls,
        records: Array,
        scores: Array,
        shares: Array,
        donors: Donors,
        score: Callable[[Array], Array],
        high: float,
    ) -> _Search:
        """Choose the features that are tried: suspect ones, far from the nearest record."""
        n_tried = min(max(MIN_TRIED, int(SHARE_TRIED * shares.shape[1])), MAX_TRIED)
        first = donors.distance * (shares + TINY)
        np.put_along_axis(first, _suspects(shares), np.inf, axis=1)
        tried = np.argsort(-first, axis=1, kind="stable")[:, :n_tried]
        can = np.take_along_axis(donors.distance, tried, axis=1) >= 0
        return cls(records, scores, shares, donors.nearest, tried, can, score, high)

    def pairs(self, rows: Indices) -> tuple[Indices, Indices]:
        """Choose two features one after another, each time the one that lowers the score most.

        Returns the rows for which a third one may be enough, (m,), and the features, (m, 2).
        """
        chosen = np.empty((len(rows), 0), dtype=np.intp)
        for n_left in range(N_REPAIRED - 1, 0, -1):
            found = self._with_each(rows, chosen)
            place, least = found.argmin(axis=1), found.min(axis=1)
            chosen = np.column_stack([chosen, self.tried[rows, place]])
            with np.errstate(invalid="ignore"):  # infinite where nothing is left to change
                fall = (self.scores[rows] - least) / (N_REPAIRED - n_left)
                hope = least - self.high <= MAX_FALL * n_left * fall
            rows, chosen = rows[hope], chosen[hope]
        return rows, chosen

    def third(self, rows: Indices, chosen: Indices, known: Indices | None = None) -> Indices:
        """Return the most suspect feature that is enough besides two, (m, 2), or -1: (m,).

        `known` are the two, and others that are not enough.
        """
        tried = self.tried[rows]
        enough = self._with_each(rows, chosen, known) <= self.high
        share = np.where(enough, self.shares[rows[:, None], tried], -1.0)
        best = share.argmax(axis=1)
        return np.where(enough.any(axis=1), tried[np.arange(len(rows)), best], -1)

    def _with_each(self, rows: Indices, chosen: Indices, known: Indices | None = None) -> Array:
        """Return scores with chosen features, (m, j), and each of those tried changed: (m, k).

        Infinite for the chosen ones, or those that are `known`.
        """
        tried, known = self.tried[rows], chosen if known is None else known
        can = self.can[rows] & (tried[:, :, None] != known[:, None]).all(axis=2)
        found = np.full(tried.shape, np.inf)
        row, place = np.nonzero(can)
        size = max(1, MAX_CELLS // self.records.shape[1])
        for start in range(0, len(row), size):
            each = row[start : start + size], place[start : start + size]
            features, at = np.column_stack([chosen[each[0]], tried[each]]), rows[each[0]]
            found[each] = self.score(_changed(self.records[at], self.nearest[at], features))
        return found


def _suspects(shares: Array) -> Indices:
    """Return the features with the largest shares: (n, N_REPAIRED), fewer if there are fewer."""
    return np.argsort(-shares, axis=1, kind="stable")[:, :N_REPAIRED]


def _preferring(shares: Array, chosen: Indices) -> Array:
    """Return shares of which those of chosen features, (n, k), are largest, in their order."""
    parts = np.take_along_axis(shares, chosen, axis=1)
    parts += MIN_PART * np.maximum(parts.sum(axis=1, keepdims=True), TINY)
    parts /= parts.sum(axis=1, keepdims=True)
    others = shares.copy()
    np.put_along_axis(others, chosen, 0.0, axis=1)
    largest = np.maximum(others.max(axis=1, keepdims=True), TINY)
    found: Array = others / largest * (0.5 * parts.min(axis=1, keepdims=True))
    np.put_along_axis(found, chosen, parts, axis=1)
    return found / found.sum(axis=1, keepdims=True)

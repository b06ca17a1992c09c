"""Shares of features by what would happen if these had the values of training rows.

The most suspect features of an anomaly, see `model.suspicion`, are mostly those that make it one:
with other values there it would be normal. Where they are not, and the values of the nearest
training row in other features make it normal, these get the largest shares. Where nothing of
this is enough, many features are unusual, and each counts as far as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.model.calibration import Calibration

__all__ = ["Donors", "TrainingRecords", "repairing_shares"]

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

N_REPAIRED = 3
"""Features that are to make a record normal, at most."""

N_SUSPECT = 2
"""Features without which a record with so many errors is typical."""

TYPICAL = 0.2
"""How far above the median of normal scores, on the way to high ones, a score may be typical."""

MANY = 0.5
"""Share of what a score is above high ones that remains without two suspects if many are wrong."""

MAX_DISTANCE = 1e6
"""Standard deviations to which distances from the centre are clipped."""

ROUNDING = 1e-6
"""Relative error of squared distances: as near, a training record is the record itself."""

MAX_TRIED = 10
"""Features that are changed: those that are farthest from the nearest training record."""

MAX_FALL = 1.25
"""A feature may still lower a score by so many times as the mean of those before it."""

MIN_PART = 0.05
"""Part of the fall of a score that each of the changed features has at least."""

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
        features that do not change.
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
        half[half >= size * (1 - ROUNDING) - ROUNDING] = -np.inf  # the record itself
        nearest = half.argmax(axis=1)
        distance = (points - self.standardized[nearest]) ** 2
        distance[np.isnan(records) | (self.scale == 0)] = -np.inf
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

    A record keeps its shares if the values of the nearest row in the three features with the
    largest ones lower its score so that it is not high, or those of the most similar row in two of
    them so that it is typical. Otherwise features get the values of the nearest row one after
    another, each time the one that lowers the score most. If three make it no longer high, these
    have the largest shares, in proportion to how far each lowers the score, and each other at
    most half as much. Else a record that is mostly as high without the two suspects has the shares
    of its differences.

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
    found, scored, high = shares.copy(), _in_parts(score), calibration.high
    typical = calibration.typical + TYPICAL * (high - calibration.typical)
    order = np.argsort(-shares, axis=1, kind="stable")[:, :N_REPAIRED]
    rows = np.flatnonzero(scored(_changed(records, donors.nearest, order)) > high)
    some = _changed(records[rows], donors.similar[rows], order[rows, :N_SUSPECT])
    remaining = scored(some)
    rows, remaining = rows[remaining > typical], remaining[remaining > typical]
    if not len(rows):
        return found
    chosen, path = _greedy(records[rows], scores[rows], donors.at(rows), scored, high)
    enough = path[:, -1] <= high
    falls = -np.diff(path[enough], axis=1)
    rest = (remaining - high) / np.maximum(scores[rows] - high, np.finfo(float).tiny)
    many = rows[rest > MANY]
    found[many] = differences[many]
    found[rows[enough]] = _preferring(shares[rows[enough]], chosen[enough], falls)
    return found


def _in_parts(score: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Return a function that scores many records, some at a time."""

    def scored(records: Array) -> Array:
        size = max(1, MAX_CELLS // max(1, records.shape[1]))
        parts = [score(records[i : i + size]) for i in range(0, len(records), size)]
        return np.concatenate([*parts, np.empty(0)])

    return scored


def _changed(records: Array, donors: Array, features: Indices) -> Array:
    """Return records with the values of others in some features, (n, k)."""
    changed = records.copy()
    np.put_along_axis(changed, features, np.take_along_axis(donors, features, axis=1), axis=1)
    return changed


def _greedy(
    records: Array, scores: Array, donors: Donors, score: Callable[[Array], Array], high: float
) -> tuple[Indices, Array]:
    """Return features that lower scores one after another, (n, k), and scores, (n, k + 1).

    Scores are infinite from where it is given up.
    """
    count = min(N_REPAIRED, records.shape[1])
    tried = np.argsort(-donors.distance, axis=1, kind="stable")[:, :MAX_TRIED]
    can = np.take_along_axis(donors.distance, tried, axis=1) >= 0
    chosen = np.zeros((len(records), count), dtype=np.intp)
    path = np.full((len(records), count + 1), np.inf)
    path[:, 0], rows = scores, np.arange(len(records))
    for step in range(count):
        found = np.full(tried.shape, np.inf)
        row, place = np.nonzero(can)
        changed = _changed(records[row], donors.nearest[rows[row]], tried[row, place, None])
        found[row, place] = score(changed)
        best = found.argsort(axis=1, kind="stable")
        tried, found = (np.take_along_axis(one, best, axis=1) for one in (tried, found))
        chosen[rows, step], path[rows, step + 1] = tried[:, 0], found[:, 0]
        records = _changed(records, donors.nearest[rows], tried[:, :1])

        if step == count - 1:
            break
        with np.errstate(invalid="ignore"):  # infinite where nothing is left to change
            fall = (path[rows, 0] - found[:, 0]) / (step + 1)
            hope = found[:, 0] - high <= MAX_FALL * (count - 1 - step) * fall
        rows, records = rows[hope], records[hope]
        tried, can = tried[hope, 1:], np.isfinite(found[hope, 1:])
    return chosen, path


def _preferring(shares: Array, chosen: Indices, falls: Array) -> Array:
    """Return shares of which those of chosen features are largest, in proportion to falls."""
    parts = np.maximum(falls, MIN_PART * falls.sum(axis=1, keepdims=True))
    parts /= parts.sum(axis=1, keepdims=True)
    others = shares.copy()
    np.put_along_axis(others, chosen, 0.0, axis=1)
    largest = np.maximum(others.max(axis=1, keepdims=True), np.finfo(float).tiny)
    found: Array = others / largest * (0.5 * parts.min(axis=1, keepdims=True))
    np.put_along_axis(found, chosen, parts, axis=1)
    return found / found.sum(axis=1, keepdims=True)

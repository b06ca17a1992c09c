"""Reasons for anomaly scores: the features that contribute most, beside what is normal of them.

Normal are the values of the training records that a model keeps: of numbers the range from the
5th to the 95th percentile, of categories the levels of at least a twentieth of the records. Of
features with several named targets, such as dates, those are unusual that are farther from the
nearest records than these mostly are from each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.data.base import Encoder
from vae_anomaly.data.cells import STRAY
from vae_anomaly.model.model import Evaluation, Model
from vae_anomaly.stats.categorical import Categorical
from vae_anomaly.stats.densities import numpy_ops

__all__ = [
    "DIRECTIONS",
    "NormalValues",
    "Reasons",
    "directions_of",
    "largest",
    "level_probabilities",
    "reasons_of",
]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]

DIRECTIONS = (
    "within",
    "below",
    "above",
    "unusual level",
    "missing",
    "unreadable",
    "far from training",
)
"""Where a value lies: in the normal range or beyond it; of a category whether its level is rare."""

WITHIN, BELOW, ABOVE, UNUSUAL, MISSING, UNREADABLE, FAR = range(7)

UNKNOWN = -1
"""Stands for the direction of a value without an order."""

N_SAMPLE, N_NEAR = 256, 5
"""Training records that named targets are compared with, and the number of the nearest ones."""

MIN_DISTANCE = 1e-3
"""Standard deviations that are near in any case."""

TAIL_SHARE = 0.05
"""Share of training records below the normal range, and above it; rarer levels are unusual."""

MAX_PASSES = 8
"""Ranks up to which one pass over the contributions for each is faster than sorting them."""

DIGITS = 2
"""Values of training records are shown to a hundredth of their spread, or less."""

MAX_DECIMALS = 300

SINGLE_PRECISION, DOUBLE_PRECISION = 1e-6, 1e-14
"""Bounds of the relative errors of targets, in 32 bits, and of the values that they stand for."""


class NamedTargets(NamedTuple):
    """Targets of a feature that have a name, such as those of the time of day of a date.

    Attributes
    ----------
    word : int
        What to say where they are unusual, as position in `directions_of`.
    places : ndarray of int of shape (k,)
        Their places among all.
    sample : ndarray of shape (s, k)
        Those of some training records.
    limit : float
        Distance of most of these from others that are near.
    """

    word: int
    places: Indices
    sample: Array
    limit: float

    @classmethod
    def of(cls, word: int, places: Indices, targets: Array, share: float) -> NamedTargets:
        """Measure training records, (m, n_targets), a share of which may be unusual."""
        sample = targets[:: -(-len(targets) // N_SAMPLE)][:, places]
        itself = _near_distance(sample, sample, N_NEAR)
        return cls(word, places, sample, max(float(np.quantile(itself, 1 - share)), MIN_DISTANCE))

    def distance(self, targets: Array) -> Array:
        """Return the distances of records, (n, n_targets), from near ones over the limit: (n,)."""
        return _near_distance(targets[:, self.places], self.sample, N_NEAR - 1) / self.limit


def _near_distance(points: Array, sample: Array, rank: int) -> Array:
    """Return the distances of points, (n, k), from those of a sample of this rank, from 0: (n,)."""
    found, rank = np.empty(len(points)), min(rank, len(sample) - 1)
    for start in range(0, len(points), N_SAMPLE):
        part = points[start : start + N_SAMPLE]
        squares = ((part[:, None] - sample) ** 2).sum(axis=2)
        found[start : start + N_SAMPLE] = np.partition(squares, rank, axis=1)[:, rank]
    return np.sqrt(found)


def _named_targets(model: Model, missing: Flags) -> dict[int, list[NamedTargets]]:
    """Measure the named targets of the training records that a model keeps."""
    encoder, found = model.encoder, {}
    words, targets = directions_of(encoder), model.reference.targets.astype(np.float64)
    feature = encoder.explained[model.network.spec.joint.feature_of_target]
    for i, names in encoder.named_targets.items():
        places, known = np.flatnonzero(feature == i), targets[~missing[:, i]]
        if not len(known):
            continue
        of_name = {name: places[np.array(names) == name] for name in names}
        share = TAIL_SHARE / len(of_name)  # all together not more than of a number
        found[i] = [
            NamedTargets.of(words.index(f"unusual {name}"), own, known, share)
            for name, own in of_name.items()
        ]
    return found


@dataclass(frozen=True, eq=False)
class NormalValues:
    """What is normal of each feature, as `Encoder.encode` takes values.

    Attributes
    ----------
    low, high : ndarray of shape (n_features,)
        Normal range; NaN for features that are no numbers, or that no record has.
    least, greatest : ndarray of shape (n_features,)
        Range of all records; NaN as above.
    decimals : ndarray of shape (n_features,)
        Decimals to a hundredth of the spread or less, to which `rounded` rounds; of numbers that
        are whole in all records 0 at most. Infinite where values do not vary.
    level_shares : mapping of int to ndarray
        Feature that is a category -> shares of its levels by code.
    records : ndarray of shape (m, n_features)
        The training records, rounded; NaN for missing values.
    named : mapping of int to list of NamedTargets
        Feature with named targets -> these.
    """

    low: Array
    high: Array
    least: Array
    greatest: Array
    decimals: Array
    level_shares: dict[int, Array]
    records: Array
    named: dict[int, list[NamedTargets]]

    @classmethod
    def of(cls, model: Model) -> NormalValues:
        """Measure the training records that a model keeps."""
        are_numbers, undetermined = model.encoder.are_numbers, model.encoder.undetermined
        missing = _missing(model)
        values = np.where(missing, np.nan, model.training_records)
        bounds, decimals = np.full((4, values.shape[1]), np.nan), np.full(values.shape[1], np.nan)
        shares = {}
        for i, column in enumerate(values.T):
            known = np.sort(column[~np.isnan(column)])
            if not len(known) or i in undetermined:
                continue
            if not are_numbers[i]:
                shares[i] = np.bincount(known.astype(np.intp)) / len(known)
                continue
            decimals[i] = _decimals(known)
            bounds[:, i] = np.quantile(known, [TAIL_SHARE, 1 - TAIL_SHARE, 0, 1])
        low, high, least, greatest = (_rounded(one, decimals) for one in bounds)
        records = _rounded(values, decimals)
        named = _named_targets(model, missing)
        return cls(low, high, least, greatest, decimals, shares, records, named)

    def usual(self, values: Array) -> Array:
        """Return expected values, (n, n_features), rounded, and within those of all records."""
        with np.errstate(invalid="ignore"):
            inside = np.fmin(np.fmax(values, self.least), self.greatest)
        return self.rounded(np.where(np.isnan(values), np.nan, inside))

    def rounded(self, values: Array) -> Array:
        """Round values, (..., n_features), as far as differences between records matter."""
        return _rounded(values, self.decimals)

    def directions(self, feature: Indices, value: Array) -> Indices:
        """Return where values of features lie, as positions in `DIRECTIONS` or `UNKNOWN`."""
        low, high = self.low[feature], self.high[feature]
        cases = [value < low, value > high, ~np.isnan(low)]
        found = np.select(cases, [BELOW, ABOVE, WITHIN], UNKNOWN)
        for i, shares in self.level_shares.items():
            here = feature == i
            code = np.minimum(np.nan_to_num(value[here]), len(shares)).astype(np.intp)
            usual = np.append(shares, 0.0)[code] >= TAIL_SHARE
            found[here] = np.where(usual, WITHIN, UNUSUAL)
        found[value == STRAY] = UNREADABLE
        found[np.isnan(value)] = MISSING
        return found


class Reasons(NamedTuple):
    """The features that contribute most to each score, in descending order: (n, k) each.

    Attributes
    ----------
    feature : ndarray of int
    contribution : ndarray
        In nats. What lowers a score, or adds nothing, is no reason for it.
    value, expected : ndarray
        As `Encoder.encode` takes them: the value, and what the rest of the record lets expect.
    probability : ndarray
        That of the expected level of a category, given the rest of the record; else NaN.
    low, high : ndarray
        Normal range, see `NormalValues`.
    direction : ndarray of int
        Position in `directions_of`, or `UNKNOWN`.
    """

    feature: Indices
    contribution: Array
    value: Array
    expected: Array
    probability: Array
    low: Array
    high: Array
    direction: Indices


def reasons_of(
    model: Model,
    normal: NormalValues,
    records: Array,
    found: Evaluation,
    count: int,
) -> Reasons:
    """Return the reasons for the scores of records.

    Parameters
    ----------
    model : Model
    normal : NormalValues
    records : ndarray of shape (n, n_features)
    found : Evaluation
        With contributions, and what is expected.
    count : int
        Number of reasons for each record; at most one for each feature.
    """
    contributions, count = found.contributions, min(count, found.contributions.shape[1])
    places = [place for place, _ in largest(contributions, count)]
    feature = np.stack(places, axis=1) if places else np.empty((len(records), 0), dtype=np.intp)
    rows = np.arange(len(records))[:, None]
    values = np.asarray(records, dtype=np.float64)[rows, feature]
    return Reasons(
        feature,
        contributions[rows, feature],
        values,
        normal.usual(model.encoder.decode(found.expected))[rows, feature],
        level_probabilities(model, found.expected)[rows, feature],
        normal.low[feature],
        normal.high[feature],
        _directions(model, normal, records, feature),
    )


def directions_of(encoder: Encoder) -> tuple[str, ...]:
    """Return the words for directions: `DIRECTIONS`, then one for each named target."""
    names = dict.fromkeys(name for own in encoder.named_targets.values() for name in own)
    return (*DIRECTIONS, *(f"unusual {name}" for name in names))


def _directions(model: Model, normal: NormalValues, records: Array, feature: Indices) -> Indices:
    """Return where the values of features, (n, k), lie, as positions in `directions_of`."""
    values = np.asarray(records, dtype=np.float64)
    found = normal.directions(feature, np.take_along_axis(values, feature, axis=1))
    named = (found == UNKNOWN) & np.isin(feature, list(normal.named))
    rows = np.flatnonzero(named.any(axis=1))
    if not len(rows):
        return found
    encoded = model.encoder.encode(values[rows])
    for i, parts in normal.named.items():
        row, place = np.nonzero(named[rows] & (feature[rows] == i))
        targets = encoded.targets[row]
        away = np.stack([part.distance(targets) for part in parts])  # (parts, n)
        words = np.array([part.word for part in parts])[away.argmax(axis=0)]
        near = np.where(away.max(axis=0) > 1.0, words, WITHIN)
        found[rows[row], place] = np.where(encoded.penalty[row, i] > 0, FAR, near)
    return found


def level_probabilities(model: Model, expected: Array) -> Array:
    """Return the probabilities of expected levels: (n, n_features), NaN for what is no category.

    Parameters
    ----------
    model : Model
    expected : ndarray of shape (n, n_targets)
        Targets that are expected: of a category the probabilities of its levels, last that of
        all that no training record has, which is never the expected one.
    """
    joint, encoder = model.network.spec.joint, model.encoder
    found, feature = np.full((len(expected), len(encoder.features)), np.nan), 0
    parts = joint.split(numpy_ops, expected)
    for block, likelihood, part in zip(joint.blocks, joint.likelihoods, parts, strict=True):
        if isinstance(likelihood, Categorical):
            found[:, encoder.explained[feature]] = part[:, :-1].max(axis=1)
        feature += block.n_features
    return found


def largest(parts: Array, count: int) -> Iterator[tuple[Indices, Array]]:
    """Yield the places and values of the largest numbers in each row, one rank after another.

    Of equal numbers the first one comes first.

    Examples
    --------
    >>> [values.tolist() for _, values in largest(np.array([[1.0, 3.0, 2.0]]), 2)]
    [[3.0], [2.0]]
    """
    rows = np.arange(len(parts))
    if count > MAX_PASSES:
        order = np.argsort(-parts, axis=1, kind="stable")
        for k in range(count):
            yield order[:, k], parts[rows, order[:, k]]
        return
    rest = parts.copy()
    for _ in range(count):
        place = rest.argmax(axis=1)
        yield place, parts[rows, place]
        rest[rows, place] = -np.inf


def _missing(model: Model) -> Flags:
    """Return which features of training records are missing: (m, n_features).

    They have no residuals, and the targets that the networks expect.
    """
    encoder, joint = model.encoder, model.network.spec.joint
    missing = np.zeros((len(model.reference.targets), len(encoder.features)), dtype=bool)
    shares = encoder.missing_shares
    if shares.any():
        residual = np.abs(model.reference.points[:, : joint.n_targets])
        size = joint.by_feature(numpy_ops, joint.split(numpy_ops, residual))
        missing[:, encoder.explained] = size == 0
        missing &= shares > 0
    return missing


def _rounded(values: Array, decimals: Array) -> Array:
    """Round values, (..., n), to decimals, (n,); also to tens and so on, if these are negative."""
    unit = 10.0 ** np.clip(np.abs(np.nan_to_num(decimals, posinf=0.0)), 0, MAX_DECIMALS)
    with np.errstate(over="ignore", invalid="ignore"):
        fine, coarse = np.round(values * unit) / unit, np.round(values / unit) * unit
    rounded = np.where(decimals > 0, fine, coarse)
    found = np.where(np.isfinite(decimals) & np.isfinite(rounded), rounded, values)
    return found + 0.0  # without minus zero


def _decimals(known: Array) -> float:
    """Return the decimals to a hundredth of the spread of numbers, for whole ones 0 at most."""
    with np.errstate(over="ignore", invalid="ignore"):
        spread, distance = float(known.std()), np.abs(known - known.mean())
    if not np.isfinite(spread) or spread <= DOUBLE_PRECISION * float(np.abs(known).max()):
        return np.inf
    decimals = float(np.ceil(DIGITS - np.log10(spread)))
    error = SINGLE_PRECISION * (spread + distance) + DOUBLE_PRECISION * np.abs(known)
    is_whole = bool((np.abs(known - np.round(known)) <= error).all())
    return min(decimals, 0.0) if is_whole else decimals

"""Thresholds chosen by labels, thresholds of a slider, and false discovery control of a batch."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.exceptions import DataError
from vae_anomaly.metrics.confusion import Confusion, confusion
from vae_anomaly.stats.thresholds import (
    TooFewCalibrationRowsWarning,
    false_discovery_threshold,
    ranks_among,
)

__all__ = [
    "FDR",
    "Candidates",
    "Choice",
    "Criteria",
    "Discovery",
    "Steps",
    "choose_thresholds",
    "discovery",
    "threshold_steps",
]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Counts = NDArray[np.int_]

MAX_STEPS = 400
"""Positions of the slider, besides the threshold of the model."""

FDR = 0.05
"""Expected share of false flags that `discovery` controls."""


class Criteria(NamedTuple):
    """Criteria by which labels choose thresholds; none by default.

    Attributes
    ----------
    cost_miss, cost_false_alarm : float or None
        Minimise the total cost over all rows; a cost that is not given is 1.
    min_recall : float or None
        Choose the highest threshold with at least this recall.
    min_precision : float or None
        Choose the threshold with the greatest recall among those with at least this
        precision.
    f_beta : float or None
        Maximise F-beta: recall counts beta times as much as precision (van
        Rijsbergen, "Information retrieval", 1979, chapter 7).
    """

    cost_miss: float | None = None
    cost_false_alarm: float | None = None
    min_recall: float | None = None
    min_precision: float | None = None
    f_beta: float | None = None

    @property
    def given(self) -> bool:
        """Whether there is any criterion."""
        return any(value is not None for value in self)


@dataclass(frozen=True)
class Choice:
    """A threshold chosen by labels.

    Attributes
    ----------
    criterion : str
        Description of the criterion.
    threshold : float or None
        In nats; None if no threshold meets the criterion.
    confusion : Confusion or None
        Counts at that threshold.
    """

    criterion: str
    threshold: float | None
    confusion: Confusion | None


class Candidates(NamedTuple):
    """All thresholds that flag different sets of rows, ascending, and the flags of each."""

    thresholds: Array
    found: Counts
    alarms: Counts

    @classmethod
    def of(cls, scores: Array, labels: Flags) -> Candidates:
        """Return thresholds between neighbouring scores, below the lowest and at the highest."""
        values = np.unique(scores)
        between = values[:-1] + np.diff(values) / 2
        between = np.where(between < values[1:], between, values[:-1])  # neighbouring floats
        thresholds = np.concatenate([[np.nextafter(values[0], -np.inf)], between, values[-1:]])
        return cls(thresholds, *_flag_counts(scores, labels, thresholds))


def _flag_counts(scores: Array, labels: Flags, thresholds: Array) -> tuple[Counts, Counts]:
    """Count the anomalies and the normal rows above each threshold."""
    found, alarms = (
        group.size - np.searchsorted(np.sort(group), thresholds, side="right")
        for group in (scores[labels], scores[~labels])
    )
    return found, alarms


def choose_thresholds(scores: Array, labels: Flags, criteria: Criteria) -> tuple[Choice, ...]:
    """Choose a threshold for each criterion.

    The same labels choose a threshold and measure it: on other rows it performs
    slightly worse. Of thresholds that perform equally well the highest is chosen.

    Parameters
    ----------
    scores : ndarray of shape (n_rows,)
        Anomaly scores.
    labels : ndarray of bool of shape (n_rows,)
        True for anomalies.
    criteria : Criteria

    Returns
    -------
    tuple of Choice

    Raises
    ------
    DataError
        If criteria are given and all labels are of one class.

    Examples
    --------
    >>> scores, labels = np.array([1.0, 2.0, 3.0, 4.0]), np.array([False, True, False, True])
    >>> choices = choose_thresholds(scores, labels, Criteria(cost_miss=5, min_precision=0.9))
    >>> [(choice.criterion, choice.threshold) for choice in choices]
    [('least cost, 5 a miss and 1 a false alarm', 1.5), ('precision of at least 90 %', 3.5)]
    """
    if not criteria.given:
        return ()
    anomalies, normal = int(labels.sum()), int((~labels).sum())
    if not (anomalies and normal):
        raise DataError(
            f"A threshold by cost, recall, precision or F-beta needs labels of both classes. All "
            f"{len(labels):,} rows are labelled {'anomalous' if anomalies else 'normal'}."
        )
    candidates = Candidates.of(scores, labels)
    return tuple(
        _choice(criterion, gain, candidates, anomalies, normal)
        for criterion, gain in _gains(candidates, anomalies, criteria)
    )


def _gains(
    candidates: Candidates, anomalies: int, criteria: Criteria
) -> Iterator[tuple[str, Array]]:
    """Yield each criterion in words and the value to maximise over the candidates."""
    _, found, alarms = candidates
    missed = anomalies - found
    flagged = found + alarms
    never = np.full(len(found), -np.inf)
    if criteria.cost_miss is not None or criteria.cost_false_alarm is not None:
        miss, alarm = criteria.cost_miss or 1.0, criteria.cost_false_alarm or 1.0
        words = f"least cost, {miss:g} a miss and {alarm:g} a false alarm"
        yield words, -(miss * missed + alarm * alarms)
    if criteria.min_recall is not None:
        enough = found >= np.round(criteria.min_recall * anomalies, 9)
        words = f"recall of at least {100 * criteria.min_recall:g} %"
        yield words, np.where(enough, candidates.thresholds, never)
    if criteria.min_precision is not None:
        precision = found / np.maximum(flagged, 1)
        right = (flagged > 0) & (precision >= criteria.min_precision)
        words = f"precision of at least {100 * criteria.min_precision:g} %"
        yield words, np.where(right, found, never)
    if criteria.f_beta is not None:
        square = criteria.f_beta**2
        f_beta = (1 + square) * found / ((1 + square) * found + square * missed + alarms)
        yield f"greatest F{criteria.f_beta:g}", f_beta


def _choice(
    criterion: str, gain: Array, candidates: Candidates, anomalies: int, normal: int
) -> Choice:
    best = len(gain) - 1 - int(np.argmax(gain[::-1]))
    if gain[best] == -np.inf:
        return Choice(criterion, None, None)
    found, alarms = int(candidates.found[best]), int(candidates.alarms[best])
    return Choice(
        criterion,
        float(candidates.thresholds[best]),
        confusion(found, alarms, anomalies, normal),
    )


@dataclass(frozen=True, eq=False)
class Steps:
    """Thresholds of the slider, and the flags of each.

    Attributes
    ----------
    thresholds : ndarray of shape (n_steps,)
        Ascending, in nats; rows above are flagged.
    found, alarms : ndarray of int of shape (n_steps,)
        Anomalies and normal rows that are flagged; without labels all rows
        count as normal.
    n_anomalies : int or None
        None without labels.
    n_normal : int
    nominal : ndarray of shape (n_steps,) or None
        Probability that a fresh normal row is flagged, by the calibration rows.
    start : int
        Position of the threshold of the model.
    """

    thresholds: Array
    found: Counts
    alarms: Counts
    n_anomalies: int | None
    n_normal: int
    nominal: Array | None
    start: int


def threshold_steps(
    scores: Array, labels: Flags | None, threshold: float, calibration: Array
) -> Steps:
    """Return thresholds from one that flags all rows to one that flags none.

    There are at most 400, denser where they flag few rows, and that of the model.

    Parameters
    ----------
    scores : ndarray of shape (n_rows,)
    labels : ndarray of bool of shape (n_rows,), optional
    threshold : float
        Threshold of the model.
    calibration : ndarray of shape (n,)
        Calibration scores, ascending; may be empty.

    Returns
    -------
    Steps
    """
    known = np.zeros(len(scores), dtype=bool) if labels is None else labels
    candidates = Candidates.of(scores, known)
    flagged = candidates.found + candidates.alarms
    position = flagged / flagged[0] + np.log1p(flagged) / np.log1p(flagged[0])  # from 2 to 0
    wanted = np.linspace(2, 0, MAX_STEPS)
    kept = np.unique(np.searchsorted(-position, -wanted).clip(max=len(position) - 1))
    thresholds = np.unique([*candidates.thresholds[kept], threshold])
    found, alarms = _flag_counts(scores, known, thresholds)
    nominal = None
    if len(calibration):
        above = len(calibration) - np.searchsorted(calibration, thresholds, side="right")
        nominal = (1 + above) / (len(calibration) + 1)
    return Steps(
        thresholds,
        found,
        alarms,
        n_anomalies=None if labels is None else int(labels.sum()),
        n_normal=int((~known).sum()),
        nominal=nominal,
        start=int(np.searchsorted(thresholds, threshold)),
    )


@dataclass(frozen=True)
class Discovery:
    """Flags of a batch with a controlled false discovery rate.

    Attributes
    ----------
    fdr : float
        Expected share of false flags, at most.
    threshold : float
        In nats, infinite if nothing is flagged.
    n_flagged : int
    """

    fdr: float
    threshold: float
    n_flagged: int


def discovery(scores: Array, calibration: Array) -> Discovery | None:
    """Flag the rows as one batch with a false discovery rate of at most `FDR`."""
    if not len(calibration):
        return None
    ranks = np.bincount(ranks_among(calibration, scores), minlength=len(calibration) + 1)
    with warnings.catch_warnings():
        # The page states that nothing is flagged.
        warnings.simplefilter("ignore", TooFewCalibrationRowsWarning)
        threshold = false_discovery_threshold(calibration, ranks, FDR)
    return Discovery(FDR, threshold, int((scores > threshold).sum()))

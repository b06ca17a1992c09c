"""Other thresholds than the detector's: those that labels ask for, and those to try on the page."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.exceptions import DataError
from vae_anomaly.report.data import Choice, Confusion, Discovery, Steps
from vae_anomaly.report.intervals import rate
from vae_anomaly.stats.thresholds import (
    TooFewCalibrationRowsWarning,
    false_discovery_threshold,
    ranks_among,
)

__all__ = ["FDR", "Criteria", "choose_thresholds", "confusion", "discovery", "measure_steps"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Counts = NDArray[np.int_]

MAX_STEPS = 400
"""Positions of the slider, besides the detector's own threshold."""

FDR = 0.05
"""Share of false flags that the report holds a batch to."""


class Criteria(NamedTuple):
    """What another threshold is to be chosen by; nothing by default.

    Attributes
    ----------
    cost_miss, cost_false_alarm : float or None
        The sum of both over all rows is to be least; one that is not given is 1.
    min_recall : float or None
        The highest threshold that finds this share of the anomalies.
    min_precision : float or None
        The threshold that finds most, of those whose flags are right in this share.
    f_beta : float or None
        The threshold of the greatest F-beta: recall counts beta times as much as
        precision (van Rijsbergen, "Information retrieval", 1979, chapter 7).
    """

    cost_miss: float | None = None
    cost_false_alarm: float | None = None
    min_recall: float | None = None
    min_precision: float | None = None
    f_beta: float | None = None


class Candidates(NamedTuple):
    """Every threshold that flags other rows than the next, ascending, and what it flags."""

    thresholds: Array
    found: Counts
    alarms: Counts

    @classmethod
    def of(cls, scores: Array, labels: Flags) -> Candidates:
        """Lay thresholds between neighbouring scores, below the lowest and at the highest."""
        values = np.unique(scores)
        between = values[:-1] + np.diff(values) / 2
        between = np.where(between < values[1:], between, values[:-1])  # neighbouring floats
        thresholds = np.concatenate([[np.nextafter(values[0], -np.inf)], between, values[-1:]])
        found, alarms = (
            group.size - np.searchsorted(np.sort(group), thresholds, side="right")
            for group in (scores[labels], scores[~labels])
        )
        return cls(thresholds, found, alarms)


def confusion(found: int, alarms: int, anomalies: int, normal: int) -> Confusion:
    """Set counts of flags against those of labels."""
    return Confusion(
        found,
        anomalies - found,
        alarms,
        normal - alarms,
        recall=rate(found, anomalies),
        precision=rate(found, found + alarms),
        false_alarm_rate=rate(alarms, normal),
    )


def choose_thresholds(scores: Array, labels: Flags, criteria: Criteria) -> tuple[Choice, ...]:
    """Choose a threshold for each criterion that is asked for.

    The labels that choose are those that then judge: on other rows a threshold
    does somewhat worse. Of thresholds that do equally well the highest is taken.

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
        If labels of both kinds are needed and only one is there.

    Examples
    --------
    >>> scores, labels = np.array([1.0, 2.0, 3.0, 4.0]), np.array([False, True, False, True])
    >>> choices = choose_thresholds(scores, labels, Criteria(cost_miss=5, min_precision=0.9))
    >>> [(choice.words, choice.threshold) for choice in choices]
    [('least cost, 5 a miss and 1 a false alarm', 1.5), ('precision of at least 90 %', 3.5)]
    """
    if all(value is None for value in criteria):
        return ()
    anomalies, normal = int(labels.sum()), int((~labels).sum())
    if not (anomalies and normal):
        raise DataError(
            f"A threshold by cost, recall, precision or F-beta needs labels of both kinds. All "
            f"{len(labels):,} rows are labelled {'anomalous' if anomalies else 'normal'}."
        )
    candidates = Candidates.of(scores, labels)
    _, found, alarms = candidates
    missed, flagged = anomalies - found, found + alarms
    precision = found / np.maximum(flagged, 1)
    never = np.full(len(found), -np.inf)
    gains: list[tuple[str, Array]] = []
    if criteria.cost_miss is not None or criteria.cost_false_alarm is not None:
        miss, alarm = criteria.cost_miss or 1.0, criteria.cost_false_alarm or 1.0
        words = f"least cost, {miss:g} a miss and {alarm:g} a false alarm"
        gains.append((words, -(miss * missed + alarm * alarms)))
    if criteria.min_recall is not None:
        enough = found >= np.round(criteria.min_recall * anomalies, 9)
        words = f"recall of at least {100 * criteria.min_recall:g} %"
        gains.append((words, np.where(enough, candidates.thresholds, never)))
    if criteria.min_precision is not None:
        right = (flagged > 0) & (precision >= criteria.min_precision)
        words = f"precision of at least {100 * criteria.min_precision:g} %"
        gains.append((words, np.where(right, found, never)))
    if criteria.f_beta is not None:
        square = criteria.f_beta**2
        f = (1 + square) * found / ((1 + square) * found + square * missed + alarms)
        gains.append((f"greatest F{criteria.f_beta:g}", f))
    return tuple(_choice(words, gain, candidates, anomalies, normal) for words, gain in gains)


def _choice(words: str, gain: Array, of: Candidates, anomalies: int, normal: int) -> Choice:
    best = len(gain) - 1 - int(np.argmax(gain[::-1]))
    if gain[best] == -np.inf:
        return Choice(words, None, None)
    flags = confusion(int(of.found[best]), int(of.alarms[best]), anomalies, normal)
    return Choice(words, float(of.thresholds[best]), flags)


def measure_steps(
    scores: Array, labels: Flags | None, threshold: float, calibration: Array
) -> Steps:
    """Count what thresholds flag, from one that flags all rows to one that flags none.

    At most 400, closer together where they flag few rows, and the detector's own.

    Parameters
    ----------
    scores : ndarray of shape (n_rows,)
    labels : ndarray of bool of shape (n_rows,), optional
    threshold : float
        The detector's.
    calibration : ndarray of shape (n,)
        Calibration scores, ascending; empty if it has none.

    Returns
    -------
    Steps
    """
    known = np.zeros(len(scores), dtype=bool) if labels is None else labels
    candidates = Candidates.of(scores, known)
    flagged = candidates.found + candidates.alarms
    far = flagged / flagged[0] + np.log1p(flagged) / np.log1p(flagged[0])  # descending, from 2
    wanted = np.linspace(2, 0, MAX_STEPS)
    kept = np.unique(np.searchsorted(-far, -wanted).clip(max=len(far) - 1))
    thresholds = np.unique([*candidates.thresholds[kept], threshold])
    found, alarms = (
        group.size - np.searchsorted(np.sort(group), thresholds, side="right")
        for group in (scores[known], scores[~known])
    )
    promised = None
    if len(calibration):
        promised = (1 + ranks_above(calibration, thresholds)) / (len(calibration) + 1)
    return Steps(
        thresholds,
        found,
        alarms,
        n_anomalies=None if labels is None else int(labels.sum()),
        n_normal=int((~known).sum()),
        promised=promised,
        start=int(np.searchsorted(thresholds, threshold)),
    )


def ranks_above(calibration: Array, thresholds: Array) -> Counts:
    """Count the calibration scores above each threshold."""
    return len(calibration) - np.searchsorted(calibration, thresholds, side="right")


def discovery(scores: Array, calibration: Array) -> Discovery | None:
    """Flag the rows as a batch of which at most `FDR` are expected to be false."""
    if not len(calibration):
        return None
    ranks = np.bincount(ranks_among(calibration, scores), minlength=len(calibration) + 1)
    with warnings.catch_warnings():
        # That nothing is flagged is said on the page.
        warnings.simplefilter("ignore", TooFewCalibrationRowsWarning)
        threshold = false_discovery_threshold(calibration, ranks, FDR)
    return Discovery(FDR, threshold, int((scores > threshold).sum()))

"""From scores of normal rows to flags that mean something: thresholds and p-values.

Anomaly scores here: in nats, higher is stranger. A row is flagged when its
score lies *above* the threshold.

All of it is split conformal prediction: calibration rows are kept from
training, so that they and fresh normal rows are exchangeable, and the rank of a
fresh score among theirs is uniform. Cross-conformal schemes, where each row
calibrates by the members that did not learn from it, would keep no row from
training. Under one constant threshold none of them is exact here: a fresh row's
score is the mean over all members, a calibration row's the mean over some.

Calibration rows may be exemplars of the score, each for all others (`fit` makes
them so while there is room). A calibration row's score then leaves the row itself
out; full conformal prediction would have the fresh row vouch for it as well, which
can only lower the score. So p-values are no smaller than those of full conformal
prediction, and valid: the rate is at most the one that is stated, and short of it by
what one exemplar more would change. What is said below of many rows at once, the
interval of the rate, smoothed p-values and false discoveries, holds up to as much;
after `recalibrate` it holds as it stands.

Vovk, Gammerman and Shafer, "Algorithmic learning in a random world", 2005;
Bates et al., "Testing for outliers with conformal p-values", Annals of
Statistics 2023, :doi:`10.1214/22-AOS2244`.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "TooFewCalibrationRowsWarning",
    "choose_calibration_rows",
    "conformal_p_values",
    "contamination_threshold",
    "false_alarm_interval",
    "false_alarm_threshold",
    "false_discovery_threshold",
    "ranks_among",
]

Array = NDArray[np.float64]
Counts = NDArray[np.int_]

CALIBRATION_SHARE = 1 / 5
MAX_CALIBRATION_SHARE = 3 / 10
"""What a table of few rows gives for the wanted rate: more would cost the networks too much."""

MAX_CALIBRATION_ROWS = 10_000


class TooFewCalibrationRowsWarning(UserWarning):
    """The wanted rate is finer than the calibration rows can resolve."""


def _rows_beyond(n: int, rate: float) -> int:
    """How many of n calibration rows and a fresh one may lie beyond the threshold."""
    # The product is rounded first: it is often a whole number but for one ulp.
    return math.floor(round((n + 1) * rate, 9))


def _least_rows(beyond: int, rate: float) -> int:
    """Fewest calibration rows of which, with a fresh one, so many make up the rate."""
    return math.ceil(round(beyond / rate, 9)) - 1


def calibration_size(n: int, rate: float) -> int:
    """How many of n rows are kept from training for a false-alarm rate.

    About a fifth, such that ``rate`` of one more than them is a whole number:
    the rate that comes out is then the one asked for, not one below it. More,
    but three tenths at most, where a fifth is too few for the rate.

    Examples
    --------
    >>> [calibration_size(n, 0.05) for n in (1000, 100, 70, 30)]
    [199, 19, 19, 9]
    """
    wanted = min(n * CALIBRATION_SHARE, MAX_CALIBRATION_ROWS)
    size = _least_rows(max(1, round((wanted + 1) * rate)), rate)
    return max(1, min(size, int(n * MAX_CALIBRATION_SHARE)))


def choose_calibration_rows(n: int, rate: float, rng: np.random.RandomState) -> NDArray[np.bool_]:
    """Choose which of n rows are kept from training, see `calibration_size`."""
    chosen = np.zeros(n, dtype=bool)
    chosen[rng.permutation(n)[: calibration_size(n, rate)]] = True
    return chosen


def contamination_threshold(training_scores: Array, contamination: float) -> float:
    """Threshold that flags the given share of the training rows themselves.

    Parameters
    ----------
    training_scores : ndarray of shape (n_rows,)
        Anomaly scores of the rows that the model was trained on.
    contamination : float in (0, 0.5]
        Share of them to flag, as in scikit-learn's outlier detectors.

    Returns
    -------
    float

    Examples
    --------
    >>> contamination_threshold(np.arange(11.0), 0.1)
    9.0
    """
    return -float(np.percentile(-training_scores, 100.0 * contamination))


def false_alarm_threshold(calibration_scores: Array, rate: float, *, stacklevel: int = 2) -> float:
    """Threshold that a fresh normal row exceeds with probability at most `rate`.

    With n calibration rows, exchangeable with the fresh one and unseen in
    training, it is their k-th smallest score, ``k = ceil((n + 1)(1 - rate))``.
    The probability, over the draw of both, is ``floor((n + 1) rate) / (n + 1)``
    if no scores tie, and less if some do. For the rows that happened to
    calibrate, the share of fresh ones that exceed the threshold is as
    `false_alarm_interval` says (Vovk, "Conditional validity of inductive
    conformal predictors", 2012, :doi:`10.1007/s10994-013-5355-6`).

    Parameters
    ----------
    calibration_scores : ndarray of shape (n_rows,)
        Anomaly scores of normal rows that the model was not trained on.
    rate : float in (0, 1)
        False-alarm rate, the share of normal rows that may be flagged.
    stacklevel : int, default=2
        Of the warning.

    Returns
    -------
    float

    Warns
    -----
    TooFewCalibrationRowsWarning
        If ``n < 1 / rate - 1``. Rows are then flagged that are as strange as the
        strangest calibration row, which fresh ones are with probability
        ``1 / (n + 1)``.

    Examples
    --------
    >>> false_alarm_threshold(np.arange(1.0, 100.0), 0.05)
    95.0
    """
    n = len(calibration_scores)
    beyond = _rows_beyond(n, rate)
    if not beyond:
        warnings.warn(
            f"false_alarm_rate={rate:g} needs at least {_least_rows(1, rate)} calibration "
            f"rows, there are {n}: rows as strange as the strangest of them are flagged, a rate of "
            f"about {1 / (n + 1):.2g}. Fit on more rows or ask for a higher rate.",
            TooFewCalibrationRowsWarning,
            stacklevel=stacklevel,
        )
        return float(np.nextafter(np.max(calibration_scores), -np.inf))
    return float(np.sort(calibration_scores)[n - beyond])


def false_alarm_interval(n: int, rate: float, level: float = 0.95) -> tuple[float, float]:
    """How far the share of fresh normal rows that are flagged may lie from `rate`.

    That share, for a threshold from n calibration rows, is a draw from
    Beta(j, n + 1 - j), ``j = floor((n + 1) rate)`` but at least 1: scores that
    do not tie are uniform after their own distribution function, and the
    threshold is one of their order statistics.

    Parameters
    ----------
    n : int
        Calibration rows.
    rate : float in (0, 1)
    level : float in (0, 1), default=0.95

    Returns
    -------
    low, high : float
        Central interval.

    Examples
    --------
    >>> low, high = false_alarm_interval(199, 0.05)
    >>> round(low, 3), round(high, 3)
    (0.024, 0.084)
    """
    from scipy.special import betaincinv

    beyond = max(1, _rows_beyond(n, rate))
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = betaincinv(beyond, n + 1 - beyond, tails)
    return float(low), float(high)


def ranks_among(calibration_scores: Array, scores: Array) -> NDArray[np.intp]:
    """Count for each score the calibration scores, ascending, that are not below it."""
    below = np.searchsorted(calibration_scores, scores, side="left")
    return len(calibration_scores) - below


def conformal_p_values(
    calibration_scores: Array, scores: Array, rng: np.random.RandomState | None = None
) -> Array:
    """Share of the calibration rows, and the row itself, that are as strange as it.

    A fresh normal row has ``P(p <= t) <= t`` for every t. With `rng`, ties are
    broken at random, those with oneself as well, and p is exactly uniform.

    Parameters
    ----------
    calibration_scores : ndarray of shape (n,)
        Ascending.
    scores : ndarray of shape (n_rows,)
    rng : RandomState, optional

    Returns
    -------
    ndarray of shape (n_rows,)
        Multiples of ``1 / (n + 1)`` from there to 1; with `rng` any number in [0, 1].

    Examples
    --------
    >>> conformal_p_values(np.array([1.0, 2.0, 3.0]), np.array([0.0, 2.0, 9.0])).tolist()
    [1.0, 0.75, 0.25]
    """
    n, at_least = len(calibration_scores), ranks_among(calibration_scores, scores)
    if rng is None:
        return np.asarray((1 + at_least) / (n + 1))
    above = n - np.searchsorted(calibration_scores, scores, side="right")
    return np.asarray((above + rng.uniform(size=len(scores)) * (1 + at_least - above)) / (n + 1))


def false_discovery_threshold(
    calibration_scores: Array, ranks: Counts, fdr: float, *, stacklevel: int = 2
) -> float:
    """Threshold by which at most `fdr` of the flagged rows of a batch are expected to be normal.

    The procedure of Benjamini and Hochberg on conformal p-values. That they
    share one calibration set makes them positively dependent (PRDS), under which
    it is valid (Bates et al., theorem 2; Benjamini and Yekutieli,
    :doi:`10.1214/aos/1013699998`): the expectation of the false share, 0 where
    none is flagged, is at most `fdr` times the share of normal rows.

    Parameters
    ----------
    calibration_scores : ndarray of shape (n,)
        Ascending.
    ranks : ndarray of int of shape (n + 1,)
        Number of rows of the batch by how many calibration scores are not below
        theirs, from 0: all that the procedure needs to know of a batch.
    fdr : float in (0, 1)

    Returns
    -------
    float
        Infinite if no row is flagged, minus infinity if all are.

    Warns
    -----
    TooFewCalibrationRowsWarning
        If no row is flagged although some are stranger than all calibration
        rows: too few rows to tell how much stranger.

    Examples
    --------
    >>> calibration = np.arange(1.0, 100.0)
    >>> scores = np.array([500.0, 500.0, 50.0, 40.0])
    >>> ranks = np.bincount(ranks_among(calibration, scores), minlength=100)
    >>> false_discovery_threshold(calibration, ranks, 0.05)
    99.0
    """
    n, rows = len(calibration_scores), int(ranks.sum())
    p_values = np.arange(1, n + 2) / (n + 1)
    # Rounded, as 0.1 * 3 and 0.3 are to be the same number.
    rejects = np.round(p_values * rows, 9) <= np.round(fdr * np.cumsum(ranks), 9)
    rejects &= ranks > 0
    if not rejects.any():
        if ranks[0]:
            least = math.ceil(round(rows / (fdr * int(ranks[0])), 9)) - 1
            warnings.warn(
                f"fdr={fdr:g} flags none of {rows:,} rows, although {int(ranks[0]):,} are stranger "
                f"than all {n:,} calibration rows: to flag so few of so many takes at least "
                f"{least:,} calibration rows. Calibrate on more rows, or ask for a higher fdr.",
                TooFewCalibrationRowsWarning,
                stacklevel=stacklevel,
            )
        return math.inf
    last = int(np.flatnonzero(rejects)[-1])
    return -math.inf if last == n else float(calibration_scores[n - last - 1])

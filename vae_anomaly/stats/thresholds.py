"""Conformal thresholds and p-values from calibration scores.

Anomaly scores are in nats, and higher means more anomalous. A row is flagged when
its score is *above* the threshold.

This is split conformal prediction. Calibration rows are held out from training, so
they and new normal rows are exchangeable, and the rank of a new score among the
calibration scores is uniform. A cross-conformal scheme, in which each row calibrates
the members that were not trained on it, would hold out no rows. With one constant
threshold it would not be exact here: the score of a new row is the mean over all
members, that of a calibration row the mean over some of them.

Calibration rows may also be exemplars of the score (`fit` adds them while there is
room). The score of a calibration row then leaves out the row itself. In full
conformal prediction the new row would be an exemplar too, which can only lower that
score. So p-values are not smaller than those of full conformal prediction, and are
valid: the false-alarm rate is at most the nominal one, and lower by the effect of one
exemplar. The statements below on many rows at once (the interval of the rate,
smoothed p-values, false discoveries) hold up to the same effect. After `recalibrate`
they are exact.

Vovk, Gammerman and Shafer, "Algorithmic learning in a random world", 2005;
Bates et al., "Testing for outliers with conformal p-values", Annals of
Statistics 2023, :doi:`10.1214/22-AOS2244`.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.exceptions import DivergenceError

__all__ = [
    "TooFewCalibrationRowsWarning",
    "choose_calibration_rows",
    "conformal_p_values",
    "contamination_threshold",
    "false_alarm_interval",
    "false_alarm_tail",
    "false_alarm_threshold",
    "false_discovery_threshold",
    "max_exceeding",
    "min_calibration_rows",
    "ranks_among",
]

Array = NDArray[np.float64]
Counts = NDArray[np.int_]

CALIBRATION_SHARE = 1 / 5
MAX_CALIBRATION_SHARE = 3 / 10
"""Upper limit for small data, where `CALIBRATION_SHARE` does not suffice for the rate."""

MAX_CALIBRATION_ROWS = 10_000


class TooFewCalibrationRowsWarning(UserWarning):
    """There are too few calibration rows for the requested rate."""


def max_exceeding(n: int, rate: float) -> int:
    """Return how many of n calibration rows and a new row may exceed the threshold."""
    # The product is rounded first: it is often an integer but for one ulp.
    return math.floor(round((n + 1) * rate, 9))


def min_calibration_rows(rate: float, exceeding: int = 1) -> int:
    """Return the minimum n for which ``(n + 1) rate >= exceeding``.

    Examples
    --------
    >>> min_calibration_rows(0.01)
    99
    """
    return math.ceil(round(exceeding / rate, 9)) - 1


def calibration_size(n: int, rate: float) -> int:
    """Return how many of n rows to hold out for a false-alarm rate.

    About `CALIBRATION_SHARE`, chosen such that ``(size + 1) * rate`` is an integer:
    the actual rate then equals the requested one. Up to `MAX_CALIBRATION_SHARE`
    where that is too few for the rate.

    Examples
    --------
    >>> [calibration_size(n, 0.05) for n in (1000, 100, 70, 30)]
    [199, 19, 19, 9]
    """
    target = min(n * CALIBRATION_SHARE, MAX_CALIBRATION_ROWS)
    size = min_calibration_rows(rate, max(1, round((target + 1) * rate)))
    return max(1, min(size, int(n * MAX_CALIBRATION_SHARE)))


def choose_calibration_rows(n: int, rate: float, rng: np.random.RandomState) -> NDArray[np.bool_]:
    """Draw the calibration rows, `calibration_size` of n, as a boolean mask."""
    chosen = np.zeros(n, dtype=bool)
    chosen[rng.permutation(n)[: calibration_size(n, rate)]] = True
    return chosen


def _require_finite(scores: Array) -> None:
    """Raise if a threshold would come from scores that are not finite: it may flag nothing."""
    faulty = np.count_nonzero(~np.isfinite(scores))
    if faulty:
        raise DivergenceError(
            f"Expected finite scores to take a threshold from, {faulty:,} of {len(scores):,} are "
            f"not. Fit again with a lower learning_rate."
        )


def contamination_threshold(training_scores: Array, contamination: float) -> float:
    """Compute the threshold that flags a given share of the training rows.

    Parameters
    ----------
    training_scores : ndarray of shape (n_rows,)
        Anomaly scores of the rows that the model was trained on.
    contamination : float in (0, 0.5]
        Share of training rows to flag, as in scikit-learn's outlier detectors.

    Returns
    -------
    float

    Examples
    --------
    >>> contamination_threshold(np.arange(11.0), 0.1)
    9.0
    """
    _require_finite(training_scores)
    return -float(np.percentile(-training_scores, 100.0 * contamination))


def false_alarm_threshold(calibration_scores: Array, rate: float, *, stacklevel: int = 2) -> float:
    """Compute the threshold that a new normal row exceeds with probability at most `rate`.

    With n calibration rows, exchangeable with the new row and held out from training,
    it is their k-th smallest score, ``k = ceil((n + 1)(1 - rate))``. The probability,
    over calibration rows and new row, is ``floor((n + 1) rate) / (n + 1)`` without
    ties, and less with ties. `false_alarm_interval` is the interval of the rate given
    the calibration rows (Vovk, "Conditional validity of inductive conformal
    predictors", 2012, :doi:`10.1007/s10994-013-5355-6`).

    Parameters
    ----------
    calibration_scores : ndarray of shape (n_rows,)
        Anomaly scores of normal rows that the model was not trained on.
    rate : float in (0, 1)
        False-alarm rate, the share of normal rows that may be flagged.
    stacklevel : int, default=2
        Stack level of the warning, as of `warnings.warn`.

    Returns
    -------
    float

    Warns
    -----
    TooFewCalibrationRowsWarning
        If ``n < 1 / rate - 1``. The threshold then falls back to the largest
        calibration score: rows with that score or a larger one are flagged, of new
        normal rows a share of ``1 / (n + 1)``.

    Examples
    --------
    >>> false_alarm_threshold(np.arange(1.0, 100.0), 0.05)
    95.0
    """
    _require_finite(calibration_scores)
    n = len(calibration_scores)
    exceeding = max_exceeding(n, rate)
    if not exceeding:
        warnings.warn(
            f"false_alarm_rate={rate:g} needs at least {min_calibration_rows(rate)} "
            f"calibration rows, there are {n}: the threshold falls back to the largest calibration "
            f"score, a rate of about {1 / (n + 1):.2g}. Fit on more rows or use a higher rate.",
            TooFewCalibrationRowsWarning,
            stacklevel=stacklevel,
        )
        return float(np.nextafter(np.max(calibration_scores), -np.inf))
    return float(np.sort(calibration_scores)[n - exceeding])


def false_alarm_interval(n: int, rate: float, level: float = 0.95) -> tuple[float, float]:
    """Compute the interval of the false-alarm rate given n calibration rows.

    The share of new normal rows that exceed the threshold, over draws of n calibration
    rows, has the distribution Beta(j, n + 1 - j), ``j = max(1, floor((n + 1) rate))``:
    the distribution function of the scores maps them to uniform ones (without ties), and
    the threshold to one of their order statistics.

    Parameters
    ----------
    n : int
        Number of calibration rows.
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

    exceeding = max(1, max_exceeding(n, rate))
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = betaincinv(exceeding, n + 1 - exceeding, tails)
    return float(low), float(high)


def false_alarm_tail(n: int, rate: float, n_flagged: int, n_normal: int) -> float:
    """Compute the probability that so many of fresh normal rows are flagged, or more.

    The number is binomial with a rate that varies with the draw of the calibration rows, see
    `false_alarm_interval`, and so has a beta-binomial distribution.

    Parameters
    ----------
    n : int
        Number of calibration rows.
    rate : float in (0, 1)
    n_flagged, n_normal : int
        Number of fresh normal rows that are flagged, and of all.

    Returns
    -------
    float

    Examples
    --------
    Of 40 rows 5 are flagged by a threshold that is the largest of 36 calibration scores:

    >>> round(false_alarm_tail(36, 0.01, 5, 40), 4)
    0.0356
    """
    from scipy.stats import betabinom

    exceeding = max(1, max_exceeding(n, rate))
    return float(betabinom(n_normal, exceeding, n + 1 - exceeding).sf(n_flagged - 1))


def ranks_among(calibration_scores: Array, scores: Array) -> NDArray[np.intp]:
    """Return for each score how many calibration scores, ascending, are at least as large."""
    below = np.searchsorted(calibration_scores, scores, side="left")
    return len(calibration_scores) - below


def conformal_p_values(
    calibration_scores: Array, scores: Array, rng: np.random.RandomState | None = None
) -> Array:
    """Compute conformal p-values: the share of calibration scores at least as large as a score.

    The row itself is counted too, so p is at least ``1 / (n + 1)``. For a new normal
    row, ``P(p <= t) <= t`` for every t. With `rng`, ties are broken at random,
    including the row's tie with itself, and p is exactly uniform.

    Parameters
    ----------
    calibration_scores : ndarray of shape (n,)
        Ascending.
    scores : ndarray of shape (n_rows,)
    rng : RandomState, optional

    Returns
    -------
    ndarray of shape (n_rows,)
        Multiples of ``1 / (n + 1)``; with `rng` any number in [0, 1].

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
    """Compute the threshold for a batch that controls the false discovery rate at `fdr`.

    This is the procedure of Benjamini and Hochberg on conformal p-values. Their common
    calibration set makes them positively dependent (PRDS), under which it is valid
    (Bates et al., theorem 2; Benjamini and Yekutieli,
    :doi:`10.1214/aos/1013699998`). The expected share of normal rows among the flagged
    ones, 0 if none is flagged, is at most `fdr` times the share of normal rows.

    Parameters
    ----------
    calibration_scores : ndarray of shape (n,)
        Ascending.
    ranks : ndarray of int of shape (n + 1,)
        Number of rows of the batch with each of the ranks 0 to n, see `ranks_among`.
    fdr : float in (0, 1)
    stacklevel : int, default=2
        Stack level of the warning, as of `warnings.warn`.

    Returns
    -------
    float
        Infinity if no row is flagged, minus infinity if all are.

    Warns
    -----
    TooFewCalibrationRowsWarning
        If no row is flagged although some score above all calibration rows: there are
        too few of these for a p-value that is small enough.

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
    # Rounded, so that 0.1 * 3 equals 0.3.
    rejects = np.round(p_values * rows, 9) <= np.round(fdr * np.cumsum(ranks), 9)
    rejects &= ranks > 0
    if not rejects.any():
        if ranks[0]:
            needed = math.ceil(round(rows / (fdr * int(ranks[0])), 9)) - 1
            warnings.warn(
                f"fdr={fdr:g} flags none of {rows:,} rows, although {int(ranks[0]):,} score above "
                f"all {n:,} calibration rows: that needs at least {needed:,} calibration rows. "
                f"Calibrate on more rows or use a higher fdr.",
                TooFewCalibrationRowsWarning,
                stacklevel=stacklevel,
            )
        return math.inf
    last = int(np.flatnonzero(rejects)[-1])
    return -math.inf if last == n else float(calibration_scores[n - last - 1])

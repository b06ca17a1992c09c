"""From scores of normal rows to the threshold beyond which a row is flagged.

Anomaly scores here: in nats, higher is stranger. A row is flagged when its
score lies *above* the threshold.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "TooFewCalibrationRowsWarning",
    "choose_calibration_rows",
    "contamination_threshold",
    "false_alarm_threshold",
]

Array = NDArray[np.float64]

CALIBRATION_SHARE = 0.2
MAX_CALIBRATION_ROWS = 10_000


class TooFewCalibrationRowsWarning(UserWarning):
    """The wanted false-alarm rate is finer than the calibration rows can resolve."""


def choose_calibration_rows(n: int, rng: np.random.RandomState) -> NDArray[np.bool_]:
    """Choose which of n rows are kept from training: a fifth, and at least one."""
    chosen = np.zeros(n, dtype=bool)
    share = min(max(1, int(n * CALIBRATION_SHARE)), MAX_CALIBRATION_ROWS)
    chosen[rng.permutation(n)[:share]] = True
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


def false_alarm_threshold(calibration_scores: Array, rate: float) -> float:
    """Threshold that a fresh normal row exceeds with probability at most `rate`.

    With n calibration rows, exchangeable with the fresh one and unseen in
    training, it is their k-th smallest score, ``k = ceil((n + 1)(1 - rate))``;
    the probability is over the draw of both. This is split conformal prediction
    (Vovk, Gammerman and Shafer, "Algorithmic learning in a random world", 2005;
    Bates et al., "Testing for outliers with conformal p-values",
    :doi:`10.1214/22-AOS2244`).

    Parameters
    ----------
    calibration_scores : ndarray of shape (n_rows,)
        Anomaly scores of normal rows that the model was not trained on.
    rate : float in (0, 1)
        False-alarm rate, the share of normal rows that may be flagged.

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
    # The product is rounded first: (n + 1)(1 - rate) is often a whole number plus one ulp.
    k = math.ceil(round((n + 1) * (1.0 - rate), 9))
    if k > n:
        warnings.warn(
            f"false_alarm_rate={rate:g} needs at least {math.ceil(1 / rate) - 1} calibration "
            f"rows, there are {n}: rows as strange as the strangest of them are flagged, a rate of "
            f"about {1 / (n + 1):.2g}. Fit on more rows or ask for a higher rate.",
            TooFewCalibrationRowsWarning,
            stacklevel=4,
        )
        return float(np.nextafter(np.max(calibration_scores), -np.inf))
    return float(np.sort(calibration_scores)[k - 1])

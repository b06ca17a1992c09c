"""A new threshold for a fitted detector, from normal rows of today, without training."""

from __future__ import annotations

from copy import copy

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from vae_anomaly._parameters import check_parameters
from vae_anomaly.estimator import VAEDetector
from vae_anomaly.model.parameters import RULES
from vae_anomaly.stats.thresholds import false_alarm_threshold

__all__ = ["recalibrate"]


def recalibrate(
    detector: VAEDetector, X: ArrayLike, *, false_alarm_rate: float | None = None
) -> VAEDetector:
    """Take the threshold and p-values of a fitted detector from other normal rows.

    Where normal has moved, a detector flags more than its false-alarm rate. Its
    scores may still tell anomalies: then what is strange is to be measured against
    the rows of today. Nothing is trained; scores stay what they are.

    Parameters
    ----------
    detector : VAEDetector
        Fitted; it is not changed.
    X : array-like of shape (n_samples, n_features)
        Recent normal rows that the detector was not trained on. All of them
        calibrate, and strange ones among them raise the threshold.
    false_alarm_rate : float in (0, 1), optional
        By default that of `detector`.

    Returns
    -------
    VAEDetector
        Fitted, with the same networks; its `contamination` and `threshold` are None.

    Raises
    ------
    ParameterError
        If the rate is out of its range.

    Warns
    -----
    TooFewCalibrationRowsWarning
        If the rows are too few for the rate.

    Examples
    --------
    >>> import numpy as np
    >>> from vae_anomaly import VAEDetector, recalibrate
    >>> rng = np.random.RandomState(0)
    >>> detector = VAEDetector(max_steps=50, random_state=0).fit(rng.normal(size=(500, 3)))
    >>> today = 1.5 * rng.normal(size=(1999, 3))
    >>> other = recalibrate(detector, today[:999])
    >>> flagged = [(d.predict(today[999:]) == -1).mean() for d in (detector, other)]
    >>> bool(flagged[0] > 0.05 > 0.02 > flagged[1])
    True
    """
    check_is_fitted(detector)
    other = copy(detector)
    other.contamination = other.threshold = None
    if false_alarm_rate is not None:
        other.false_alarm_rate = false_alarm_rate
    check_parameters(other, RULES)
    other.calibration_scores_ = np.sort(-detector.score_samples(X))
    other.offset_ = -false_alarm_threshold(other.calibration_scores_, other.false_alarm_rate)
    return other

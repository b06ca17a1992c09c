"""What a fitted detector decides: flags, p-values, and flags of a whole batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vae_anomaly._parameters import number
from vae_anomaly.exceptions import ParameterError
from vae_anomaly.stats.thresholds import conformal_p_values, false_discovery_threshold, ranks_among

__all__ = ["DecisionMixin", "calibration_of"]

Array = NDArray[np.float64]


def calibration_of(detector: DecisionMixin, purpose: str) -> Array:
    """Give the calibration scores of a fitted detector, ascending.

    Raises
    ------
    ParameterError
        If it has none: `purpose` needs them.
    """
    if not hasattr(detector, "calibration_scores_"):
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(detector)
    scores = detector.calibration_scores_
    if not len(scores):
        raise ParameterError(
            f"{purpose} needs calibration rows, and with contamination or threshold none are kept "
            f"from training. Fit with a false_alarm_rate alone, or recalibrate on other normal "
            f"rows."
        )
    return scores


class DecisionMixin:
    """The deciding side of `VAEDetector`."""

    if TYPE_CHECKING:
        offset_: float
        calibration_scores_: Array

        def score_samples(self, X: ArrayLike) -> Array: ...  # noqa: D102 - as in `VAEDetector`

    def decision_function(self, X: ArrayLike) -> Array:
        """Signed distance from the threshold in nats: negative for anomalies.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: ArrayLike) -> NDArray[np.int_]:
        """Tell anomalies from normal rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
            -1 for anomalies, +1 for normal rows.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def p_values(
        self,
        X: ArrayLike,
        *,
        smoothed: bool = False,
        random_state: int | np.random.RandomState | None = None,
    ) -> Array:
        """Say how strange rows are among normal ones: conformal p-values.

        A fresh normal row has a p-value of t or less with probability t at most,
        whatever the data and however good the model; see
        `vae_anomaly.stats.thresholds.conformal_p_values`. Rows that were trained on are
        no fresh ones. `predict` flags rows whose p-value is at most
        `false_alarm_rate`, where there are calibration rows enough for it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        smoothed : bool, default=False
            Break ties with calibration rows, and those of a row with itself, at
            random: p-values of fresh normal rows are then exactly uniform.
        random_state : int, RandomState or None, default=None
            Source of that.

        Returns
        -------
        ndarray of shape (n_samples,)
            Multiples of ``1 / (n + 1)``, or with `smoothed` any numbers, in [0, 1];
            n is the number of calibration rows.

        Raises
        ------
        ParameterError
            If the detector has no calibration rows.

        Examples
        --------
        >>> import numpy as np
        >>> from vae_anomaly import VAEDetector
        >>> X = np.random.RandomState(0).normal(size=(500, 3))
        >>> detector = VAEDetector(max_steps=50, random_state=0).fit(X)
        >>> len(detector.calibration_scores_)
        99
        >>> detector.p_values([[9, 9, 9]])
        array([0.01])
        """
        from sklearn.utils import check_random_state

        calibration = calibration_of(self, "p_values")
        rng = check_random_state(random_state) if smoothed else None
        return conformal_p_values(calibration, -self.score_samples(X), rng)

    def flag_batch(self, X: ArrayLike, fdr: float = 0.05) -> NDArray[np.int_]:
        """Tell anomalies from normal rows so that few of those flagged are false.

        `predict` bounds the share of normal rows that are flagged: of 10,000, at
        1 %, a hundred. This bounds, in expectation, the share of flagged rows
        that are normal, by the procedure of Benjamini and Hochberg on `p_values`;
        see `vae_anomaly.stats.thresholds.false_discovery_threshold`. It takes normal
        rows that were not trained on for fresh, and its threshold is one for this
        batch: more anomalies lower it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        fdr : float in (0, 1), default=0.05
            Share of flagged rows that may be normal.

        Returns
        -------
        ndarray of shape (n_samples,)
            -1 for anomalies, +1 for normal rows, as from `predict`.

        Raises
        ------
        ParameterError
            If `fdr` is out of its range, or the detector has no calibration rows.

        Warns
        -----
        TooFewCalibrationRowsWarning
            If nothing is flagged because calibration rows are too few. To flag k
            of N rows takes about ``N / (k fdr)`` of them.
        """
        rule = number(0, 1, "()")
        if not rule.holds(fdr):
            raise ParameterError(f"fdr must be {rule.words}. Got {fdr!r} instead.")
        calibration = calibration_of(self, "flag_batch")
        scores = -self.score_samples(X)
        ranks = np.bincount(ranks_among(calibration, scores), minlength=len(calibration) + 1)
        threshold = false_discovery_threshold(calibration, ranks, fdr)
        return np.where(scores > threshold, -1, 1)

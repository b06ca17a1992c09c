"""Calibration: threshold, p-values and false-discovery control from scores of normal records."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.exceptions import ParameterError
from vae_anomaly.stats.thresholds import (
    conformal_p_values,
    contamination_threshold,
    false_alarm_threshold,
    false_discovery_threshold,
    max_exceeding,
    ranks_among,
)

__all__ = ["Calibration"]

Array = NDArray[np.float64]
Method = Literal["false_alarm_rate", "contamination", "threshold"]

HIGH_RATE = 0.05
"""Probability that a normal record has a high score, at most."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Threshold of a model and the scores that it comes from.

    Attributes
    ----------
    scores : ndarray of shape (n,)
        Anomaly scores of the calibration records, ascending; empty unless the method is
        "false_alarm_rate".
    threshold : float
        In nats; records with a greater anomaly score are flagged.
    method : {"false_alarm_rate", "contamination", "threshold"}
        Parameter that determines the threshold.
    value : float
        Value of that parameter.

    Examples
    --------
    >>> calibration = Calibration.from_normal(np.arange(1.0, 100.0), 0.05)
    >>> calibration.threshold, calibration.flags(np.array([95.0, 96.0])).tolist()
    (95.0, [False, True])
    """

    scores: Array
    threshold: float
    method: Method
    value: float

    @classmethod
    def from_normal(cls, scores: Array, rate: float, *, stacklevel: int = 3) -> Calibration:
        """Calibrate with scores of normal records that the networks were not trained on.

        Warns
        -----
        TooFewCalibrationRowsWarning
            If the records are too few for the rate; `stacklevel` is that of the warning.
        """
        ascending = np.sort(scores)
        threshold = false_alarm_threshold(ascending, rate, stacklevel=stacklevel + 1)
        return cls(ascending, threshold, "false_alarm_rate", rate)

    @classmethod
    def from_training(cls, scores: Array, contamination: float) -> Calibration:
        """Flag a share of the training records."""
        threshold = contamination_threshold(scores, contamination)
        return cls(np.empty(0), threshold, "contamination", contamination)

    @classmethod
    def fixed(cls, threshold: float) -> Calibration:
        """Use a given threshold."""
        return cls(np.empty(0), threshold, "threshold", threshold)

    def flags(self, scores: Array) -> NDArray[np.bool_]:
        """Return which scores lie above the threshold, or are not finite: never normal."""
        return ~((scores <= self.threshold) & np.isfinite(scores))

    @cached_property
    def typical(self) -> float:
        """Median score of the calibration records; without any the threshold."""
        return float(np.median(self.scores)) if len(self.scores) else self.threshold

    @cached_property
    def high(self) -> float:
        """Score that few normal records exceed, whatever the threshold; see `HIGH_RATE`.

        The largest of few calibration scores.
        """
        if not len(self.scores):
            return self.threshold
        n_above = max(1, max_exceeding(len(self.scores), HIGH_RATE))
        return float(self.scores[-n_above])

    def p_values(self, scores: Array, rng: np.random.RandomState | None = None) -> Array:
        """Return conformal p-values; with `rng` ties are broken at random."""
        return conformal_p_values(self.scores, scores, rng)

    def rank_counts(self, scores: Array) -> NDArray[np.int_]:
        """Count scores by the number of calibration scores that are not below them: (n + 1,)."""
        return np.bincount(ranks_among(self.scores, scores), minlength=len(self.scores) + 1)

    def with_fdr(
        self, rank_counts: NDArray[np.int_], fdr: float, *, stacklevel: int = 3
    ) -> Calibration:
        """Return the calibration with the threshold that holds the false-discovery rate of a batch.

        Warns
        -----
        TooFewCalibrationRowsWarning
            If no score is flagged because the calibration scores are too few.
        """
        threshold = false_discovery_threshold(
            self.scores, rank_counts, fdr, stacklevel=stacklevel + 1
        )
        return replace(self, threshold=threshold)

    def require(self, purpose: str) -> Array:
        """Return the calibration scores, which `purpose` needs.

        Raises
        ------
        ParameterError
            If there are none.
        """
        if not len(self.scores):
            raise ParameterError(
                f"{purpose} needs calibration rows, and with contamination or threshold none are "
                f"kept from training. Fit with a false_alarm_rate alone, or recalibrate on other "
                f"normal rows."
            )
        return self.scores

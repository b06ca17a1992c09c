"""Whether a batch, as a whole, still looks as normal rows did: drift, without labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vae_anomaly._parameters import number
from vae_anomaly.data.image.pixels import as_rows
from vae_anomaly.exceptions import DataError, ParameterError
from vae_anomaly.model.calibration import calibration_of
from vae_anomaly.model.parameters import column_names
from vae_anomaly.stats.soft_clip import soft_clip

if TYPE_CHECKING:
    from vae_anomaly.estimator import VAEDetector

__all__ = ["Drift", "DriftWatch", "Movement", "some_of"]

Array = NDArray[np.float64]

SIDES: tuple[Literal["left"], Literal["right"]] = ("left", "right")

DRIFT_RATE = 0.001
"""Batches of fresh normal rows, in a thousand one, that are said to differ."""

EXACT_PAIRS = 1_000_000
"""Rows times calibration rows up to which the exact distribution takes but a moment."""

FEW_ROWS = 10
DOUBTFUL, DOUBTFUL_OF_FEW = 0.003, 0.12
"""p-values up to which a first look leaves the answer to the test; the second of few rows."""

LOOKED_AT = 256
"""Rows of each part of a batch in which the movement of columns is looked for."""


def some_of(n: int) -> slice:
    """Choose a few hundred of n rows, evenly."""
    return slice(None, None, max(1, n // LOOKED_AT))


class Movement(NamedTuple):
    """How a column of a batch differs from training.

    Attributes
    ----------
    column : str
    shift : float
        Of its mean, in standard deviations that the column had in training.
    spread : float
        Its standard deviation, in the same unit: 1 is as in training.
    """

    column: str
    shift: float
    spread: float


class Drift(NamedTuple):
    """What a `DriftWatch` found.

    Attributes
    ----------
    statistic : float
        Greatest distance between the distribution functions of the scores of
        the batch and of the calibration rows.
    p_value : float
        Probability of such a distance if the rows are all fresh normal ones.
    rate : float
        At which p-value a batch is said to differ.
    n_rows : int
    movements : tuple of Movement
        Of the columns, those that moved most first; empty for images.
    """

    statistic: float
    p_value: float
    rate: float
    n_rows: int
    movements: tuple[Movement, ...]

    @property
    def is_drift(self) -> bool:
        """Whether the batch differs."""
        return self.p_value <= self.rate


class DriftWatch:
    """Compare a batch, in one part or many, with the calibration rows of a detector.

    The test is Kolmogorov and Smirnov's for two samples, the scores of the
    calibration rows and those of the batch; p-values of one batch share their
    calibration rows, so that a test for uniform ones would be wrong. If the rows of
    the batch are fresh normal ones it says otherwise with probability `rate` at
    most. That is exact for up to a million pairs of a row and a calibration row, but
    for what `thresholds` says of calibration rows that vouch; for more of them the
    limit distribution is used.
    Anomalies are a difference too: a batch full of them is said to differ.

    Memory does not grow with the batch.

    Parameters
    ----------
    detector : VAEDetector
        Fitted, with calibration rows.
    rate : float in (0, 1), default=0.001
        Share of batches of fresh normal rows that may be said to differ.

    Raises
    ------
    ParameterError
        If the rate is out of its range, or the detector has no calibration rows.

    Examples
    --------
    >>> import numpy as np
    >>> from vae_anomaly import DriftWatch, VAEDetector
    >>> rng = np.random.RandomState(0)
    >>> detector = VAEDetector(max_steps=50, random_state=0).fit(rng.normal(size=(500, 2)))
    >>> DriftWatch(detector).add(rng.normal(size=(200, 2))).result().is_drift
    False
    >>> moved = rng.normal(size=(200, 2)) + [3, 0]
    >>> drift = DriftWatch(detector).add(moved).result()
    >>> drift.is_drift, drift.movements[0].column
    (True, 'x0')
    """

    def __init__(self, detector: VAEDetector, rate: float = DRIFT_RATE) -> None:
        rule = number(0, 1, "()")
        if not rule.holds(rate):
            raise ParameterError(f"rate must be {rule.words}. Got {rate!r} instead.")
        self._calibration = calibration_of(detector, "A drift watch")
        self._detector, self.rate = detector, rate
        self._known = self._count(self._calibration)
        self._batch = np.zeros_like(self._known)
        width = detector.n_features_in_
        self._looked_at, self._sum, self._squares = 0, np.zeros(width), np.zeros(width)

    def add(self, X: ArrayLike, scores: ArrayLike | None = None) -> Self:
        """Look at some rows of the batch.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        scores : array-like, optional
            Their anomaly scores, minus `score_samples`, where they are known. `X` may
            then be some of the rows: columns are looked at in a few hundred alone.

        Returns
        -------
        self
        """
        known = -self._detector.score_samples(X) if scores is None else np.asarray(scores)
        self._batch += self._count(known)
        if self._detector.image_shape_ is None:
            rows = as_rows(X).values
            some = np.asarray(rows, dtype=np.float64)[some_of(len(rows))]
            z = soft_clip(self._detector.columns_.standardize(some))
            self._looked_at += len(z)
            self._sum += z.sum(axis=0)
            self._squares += (z**2).sum(axis=0)
        return self

    def result(self) -> Drift:
        """Say whether the batch differs, and what moved.

        Returns
        -------
        Drift

        Raises
        ------
        DataError
            If there were no rows.
        """
        distance, rows = self._distance()
        return Drift(distance, self._p_value(distance, rows), self.rate, rows, self._movements())

    def may_differ(self) -> bool:
        """Tell at little cost whether `result` could say that the batch differs.

        By the first term of the limit distribution, corrected for few rows (Stephens, "EDF
        statistics for goodness of fit and some comparisons",
        :doi:`10.1080/01621459.1974.10480196`). From ten rows on its p-value is at most 1.4
        times an exact one of a thousandth or more, and 0.0003 where that is less; of one
        row, not above 0.12 where that is a twentieth.
        """
        distance, rows = self._distance()
        n = len(self._calibration)
        root = np.sqrt(n * rows / (n + rows))
        p_value = 2 * np.exp(-2 * ((root + 0.12 + 0.11 / root) * distance) ** 2)
        least = DOUBTFUL_OF_FEW if rows < FEW_ROWS else DOUBTFUL
        return bool(p_value <= max(least, 3 * self.rate))

    def _distance(self) -> tuple[float, int]:
        """Greatest distance between the two distribution functions, and the rows of the batch."""
        rows = int(self._batch.sum())
        if not rows:
            raise DataError("Expected a batch of at least one row to compare, got none.")
        shares = [np.cumsum(counts) / counts.sum() for counts in (self._known, self._batch)]
        return float(np.abs(shares[0] - shares[1]).max()), rows

    def _count(self, scores: Array) -> NDArray[np.int64]:
        """Count scores between the calibration scores (even places) and at them (odd, if no ties).

        The test looks at the order of all scores alone: their places have the same.
        """
        below, not_above = (np.searchsorted(self._calibration, scores, s) for s in SIDES)
        return np.bincount(below + not_above, minlength=2 * len(self._calibration) + 1)

    def _p_value(self, distance: float, rows: int) -> float:
        n = len(self._calibration)
        from scipy.stats import ks_2samp, kstwo  # later: its import takes most of a second

        if n * rows > EXACT_PAIRS:
            return float(kstwo.sf(distance, round(n * rows / (n + rows))))
        places = np.arange(2 * n + 1)
        pair = (np.repeat(places, counts) for counts in (self._batch, self._known))
        return float(ks_2samp(*pair).pvalue)

    def _movements(self) -> tuple[Movement, ...]:
        if not self._looked_at:
            return ()
        detector: Any = self._detector
        mean = self._sum / self._looked_at
        deviation = np.sqrt(np.maximum(self._squares / self._looked_at - mean**2, 0.0))
        # How far two normal distributions lie apart by mean or by spread, whichever is more.
        moved = np.maximum(np.abs(mean), np.abs(deviation - detector.columns_.varies))
        names = column_names(detector)
        return tuple(
            Movement(names[i], float(mean[i]), float(deviation[i]))
            for i in np.argsort(-moved, kind="stable")
        )

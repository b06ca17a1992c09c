"""Drift of a batch from normal records, without labels."""

from __future__ import annotations

from typing import NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vae_anomaly._parameters import number
from vae_anomaly._types import JsonObject, Records
from vae_anomaly.data.arrays import take
from vae_anomaly.data.base import Encoder
from vae_anomaly.exceptions import DataError, ParameterError
from vae_anomaly.model.model import Model
from vae_anomaly.stats.floats import default_floats

__all__ = ["Drift", "DriftWatch", "Moments", "Movement", "Watched", "sample_slice"]

Array = NDArray[np.float64]

DRIFT_RATE = 0.001
"""Share of batches of fresh normal rows in which drift is reported."""

EXACT_PAIRS = 1_000_000
"""Rows times calibration rows up to which the exact distribution is fast."""

FEW_ROWS = 10
MAX_APPROXIMATE, MAX_APPROXIMATE_OF_FEW = 0.003, 0.12
"""Approximate p-values up to which the exact test decides; the second is for few rows."""

MAX_SAMPLE_ROWS = 256
"""Rows of each part of a batch from which the movement of features is estimated, about."""


def sample_slice(n: int) -> slice:
    """Return a slice of a few hundred of n rows, evenly spaced."""
    return slice(None, None, max(1, n // MAX_SAMPLE_ROWS))


class Fitted(Protocol):
    """A fitted detector."""

    model_: Model


class Movement(NamedTuple):
    """Difference of a feature between a batch and the training rows.

    Attributes
    ----------
    column : str
        Name of the feature.
    shift : float
        Shift of the mean, in standard deviations of the training rows.
    spread : float
        Standard deviation, in the same unit: 1 is as in training.
    """

    column: str
    shift: float
    spread: float

    @property
    def distance(self) -> float:
        """How far the feature moved, in mean or in spread; 0 of what is no number.

        Examples
        --------
        >>> Movement("flow", -0.25, 1.5).distance, Movement("site", 0.0, 0.0).distance
        (0.5, 0.0)
        """
        is_number = self.shift != 0 or self.spread != 0
        return max(abs(self.shift), abs(self.spread - 1)) if is_number else 0.0


class Drift(NamedTuple):
    """Result of a `DriftWatch`.

    Attributes
    ----------
    statistic : float
        Greatest distance between the distribution functions of the scores of
        the batch and of the calibration rows.
    p_value : float
        Probability of such a distance if the rows are all fresh normal ones.
    rate : float
        p-value up to which drift is reported.
    n_rows : int
    movements : tuple of Movement
        Movements of the features, the greatest first; empty if single features
        mean nothing.
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

    def facts(self) -> JsonObject:
        """Return plain values for JSON."""
        return {"p_value": self.p_value, "movements": [one._asdict() for one in self.movements]}


class Watched(NamedTuple):
    """What a `DriftWatch` keeps of rows. That of a whole is the sum of those of its parts.

    Attributes
    ----------
    counts : ndarray of shape (2 n_calibration + 1,)
        Scores between the calibration scores, and at them.
    n_sampled : int
        Rows that the moments are of.
    sums, squares : ndarray of shape (n_features,)
        Sums of the features and of their squares, in standard deviations of the training rows.
    """

    counts: NDArray[np.int64]
    n_sampled: int
    sums: Array
    squares: Array


class Moments:
    """Means and deviations of the features of a batch, in standard deviations of training."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        width = encoder.outline.n_features
        self._n, self._sum, self._squares = 0, np.zeros(width), np.zeros(width)

    def add(self, records: Records) -> Self:
        """Add records, as the encoder takes them; of a grid nothing is kept."""
        features = self._encoder.standardized(records)
        if features is not None:
            self._n += len(features)
            self._sum += features.sum(axis=0)
            self._squares += (features**2).sum(axis=0)
        return self

    def add_sums(self, n: int, sums: Array, squares: Array) -> Self:
        """Add n records by their `sums`."""
        self._n += n
        self._sum += sums
        self._squares += squares
        return self

    @property
    def sums(self) -> tuple[int, Array, Array]:
        """Number of records, and the sums of their features and of the squares."""
        return self._n, self._sum.copy(), self._squares.copy()

    def movements(self) -> tuple[Movement, ...]:
        """Return the movements of the features, the greatest first; of a grid none."""
        if not self._n:
            return ()
        mean = self._sum / self._n
        deviation = np.sqrt(np.maximum(self._squares / self._n - mean**2, 0.0))
        # What is no number has a mean and a spread of 0 and has not moved.
        varies = np.isin(np.arange(len(mean)), self._encoder.explained) & (self._squares > 0)
        # Distance of two normal distributions in mean or in spread, whichever is greater.
        moved = np.maximum(np.abs(mean), np.abs(deviation - varies))
        return tuple(
            Movement(self._encoder.features[i], float(mean[i]), float(deviation[i]))
            for i in np.argsort(-moved, kind="stable")
        )


class DriftWatch:
    """Compare a batch, in one part or many, with the calibration rows of a detector.

    The test is Kolmogorov and Smirnov's for two samples, the scores of the
    calibration rows and those of the batch; p-values of one batch share their
    calibration rows, so that a test for uniform ones would be wrong. If the rows of
    the batch are fresh normal ones it reports drift with probability `rate` at most.
    That is exact for up to a million pairs of a row and a calibration row, except for
    the effect of calibration rows that are exemplars (`stats.thresholds`); for more pairs the
    limit distribution is used. Anomalies are a difference too.

    Memory does not grow with the batch.

    Parameters
    ----------
    fitted : VAEDetector or Model
        With calibration rows.
    rate : float in (0, 1), default=0.001
        Share of batches of fresh normal rows in which drift may be reported.

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

    def __init__(self, fitted: Fitted | Model, rate: float = DRIFT_RATE) -> None:
        rule = number(0, 1, "()")
        if not rule.holds(rate):
            raise ParameterError(f"rate must be {rule.words}. Got {rate!r} instead.")
        self._model = fitted if isinstance(fitted, Model) else fitted.model_
        self._calibration = self._model.calibration.require("A drift watch")
        self.rate = rate
        self._known = self._count(self._calibration)
        self._batch = np.zeros_like(self._known)
        self._moments = Moments(self._model.encoder)

    def add(self, X: ArrayLike, scores: ArrayLike | None = None) -> Self:
        """Add rows to the batch.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        scores : array-like, optional
            Their anomaly scores, minus `score_samples`, if they are known. `X` may then
            be a sample of the rows, for the movement of features.

        Returns
        -------
        self
        """
        if scores is None:
            records = self._model.records(X)
            scores = self._model.anomaly_scores(records)
            sample = records[sample_slice(len(records))]
        else:
            rows = take(X, slice(None))
            sample = self._model.records(take(rows, sample_slice(len(rows))))
        return self.add_records(sample, np.asarray(scores))

    @default_floats()
    def add_records(self, sample: Records, scores: Array) -> Self:
        """Add rows to the batch: a sample of their records, and the anomaly scores of all.

        Parameters
        ----------
        sample : array-like
            Records as the encoder of the model takes them.
        scores : ndarray of shape (n_samples,)

        Returns
        -------
        self
        """
        self._batch += self._count(scores)
        self._moments.add(sample)
        return self

    def watched(self) -> Watched:
        """Return what is kept of the batch, to add it to that of other parts.

        Returns
        -------
        Watched

        Examples
        --------
        >>> import numpy as np
        >>> from vae_anomaly import DriftWatch, VAEDetector
        >>> rows = np.random.RandomState(0).normal(size=(600, 2))
        >>> detector = VAEDetector(max_steps=50, random_state=0).fit(rows)
        >>> part = DriftWatch(detector).add(rows[:100]).watched()
        >>> DriftWatch(detector).add_watched(part).add(rows[100:150]).result().n_rows
        150
        """
        return Watched(self._batch.copy(), *self._moments.sums)

    def add_watched(self, part: Watched) -> Self:
        """Add a part of the batch that another watch of the same model has seen.

        Parameters
        ----------
        part : Watched

        Returns
        -------
        self
        """
        self._batch += part.counts
        self._moments.add_sums(*part[1:])
        return self

    @default_floats()
    def result(self) -> Drift:
        """Test the batch, and list the movements of features.

        Returns
        -------
        Drift

        Raises
        ------
        DataError
            If there were no rows.
        """
        distance, rows = self._distance()
        p_value = self._p_value(distance, rows)
        return Drift(distance, p_value, self.rate, rows, self._moments.movements())

    @default_floats()
    def may_differ(self) -> bool:
        """Return at little cost whether `result` could report drift.

        Uses the first term of the limit distribution, corrected for few rows (Stephens, "EDF
        statistics for goodness of fit and some comparisons",
        :doi:`10.1080/01621459.1974.10480196`). From ten rows on its p-value is at most 1.4
        times an exact one of a thousandth or more, and 0.0003 where that is less; of one
        row, not above 0.12 where that is a twentieth.

        Returns
        -------
        bool
        """
        distance, rows = self._distance()
        n = len(self._calibration)
        root = np.sqrt(n * rows / (n + rows))
        p_value = 2 * np.exp(-2 * ((root + 0.12 + 0.11 / root) * distance) ** 2)
        least = MAX_APPROXIMATE_OF_FEW if rows < FEW_ROWS else MAX_APPROXIMATE
        return bool(p_value <= max(least, 3 * self.rate))

    def _distance(self) -> tuple[float, int]:
        """Return the greatest distance between the distribution functions, and the batch size."""
        rows = int(self._batch.sum())
        if not rows:
            raise DataError("Expected a batch of at least one row to compare, got none.")
        shares = [np.cumsum(counts) / counts.sum() for counts in (self._known, self._batch)]
        return float(np.abs(shares[0] - shares[1]).max()), rows

    def _count(self, scores: Array) -> NDArray[np.int64]:
        """Count scores between the calibration scores (even places) and at them (odd, if no ties).

        The test depends on the order of all scores alone, which the counts determine.
        """
        known = self._calibration
        below = np.searchsorted(known, scores)
        place = 2 * below
        at = np.flatnonzero(known.take(below, mode="clip") == scores)
        place[at] = below[at] + np.searchsorted(known, scores[at], "right")
        return np.bincount(place, minlength=2 * len(known) + 1)

    def _p_value(self, distance: float, rows: int) -> float:
        n = len(self._calibration)
        from scipy.stats import ks_2samp, kstwo  # later: its import takes most of a second

        if n * rows > EXACT_PAIRS:
            return float(kstwo.sf(distance, round(n * rows / (n + rows))))
        places = np.arange(2 * n + 1)
        pair = (np.repeat(places, counts) for counts in (self._batch, self._known))
        return float(ks_2samp(*pair).pvalue)

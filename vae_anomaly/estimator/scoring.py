"""Scoring methods of a detector: scores, reasons, flags and p-values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from vae_anomaly._parameters import number
from vae_anomaly.estimator.attributes import FittedAttributes
from vae_anomaly.estimator.reasons import neighbors, reasons
from vae_anomaly.estimator.repair import Repair, repair
from vae_anomaly.exceptions import ParameterError
from vae_anomaly.stats.scores import SCORES

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ScoringMethods"]

Array = NDArray[np.float64]

EXPLANATIONS = ("contributions", "reasons", "repair")
"""What `ScoringMethods.explain` returns."""


class ScoringMethods(FittedAttributes):
    """Methods that score."""

    def _records(self, X: ArrayLike) -> Array:
        """Validate data for the fitted model: (n_samples, n_features)."""
        raise NotImplementedError

    def score_samples(self, X: ArrayLike) -> Array:
        """Score rows: higher is more normal.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
            Minus the anomaly score, in nats.
        """
        records = self._records(X)
        return -self.model_.anomaly_scores(records)

    def scores(self, X: ArrayLike, score_types: Sequence[str] | None = None) -> pd.DataFrame:
        """Compute several anomaly scores.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        score_types : sequence of str, optional
            Names in `vae_anomaly.stats.scores.SCORES`; all by default.

        Returns
        -------
        DataFrame of shape (n_samples, n_scores)
            In nats: higher is more anomalous.

        Raises
        ------
        ParameterError
            If there is no such score.

        Examples
        --------
        >>> import numpy as np
        >>> from vae_anomaly import VAEDetector
        >>> X = np.random.RandomState(0).normal(size=(50, 3))
        >>> detector = VAEDetector(contamination=0.1, max_steps=20, random_state=0).fit(X)
        >>> detector.scores(X, ["elbo", "kl"]).columns.tolist()
        ['elbo', 'kl']
        """
        import pandas as pd

        names = list(SCORES) if score_types is None else list(score_types)
        unknown = [name for name in names if name not in SCORES]
        if unknown:
            raise ParameterError(
                f"score_types must be some of {', '.join(map(repr, SCORES))}. "
                f"Got {unknown[0]!r} instead."
            )
        records = self._records(X)
        values = self.model_.evaluate(records, also=names).also
        index = X.index if isinstance(X, pd.DataFrame) else None
        return pd.DataFrame(values, columns=names, index=index)

    def score(self, X: ArrayLike, y: object = None) -> float:
        """Average the ELBO over rows: how well the model fits them, whatever `score_type` is.

        By it `GridSearchCV` and `cross_val_score` can compare models without
        labels, if they share `beta`, `prior`, `likelihood` and `smoothing`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : object
            Ignored.

        Returns
        -------
        float
            In nats per row.
        """
        records = self._records(X)
        return self.model_.mean_elbo(records)

    def explain(self, X: ArrayLike, kind: str = "contributions") -> pd.DataFrame:
        """Explain the anomaly score of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        kind : {"contributions", "reasons", "repair"}, default="contributions"
            What is returned.

        Returns
        -------
        DataFrame
            Of kind "contributions", of shape (n_samples, n_features): the score divided among
            the columns, in nats; each row sums to its anomaly score, minus `score_samples`. What
            belongs to the code as a whole, such as the KL divergence, is divided among the
            columns by which the row differs from similar ones; see
            `vae_anomaly.model.suspicion`. Of a high score others have the largest parts if the
            values of the nearest training row in these make the row normal; see
            `vae_anomaly.model.what_if`.
            Where features form a grid it is a last column, "latent_code"; a feature of that name
            is then "feature_latent_code".

            Of kind "reasons" the three greatest contributions, see `reasons`; of kind "repair"
            what has to change, see `Repair.steps`.

        Raises
        ------
        ParameterError
            If there is nothing of this name.
        """
        import pandas as pd

        if kind not in EXPLANATIONS:
            raise ParameterError(
                f"kind must be one of {', '.join(map(repr, EXPLANATIONS))}. Got {kind!r} instead."
            )
        if kind == "reasons":
            return self.reasons(X)
        if kind == "repair":
            return self.repair(X).steps
        records = self._records(X)
        contributions = self.model_.contributions(records)
        index = X.index if isinstance(X, pd.DataFrame) else None
        return pd.DataFrame(contributions, columns=self.model_.part_names, index=index)

    def reasons(self, X: ArrayLike, top: int = 3) -> pd.DataFrame:
        """Name the columns that contribute most to the anomaly score of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        top : int, default=3
            Reasons for each row, at most. What lowers a score is no reason for it.

        Returns
        -------
        DataFrame
            One row for each reason, those of a row of X after one another: `row`, its label in
            the index; `rank`, from 1; `column`; `contribution` to the score, in nats; `value`, as
            it is; `expected`, the mean or most frequent level of training rows that are similar
            in the rest of the row; `probability` of an expected level, given the rest of the row,
            NaN for others; `low` and `high`, between which nine tenths of the training rows lie;
            `direction`: "within", "below" or "above" this range, "unusual level" of a
            category that fewer than a twentieth have, "unusual weekday" and the like of a date,
            or "far from training", "missing", or "unreadable" text. Levels and dates have no
            range, and dates nothing that is expected.

        Raises
        ------
        DataError
            If single features of the records mean nothing by themselves.
        ParameterError
            If `top` is less than 1.

        Examples
        --------
        >>> import numpy as np
        >>> from vae_anomaly import VAEDetector
        >>> rng = np.random.RandomState(0)
        >>> t = rng.uniform(-2, 2, size=500)
        >>> X = np.column_stack([t, 2 * t, -t]) + rng.normal(scale=0.1, size=(500, 3))
        >>> detector = VAEDetector(max_steps=300, random_state=0).fit(X)
        >>> detector.reasons([[1, 2, 9]], top=1)[["column", "value", "direction"]]
          column  value direction
        0     x2      9     above
        """
        return reasons(self.model_, X, self._records(X), top)

    def neighbors(self, X: ArrayLike, k: int = 5) -> pd.DataFrame:
        """Find the training rows that are most similar to each row: evidence for its reasons.

        They are compared in all columns but the two that differ most, which count neither in
        the choice nor in the distance: a row with a few wrong cells has the neighbours that it
        would have without. A training row is none of its own neighbours.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        k : int, default=5
            Neighbours of each row, at most as many as the model keeps training rows.

        Returns
        -------
        DataFrame
            One row for each neighbour, the most similar first: `row`, the label of the row in
            the index of X; `rank`, from 1; `training_row`, the position of the neighbour among
            the rows that `fit` was given, from 0; `distance`, the root of the mean squared
            difference, in standard deviations; and a column for each column of the neighbour,
            as the model keeps it, in single precision. Dates are missing there. A column that is
            called as one of the first four gets ``feature_`` before its name.

        Raises
        ------
        ParameterError
            If `k` is less than 1.

        Examples
        --------
        >>> import numpy as np
        >>> from vae_anomaly import VAEDetector
        >>> X = np.arange(60.0).reshape(20, 3)
        >>> detector = VAEDetector(contamination=0.1, max_steps=20, random_state=0).fit(X)
        >>> found = detector.neighbors([[30, 31, 99]], k=2)
        >>> found.columns.tolist()
        ['row', 'rank', 'training_row', 'distance', 'x0', 'x1', 'x2']
        """
        return neighbors(self.model_, X, self._records(X), k)

    def repair(self, X: ArrayLike) -> Repair:
        """Find few columns whose change makes a flagged row normal, and their new values.

        A new value is the mean, or the most frequent level, of the training rows that are most
        similar in the columns that do not change. The search is greedy; see
        `vae_anomaly.model.repair`. Missing cells change only where no training row lacked them,
        and columns that the model leaves out never. A date becomes that of a similar training row,
        moved by whole days to the other dates of its row, or by years to its own.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        Repair

        Raises
        ------
        DataError
            If single features of the records mean nothing by themselves.

        Examples
        --------
        >>> import numpy as np
        >>> from vae_anomaly import VAEDetector
        >>> rng = np.random.RandomState(0)
        >>> t = rng.uniform(-2, 2, size=500)
        >>> X = np.column_stack([t, 2 * t, -t]) + rng.normal(scale=0.1, size=(500, 3))
        >>> detector = VAEDetector(max_steps=300, random_state=0).fit(X)
        >>> rows, steps = detector.repair([[1, 2, -1], [1, 2, 1]])
        >>> steps["row"].tolist(), steps["column"].tolist(), rows[:, 2].tolist()
        ([1], ['x2'], [-1, -1])
        """
        return repair(self.model_, X, self._records(X))

    # ---------------------------------------------------------------------------- decisions

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
        """Classify rows as anomalies or normal.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
            -1 for anomalies, +1 for normal rows.
        """
        return np.where(self.decision_function(X) >= 0, 1, -1)

    def p_values(
        self,
        X: ArrayLike,
        *,
        smoothed: bool = False,
        random_state: int | np.random.RandomState | None = None,
    ) -> Array:
        """Compute conformal p-values: how anomalous rows are among normal ones.

        A fresh normal row has a p-value of t or less with probability t at most,
        whatever the data and however good the model; see
        `vae_anomaly.stats.thresholds.conformal_p_values`. Training rows are not fresh.
        `predict` flags rows whose p-value is at most `false_alarm_rate`, where there are
        calibration rows enough for it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        smoothed : bool, default=False
            Break ties with calibration rows, and those of a row with itself, at
            random: p-values of fresh normal rows are then exactly uniform.
        random_state : int, RandomState or None, default=None
            Source of the ties.

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
        check_is_fitted(self)
        self.model_.calibration.require("p_values")
        rng = check_random_state(random_state) if smoothed else None
        return self.model_.calibration.p_values(-self.score_samples(X), rng)

    def flag_batch(self, X: ArrayLike, fdr: float = 0.05) -> NDArray[np.int_]:
        """Classify the rows of a batch and control the false-discovery rate.

        `predict` bounds the share of normal rows that are flagged: of 10,000, at
        1 %, a hundred. This bounds, in expectation, the share of flagged rows
        that are normal, by the procedure of Benjamini and Hochberg on `p_values`;
        see `vae_anomaly.stats.thresholds.false_discovery_threshold`. It assumes that
        normal rows are fresh, and its threshold is for this batch alone: more anomalies
        lower it.

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
        check_is_fitted(self)
        rule = number(0, 1, "()")
        if not rule.holds(fdr):
            raise ParameterError(f"fdr must be {rule.words}. Got {fdr!r} instead.")
        calibration = self.model_.calibration
        calibration.require("flag_batch")
        scores = -self.score_samples(X)
        return np.where(
            calibration.with_fdr(calibration.rank_counts(scores), fdr).flags(scores), -1, 1
        )

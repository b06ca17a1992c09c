"""The scoring side of a detector: rows in, anomaly scores and their reasons out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vae_anomaly._threads import unlocked_cached_property
from vae_anomaly.data.image.pixels import as_rows, check_shape, smooth
from vae_anomaly.exceptions import ParameterError
from vae_anomaly.model.parameters import column_names, score_for
from vae_anomaly.stats.scores import SCORES, RowTerms

if TYPE_CHECKING:
    import pandas as pd

    from vae_anomaly.data.image.pixels import ImageShape
    from vae_anomaly.data.scaling import ColumnScaler
    from vae_anomaly.model.reference import Reference
    from vae_anomaly.networks.spec import NetworkSpec

__all__ = ["LATENT", "MeasuredTerms", "Scorer", "ScoringMixin"]

Array = NDArray[np.float64]

LATENT = "latent_code"
"""The part of a score that belongs to no column."""


class ScoringMixin:
    """The scoring side of `VAEDetector`."""

    if TYPE_CHECKING:
        beta: float
        score_type: str
        columns_: ColumnScaler
        network_spec_: NetworkSpec
        weights_: NDArray[np.float32]
        noise_: NDArray[np.float32]
        prior_: NDArray[np.float32] | None
        reference_: Reference
        image_shape_: ImageShape | None
        smoothing_: float

    def _validated(self, X: ArrayLike) -> Array:
        from sklearn.utils.validation import check_is_fitted, validate_data

        check_is_fitted(self)
        given = as_rows(X)
        check_shape(given.shape, self.image_shape_)
        rows = validate_data(self, given.values, dtype=np.float64, order="C", reset=False)
        shape = self.image_shape_
        return rows if shape is None else smooth(rows, shape, self.smoothing_)

    def _anomaly_scores(self, rows: Array) -> Array:
        """Anomaly scores of prepared rows, (n,)."""
        from vae_anomaly.inference.passes import for_each_chunk

        score = SCORES[score_for(self)]
        out = np.empty(len(rows))

        def fill(part: slice) -> None:
            out[part] = score.total(MeasuredTerms(self, rows[part]))

        for_each_chunk(self.network_spec_, self.weights_, rows.shape, fill)
        return out

    def _contributions(self, rows: Array) -> Array:
        """Contributions of each column, and last of the latent code: (n, n_features + 1)."""
        return SCORES[score_for(self)].contributions(MeasuredTerms(self, rows))

    def score_samples(self, X: ArrayLike) -> Array:
        """Score rows: the higher, the more normal.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
            Minus the anomaly score, in nats.
        """
        return -self._anomaly_scores(self._validated(X))

    def scores(self, X: ArrayLike, score_types: Sequence[str] | None = None) -> pd.DataFrame:
        """Score rows in several ways at once.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        score_types : sequence of str, optional
            Names in `vae_anomaly.stats.scores.SCORES`; all by default.

        Returns
        -------
        DataFrame of shape (n_samples, n_scores)
            Anomaly scores in nats: higher is stranger.

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
        terms = MeasuredTerms(self, self._validated(X))
        index = X.index if isinstance(X, pd.DataFrame) else None
        return pd.DataFrame({name: SCORES[name].total(terms) for name in names}, index=index)

    def score(self, X: ArrayLike, y: Any = None) -> float:
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
            In nats a row.
        """
        return -float(SCORES["elbo"].total(MeasuredTerms(self, self._validated(X))).mean())

    def explain(self, X: ArrayLike) -> pd.DataFrame:
        """Split the anomaly score of each row into what each column adds to it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        DataFrame of shape (n_samples, n_features + 1)
            A column per feature and last "latent_code", in nats: what belongs to no
            column, of the ELBO the KL divergence.
            Each row sums to its anomaly score, minus `score_samples`.
        """
        import pandas as pd

        contributions = self._contributions(self._validated(X))
        index = X.index if isinstance(X, pd.DataFrame) else None
        return pd.DataFrame(contributions, columns=[*column_names(self), LATENT], index=index)


class Scorer(ScoringMixin):
    """A fitted detector's scoring side alone, for rows that are known to be sound.

    It takes arrays of finite float64, (n, n_features), as sources of tables make them,
    and does without scikit-learn, whose import takes longer than thousands of scores.

    Parameters
    ----------
    **parameters
        Of `VAEDetector`. What is fitted is set by `persistence`.
    """

    def __init__(self, **parameters: Any) -> None:
        self.__dict__.update(parameters)

    def _validated(self, X: ArrayLike) -> Array:
        return np.asarray(X)


class MeasuredTerms:
    """What scores of some rows are made of, each part evaluated when first asked for. See `Terms`.

    Parameters
    ----------
    detector : ScoringMixin
        Fitted.
    rows : ndarray of shape (n, n_features)
        As `ScoringMixin._validated` gives them.
    n_left_out : int, default=1
        Exemplars at the very place of a row that are not to vouch for it; see
        `Exemplars.score`.
    """

    def __init__(self, detector: ScoringMixin, rows: Array, n_left_out: int = 1) -> None:
        self._detector = detector
        self._rows = rows
        self._left_out = n_left_out
        self.beta = detector.beta

    @property
    def typical(self) -> Array:
        """Mean contributions to minus the ELBO of training rows."""
        return self._detector.reference_.typical

    @unlocked_cached_property
    def elbo(self) -> RowTerms:
        """Halves of minus the ELBO."""
        from vae_anomaly.inference.passes import elbo_terms

        detector = self._detector
        parts = elbo_terms(
            detector.network_spec_,
            detector.weights_,
            detector.noise_,
            *self._seen_and_explained,
            detector.prior_,
        )
        return RowTerms(self._whole(parts.reconstruction), parts.kl)

    @unlocked_cached_property
    def importance_weighted(self) -> Array:
        """Minus the importance-weighted bound."""
        from vae_anomaly.inference.passes import importance_weighted_bound

        detector = self._detector
        if detector.network_spec_.noiseless:
            return self.elbo.reconstruction.sum(axis=1)
        bound = importance_weighted_bound(
            detector.network_spec_, detector.weights_, *self._seen_and_explained, detector.prior_
        )
        return self._outlying.sum(axis=1) - bound

    @unlocked_cached_property
    def exemplar(self) -> Array:
        """Distance from the nearest training rows."""
        return self._outlying.sum(axis=1) + self._beside_exemplars(attributed=False)[:, 0]

    @unlocked_cached_property
    def exemplar_columns(self) -> Array:
        """What the columns add to `exemplar`."""
        return self._whole(self._beside_exemplars(attributed=True))

    @unlocked_cached_property
    def latent_distance(self) -> Array:
        """Half the squared Mahalanobis distance of the code."""
        from vae_anomaly.inference.passes import posterior

        detector = self._detector
        mean, _, _ = posterior(
            detector.network_spec_, detector.weights_, self._seen_and_explained[0]
        )
        return detector.reference_.latent_distance(mean)

    @unlocked_cached_property
    def _seen_and_explained(self) -> tuple[Array, Array]:
        detector = self._detector
        return detector.columns_.input_and_target(self._rows, detector.network_spec_.likelihood)

    @unlocked_cached_property
    def _outlying(self) -> Array:
        return self._detector.columns_.outlying(self._rows, self._detector.network_spec_.likelihood)

    def _whole(self, varying: Array) -> Array:
        """Add contributions of columns that vary to those of all: (n, n_features)."""
        whole = self._outlying.copy()
        whole[:, self._detector.columns_.varies] += varying
        return whole

    def _beside_exemplars(self, *, attributed: bool) -> Array:
        from vae_anomaly.inference.passes import beside_exemplars

        detector = self._detector
        return beside_exemplars(
            detector.network_spec_,
            detector.weights_,
            *self._seen_and_explained,
            detector.reference_,
            n_left_out=self._left_out,
            attributed=attributed,
        )

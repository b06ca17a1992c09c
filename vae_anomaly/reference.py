"""What scores compare a row with: the training rows, as the networks came to see them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.densities import PLAIN, floored_log_variance
from vae_anomaly.exemplars import Exemplars, most_exemplars
from vae_anomaly.networks import NetworkSpec
from vae_anomaly.priors import some_rows

__all__ = ["Reference", "residual_unit"]

Array = NDArray[np.float64]
Weights = NDArray[np.float32]

LEAST_VARIANCE = 1e-4
"""Of Bernoulli columns that never vary: as of learned variances."""


UNITS = (1e-30, 1e30)
"""Range of units, so that float32 holds them."""


@dataclass(frozen=True, eq=False)
class Reference:
    """Training rows in the networks' coordinates.

    Attributes
    ----------
    code_unit : ndarray of shape (members, latent)
        Standard deviations of q(z|x), averaged over training rows, times
        ``sqrt(members / beta)``: squared distances are averaged over members and
        weighed as the KL divergence is. Empty with a `beta` of 0.
    residual_unit : ndarray of shape (columns,)
        Standard deviations of p(x|z).
    points, reach : ndarray of shape (m, d) and (m,)
        See `Exemplars`. Without the codes if those do not count in the score.
    code_center : ndarray of shape (members, latent)
        Mean codes.
    code_precision : ndarray of shape (members, latent, latent)
        Inverse of their covariance, shrunk (Ledoit and Wolf, "A well-conditioned
        estimator for large-dimensional covariance matrices",
        :doi:`10.1016/S0047-259X(03)00096-4`).
    typical : ndarray of shape (n_features + 1,)
        Mean contributions to minus the ELBO.
    """

    code_unit: Weights
    residual_unit: Weights
    points: Weights
    reach: Weights
    code_center: Array
    code_precision: Array
    typical: Array

    @classmethod
    def of(
        cls,
        mean: Array,
        log_variance: Array,
        residual: Array,
        unit: Array,
        typical: Array,
        beta: float,
        rng: np.random.RandomState,
    ) -> Reference:
        """Keep what scores need of training rows.

        Parameters
        ----------
        mean, log_variance : ndarray of shape (n, members, latent)
            Of q(z|x).
        residual : ndarray of shape (n, columns)
            What is left of rows without their reconstructions.
        unit : ndarray of shape (columns,)
            Standard deviations of p(x|z).
        typical : ndarray of shape (n_features + 1,)
        beta : float
            Weight of squared distances between codes.
        rng : RandomState
            Which rows to keep.
        """
        from sklearn.covariance import LedoitWolf

        members = mean.shape[1]
        spread = [LedoitWolf().fit(mean[:, j]) for j in range(members)]
        deviation = np.exp(0.5 * log_variance).mean(axis=0)
        of_code = deviation * np.sqrt(members / beta) if beta > 0 else np.zeros((members, 0))
        units = {
            "code_unit": np.clip(of_code, *UNITS).astype(np.float32),
            "residual_unit": np.clip(unit, *UNITS).astype(np.float32),
        }
        d = residual.shape[1] + of_code.size
        kept = some_rows(np.arange(len(mean)), most_exemplars(d), rng)
        exemplars = Exemplars.of(_points(**units, mean=mean[kept], residual=residual[kept]))
        return cls(
            **units,
            points=exemplars.points,
            reach=exemplars.reach,
            code_center=np.stack([one.location_ for one in spread]),
            code_precision=np.stack([one.precision_ for one in spread]),
            typical=typical,
        )

    def __getstate__(self) -> dict[str, Any]:
        """Leave out of pickles what can be computed again."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def exemplars(self) -> Exemplars:
        """The training rows that are kept."""
        return Exemplars(self.points, self.reach)

    def locate(self, mean: Array, residual: Array) -> Weights:
        """Give codes (n, members, latent) and residuals (n, columns) their coordinates: (n, d)."""
        return _points(self.code_unit, self.residual_unit, mean, residual)

    def latent_distance(self, mean: Array) -> Array:
        """Half the squared Mahalanobis distance of codes, averaged over members: (n,)."""
        away = mean - self.code_center
        squares = np.einsum("nml,mlk,nmk->n", away, self.code_precision, away)
        return 0.5 * squares / mean.shape[1]


def _points(code_unit: Weights, residual_unit: Weights, mean: Array, residual: Array) -> Weights:
    """Residuals and codes side by side in their units: (n, d)."""
    points = [residual / residual_unit]
    if code_unit.size:
        points.append((mean / code_unit).reshape(len(mean), -1))
    return np.concatenate(points, axis=1).astype(np.float32)


def residual_unit(spec: NetworkSpec, weights: Weights, rebuilt: Array) -> Array:
    """Tell standard deviations of p(x|z), averaged over members or rows: (columns,).

    Parameters
    ----------
    spec : NetworkSpec
    weights : ndarray of shape (members, n_weights)
    rebuilt : ndarray of shape (n, columns)
        Expected training rows, from which coins have their variances.
    """
    if spec.likelihood == "bernoulli":
        return np.sqrt(np.maximum((rebuilt * (1 - rebuilt)).mean(axis=0), LEAST_VARIANCE))
    if spec.variance is not None:
        return np.full(spec.columns, np.sqrt(spec.variance))
    log_variance = floored_log_variance(PLAIN, spec.unpack(weights)["log_variance"])
    return 1 / np.exp(-0.5 * log_variance.reshape(spec.members, -1)).mean(axis=0)

"""What scores compare a row with: the training rows, as the networks came to see them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.stats.densities import UNUSED_NATS, gaussian_kl, numpy_ops
from vae_anomaly.stats.exemplars import Exemplars, max_exemplars
from vae_anomaly.stats.priors import subsample

__all__ = ["UNITS", "Reference", "EncodedRows"]

Array = NDArray[np.float64]
Weights = NDArray[np.float32]

UNITS = (1e-15, 1e30)
"""Range of units, so that float32 holds squares of what is counted in them."""


class EncodedRows(NamedTuple):
    """Rows, as the networks see them."""

    mean: Array  # of q(z|x), (n, members, latent)
    log_variance: Array  # of q(z|x), (n, members, latent)
    residual: Array  # what is left of rows without their reconstructions, (n, columns)

    def only(self, chosen: NDArray[np.bool_]) -> EncodedRows:
        """Leave the others out."""
        return EncodedRows(*(part[chosen] for part in self))


@dataclass(frozen=True, eq=False)
class Reference:
    """Training rows in the networks' coordinates.

    Attributes
    ----------
    code_unit : ndarray of shape (members, latent)
        Standard deviations of q(z|x), averaged over training rows, times
        ``sqrt(members / beta)``: squared distances are averaged over members and
        weighed as the KL divergence is. 0 where a dimension is not used, and so
        makes no difference; everywhere with a `beta` of 0.
    residual_unit : ndarray of shape (columns,)
        Standard deviations of p(x|z).
    points, reach, doubted : ndarray of shape (m, d), ndarray of shape (m,) and int
        See `Exemplars`. Of codes the dimensions that have a unit.
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
    doubted: int = 0

    @classmethod
    def of(
        cls,
        seen: EncodedRows,
        joined: EncodedRows | None,
        unit: Array,
        typical: Array,
        beta: float,
        rng: np.random.RandomState,
        doubted: int = 0,
    ) -> Reference:
        """Keep what scores need of training rows.

        Parameters
        ----------
        seen : EncodedRows
            Training rows.
        joined : EncodedRows or None
            Rows that become exemplars as well and shape nothing else.
        unit : ndarray of shape (columns,)
            Standard deviations of p(x|z).
        typical : ndarray of shape (n_features + 1,)
        beta : float
            Weight of squared distances between codes.
        rng : RandomState
            Which rows to keep.
        doubted : int
            See `Exemplars`.
        """
        from sklearn.covariance import LedoitWolf

        mean, members = seen.mean, seen.mean.shape[1]
        spread = [LedoitWolf().fit(mean[:, j]) for j in range(members)]
        deviation = np.exp(0.5 * seen.log_variance).mean(axis=0)
        used = gaussian_kl(numpy_ops, mean, seen.log_variance).mean(axis=0) >= UNUSED_NATS
        of_code = np.clip(deviation * np.sqrt(members / beta), *UNITS) if beta > 0 else 0.0
        reference = cls(
            code_unit=np.where(used, of_code, 0.0).astype(np.float32),
            residual_unit=np.clip(unit, *UNITS).astype(np.float32),
            points=np.empty((0, 0), dtype=np.float32),
            reach=np.empty(0, dtype=np.float32),
            code_center=np.stack([one.location_ for one in spread]),
            code_precision=np.stack([one.precision_ for one in spread]),
            typical=typical,
            doubted=doubted,
        )
        d = len(unit) + int(used.sum())
        kept = subsample(np.arange(len(mean)), max_exemplars(d), rng)
        exemplars = Exemplars.of(
            reference.locate(mean[kept], seen.residual[kept]),
            None if joined is None else reference.locate(joined.mean, joined.residual),
        )
        return replace(reference, points=exemplars.points, reach=exemplars.reach)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out of pickles what can be computed again."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def exemplars(self) -> Exemplars:
        """The training rows that are kept."""
        return Exemplars(self.points, self.reach, self.doubted)

    def locate(self, mean: Array, residual: Array) -> Weights:
        """Give codes (n, members, latent) and residuals (n, columns) their coordinates: (n, d)."""
        used = self.code_unit > 0
        points = [residual / self.residual_unit, mean[:, used] / self.code_unit[used]]
        # In the order in which a file gives them back: sums round by it.
        return np.concatenate(points, axis=1).astype(np.float32, order="C")

    def latent_distance(self, mean: Array) -> Array:
        """Half the squared Mahalanobis distance of codes, averaged over members: (n,)."""
        away = mean - self.code_center
        squares = np.einsum("nml,mlk,nmk->n", away, self.code_precision, away)
        return 0.5 * squares / mean.shape[1]

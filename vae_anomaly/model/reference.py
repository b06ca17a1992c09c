"""Reference for scores: training rows as the networks encode them."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._types import JsonObject
from vae_anomaly.data.base import Encoded
from vae_anomaly.inference.network import Network
from vae_anomaly.model.cells import N_RANKS, Tails, surprises
from vae_anomaly.stats.densities import UNUSED_NATS, gaussian_kl, numpy_ops
from vae_anomaly.stats.exemplars import Exemplars, max_exemplars
from vae_anomaly.stats.priors import subsample

__all__ = ["UNIT_RANGE", "EncodedRows", "Reference"]

Array = NDArray[np.float64]
Weights = NDArray[np.float32]

NO_TAILS = np.empty((0, N_RANKS), dtype=np.float32)

MIN_SHARE = 1e-9
"""Added to the costs of cells: all share alike where all cost nothing."""

N_STATISTICS = 3
"""Statistics of a row whose tail probabilities make its score, see `Reference.masked_score`."""

UNIT_RANGE = (1e-15, 1e30)
"""Bounds of coordinate units, so that float32 holds the squares of coordinates."""


class EncodedRows(NamedTuple):
    """Rows as the networks encode and reconstruct them."""

    mean: Array  # of q(z|x), (n, members, latent)
    log_variance: Array  # of q(z|x), (n, members, latent)
    expected: Array  # reconstructed targets, (n, columns)
    residual: Array  # targets minus the expected ones, (n, columns)

    @classmethod
    def of(cls, network: Network, encoded: Encoded, explained: NDArray[np.intp]) -> EncodedRows:
        """Run the networks on encoded records; residuals of unobserved features are 0."""
        observed = encoded.observed
        if observed is not None:
            observed = observed[:, explained[network.spec.joint.feature_of_target]]
        mean, log_variance = network.encode(encoded.inputs)
        if network.spec.has_masks:
            expected = network.mean_predictions(encoded.inputs)
        else:
            expected = network.decode(mean)
        residual = encoded.targets - expected
        if observed is not None:
            residual = np.where(observed, residual, 0.0)
        return cls(mean, log_variance, expected, residual)

    def only(self, chosen: NDArray[np.bool_]) -> EncodedRows:
        """Return some of the rows."""
        return EncodedRows(*(part[chosen] for part in self))


@dataclass(frozen=True, eq=False)
class Reference:
    """Training rows in the coordinates of the networks.

    Attributes
    ----------
    code_unit : ndarray of shape (members, latent)
        Standard deviations of q(z|x), averaged over training rows, times
        ``sqrt(members / beta)``: squared distances are averaged over members and
        weighted as the KL divergence is. 0 for dimensions that are not used, and so do
        not count; all are 0 with a `beta` of 0.
    residual_unit : ndarray of shape (columns,)
        Standard deviations of p(x|z).
    points, bandwidth, n_skipped_neighbors : ndarray of shape (m, d), (m,), and int
        See `Exemplars`. Of codes only the dimensions with a unit.
    code_center : ndarray of shape (members, latent)
        Mean codes.
    code_precision : ndarray of shape (members, latent, latent)
        Inverse of their covariance, shrunk (Ledoit and Wolf, "A well-conditioned
        estimator for large-dimensional covariance matrices",
        :doi:`10.1016/S0047-259X(03)00096-4`).
    typical : ndarray of shape (n_features + 1,)
        Mean contributions to minus the ELBO.
    tail_values, tail_nats : ndarray of shape (n_explained + N_STATISTICS, N_RANKS)
        See `Tails`: of the surprises of cells, then of the statistics of rows. Without rows
        for networks without masks.
    """

    code_unit: Weights
    residual_unit: Weights
    points: Weights
    bandwidth: Weights
    code_center: Array
    code_precision: Array
    typical: Array
    n_skipped_neighbors: int = 0
    tail_values: Weights = field(default_factory=lambda: NO_TAILS)
    tail_nats: Weights = field(default_factory=lambda: NO_TAILS)

    @classmethod
    def fit(
        cls,
        rows: EncodedRows,
        calibration: EncodedRows | None,
        unit: Array,
        typical: Array,
        beta: float,
        rng: np.random.RandomState,
        n_skipped_neighbors: int = 0,
        *,
        uses_codes: bool = True,
    ) -> Reference:
        """Summarise training rows.

        Parameters
        ----------
        rows : EncodedRows
            Training rows.
        calibration : EncodedRows or None
            Rows that become exemplars as well and determine nothing else.
        unit : ndarray of shape (columns,)
            Standard deviations of p(x|z).
        typical : ndarray of shape (n_features + 1,)
        beta : float
            Weight of squared distances between codes.
        rng : RandomState
            Source of the subsample that is kept.
        n_skipped_neighbors : int
            See `Exemplars`.
        uses_codes : bool, default=True
            Whether codes are coordinates as well.
        """
        from sklearn.covariance import LedoitWolf

        mean, members = rows.mean, rows.mean.shape[1]
        covariances = [LedoitWolf().fit(mean[:, j]) for j in range(members)]
        deviation = np.exp(0.5 * rows.log_variance).mean(axis=0)
        used = gaussian_kl(numpy_ops, mean, rows.log_variance).mean(axis=0) >= UNUSED_NATS
        if not uses_codes:
            used[:] = False
        code_unit = np.clip(deviation * np.sqrt(members / beta), *UNIT_RANGE) if beta > 0 else 0.0
        reference = cls(
            code_unit=np.where(used, code_unit, 0.0).astype(np.float32),
            residual_unit=np.clip(unit, *UNIT_RANGE).astype(np.float32),
            points=np.empty((0, 0), dtype=np.float32),
            bandwidth=np.empty(0, dtype=np.float32),
            code_center=np.stack([one.location_ for one in covariances]),
            code_precision=np.stack([one.precision_ for one in covariances]),
            typical=typical,
            n_skipped_neighbors=n_skipped_neighbors,
        )
        d = len(unit) + int(used.sum())
        kept = subsample(np.arange(len(mean)), max_exemplars(d), rng)
        exemplars = Exemplars.fit(
            reference.locate(mean[kept], rows.residual[kept]),
            None
            if calibration is None
            else reference.locate(calibration.mean, calibration.residual),
        )
        return replace(reference, points=exemplars.points, bandwidth=exemplars.bandwidth)

    @classmethod
    def empty(cls) -> Reference:
        """Return a reference without training rows, for scores that need none."""
        none, nothing = np.empty(0, dtype=np.float32), np.empty(0)
        return cls(none, none, none, none, nothing, nothing, nothing)

    def __getstate__(self) -> JsonObject:
        """Leave out of pickles what can be computed again."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def with_tails(
        self, network: Network, rows: EncodedRows, encoded: Encoded, observed: NDArray[np.bool_]
    ) -> Reference:
        """Return the reference with the tails of training cells and rows.

        Parameters
        ----------
        network : Network
            With masks.
        rows : EncodedRows
        encoded : Encoded
            The same rows.
        observed : ndarray of shape (n, n_explained)
        """
        units, surprise = self.residual_unit.astype(np.float64), np.empty(observed.shape)
        arrays = encoded.inputs.astype(np.float32), encoded.targets
        with network.engine.setting:
            for part, (x, targets) in network.batches(*arrays):
                found = surprises(network.spec.joint, units, network.predictions(x), targets)
                surprise[part] = found[: part.stop - part.start]
        cells = Tails.fit(surprise, observed)
        statistics, _ = self._statistics(cells, rows.residual, surprise, observed)
        of_rows = Tails.fit(statistics)
        return replace(
            self,
            tail_values=np.concatenate([cells.values, of_rows.values]),
            tail_nats=np.concatenate([cells.nats, of_rows.nats]),
        )

    def masked_score(
        self,
        residual: Array,
        surprise: Array,
        observed: NDArray[np.bool_],
        n_left_out: int = 1,
    ) -> tuple[Array, Array]:
        """Score rows whose features are predicted from each other: (n,), and shares of cells.

        Minus the log of the tail probabilities, among training rows, of three statistics, added
        as in Fisher's method (R. A. Fisher, "Statistical methods for research workers", 1925,
        section 21.1): the distance of residuals from the exemplars, the sum of the costs of
        cells, each the same minus log of a tail probability, and the sum of their surprises,
        a pseudo-log-likelihood (J. Besag, "Statistical analysis of non-lattice data",
        :doi:`10.2307/2987782`). Each weighs cells in another way: relative to similar rows,
        all columns alike, and as the likelihoods do.

        The score is divided among the cells, (n, n_explained), as their costs are.
        """
        cells, rows = (
            Tails(self.tail_values[part], self.tail_nats[part])
            for part in (slice(-N_STATISTICS), slice(-N_STATISTICS, None))
        )
        statistics, costs = self._statistics(cells, residual, surprise, observed, n_left_out)
        scores = rows.costs(statistics).mean(axis=1)
        shares = np.where(observed, costs + MIN_SHARE, 0.0)
        shares *= (scores / np.maximum(shares.sum(axis=1), MIN_SHARE))[:, None]
        return scores, shares

    def _statistics(
        self,
        cells: Tails,
        residual: Array,
        surprise: Array,
        observed: NDArray[np.bool_],
        n_left_out: int = 1,
    ) -> tuple[Array, Array]:
        """Return the statistics of rows, (n, N_STATISTICS), and the costs of their cells."""
        points = (residual / self.residual_unit).astype(np.float32, order="C")
        costs = np.where(observed, cells.costs(surprise), 0.0)
        parts = (
            self.exemplars.score(points, n_left_out),
            costs.sum(axis=1),
            np.where(observed, surprise, 0.0).sum(axis=1),
        )
        return np.column_stack(parts), costs

    @cached_property
    def exemplars(self) -> Exemplars:
        """Training rows that scores compare with."""
        return Exemplars(self.points, self.bandwidth, self.n_skipped_neighbors)

    def locate(self, mean: Array, residual: Array) -> Weights:
        """Return coordinates of codes (n, members, latent) and residuals (n, columns): (n, d)."""
        used = self.code_unit > 0
        points = [residual / self.residual_unit, mean[:, used] / self.code_unit[used]]
        # In the memory order that a file restores: rounding of sums depends on it.
        return np.concatenate(points, axis=1).astype(np.float32, order="C")

    def score(self, mean: Array, residual: Array, n_left_out: int = 1) -> Array:
        """Score rows by the exemplars, see `Exemplars.score`: (n,)."""
        return self.exemplars.score(self.locate(mean, residual), n_left_out)

    def explain(self, mean: Array, residual: Array) -> tuple[Array, Array]:
        """Return scores (n,), and the parts of them that belong to targets: (n, columns)."""
        return self.exemplars.explain(self.locate(mean, residual), residual.shape[1])

    def latent_distance(self, mean: Array) -> Array:
        """Return half the squared Mahalanobis distance of codes, a mean over members: (n,)."""
        away = mean - self.code_center
        squares = np.einsum("nml,mlk,nmk->n", away, self.code_precision, away)
        return 0.5 * squares / mean.shape[1]

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
from vae_anomaly.model.cells import N_RANKS, CellRanks, surprises
from vae_anomaly.stats.densities import UNUSED_NATS, gaussian_kl, numpy_ops
from vae_anomaly.stats.exemplars import Exemplars, max_exemplars
from vae_anomaly.stats.priors import subsample

__all__ = ["UNIT_RANGE", "EncodedRows", "Reference"]

Array = NDArray[np.float64]
Weights = NDArray[np.float32]

NO_CELLS = np.empty((0, N_RANKS), dtype=np.float32)

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
            expected = network.predict_features(encoded.inputs)
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
    cell_surprise, cell_nats : ndarray of shape (n_explained, N_RANKS)
        See `CellRanks`; without rows for networks without masks.
    """

    code_unit: Weights
    residual_unit: Weights
    points: Weights
    bandwidth: Weights
    code_center: Array
    code_precision: Array
    typical: Array
    n_skipped_neighbors: int = 0
    cell_surprise: Weights = field(default_factory=lambda: NO_CELLS)
    cell_nats: Weights = field(default_factory=lambda: NO_CELLS)

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

    def with_cells(
        self, network: Network, rows: EncodedRows, targets: Array, observed: NDArray[np.bool_]
    ) -> Reference:
        """Return the reference with the ranks of training cells.

        Their sum is weighted so that it spreads over training rows as the score of the
        exemplars does, between the first and the last tenth.

        Parameters
        ----------
        network : Network
            With masks.
        rows : EncodedRows
        targets : ndarray of shape (n, columns)
        observed : ndarray of shape (n, n_explained)
        """
        units = self.residual_unit.astype(np.float64)
        surprise = surprises(network.spec.joint, units, rows.expected, rows.residual, targets)
        cells = CellRanks.fit(surprise, observed)
        spreads = [
            np.subtract(*np.quantile(part, [0.9, 0.1]))
            for part in (self.score(rows.mean, rows.residual), cells.costs(surprise).sum(axis=1))
        ]
        cells = cells.weighted(spreads[0] / spreads[1] if min(spreads) > 0 else 1.0)
        return replace(self, cell_surprise=cells.surprise, cell_nats=cells.nats)

    @property
    def cells(self) -> CellRanks:
        """Ranks of training cells given the others of their rows."""
        return CellRanks(self.cell_surprise, self.cell_nats)

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

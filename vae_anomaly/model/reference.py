"""Reference for scores: training rows as the networks encode them."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._threads import SINGLE_THREAD
from vae_anomaly._types import AnyArray, JsonObject
from vae_anomaly.data.base import Encoded
from vae_anomaly.inference.network import Network
from vae_anomaly.model.cells import N_RANKS, PredictedRows, Tails, surprises
from vae_anomaly.model.similar import SimilarRows
from vae_anomaly.stats.densities import UNUSED_NATS, gaussian_kl, numpy_ops
from vae_anomaly.stats.exemplars import Exemplars, max_exemplars, sparse_first
from vae_anomaly.stats.likelihoods import JointLikelihood
from vae_anomaly.stats.normal_scores import NormalScores
from vae_anomaly.stats.priors import subsample

__all__ = ["UNIT_RANGE", "EncodedRows", "PredictedRows", "Reference"]

Array = NDArray[np.float64]
Weights = NDArray[np.float32]

NO_TARGETS = np.empty((0, 0), dtype=np.float32)

NO_TAILS = np.empty((0, N_RANKS), dtype=np.float32)

NO_BANDWIDTH = np.empty(0, dtype=np.float32)

N_STATISTICS = 4
"""Statistics of a row whose tail probabilities make its score, see `Reference.masked_score`."""

MAX_COMPARED = 2048
"""Exemplars that networks with masks compare with: those chosen detect as well as twice as many."""

MIN_CODE_DISTANCE = 0.1
"""Nats below which distances of codes count alike: less than the noise of the encoder network."""

N_SUSPECTS = 3
"""Cells of a row that are hidden in turn, to see whether the others then look normal."""

HIDDEN_SHARES = (0.75, 0.5, 0.25, 0.0)
"""Shares of cells that are hidden from training rows, to know the tails of incomplete rows."""

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
        """Return some of the rows, without a copy if all are chosen."""
        return self if chosen.all() else EncodedRows(*(part[chosen] for part in self))


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
    points, bandwidth, n_skipped_neighbors : ndarray of shape (m, d), (s,), and int
        See `Exemplars`. Of codes only the dimensions with a unit. Scores compare with the first
        s of the m exemplars: with all, or `MAX_COMPARED` for networks with masks.
    targets : ndarray of shape (m, columns)
        Targets of the exemplars.
    position : ndarray of shape (m,)
        Where the exemplars stand among the records of the fit, from 0: whole numbers.
    undetermined : ndarray of shape (m, k)
        Their values of the features that targets do not tell, `STRAY` where there is none.
    code_center : ndarray of shape (members, latent)
        Mean codes.
    code_precision : ndarray of shape (members, latent, latent)
        Inverse of their covariance, shrunk (Ledoit and Wolf, "A well-conditioned
        estimator for large-dimensional covariance matrices",
        :doi:`10.1016/S0047-259X(03)00096-4`).
    typical : ndarray of shape (n_features + 1,)
        Mean contributions to minus the ELBO.
    code_bandwidth : ndarray of shape (s,)
        Bandwidths of the codes of these exemplars for networks with masks, which compare codes
        apart from residuals; () for others, whose `bandwidth` is that of both.
    tail_values, tail_nats : ndarray of shape (n_tails, N_RANKS)
        See `Tails`: of the surprises of the n_explained cells, then of the statistics of rows,
        with each of `HIDDEN_SHARES`. None for networks without masks.
    tail_shares : ndarray of shape (len(HIDDEN_SHARES),)
        Mean shares of observed cells in these rows, ascending; () for networks without masks.
    """

    code_unit: Weights
    residual_unit: Weights
    points: Weights
    bandwidth: Weights
    targets: Weights
    position: Array
    code_center: Array
    code_precision: Array
    typical: Array
    n_skipped_neighbors: int = 0
    undetermined: Array = field(default_factory=lambda: np.empty((0, 0)))
    code_bandwidth: Weights = field(default_factory=lambda: NO_BANDWIDTH)
    tail_values: Weights = field(default_factory=lambda: NO_TAILS)
    tail_nats: Weights = field(default_factory=lambda: NO_TAILS)
    tail_shares: Array = field(default_factory=lambda: np.empty(0))

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
        codes_apart: bool = False,
    ) -> Reference:
        """Summarise training rows; positions are those among them, then among the calibration rows.

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
        codes_apart : bool, default=False
            Whether codes have other bandwidths than residuals, as for networks with masks.
        """
        from sklearn.covariance import LedoitWolf

        mean, members = rows.mean, rows.mean.shape[1]
        with SINGLE_THREAD:  # a second one gains nothing, and waits at full load on a busy machine
            covariances = [LedoitWolf().fit(mean[:, j]) for j in range(members)]
        deviation = np.exp(0.5 * rows.log_variance).mean(axis=0)
        used = gaussian_kl(numpy_ops, mean, rows.log_variance).mean(axis=0) >= UNUSED_NATS
        code_unit = np.clip(deviation * np.sqrt(members / beta), *UNIT_RANGE) if beta > 0 else 0.0
        reference = cls(
            code_unit=np.where(used, code_unit, 0.0).astype(np.float32),
            residual_unit=np.clip(unit, *UNIT_RANGE).astype(np.float32),
            points=np.empty((0, 0), dtype=np.float32),
            bandwidth=np.empty(0, dtype=np.float32),
            targets=NO_TARGETS,
            position=np.empty(0),
            code_center=np.stack([one.location_ for one in covariances]),
            code_precision=np.stack([one.precision_ for one in covariances]),
            typical=typical,
            n_skipped_neighbors=n_skipped_neighbors,
        )
        d = len(unit) + int(used.sum())
        kept = subsample(np.arange(len(mean)), max_exemplars(d), rng)
        places = [reference.locate(mean[kept], rows.residual[kept])]
        if calibration is not None:
            places.append(reference.locate(calibration.mean, calibration.residual))
        n_learned, k = len(kept), len(unit) if codes_apart else d
        targets = [(rows.expected + rows.residual)[kept]]
        if calibration is not None:
            targets.append(calibration.expected + calibration.residual)
            kept = np.append(kept, len(mean) + np.arange(len(calibration.mean)))
        points = np.concatenate(places)
        order, compared = np.arange(len(points)), len(points)
        if codes_apart and compared > MAX_COMPARED:
            wider = np.maximum.reduce(_bandwidths(points, n_learned, k))
            order, compared = sparse_first(wider, MAX_COMPARED, rng), MAX_COMPARED
            n_learned = int((order[:compared] < n_learned).sum())
        bandwidth, *of_codes = _bandwidths(points[order[:compared]], n_learned, k)
        return replace(
            reference,
            points=points[order],
            bandwidth=bandwidth,
            code_bandwidth=of_codes[0] if of_codes else NO_BANDWIDTH,
            targets=np.concatenate(targets)[order].astype(np.float32),
            position=kept[order].astype(np.float64),
        )

    @classmethod
    def empty(cls) -> Reference:
        """Return a reference without training rows, for scores that need none."""
        none, nothing = np.empty(0, dtype=np.float32), np.empty(0)
        return cls(none, none, none, none, none, nothing, nothing, nothing, nothing)

    def without_exemplars(self) -> Reference:
        """Return the reference with as few exemplars as a model file may hold."""
        names = ("points", "bandwidth", "code_bandwidth", "targets", "position", "undetermined")
        return replace(self, **{name: getattr(self, name)[:2] for name in names})

    def __getstate__(self) -> JsonObject:
        """Leave out of pickles what can be computed again."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def with_tails(
        self, network: Network, encoded: Encoded, observed: NDArray[np.bool_]
    ) -> Reference:
        """Return the reference with the tails of training cells and rows.

        Parameters
        ----------
        network : Network
            With masks.
        encoded : Encoded
            Training rows.
        observed : ndarray of shape (n, n_explained)
        """
        whole = self._predicted(network, encoded, observed)
        cells = Tails.fit(whole.surprise, observed)
        tails, shares, rng = [cells], [], np.random.RandomState(0)
        itself = np.isin(np.arange(len(observed)), self.position[: len(self.bandwidth)])
        # The nearest exemplar of an exemplar with hidden cells is mostly itself.
        without_nearest = replace(self, n_skipped_neighbors=self.n_skipped_neighbors + 1)
        for hidden in HIDDEN_SHARES:
            order = rng.random_sample(observed.shape).argsort(axis=1)
            shown = observed & (order >= round(hidden * observed.shape[1]))
            rows = self._predicted(network, encoded, shown) if hidden else whole
            costs = np.where(rows.observed, cells.costs(rows.surprise), 0.0)
            statistics = np.empty((len(costs), N_STATISTICS))
            for some, reference in ((itself, without_nearest if hidden else self), (~itself, self)):
                if some.any():
                    statistics[some] = reference._statistics(rows.only(some), costs[some])
            tails.append(Tails.fit(statistics))
            shares.append(shown.mean())
        return replace(
            self,
            tail_values=np.concatenate([one.values for one in tails]).astype(np.float32),
            tail_nats=np.concatenate([one.nats for one in tails]).astype(np.float32),
            tail_shares=np.maximum.accumulate(shares),
        )

    def _predicted(
        self, network: Network, encoded: Encoded, observed: NDArray[np.bool_]
    ) -> PredictedRows:
        """Predict the features of encoded rows, of which some are hidden besides."""
        spec = network.spec
        x = (encoded.inputs * observed[:, spec.feature_of_input]).astype(np.float32)
        targets = encoded.targets * observed[:, spec.joint.feature_of_target]
        parts = []
        with network.engine.setting:
            for part, (rows, of_rows, seen) in network.batches(x, targets, observed):
                found = self.predict(network, rows, of_rows, seen)
                parts.append([one[: part.stop - part.start] for one in found])
        # In the memory order of `model.terms`: rounding of sums depends on it.
        whole = map(np.concatenate, zip(*parts, strict=True))
        return PredictedRows(*map(np.ascontiguousarray, whole))

    def predict(
        self, network: Network, x: Weights, targets: Array, observed: NDArray[np.bool_]
    ) -> PredictedRows:
        """Predict the features of a batch; see `PredictedRows` for the shapes."""
        joint = network.spec.joint
        predictions = network.predictions(x)
        given = targets.astype(np.float32, order="F")  # rows last in memory, as predictions are
        residual = given - predictions.mean(axis=0)
        residual[~observed[:, joint.feature_of_target]] = 0.0
        surprise = surprises(numpy_ops, joint, self.residual_unit, predictions, given)
        code = network.engine.encode_means(x).swapaxes(0, 1)
        return PredictedRows(residual, surprise, observed, code)

    def masked_score(self, rows: PredictedRows, n_left_out: int = 1) -> Array:
        """Score rows whose features are predicted from each other: (n,).

        The mean of minus the log of the tail probabilities of four statistics of a row among
        training rows, as in Fisher's method (R. A. Fisher, "Statistical methods for research
        workers", 1925, section 21.1): the distance of residuals from the exemplars; the mean
        cost of its cells, each the same minus log of a tail probability; the mean of their
        surprises, a pseudo-log-likelihood (J. Besag, "Statistical analysis of non-lattice
        data", :doi:`10.2307/2987782`); and the distance of its code from those of exemplars.
        Each weighs cells in another way: relative to similar rows, all columns alike, as the
        likelihoods do, and as the encoder network sees the row. Tails are those of training rows
        with as many observed cells, interpolated, so that scores are comparable.
        """
        _, *of_levels = self.tails
        costs, levels = self.costs(rows), len(of_levels)
        statistics = self._statistics(rows, costs, n_left_out)
        at_levels = np.stack([tails.costs(statistics).mean(axis=1) for tails in of_levels])
        place = np.interp(rows.observed.mean(axis=1), self.tail_shares, np.arange(levels))
        below = np.minimum(place.astype(np.intp), levels - 2)
        low, high = (at_levels[level, np.arange(len(place))] for level in (below, below + 1))
        scores: Array = low + (place - below) * (high - low)
        return scores

    def costs(self, rows: PredictedRows) -> Array:
        """Return the costs of cells, minus the logs of tail probabilities: (n, n_explained)."""
        return np.where(rows.observed, self.tails[0].costs(rows.surprise), 0.0)

    def suspicion(self, network: Network, x: Weights, targets: Array, rows: PredictedRows) -> Array:
        """Return how suspicious each cell of a batch is, as which a score is divided, in nats.

        The geometric mean of its cost and its surprise. A wrong cell makes others look wrong: the
        most suspicious ones are hidden in turn, and each gets the mean of this value and of the
        nats by which those of the row fall without it. All are divided by the fourth root of
        1 + L, where L says how much less suspect a cell is than the most suspect one beside
        similar rows, see `similar.Comparison`.

        Parameters
        ----------
        network, x, targets
            See `predict`.
        rows : PredictedRows
            What it returns.

        Returns
        -------
        ndarray of shape (n, n_explained)
        """
        spec, each = network.spec, np.arange(len(x))
        plain = self._suspicion_alone(rows)
        found = plain.copy()
        suspects = np.argsort(-plain, axis=1, kind="stable")[:, :N_SUSPECTS]
        for cell in suspects.T:
            shown = rows.observed.copy()
            shown[each, cell] = False
            seen_inputs, seen = (
                shown[:, spec.feature_of_input],
                shown[:, spec.joint.feature_of_target],
            )
            without = self.predict(network, x * seen_inputs, targets * seen, shown)
            fall = plain.sum(axis=1) - self._suspicion_alone(without).sum(axis=1)
            found[each, cell] = 0.5 * (found[each, cell] + np.maximum(fall, 0.0))
        points = rows.residual / self.residual_unit.astype(np.float64)
        similar = self.similar(spec.joint)
        compared = similar.compare(targets, points, rows.observed, expected=False)
        suspicion: Array = found * compared.weights**0.125
        return suspicion

    def _suspicion_alone(self, rows: PredictedRows) -> Array:
        """Return how suspicious cells are without regard to others: (n, n_explained), in nats."""
        surprise = np.where(rows.observed, rows.surprise, 0.0)
        return np.sqrt(self.costs(rows) * surprise)

    def _statistics(self, rows: PredictedRows, costs: Array, n_left_out: int = 1) -> Array:
        """Return the statistics of rows, (n, N_STATISTICS), all but the last per observed cell."""
        places = self.locate(rows.code, rows.residual)
        residual, code = np.split(places, [len(self.residual_unit)], axis=1)
        sums = (
            self.exemplars.score(residual, n_left_out),
            costs.sum(axis=1),
            np.where(rows.observed, rows.surprise, 0.0).sum(axis=1),
        )
        n_observed = np.maximum(rows.observed.sum(axis=1), 1)
        away = np.full(len(places), MIN_CODE_DISTANCE)
        if self.codes is not None:
            away = np.maximum(self.codes.score(code, n_left_out), MIN_CODE_DISTANCE)
        return np.column_stack([*(one / n_observed for one in sums), away])

    @cached_property
    def tails(self) -> list[Tails]:
        """Tails of the surprises of cells, and of the statistics of rows at each share."""
        n_cells = len(self.tail_values) - N_STATISTICS * len(HIDDEN_SHARES)
        starts = n_cells + N_STATISTICS * np.arange(len(HIDDEN_SHARES))
        arrays = (array.astype(np.float64) for array in (self.tail_values, self.tail_nats))
        parts = (np.split(array, starts) for array in arrays)
        return [Tails(*part) for part in zip(*parts, strict=True)]

    @cached_property
    def exemplars(self) -> Exemplars:
        """Training rows that scores compare with, without their codes where these are apart."""
        k = self.points.shape[1] if self.codes is None else len(self.residual_unit)
        points = np.ascontiguousarray(self.points[: len(self.bandwidth), :k])
        return Exemplars(points, self.bandwidth, self.n_skipped_neighbors)

    @cached_property
    def normal_scores(self) -> tuple[NormalScores, Array]:
        """Normal scores of targets, and those of the exemplars' targets: (m, n_targets)."""
        scores = NormalScores.fit(self.targets)
        return scores, scores.apply(self.targets)

    @cached_property
    def codes(self) -> Exemplars | None:
        """Codes of training rows, where scores compare them apart from residuals."""
        compared = len(self.code_bandwidth)
        if not compared:
            return None
        codes = np.ascontiguousarray(self.points[:compared, len(self.residual_unit) :])
        return Exemplars(codes, self.code_bandwidth, self.n_skipped_neighbors)

    def locate(self, mean: AnyArray, residual: AnyArray) -> Weights:
        """Return coordinates of codes (n, members, latent) and residuals (n, columns): (n, d)."""
        used, (n, k) = self.code_unit > 0, residual.shape
        # In the memory order that a file restores: rounding of sums depends on it.
        points = np.empty((n, k + np.count_nonzero(used)), dtype=np.float32)
        for part, values, unit in (
            (points[:, :k], residual, self.residual_unit),
            (points[:, k:], mean[:, used], self.code_unit[used]),
        ):
            np.divide(values, unit, out=part, dtype=np.float64)
        return points

    def similar(self, joint: JointLikelihood) -> SimilarRows:
        """Return the exemplars, to compare rows with."""
        points = self.points[:, : joint.n_targets]
        scores, scored = self.normal_scores
        skipped = self.n_skipped_neighbors
        return SimilarRows(self.targets, points, joint, scores, scored, skipped)

    def latent_distance(self, mean: Array) -> Array:
        """Return half the squared Mahalanobis distance of codes, a mean over members: (n,)."""
        away = mean - self.code_center
        squares = np.einsum("nml,mlk,nmk->n", away, self.code_precision, away)
        return 0.5 * squares / mean.shape[1]


def _bandwidths(points: Weights, n_learned: int, k: int) -> list[Weights]:
    """Return bandwidths of exemplars in their first k coordinates, and in the others, if any.

    The first `n_learned` are training rows, the others calibration rows.
    """
    parts = [points[:, :k], points[:, k:]] if k < points.shape[1] else [points]
    return [Exemplars.fit(one[:n_learned], one[n_learned:]).bandwidth for one in parts]

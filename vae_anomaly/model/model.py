"""The fitted model: one frozen value of plain arrays and settings."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import ClassVar, NamedTuple, cast
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._text import distinct, listed
from vae_anomaly._threads import parallel_map
from vae_anomaly._types import AnyArray, Json, JsonObject
from vae_anomaly.data.arrays import as_records
from vae_anomaly.data.base import Defaults, Encoder, Records
from vae_anomaly.data.cells import STRAY
from vae_anomaly.data.registry import modality
from vae_anomaly.detectors import RECORDS, DetectorType
from vae_anomaly.exceptions import DataError, DivergenceError, ParameterError
from vae_anomaly.inference.network import Network
from vae_anomaly.model.calibration import Calibration
from vae_anomaly.model.local_maps import LocalReference
from vae_anomaly.model.reference import Reference
from vae_anomaly.model.seen import SeenRecords
from vae_anomaly.model.terms import compute_terms
from vae_anomaly.model.what_if import TrainingRecords, repairing_shares
from vae_anomaly.stats.floats import default_floats
from vae_anomaly.stats.scores import SCORES, Terms, without_rest
from vae_anomaly.training.history import History

__all__ = ["LATENT", "Evaluation", "Model", "Neighbors"]

Array = NDArray[np.float64]
Weights = NDArray[np.float32]

LATENT = "latent_code"
"""Name of the part of a score that belongs to no feature."""


DECODED_AT_ONCE = 64
"""Records that are compared with training records at a time."""

MIN_CHUNK_WIDTH = 16
"""Assumed width of narrow records, which bounds the rows of a chunk."""


class Evaluation(NamedTuple):
    """Scores of some records. What was not asked for has no columns."""

    scores: Array  # (n,), nats, higher is more anomalous
    contributions: Array  # (n, n_parts), sums are the scores
    expected: Array  # targets that are expected, (n, n_targets)
    also: Mapping[str, Array]  # further scores by name, (n,) each


class Neighbors(NamedTuple):
    """The most similar training records of some records."""

    exemplar: NDArray[np.intp]  # which one of those that the model keeps, (n, k)
    distance: Array  # see `SimilarRows.nearest`, (n, k), ascending


@dataclass(frozen=True, eq=False)
class Model:
    """What `VAEDetector.fit` makes. Recalibration and other engines give new values.

    Attributes
    ----------
    encoder : Encoder
        Records to network inputs and back.
    network : Network
    parameters : mapping of str to object
        Parameters of the detector when it was fitted.
    score_type : str
        Name in `stats.scores.SCORES`.
    beta : float
        Weight of the KL divergence.
    noise : ndarray of shape (n_draws, latent_dim)
        Latent draws that scores use.
    prior : ndarray of shape (n_members, m, 2 * latent_dim) or None
        Means and log-variances of the components of an aggregated prior.
    reference : Reference
        Training rows in the coordinates of the networks.
    calibration : Calibration
    latent_kl : ndarray of shape (n_members, latent_dim)
        Mean KL divergence of each latent dimension over training rows, in nats.
    history : History
        Losses during training.
    seen : SeenRecords
        Digests of the records that it was fitted and calibrated with.
    """

    detector_type: ClassVar[DetectorType] = RECORDS

    encoder: Encoder
    network: Network
    parameters: Mapping[str, Json]
    score_type: str
    beta: float
    noise: Weights
    prior: Weights | None
    reference: Reference
    calibration: Calibration
    latent_kl: Array
    history: History
    seen: SeenRecords = field(default_factory=SeenRecords)

    @property
    def unit(self) -> str:
        """Name of one record in messages."""
        return modality(self.encoder.modality).unit

    @property
    def has_own_score(self) -> bool:
        """Whether scores are of the type that the calibration is for."""
        return self.score_type == resolved_score(
            self.parameters["score_type"], modality(self.encoder.modality).defaults
        )

    @property
    def has_rest(self) -> bool:
        """Whether a part of each score belongs to no feature: where features form a grid."""
        return self.encoder.shape is not None

    @property
    def part_names(self) -> list[str]:
        """Names of what scores are divided among: the features, and the rest if there is one."""
        names = self.encoder.features
        return [*distinct(names, LATENT), LATENT] if self.has_rest else list(names)

    def with_engine(self, name: str) -> Model:
        """Return the model on another engine, one of `names.ENGINES`."""
        return replace(self, network=self.network.with_engine(name))

    # ------------------------------------------------------------------------------- scoring

    @default_floats()
    def evaluate(
        self,
        records: Records,
        *,
        contributions: bool = False,
        expected: bool = False,
        also: Sequence[str] = (),
        n_left_out: int = 1,
    ) -> Evaluation:
        """Score records, in chunks on all cores; each chunk is one pass.

        Parameters
        ----------
        records : array-like of length n
            As `Encoder.encode` takes them.
        contributions : bool, default=False
            Whether to split scores by feature; see `part_names`.
        expected : bool, default=False
            Whether to return what is expected of each feature; see `expected`.
        also : sequence of str
            Names of further scores.
        n_left_out : int, default=1
            Exemplars at the very position of a record to leave out; see `Exemplars.score`.

        Returns
        -------
        Evaluation

        Raises
        ------
        DivergenceError
            If a score is not a finite number.
        """
        n, width = len(records), len(self.encoder.features)
        own, further = SCORES[self.score_type], {name: SCORES[name] for name in also}
        needs = own.terms.union(*(score.terms for score in further.values()))
        if contributions:
            needs |= own.further_terms if self.has_rest else own.further_terms | {"shares"}
        needs |= {"expected"} if expected else set()
        scores, others = np.empty(n), {name: np.empty(n) for name in further}
        parts = np.empty((n, len(self.part_names) if contributions else 0))
        targets = np.empty((n, self.network.spec.joint.n_targets if expected else 0))

        def work(chunk: slice) -> None:
            encoded = self.encoder.encode(records[chunk])
            terms = compute_terms(self, encoded, needs, n_left_out)
            scores[chunk] = own.total(terms)
            if contributions:
                found = own.contributions(terms)
                if not self.has_rest:
                    found = self._divided(records[chunk], scores[chunk], terms, found, n_left_out)
                parts[chunk] = found
            if expected:
                targets[chunk] = terms.expected
            for name, score in further.items():
                others[name][chunk] = score.total(terms)

        widest = max(width, self.network.spec.n_inputs, MIN_CHUNK_WIDTH)
        chunks, engine = self.network.chunks(n, widest), self.network.engine
        with engine.setting:
            threads = engine.threads if len(chunks) > 1 else 1
            deque(parallel_map(work, chunks, threads), maxlen=0)
        self._require_finite([scores, *others.values(), parts])
        return Evaluation(scores, parts, targets, others)

    def _divided(
        self, records: Records, scores: Array, terms: Terms, parts: Array, n_left_out: int
    ) -> Array:
        """Return contributions of features alone, (n, n_features), from `parts` with a rest.

        High scores by what would happen without features; penalties are then divided as the rest.
        """
        found, amount = without_rest(parts, terms.shares), terms.penalty.sum(axis=1) + parts[:, -1]
        rows = np.flatnonzero((scores > self.calibration.high) & (amount > 0))
        if not (self.has_own_score and len(terms.similar) and len(rows)):
            return found
        amount, errors = amount[rows, None], parts[rows, :-1] - terms.penalty[rows]
        differences = without_rest(parts[rows], terms.differences[rows])
        own = SCORES[self.score_type]

        def score(changed: Array) -> Array:
            return own.total(
                compute_terms(self, self.encoder.encode(changed), own.terms, n_left_out)
            )

        high = np.asarray(records, dtype=np.float64)[rows]
        shares = repairing_shares(
            (found[rows] - errors) / amount,
            (differences - errors) / amount,
            high,
            scores[rows],
            self._training.donors(high, terms.similar[rows]),
            score,
            self.calibration,
        )
        found[rows] = errors + amount * shares
        return found

    def _require_finite(self, arrays: Sequence[Array]) -> None:
        """Raise if a number is not finite: compared with a threshold, NaN would be normal."""
        for values in arrays:
            if not np.isfinite(values).all():
                faulty = ~np.isfinite(values.reshape(len(values), -1)).all(axis=1)
                raise DivergenceError(
                    f"The networks overflow: the scores of {np.count_nonzero(faulty):,} of "
                    f"{len(values):,} {self.unit}s are not finite numbers, first that of "
                    f"{self.unit} {faulty.argmax() + 1:,} of these. Fit again, with a lower "
                    f"learning_rate if the weights are large."
                )

    def records(self, X: Records) -> Records:
        """Return array-like data of a user as records, columns of a frame checked by name.

        Raises
        ------
        DataError
            If the columns of a frame are not those of training, in their order, or the shape
            is another one.
        """
        given, names = as_records(X), self.encoder.names
        columns = tuple(map(str, getattr(given, "columns", names or ())))
        if names is not None and columns != names:
            expected, got = listed(names), listed(columns)
            if normalize("NFKC", expected) == normalize("NFKC", got):  # they look the same
                expected, got = ascii(names), ascii(columns)
            raise DataError(
                f"Expected the columns of training, {expected}, in this order, got {got}. Select "
                f"them by name."
            )
        return np.asarray(self.encoder.matrix(given), dtype=np.float64)

    def anomaly_scores(self, records: Records) -> Array:
        """Score records: (n,), in nats."""
        return self.evaluate(records).scores

    def contributions(self, records: Records) -> Array:
        """Split scores by feature: (n, n_parts)."""
        return self.evaluate(records, contributions=True).contributions

    def contribution_maps(self, records: Records) -> tuple[Array, Array]:
        """Split scores on a grid: by place, channels summed, (n, h, w), and the rest, (n,)."""
        parts, grid = self.contributions(records), self.encoder.shape
        if grid is None:
            raise ParameterError("Features do not form a grid: there are no maps. Use explain.")
        return parts[:, :-1].reshape(-1, *grid).sum(axis=-1), parts[:, -1]

    @default_floats()
    def anomaly_maps(self, records: Records) -> Array:
        """Compare records on a grid with training, place by place: (n, h, w), in nats.

        See `local_maps.LocalReference`. A map belongs to no score: where the reconstruction is
        bad need not be where the anomaly is.
        """
        if self.encoder.shape is None:
            raise ParameterError("Features do not form a grid: there are no maps. Use explain.")
        return self._local_reference.maps(self._on_grid(self.encoder.encode(records).targets))

    @cached_property
    def training_records(self) -> Array:
        """The training records that the model keeps, as the encoder decodes them."""
        records = self.encoder.decode(self.reference.targets.astype(np.float64))
        if len(places := self.encoder.undetermined):
            values = self.reference.undetermined
            records[:, places] = np.where(values == STRAY, np.nan, values)
        return records

    @cached_property
    def _training(self) -> TrainingRecords:
        """The same in standard deviations as well."""
        return TrainingRecords.of(self.training_records)

    @cached_property
    def _local_reference(self) -> LocalReference:
        """Training records on the grid, for maps of any number of batches."""
        reference = self.reference
        return LocalReference.of(self._on_grid(reference.targets), reference.n_skipped_neighbors)

    def __getstate__(self) -> JsonObject:
        """Leave out of pickles what can be computed again."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    def _on_grid(self, targets: AnyArray) -> Array:
        """Return targets on the grid of features, 0 where there are none: (n, h, w, c)."""
        found = np.zeros((len(targets), self.encoder.outline.n_features))
        found[:, self.encoder.explained] = targets
        return found.reshape(-1, *cast("tuple[int, int, int]", self.encoder.shape))

    @default_floats()
    def mean_elbo(self, records: Records) -> float:
        """Average the ELBO over records, in nats."""
        return -float(replace(self, score_type="elbo").anomaly_scores(records).mean())

    # ------------------------------------------------------------------------ codes and back

    @default_floats()
    def codes(self, records: Records) -> Array:
        """Encode records: means of q(z|x), (n, members, latent)."""
        return self.network.encode(self.encoder.encode(records).inputs)[0]

    @default_floats()
    def reconstruct(self, records: Records, like: Records = None) -> Records:
        """Reconstruct records from the means of q(z|x), in the units of the training data.

        With `like` in its units and form.
        """
        return self.encoder.rows(self.rebuilt(records), like)

    @default_floats()
    def rebuilt(self, records: Records) -> Array:
        """Reconstruct records as the encoder takes them."""
        rebuilt = self._decoded(self.network.decode(self.codes(records)))
        if len(places := self.encoder.undetermined):
            own, found = np.asarray(records, dtype=np.float64)[:, places], rebuilt[:, places]
            rebuilt[:, places] = self.encoder.moved(found, own, np.full(own.shape, True))
        return rebuilt

    @default_floats()
    def expected(self, records: Records) -> Records:
        """Return what is expected of each feature, in the form of the training data.

        Given the rest of the record: the mean of training records that are similar without this
        feature, or with networks that have masks what these predict. Of grids the reconstruction.
        """
        if self.has_rest:
            return self.reconstruct(records)
        return self._rows(self.evaluate(records, expected=True).expected)

    @default_floats()
    def neighbors(self, records: Records, count: int) -> Neighbors:
        """Find the most similar of the training records that the model keeps, at most `count`."""
        encoded, reference = self.encoder.encode(records), self.reference
        observed = encoded.observed
        if observed is not None:
            observed = observed[:, self.encoder.explained]
        similar = reference.similar(self.network.spec.joint)
        count = min(count, similar.max_count)
        return Neighbors(*similar.nearest(encoded.targets, observed, count))

    def _rows(self, targets: Array) -> Records:
        """Return the records that targets stand for, in the form of the training data."""
        return self.encoder.rows(self._decoded(targets))

    def _decoded(self, targets: Array) -> Array:
        """Return the records that targets, (n, n_targets), stand for.

        Undetermined features are those of the training record whose targets of these features
        are nearest.
        """
        records, undetermined = self.encoder.decode(targets), self.encoder.undetermined
        if not len(undetermined):
            return records
        feature = self.encoder.explained[self.network.spec.joint.feature_of_target]
        places = np.flatnonzero(np.isin(feature, undetermined))
        values = self.training_records[:, undetermined]
        whole = np.flatnonzero(~np.isnan(values).any(axis=1))
        known = self.reference.targets[:, places][whole]
        for start in range(0, len(records) if len(whole) else 0, DECODED_AT_ONCE):
            part = slice(start, start + DECODED_AT_ONCE)
            squares = ((targets[part, None, places] - known) ** 2).sum(axis=2)
            records[part, undetermined] = values[whole[squares.argmin(axis=1)]]
        return records

    @default_floats()
    def decode(self, z: Array, member: int | None = None) -> Records:
        """Decode latent codes (n, latent) by all members, or by one."""
        network = self.network if member is None else self.network.member(member)
        codes = np.repeat(z[:, None], network.spec.members, axis=1)
        return self._rows(network.decode(codes))

    @default_floats()
    def interpolate(self, ends: Records, steps: int) -> Records:
        """Decode codes on the straight line between those of two records."""
        first, last = self.codes(ends)  # (members, latent) both
        along = np.linspace(0.0, 1.0, steps)[:, None, None]
        return self._rows(self.network.decode(first + along * (last - first)))

    @default_floats()
    def sample(self, n: int, rng: np.random.RandomState, *, missing: bool = False) -> Records:
        """Draw records: z from the prior, x from p(x|z).

        With `missing` features are missing as often as in training.
        """
        records = self._decoded(self.network.sample(n, rng, self.prior))
        if missing:
            records[rng.uniform(size=records.shape) < self.encoder.missing_shares] = np.nan
        return self.encoder.rows(records)


def resolved_score(score_type: str, defaults: Defaults) -> str:
    """Return the name of a score, where "auto" is the default of the modality."""
    return defaults.score_type if score_type == "auto" else score_type

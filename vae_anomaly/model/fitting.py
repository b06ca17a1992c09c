"""Fitting of a model: encoder, networks, reference and calibration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._types import Architecture, Json, JsonObject
from vae_anomaly.data.base import DataParameters, Encoded, Encoder, Modality, Schema
from vae_anomaly.data.cells import STRAY
from vae_anomaly.exceptions import DataError, DivergenceError
from vae_anomaly.inference.network import Network
from vae_anomaly.model.calibration import Calibration
from vae_anomaly.model.cells import cell_units
from vae_anomaly.model.model import Model, resolved_score
from vae_anomaly.model.parameters import (
    NetworkParameters,
    has_aggregated_prior,
    network_spec,
    scoring_noise,
)
from vae_anomaly.model.reference import EncodedRows, Reference
from vae_anomaly.model.seen import SeenRecords
from vae_anomaly.model.terms import elbo_contributions
from vae_anomaly.networks.custom import CustomNetworks
from vae_anomaly.networks.spec import MAX_WEIGHT, NetworkSpec
from vae_anomaly.stats.densities import gaussian_kl, numpy_ops
from vae_anomaly.stats.exemplars import max_exemplars
from vae_anomaly.stats.priors import MAX_COMPONENTS, as_components, subsample
from vae_anomaly.stats.thresholds import choose_calibration_rows
from vae_anomaly.training.batches import InMemoryData
from vae_anomaly.training.checkpoint import HOOKS, Checkpointer
from vae_anomaly.training.history import History

__all__ = ["FitParameters", "TrainingRecords", "drawn_to_calibrate", "fit_model", "settings_of"]

Array = NDArray[np.float64]
Weights = NDArray[np.float32]

MIN_TRIMMED_ROWS = 10
"""Training rows below which all are exemplars, whatever `contamination` is."""

N_SKIPPED_NEIGHBORS = 2
"""Nearest training rows that give no support where some of them are known to be anomalies."""

MAX_LATENT_ROWS = 10_000
"""Size of the subsample of training rows that summarises the latent dimensions."""


class FitParameters(NetworkParameters, DataParameters, Protocol):
    """Parameters of a detector that `fit_model` uses."""

    architecture: Architecture
    likelihood: str
    score_type: str
    n_draws: int
    optimizer: str
    learning_rate: float
    batch_size: int
    max_steps: int
    patience: int
    false_alarm_rate: float
    contamination: float | None
    threshold: float | None
    callback: Callable[[History], object] | None

    def get_params(self, deep: bool = True) -> JsonObject:
        """Return all parameters by name."""


class TrainingRecords(NamedTuple):
    """Records to fit a model to."""

    matrix: Array  # validated, (n, n_columns)
    schema: Schema
    names: Sequence[str] | None  # of the columns


def fit_model(
    modality: Modality,
    records: TrainingRecords,
    parameters: FitParameters,
    rng: np.random.RandomState,
    checkpointer: Checkpointer | None = None,
) -> Model:
    """Fit a model.

    Raises
    ------
    ParameterError
        If parameters do not fit the data.
    DataError
        If no column varies, or there is but one row to learn from.
    DivergenceError, CheckpointError, OutputError
        As `training.loop.train`.
    """
    matrix = records.matrix
    calibrates = drawn_to_calibrate(len(matrix), parameters, rng)
    # Copies take memory: of all records there are none.
    learned = matrix[~calibrates] if calibrates.any() else matrix
    calibration = matrix[calibrates]
    if len(learned) < 2:
        raise DataError(
            f"Expected at least 2 rows to learn from, got {len(learned)}; {len(calibration)} "
            f"of {len(matrix)} calibrates. Bring more rows."
        )
    encoder = modality.fit(learned, records.schema, records.names, parameters)
    spec = _spec(encoder, parameters, modality.defaults.latent_dim, len(learned))
    versions = modality.augmented(encoder, learned, parameters)
    hidden = spec.feature_of_input if spec.has_masks else None
    data = InMemoryData.of(versions, spec.joint, encoder.explained, hidden)
    network, history = _train(spec, data, parameters, rng, checkpointer)
    noise = scoring_noise(spec, parameters.n_draws, rng)
    del data  # the memory is needed for what follows

    # Where there is room, calibration rows are exemplars as well, each for all others.
    room = max_exemplars(spec.joint.n_targets + spec.members * spec.latent)
    supports = len(calibration) > 0 and len(matrix) <= room
    position = subsample(np.flatnonzero(~calibrates), MAX_LATENT_ROWS, rng)
    encoded = encoder.encode(matrix[position])
    further = (
        EncodedRows.of(network, encoder.encode(calibration), encoder.explained)
        if supports
        else None
    )
    parts = _Parts(encoder, network, noise, parameters.beta)
    rows, prior, reference = _prior_and_reference(parts, encoded, further, parameters, rng)
    position = np.append(position, np.flatnonzero(calibrates))
    position = position[reference.position.astype(int)]
    reference = replace(
        reference,
        position=position.astype(float),
        undetermined=_undetermined(encoder, matrix, position),
    )
    model = Model(
        encoder=encoder,
        network=network,
        parameters=settings_of(parameters),
        score_type=resolved_score(parameters.score_type, modality.defaults),
        beta=parameters.beta,
        noise=noise,
        prior=prior,
        reference=reference,
        calibration=Calibration.fixed(np.inf),
        latent_kl=gaussian_kl(numpy_ops, rows.mean, rows.log_variance).mean(axis=0),
        history=history,
    )
    compared = reference.position[: len(reference.bandwidth)]
    among = np.isin(np.flatnonzero(calibrates), compared)
    calibrated = _calibrate(model, learned, calibration, parameters, among)
    seen = SeenRecords.of(encoder, learned, calibration)
    return replace(model, calibration=calibrated, seen=seen)


def _undetermined(encoder: Encoder, matrix: Array, position: NDArray[np.intp]) -> Array:
    """Return the values of some records that targets do not tell, in the form of a file."""
    if not len(encoder.undetermined):
        return np.empty((len(position), 0))
    values = matrix[np.ix_(position, encoder.undetermined)]
    return np.where(np.isnan(values), STRAY, values)


def drawn_to_calibrate(
    n: int, parameters: FitParameters, rng: np.random.RandomState
) -> NDArray[np.bool_]:
    """Draw which of n records calibrate: none where they do not decide the threshold."""
    if parameters.contamination is None and parameters.threshold is None:
        return choose_calibration_rows(n, parameters.false_alarm_rate, rng)
    return np.zeros(n, dtype=bool)


def settings_of(parameters: FitParameters) -> Mapping[str, Json]:
    """Return the parameters without the hooks, which hold no state of the fit.

    Lists and dictionaries are copied: those of the user may change.
    """
    given = parameters.get_params(deep=False)
    return {
        name: copy(value) if isinstance(value, list | dict) else value
        for name, value in given.items()
        if name not in HOOKS
    }


def _spec(
    encoder: Encoder, parameters: FitParameters, default_latent: int, n_rows: int
) -> NetworkSpec:
    """Describe the networks for an encoder."""
    outline = encoder.outline
    if not outline.n_inputs:
        raise DataError(
            f"All {outline.n_features} columns are constant in the {n_rows} training rows: "
            f"there is nothing to learn. Expected at least one column that varies."
        )
    custom = None
    if not isinstance(parameters.architecture, str):
        varies = np.isin(np.arange(outline.n_features), encoder.explained)
        custom = CustomNetworks.of(parameters.architecture, varies, outline.grid)
    return network_spec(parameters, outline, default_latent, custom)


def _train(
    spec: NetworkSpec,
    data: InMemoryData,
    parameters: FitParameters,
    rng: np.random.RandomState,
    checkpointer: Checkpointer | None,
) -> tuple[Network, History]:
    from vae_anomaly.training.loop import TrainingConfig, train

    config = TrainingConfig.of(parameters)
    weights, history = train(spec, data, config, rng, parameters.callback, checkpointer)
    if not (np.abs(weights) <= MAX_WEIGHT).all():
        raise DivergenceError(
            f"Training diverged: a weight is beyond {MAX_WEIGHT:g}. Lower learning_rate (it is "
            f"{parameters.learning_rate:g}), or look for extreme values in the training rows."
        )
    return Network(spec, weights), history


@dataclass(frozen=True, eq=False)
class _Parts:
    """Parts of a model before its reference is known; see `terms.ScoringParts`."""

    encoder: Encoder
    network: Network
    noise: Weights
    beta: float
    prior: Weights | None = None
    reference: Reference = field(default_factory=Reference.empty)


def _prior_and_reference(
    parts: _Parts,
    encoded: Encoded,
    calibration: EncodedRows | None,
    parameters: FitParameters,
    rng: np.random.RandomState,
) -> tuple[EncodedRows, Weights | None, Reference]:
    """Summarise encoded training rows; calibration rows become exemplars only."""
    all_rows = EncodedRows.of(parts.network, encoded, parts.encoder.explained)
    contamination, clean = parameters.contamination, np.ones(len(encoded.inputs), dtype=bool)
    if contamination is not None and len(clean) >= MIN_TRIMMED_ROWS:
        # Anomalous rows would support others like them; the networks average them away.
        anomaly = elbo_contributions(parts, encoded).sum(axis=1)
        clean = anomaly <= np.quantile(anomaly, 1 - contamination)
    rows = all_rows.only(clean)
    if has_aggregated_prior(parameters):
        codes = np.stack([rows.mean, rows.log_variance], axis=1)
        prior = as_components(*subsample(codes, MAX_COMPONENTS, rng).swapaxes(0, 1))
        parts = replace(parts, prior=prior)
    unit = parts.network.residual_scale(all_rows.expected, rows.residual)
    kept = encoded.only(clean)
    joint, masked = parts.network.spec.joint, parts.network.spec.has_masks
    if masked and kept.observed is not None:
        seen = kept.observed[:, parts.encoder.explained]
        unit = cell_units(joint, rows.residual, seen)
    reference = Reference.fit(
        rows,
        calibration,
        unit,
        elbo_contributions(parts, kept).mean(axis=0),
        parameters.beta,
        rng,
        n_skipped_neighbors=0 if contamination is None else N_SKIPPED_NEIGHBORS,
        codes_apart=masked,
    )
    if masked and kept.observed is not None:
        reference = reference.with_tails(parts.network, kept, seen)
    further = 0 if calibration is None else len(calibration.mean)
    position = np.append(np.flatnonzero(clean), len(clean) + np.arange(further))
    position = position[reference.position.astype(int)]
    reference = replace(reference, position=position.astype(np.float64))
    return all_rows, parts.prior, reference


def _calibrate(
    model: Model,
    learned: Array,
    calibration: Array,
    parameters: FitParameters,
    among: NDArray[np.bool_],
) -> Calibration:
    """Choose the threshold as the parameters say.

    `among` says which calibration rows are exemplars that scores compare with.
    """
    if parameters.threshold is not None:
        return Calibration.fixed(float(parameters.threshold))
    if parameters.contamination is not None:
        scores = model.anomaly_scores(learned)
        return Calibration.from_training(scores, parameters.contamination)
    # A row that is an exemplar leaves itself out, and then one as a fresh row would.
    scores = np.empty(len(calibration))
    for some, n_left_out in ((among, 2), (~among, 1)):
        if some.any():
            scores[some] = model.evaluate(calibration[some], n_left_out=n_left_out).scores
    return Calibration.from_normal(scores, parameters.false_alarm_rate, stacklevel=6)

"""Fitting of a model of patches: features, networks, exemplars and calibration."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._threads import parallel_map
from vae_anomaly._types import AnyArray, KerasModel
from vae_anomaly.data.image.features import Features, open_features
from vae_anomaly.data.image.patches import PatchEncoder, PatchSchema
from vae_anomaly.data.registry import DEFAULT, modality
from vae_anomaly.data.table.schema import TableSchema
from vae_anomaly.exceptions import DataError, ParameterError
from vae_anomaly.model.calibration import Calibration
from vae_anomaly.model.fitting import (
    FitParameters,
    TrainingRecords,
    drawn_to_calibrate,
    fit_model,
    settings_of,
)
from vae_anomaly.model.model import Model, resolved_score
from vae_anomaly.model.patch_reference import PlacedPatches, fit_reference
from vae_anomaly.model.patches import PatchModel, coordinates_of
from vae_anomaly.model.seen import SeenRecords
from vae_anomaly.names import GRADIENTS
from vae_anomaly.stats.priors import subsample
from vae_anomaly.training.checkpoint import Checkpointer

__all__ = ["PatchParameters", "fit_patches"]

Array = NDArray[np.float64]
Weights = NDArray[np.float32]
Flags = NDArray[np.bool_]

MAX_PATCHES = 32_768
"""Patches that are drawn from all images together, and of which exemplars are chosen."""

MAX_ROWS = 8192
"""Patches of these that the networks learn."""

MAX_IMAGES = 2048
"""Images that patches are drawn from; of more, a random sample."""

MAX_SPREAD_IMAGES = 32
"""Images that the deviation of scores is measured on."""

MIN_DEVIATION = 1e-9
"""Least deviation, in nats."""


class PatchParameters(FitParameters):
    """Parameters of a detector that `fit_patches` uses."""

    features: str | KerasModel | None


class Sample(NamedTuple):
    """Patches drawn from images."""

    features: Weights  # (n, depth)
    image: NDArray[np.intp]  # position of the image of each, (n,)
    place: Weights  # row and column in the grid, (n, 2)


def fit_patches(
    records: TrainingRecords,
    parameters: PatchParameters,
    rng: np.random.RandomState,
    checkpointer: Checkpointer | None = None,
) -> PatchModel:
    """Fit a model of the patches of images.

    Parameters
    ----------
    records : TrainingRecords
        Of a `PatchSchema`.
    parameters : PatchParameters
    rng : RandomState
    checkpointer : Checkpointer, optional

    Raises
    ------
    ParameterError
        If parameters do not go with features.
    DataError
        If there is but one image to learn from, or the network makes no features.
    DivergenceError, CheckpointError, OutputError
        As `training.loop.train`.
    """
    _check(parameters)
    images = records.matrix
    calibrates = drawn_to_calibrate(len(images), parameters, rng)
    if (~calibrates).sum() < 2:
        raise DataError(
            f"Expected at least 2 images to learn from, got {(~calibrates).sum()}; "
            f"{calibrates.sum()} of {len(images)} calibrate. Bring more images."
        )
    network, calibrating = open_features(parameters.features), np.flatnonzero(calibrates)
    model = _fit_one(records, calibrates, network, parameters, rng, checkpointer)
    calibration = _calibrated(model, images, calibrating, parameters)
    if network.source != GRADIENTS and model.score_type == "exemplar":
        of_gradients = copy(parameters)
        of_gradients.callback, of_gradients.features = None, GRADIENTS
        gradients = _fit_one(records, calibrates, open_features(GRADIENTS), of_gradients, rng)
        normal = calibrating if len(calibrating) else np.arange(len(images))
        some = subsample(normal, MAX_SPREAD_IMAGES, rng)
        gradients = replace(gradients, deviation=_deviation(gradients, images, some))
        model = replace(model, deviation=_deviation(model, images, some))
        model = replace(model, gradients=_without_positions(gradients))
    seen = SeenRecords.of(model.encoder, images[~calibrates], images[calibrates])
    return replace(_without_positions(model), calibration=calibration, seen=seen)


def _fit_one(
    records: TrainingRecords,
    calibrates: Flags,
    network: Features,
    parameters: PatchParameters,
    rng: np.random.RandomState,
    checkpointer: Checkpointer | None = None,
) -> PatchModel:
    """Fit a model to the features of one network, without its calibration."""
    images = records.matrix
    encoder = PatchEncoder.fit(cast("PatchSchema", records.schema), network, images[0])
    sample = drawn_patches(encoder, images, rng)
    is_learned = ~calibrates[sample.image]
    patch = _fit_rows(sample.features, is_learned, parameters, rng, checkpointer)
    placed = PlacedPatches(coordinates_of(patch, sample.features), sample.place, sample.image)
    del sample  # features take as much memory as coordinates
    return PatchModel(
        encoder=encoder,
        network=patch.network,
        parameters=settings_of(parameters),
        score_type=resolved_score(parameters.score_type, modality(encoder.modality).defaults),
        beta=parameters.beta,
        noise=patch.noise,
        prior=patch.prior,
        reference=patch.reference,
        calibration=Calibration.fixed(0.0),
        latent_kl=patch.latent_kl,
        history=patch.history,
        patch=patch,
        compared=fit_reference(placed, is_learned, rng, patch.reference.n_skipped_neighbors),
    )


def _without_positions(model: PatchModel) -> PatchModel:
    """Return the model without the images of its exemplars, which only the fit has to know."""
    return replace(model, compared=replace(model.compared, image=model.compared.image[:0]))


def _deviation(model: PatchModel, images: AnyArray, chosen: NDArray[np.intp]) -> float:
    """Return the standard deviation of the scores that maps show, of patches of some images."""
    scores = [
        _without_image(model, i).patch_scores(images[i : i + 1], model.map_scores).mean(axis=0)
        for i in chosen
    ]
    return max(MIN_DEVIATION, float(np.std(scores)))


def _without_image(model: PatchModel, image: int) -> PatchModel:
    """Return the model without the exemplars of an image, as it is for fresh images."""
    return replace(model, compared=model.compared.without_image(image))


def _check(parameters: PatchParameters) -> None:
    """Raise if parameters do not go with features."""
    if parameters.architecture not in ("auto", "dense"):
        raise ParameterError(
            f"With features the networks are dense, for they see one patch at a time. Leave "
            f"architecture at 'auto'. Got {parameters.architecture!r}."
        )
    for name in ("smoothing", "shift"):
        if getattr(parameters, name) is not None:
            raise ParameterError(f"{name} is for pixels, not for features. Leave it out.")


def drawn_patches(encoder: PatchEncoder, images: AnyArray, rng: np.random.RandomState) -> Sample:
    """Draw patches from all images, or from `MAX_IMAGES`: the same number from each."""
    image, n_patches = subsample(np.arange(len(images)), MAX_IMAGES, rng), len(encoder.features)
    count = min(n_patches, MAX_PATCHES // len(image))
    chosen = [np.sort(rng.choice(n_patches, count, replace=False)) for _ in image]

    def work(i: int) -> Weights:
        return encoder.patches(images[image[i]])[chosen[i]]

    threads = 1 if encoder.network is None else encoder.network.threads
    features = np.concatenate(list(parallel_map(work, range(len(image)), threads)))
    return Sample(features, np.repeat(image, count), encoder.places[np.concatenate(chosen)])


def _fit_rows(
    features: Weights,
    is_learned: Flags,
    parameters: PatchParameters,
    rng: np.random.RandomState,
    checkpointer: Checkpointer | None,
) -> Model:
    """Fit a model to the features of patches, as to the rows of a table."""
    of_rows = copy(parameters)
    of_rows.n_members = parameters.n_members or 1
    of_rows.column_types, of_rows.missing_values, of_rows.features = None, (), None
    if parameters.contamination is None:
        of_rows.threshold = 0.0  # images calibrate, not patches
    some = features[subsample(np.flatnonzero(is_learned), MAX_ROWS, rng)].astype(np.float64)
    rows = TrainingRecords(some, TableSchema(), None)
    patch = fit_model(modality(DEFAULT), rows, of_rows, rng, checkpointer)
    return replace(patch, reference=patch.reference.without_exemplars())


def _calibrated(
    model: PatchModel, images: AnyArray, calibrating: NDArray[np.intp], parameters: PatchParameters
) -> Calibration:
    """Choose the threshold as the parameters say."""
    if parameters.threshold is not None:
        return Calibration.fixed(float(parameters.threshold))
    if parameters.contamination is not None:
        return Calibration.from_training(model.anomaly_scores(images), parameters.contamination)
    # The patches of a calibration image are exemplars for the others, not for itself.
    scores = [_without_image(model, i).anomaly_scores(images[i : i + 1]) for i in calibrating]
    rate = parameters.false_alarm_rate
    return Calibration.from_normal(np.concatenate(scores), rate, stacklevel=6)

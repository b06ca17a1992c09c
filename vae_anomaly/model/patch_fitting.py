"""Fitting of a model of patches: features, networks, exemplars and calibration."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._threads import parallel_map
from vae_anomaly._types import AnyArray, KerasModel
from vae_anomaly.data.image.features import open_features
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
from vae_anomaly.model.patches import (
    PatchModel,
    PlacedPatches,
    coordinates_of,
    fit_reference,
)
from vae_anomaly.model.seen import SeenRecords
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


class PatchParameters(FitParameters):
    """Parameters of a detector that `fit_patches` uses."""

    features: str | KerasModel | None


class Sample(NamedTuple):
    """Patches drawn from images."""

    features: Weights  # (n, depth)
    image: NDArray[np.intp]  # position of the image of each, (n,)
    place: Weights  # row and column in the grid, (n, 2)

    def only(self, chosen: Flags) -> Sample:
        """Return some of the patches."""
        return Sample(self.features[chosen], self.image[chosen], self.place[chosen])


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
    images, schema = records.matrix, cast("PatchSchema", records.schema)
    calibrates = drawn_to_calibrate(len(images), parameters, rng)
    if (~calibrates).sum() < 2:
        raise DataError(
            f"Expected at least 2 images to learn from, got {(~calibrates).sum()}; "
            f"{calibrates.sum()} of {len(images)} calibrate. Bring more images."
        )
    encoder = PatchEncoder.fit(schema, open_features(parameters.features), images[0])
    sample = drawn_patches(encoder, images, rng)
    is_learned = ~calibrates[sample.image]
    learned = sample.only(is_learned)
    patch = _fit_rows(learned, parameters, rng, checkpointer)
    placed = PlacedPatches(coordinates_of(patch, sample.features), sample.place, sample.image)
    compared = fit_reference(placed, is_learned, rng, patch.reference.n_skipped_neighbors)
    model = PatchModel(
        encoder=encoder,
        network=patch.network,
        parameters=settings_of(parameters),
        score_type=resolved_score(parameters.score_type, modality(encoder.modality).defaults),
        beta=parameters.beta,
        noise=patch.noise,
        prior=patch.prior,
        reference=patch.reference,
        calibration=Calibration.fixed(np.inf),
        latent_kl=patch.latent_kl,
        history=patch.history,
        seen=SeenRecords.of(encoder, images[~calibrates], images[calibrates]),
        patch=patch,
        compared=compared,
    )
    calibration = _calibrated(model, images, np.flatnonzero(calibrates), parameters)
    # Only the fit has to know which image an exemplar is from.
    compared = replace(compared, image=compared.image[:0])
    return replace(model, calibration=calibration, compared=compared)


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
    learned: Sample,
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
    some = subsample(learned.features, MAX_ROWS, rng).astype(np.float64)
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
    scores = [
        replace(model, compared=model.compared.without_image(i)).anomaly_scores(images[i : i + 1])
        for i in calibrating
    ]
    rate = parameters.false_alarm_rate
    return Calibration.from_normal(np.concatenate(scores), rate, stacklevel=6)

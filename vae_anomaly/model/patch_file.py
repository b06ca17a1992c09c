"""Models of patches in files: their settings and arrays, around those of the networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import numpy as np

from vae_anomaly._types import AnyArray, Json, JsonObject, KerasModel
from vae_anomaly._version import __version__
from vae_anomaly.data.image.features import open_features
from vae_anomaly.data.image.patches import PatchEncoder
from vae_anomaly.data.registry import DEFAULT
from vae_anomaly.data.state import EncoderState
from vae_anomaly.exceptions import ParameterError
from vae_anomaly.model.calibration import Calibration
from vae_anomaly.model.file_schema import check_created_with, is_finite
from vae_anomaly.model.model import Model
from vae_anomaly.model.patch_reference import MAX_COMPONENTS, MAX_EXEMPLARS, PatchReference
from vae_anomaly.model.patches import PatchModel
from vae_anomaly.model.seen import MAX_DIGESTS, SeenRecords
from vae_anomaly.names import GRADIENTS, ONNX, is_features
from vae_anomaly.stats.exemplars import MAX_BANDWIDTH, MIN_SQUARED_BANDWIDTH
from vae_anomaly.storage.container import Layout, refuse

__all__ = ["PATCHES", "patch_contents", "patch_model"]

PATCHES = "patches"
"""Modality of these models in files."""

KEYS = {
    *("created_with", "encoder", "modality", "parameters", "patch", "threshold"),
    *("deviation", "gradients"),
    *("n_calibration", "n_seen", "n_seen_calibration"),
    *("n_components", "n_coordinates", "n_exemplars", "n_skipped_neighbors"),
}

COUNTS = {
    "n_calibration": (0, 2**31),
    "n_components": (1, MAX_COMPONENTS),
    "n_coordinates": (1, 2**20),
    "n_exemplars": (2, MAX_EXEMPLARS),
    "n_seen": (0, MAX_DIGESTS),
    "n_seen_calibration": (0, MAX_DIGESTS),
    "n_skipped_neighbors": (0, 16),
}
"""Bounds of the integers."""

MAX_NUMBER = 1e18
"""Bound of coordinates, so that float32 holds their squares."""

OWN_PARAMETERS = ("false_alarm_rate", "contamination", "threshold", "n_members")
"""Parameters of a detector that those of the networks differ in, and their types."""

Contents = tuple[JsonObject, dict[str, tuple[str, AnyArray]]]
Restore = Callable[[Json], Model]


def patch_contents(model: PatchModel, contents_of: Callable[[Model], Contents]) -> Contents:
    """Return the settings of a model, and its arrays with their types.

    `contents_of` does the same for the networks.
    """
    inner, arrays = contents_of(model.patch)
    of_gradients, further = (
        (None, {}) if model.gradients is None else patch_contents(model.gradients, contents_of)
    )
    given, compared = model.parameters, model.compared
    features = given["features"]
    own = {name: given[name] for name in OWN_PARAMETERS}
    config = {
        "created_with": {"vae_anomaly": __version__},
        "deviation": model.deviation,
        "encoder": model.encoder.to_state().settings,
        "gradients": of_gradients,
        "modality": PATCHES,
        "n_calibration": len(model.calibration.scores),
        "n_components": compared.projection.shape[1],
        "n_coordinates": len(compared.center),
        "n_exemplars": len(compared.points),
        "n_seen": len(model.seen.learned),
        "n_seen_calibration": len(model.seen.calibration),
        "n_skipped_neighbors": compared.n_skipped_neighbors,
        "parameters": own | {"features": features if isinstance(features, str) else None},
        "patch": inner,
        "threshold": model.calibration.threshold,
    }
    values: dict[str, AnyArray] = {
        "calibration_scores": model.calibration.scores,
        "center": compared.center,
        "projection": compared.projection,
        "place_unit": compared.place_unit,
        "points": compared.points,
        "bandwidth": compared.bandwidth,
        "seen.learned": model.seen.learned,
        "seen.calibration": model.seen.calibration,
    }
    named = {name: (dtype, values[name]) for name, (dtype, _) in _layout(config).items()}
    named |= {f"patch.{name}": one for name, one in arrays.items()}
    return config, named | {f"gradients.{name}": one for name, one in further.items()}


class _Part:
    """A model within a file, whose arrays come after others."""

    def __init__(self, file: Json, key: str, before: Layout) -> None:
        self.name: str = file.name
        self.config: Json = file.config[key]
        self._file, self._start, self._before = file, f"{key}.", before
        self.before: dict[str, AnyArray] = {}

    def arrays(self, layout: Layout) -> dict[str, AnyArray]:
        """Return the arrays of the part; the others must be as expected, too."""
        own = {f"{self._start}{name}": array for name, array in layout.items()}
        found = self._file.arrays(self._before | own)
        self.before = {
            name: found[name].astype(found[name].dtype.newbyteorder("=")) for name in self._before
        }
        return {name: found[f"{self._start}{name}"] for name in layout}


class _BeforeGradients:
    """A file up to its model of gradients, which is built when the arrays before are known."""

    def __init__(self, file: Json, restore: Restore) -> None:
        self.name: str = file.name
        self.config: Json = file.config
        self._file, self._restore = file, restore
        self.gradients: PatchModel | None = None

    def arrays(self, layout: Layout) -> dict[str, AnyArray]:
        """Return the arrays; those of the model of gradients must be as expected, too."""
        if self.config["gradients"] is None:
            return cast("dict[str, AnyArray]", self._file.arrays(layout))
        part = _Part(self._file, "gradients", layout)
        self.gradients = patch_model(part, self._restore)
        return part.before


def patch_model(
    file: Json,
    restore: Restore,
    features: str | KerasModel | None = None,
    *,
    described: bool = False,
) -> PatchModel:
    """Check a file and build its model; `restore` builds that of the networks.

    Parameters
    ----------
    file : Contents
    restore : callable
    features : str or keras.Model, optional
        The network of features; by default the ONNX file that the model names, at its path or
        beside the model.
    described : bool, default=False
        Whether the model may lack the network of features.

    Raises
    ------
    ParameterError
        If the network of features is missing, or another one than that of the fit.
    ModelFileError
        If the file is not a sound model.
    """
    name, config = file.name, file.config
    _check(name, config)
    try:
        PatchEncoder.outline_of(config["encoder"])
    except ValueError as error:
        raise refuse(name, str(error)) from None
    own_file = _BeforeGradients(file, restore)
    networks = _Part(own_file, "patch", _layout(config))
    if not isinstance(networks.config, dict) or networks.config.get("modality") != DEFAULT:
        raise refuse(name, "the settings of its networks are not those of a model")
    patch, arrays = restore(networks), networks.before
    _check_arrays(name, arrays)
    encoder = PatchEncoder.from_state(EncoderState(config["encoder"], {}))
    if patch.encoder.outline.n_features != encoder.depth:
        raise refuse(name, "its networks are not for features of its patches")
    named = {key: arrays[key] for key in ("center", "projection", "place_unit", "points")}
    compared = PatchReference(
        **named,
        bandwidth=arrays["bandwidth"],
        n_skipped_neighbors=config["n_skipped_neighbors"],
    )
    if len(compared.center) != patch.reference.points.shape[1]:
        raise refuse(name, "its coordinates are not those of its networks")
    gradients = own_file.gradients
    if gradients is not None:
        _check_gradients(name, encoder, gradients)
    own = config["parameters"]
    given = own["features"] if features is None else features
    if not described:
        encoder = _with_network(name, encoder, given)
    return PatchModel(
        encoder=encoder,
        network=patch.network,
        parameters={**patch.parameters, **own, "features": given},
        score_type=patch.score_type,
        beta=patch.beta,
        noise=patch.noise,
        prior=patch.prior,
        reference=patch.reference,
        calibration=_calibration(arrays["calibration_scores"], config["threshold"], own),
        latent_kl=patch.latent_kl,
        history=patch.history,
        seen=SeenRecords(arrays["seen.learned"], arrays["seen.calibration"]),
        patch=patch,
        compared=compared,
        deviation=config["deviation"],
        gradients=gradients,
    )


def _with_network(
    name: str, encoder: PatchEncoder, features: str | KerasModel | None
) -> PatchEncoder:
    """Return the encoder with its network, if that is the one of the fit."""
    if features is None:
        raise ParameterError(
            f"{name} was fitted with features of a Keras model, which a model file does not hold. "
            f"Use it in Python: load(path, features=model)."
        )
    try:
        network = open_features(features, beside=Path(name).parent)
    except FileNotFoundError as error:
        path = encoder.source.removeprefix(ONNX).partition("#")[0]
        raise ParameterError(
            f"{name} was fitted with the features of {path}, which is not there. Put the file "
            f"there or beside the model, or give it in Python: load(path, features=...)."
        ) from error
    return encoder.with_network(network)


def _calibration(scores: AnyArray, threshold: float, own: Mapping[str, Json]) -> Calibration:
    """Build the calibration; parameters say what the threshold comes from."""
    for method in ("threshold", "contamination"):
        if own[method] is not None:
            return Calibration(scores, threshold, method, own[method])
    return Calibration(scores, threshold, "false_alarm_rate", own["false_alarm_rate"])


def _layout(config: JsonObject) -> Layout:
    """Return the types and shapes of the arrays before those of the networks."""
    k, d, m = (config[key] for key in ("n_coordinates", "n_components", "n_exemplars"))
    return {
        "calibration_scores": ("F64", (config["n_calibration"],)),
        "center": ("F32", (k,)),
        "projection": ("F32", (k, d)),
        "place_unit": ("F32", (2,)),
        "points": ("F32", (m, d + 2)),
        "bandwidth": ("F32", (m,)),
        "seen.learned": ("U64", (config["n_seen"],)),
        "seen.calibration": ("U64", (config["n_seen_calibration"],)),
    }


def _check(name: str, config: Json) -> None:
    """Check the types and bounds of the settings, so that later steps may rely on them."""
    if not isinstance(config, dict) or set(config) != KEYS:
        raise refuse(name, "its settings are not those of a model of features")
    for key, (low, high) in COUNTS.items():
        if type(config[key]) is not int or not low <= config[key] <= high:
            raise refuse(name, f"{key} must be an int from {low} to {high:,}")
    if not is_finite(config["threshold"]):
        raise refuse(name, "threshold must be a finite number")
    if not is_finite(config["deviation"]) or config["deviation"] <= 0:
        raise refuse(name, "deviation must be a finite number above 0")
    if config["gradients"] is not None and not isinstance(config["gradients"], dict):
        raise refuse(name, "the settings of its gradients are not those of a model")
    if not isinstance(config["encoder"], dict):
        raise refuse(name, "the settings of its encoder are not those of its modality")
    check_created_with(name, config["created_with"])
    own = config["parameters"]
    if not isinstance(own, dict) or set(own) != {*OWN_PARAMETERS, "features"}:
        raise refuse(name, "its parameters are not those of a detector")
    for key in ("false_alarm_rate", "contamination", "threshold"):
        if own[key] is not None and not is_finite(own[key]):
            raise refuse(name, f"the parameter {key!r} has a wrong type")
    rate, members = own["false_alarm_rate"], own["n_members"]
    if rate is None or not 0 < rate < 1:
        raise refuse(name, "the parameter 'false_alarm_rate' has a wrong type")
    if members is not None and (type(members) is not int or members < 1):
        raise refuse(name, "the parameter 'n_members' has a wrong type")
    if own["features"] is not None and not (
        isinstance(own["features"], str) and is_features(own["features"])
    ):
        raise refuse(name, "the parameter 'features' has a wrong type")


def _check_gradients(name: str, encoder: PatchEncoder, gradients: PatchModel) -> None:
    """Check that a model of gradients is one for the same images."""
    other = cast("PatchEncoder", gradients.encoder)
    if other.source != GRADIENTS or gradients.gradients is not None:
        raise refuse(name, "its model of gradients is another one")
    if (other.shape, other.pixel_range) != (encoder.shape, encoder.pixel_range):
        raise refuse(name, "its model of gradients is one of other images")


def _check_arrays(name: str, arrays: Mapping[str, AnyArray]) -> None:
    """Check the values of the arrays before those of the networks."""
    for key in ("center", "projection", "place_unit", "points"):
        if not (np.abs(arrays[key]) <= MAX_NUMBER).all():
            raise refuse(name, f"the array {key!r} holds numbers out of range")
    low, high = 0.99 * MIN_SQUARED_BANDWIDTH**0.5, MAX_BANDWIDTH
    if not ((arrays["bandwidth"] >= low) & (arrays["bandwidth"] <= high)).all():
        raise refuse(name, "the array 'bandwidth' holds numbers out of range")

"""Schema of model files: a closed set of settings, and bounds of the arrays."""

from __future__ import annotations

import math
from dataclasses import fields

import numpy as np

from vae_anomaly._types import AnyArray, Json, JsonObject
from vae_anomaly.data.registry import MODALITIES
from vae_anomaly.model.reference import UNIT_RANGE
from vae_anomaly.model.seen import MAX_DIGESTS
from vae_anomaly.networks.spec import MAX_WEIGHT
from vae_anomaly.stats.densities import MAX_LOG_VARIANCE
from vae_anomaly.stats.exemplars import (
    MAX_BANDWIDTH,
    MAX_EXEMPLARS,
    MIN_SQUARED_BANDWIDTH,
    max_exemplars,
)
from vae_anomaly.stats.priors import MAX_COMPONENTS
from vae_anomaly.storage.container import refuse
from vae_anomaly.training.history import History

__all__ = ["CUSTOM", "PARAMETER_TYPES", "check_arrays", "check_config", "check_created_with"]
__all__ += ["is_finite"]

PARAMETER_TYPES: dict[str, tuple[type, ...]] = {
    "architecture": (str,),
    "batch_size": (int,),
    "beta": (float,),
    "column_types": (dict, type(None)),
    "contamination": (float, type(None)),
    "false_alarm_rate": (float,),
    "hidden_units": (list, type(None)),
    "latent_dim": (int, type(None)),
    "learning_rate": (float,),
    "likelihood": (str,),
    "max_steps": (int,),
    "missing_values": (list,),
    "n_draws": (int,),
    "n_members": (int, type(None)),
    "optimizer": (str,),
    "patience": (int,),
    "pixel_range": (list, type(None)),
    "prior": (str,),
    "random_state": (int, type(None)),
    "score_type": (str,),
    "shift": (float, type(None)),
    "smoothing": (float, type(None)),
    "threshold": (float, type(None)),
    "variance": (float, type(None)),
}
"""Types of the parameters in a file. A callback is code and stays out."""

CONFIG_KEYS = {
    "created_with",
    "encoder",
    "history",
    "modality",
    "n_calibration",
    "n_coded",
    "n_components",
    "n_exemplars",
    "n_seen",
    "n_seen_calibration",
    "n_skipped_neighbors",
    "networks",
    "parameters",
    "threshold",
}

CUSTOM = "custom"
"""Stands for a pair of Keras models, which a file does not hold."""

MAX_SKIPPED_NEIGHBORS = 16  # each costs a pass over all distances
MAX_HIDDEN_LAYERS = 64
MAX_INTERVALS = 100_000
MAX_LEARNED_LOG_VARIANCE = 1000.0

COUNTS = {
    "n_calibration": (0, None),
    "n_coded": (0, None),
    "n_components": (0, 1 + MAX_COMPONENTS),
    "n_exemplars": (2, MAX_EXEMPLARS),
    "n_seen": (0, MAX_DIGESTS),
    "n_seen_calibration": (0, MAX_DIGESTS),
    "n_skipped_neighbors": (0, MAX_SKIPPED_NEIGHBORS),
}
"""Bounds of the integers."""

BANDWIDTHS = (0.99 * MIN_SQUARED_BANDWIDTH**0.5, MAX_BANDWIDTH)

BOUNDS = {
    "reference.code_unit": (0.0, 1.01 * UNIT_RANGE[1]),
    "reference.residual_unit": (0.99 * UNIT_RANGE[0], 1.01 * UNIT_RANGE[1]),
    "reference.points": (-1e18, 1e18),
    "reference.targets": (-1e18, 1e18),
    "reference.position": (0.0, 2.0**53),
    "reference.tail_values": (0.0, 1e30),
    "reference.tail_nats": (0.0, 1e9),
    "reference.tail_shares": (0.0, 1.0),
    "reference.bandwidth": BANDWIDTHS,
    "reference.code_bandwidth": BANDWIDTHS,
}
"""Bounds within which float32 can compute scores."""


def check_config(name: str, config: Json) -> None:
    """Check the types and bounds of all settings, so that later steps may rely on them."""
    if not isinstance(config, dict) or set(config) != CONFIG_KEYS:
        raise refuse(name, "its settings are not those of a model")
    for key, (low, high) in COUNTS.items():
        if type(config[key]) is not int or config[key] < low:
            raise refuse(name, f"{key} must be an int >= {low}")
        if high is not None and config[key] > high:
            raise refuse(name, f"{key} must be {high} at most")
    if not is_finite(config["threshold"]):
        raise refuse(name, "threshold must be a finite number")
    if not isinstance(config["modality"], str) or config["modality"] not in MODALITIES:
        raise refuse(name, f"modality must be one of {', '.join(MODALITIES)}")
    if not isinstance(config["encoder"], dict):
        raise refuse(name, "the settings of its encoder are not those of its modality")
    _check_parameter_types(name, config["parameters"])
    _check_history(name, config["history"])
    parameters = config["parameters"]
    aggregated = parameters["prior"] == "aggregated" and parameters["beta"] > 0
    if aggregated != bool(config["n_components"]):
        raise refuse(name, "the components of its prior do not go with its parameters")
    check_created_with(name, config["created_with"])


def check_created_with(name: str, made: Json) -> None:
    """Check the versions that a model was made with."""
    if not isinstance(made, dict) or not all(
        isinstance(text, str) and text.isprintable() for pair in made.items() for text in pair
    ):
        raise refuse(name, "created_with must map names to texts")


def _check_parameter_types(name: str, parameters: Json) -> None:
    if not isinstance(parameters, dict) or set(parameters) != set(PARAMETER_TYPES):
        raise refuse(name, "its parameters are not those of a detector")
    for key, value in parameters.items():
        # Exact types: True is an int in Python, and 5.0 is not one in a file.
        if type(value) not in PARAMETER_TYPES[key] or (
            isinstance(value, float) and not math.isfinite(value)
        ):
            raise refuse(name, f"the parameter {key!r} has a wrong type")
    ends = parameters["pixel_range"]
    if ends is not None and not all(type(end) is float for end in ends):
        raise refuse(name, "the parameter 'pixel_range' has a wrong type")
    layers = parameters["hidden_units"]
    if layers is None:
        return
    if len(layers) > MAX_HIDDEN_LAYERS or not all(type(units) is int for units in layers):
        raise refuse(name, "the parameter 'hidden_units' has a wrong type")


def _check_history(name: str, history: Json) -> None:
    keys = [field.name for field in fields(History)]
    if not isinstance(history, dict) or sorted(history) != sorted(keys):
        raise refuse(name, "its history is not one")
    intervals = len(history["step"]) if isinstance(history["step"], list) else 0
    if not 1 <= intervals <= MAX_INTERVALS:
        raise refuse(name, "its history has no intervals")
    for key in keys:
        values = history[key]
        lengths = (0, intervals) if key == "held_out" else (intervals,)
        if not isinstance(values, list) or len(values) not in lengths:
            raise refuse(name, "its history has gaps")
        if not all(type(v) is int if key == "step" else is_finite(v) for v in values):
            raise refuse(name, "its history holds something else than numbers")


def check_arrays(name: str, arrays: dict[str, AnyArray], config: JsonObject) -> None:
    """Check the values of the arrays."""
    for key, values in arrays.items():
        if key.endswith(".moving_variance") and (values <= 0).any():
            raise refuse(name, f"the variances {key!r} are not all positive")
        if key.endswith(".log_variance") and (np.abs(values) > MAX_LEARNED_LOG_VARIANCE).any():
            raise refuse(name, "its columns have variances out of range")
        if key.endswith(".step") and (values < 0).any():
            raise refuse(name, "a column has a step that is negative")
    if "prior" in arrays:
        log_variance = np.split(arrays["prior"], 2, axis=-1)[1]
        if (np.abs(log_variance) > MAX_LOG_VARIANCE).any():
            raise refuse(name, "its prior has variances out of range")
    units = arrays["reference.code_unit"]
    if (units > 0).sum() != config["n_coded"] or (
        (units > 0) & (units < 0.99 * UNIT_RANGE[0])
    ).any():
        raise refuse(name, "the units of its codes are not as its settings say")
    kept, d = arrays["reference.points"].shape
    if kept > max_exemplars(d):
        raise refuse(name, f"n_exemplars must be {max_exemplars(d)} at most with {d} coordinates")
    for key, (low, high) in BOUNDS.items():
        if (arrays[key] < low).any() or (arrays[key] > high).any():
            raise refuse(name, f"the array {key!r} holds numbers out of range")
    for key, values in arrays.items():
        # All others of 32 bits are weights, or as large as the numbers that weights make.
        is_weight = values.dtype.itemsize == 4 and key not in BOUNDS
        if is_weight and not (np.abs(values) <= MAX_WEIGHT).all():
            raise refuse(name, f"the array {key!r} holds numbers with which networks overflow")
    if (arrays["reference.position"] % 1).any():
        raise refuse(name, "the positions of its exemplars are not whole numbers")
    for key in ("reference.tail_values", "reference.tail_nats", "reference.tail_shares"):
        if (np.diff(arrays[key]) < 0).any():
            raise refuse(name, f"the array {key!r} is not sorted")
    for key in ("seen.learned", "seen.calibration"):
        if (arrays[key][1:] < arrays[key][:-1]).any():
            raise refuse(name, f"the array {key!r} is not sorted")
    if (np.diff(arrays["calibration_scores"]) < 0).any():
        raise refuse(name, "its calibration scores are not sorted")


def is_finite(value: Json) -> bool:
    """Return whether a setting is a finite number."""
    return type(value) is float and math.isfinite(value)

"""What a model file may say: a closed schema for its settings, and for what its numbers mean."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.model.reference import UNIT_RANGE
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

__all__ = ["OWN", "PARAMETER_TYPES", "check_arrays", "check_config"]

PARAMETER_TYPES: dict[str, tuple[type, ...]] = {
    "architecture": (str,),
    "batch_size": (int,),
    "beta": (float,),
    "contamination": (float, type(None)),
    "false_alarm_rate": (float,),
    "hidden_units": (list, type(None)),
    "latent_dim": (int, type(None)),
    "learning_rate": (float,),
    "likelihood": (str,),
    "max_steps": (int,),
    "n_draws": (int,),
    "n_members": (int, type(None)),
    "optimizer": (str,),
    "patience": (int,),
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
    "feature_names",
    "history",
    "image_shape",
    "images",
    "n_calibration",
    "n_coded",
    "n_components",
    "n_doubted",
    "n_exemplars",
    "n_features",
    "n_varying",
    "networks",
    "offset",
    "parameters",
    "picture_scale",
}

OWN = "own"
"""What stands for a pair of Keras models, which a file does not hold."""

MAX_SKIPPED_NEIGHBORS = 16  # each costs a pass over all distances
MAX_HIDDEN_LAYERS = 64
MAX_ROUNDS = 100_000
MAX_LEARNED_LOG_VARIANCE = 1000.0


BOUNDS = {
    "reference.code_unit": (0.0, 1.01 * UNIT_RANGE[1]),
    "reference.residual_unit": (0.99 * UNIT_RANGE[0], 1.01 * UNIT_RANGE[1]),
    "reference.points": (-1e18, 1e18),
    "reference.reach": (0.99 * MIN_SQUARED_BANDWIDTH**0.5, MAX_BANDWIDTH),
}
"""What scores can be computed with in float32."""


def check_config(name: str, config: Any) -> None:
    """Hold the settings against a closed schema, so that what follows may trust their types."""
    if not isinstance(config, dict) or set(config) != CONFIG_KEYS:
        raise refuse(name, "its settings are not those of a model")
    for key, least in (
        ("n_features", 1),
        ("n_varying", 1),
        ("n_calibration", 0),
        ("n_coded", 0),
        ("n_components", 0),
        ("n_doubted", 0),
        ("n_exemplars", 2),
    ):
        if type(config[key]) is not int or config[key] < least:
            raise refuse(name, f"{key} must be an int >= {least}")
    if config["n_components"] > 1 + MAX_COMPONENTS:
        raise refuse(name, f"n_components must be {1 + MAX_COMPONENTS} at most")
    if config["n_doubted"] > MAX_SKIPPED_NEIGHBORS:
        raise refuse(name, f"n_doubted must be {MAX_SKIPPED_NEIGHBORS} at most")
    if config["n_exemplars"] > MAX_EXEMPLARS:
        raise refuse(name, f"n_exemplars must be {MAX_EXEMPLARS} at most")
    if config["n_varying"] > config["n_features"]:
        raise refuse(name, "more columns vary than there are")
    if not _is_finite(config["offset"]):
        raise refuse(name, "offset must be a finite number")
    _check_parameter_types(name, config["parameters"])
    _check_images(name, config)
    _check_names(name, config["feature_names"], config["n_features"])
    _check_history(name, config["history"])
    made = config["created_with"]
    if not isinstance(made, dict) or not all(
        isinstance(text, str) and text.isprintable() for pair in made.items() for text in pair
    ):
        raise refuse(name, "created_with must map names to texts")


def _check_parameter_types(name: str, parameters: Any) -> None:
    if not isinstance(parameters, dict) or set(parameters) != set(PARAMETER_TYPES):
        raise refuse(name, "its parameters are not those of a detector")
    for key, value in parameters.items():
        # Exact types: True is an int in Python, and 5.0 is not one in a file.
        if type(value) not in PARAMETER_TYPES[key] or (
            isinstance(value, float) and not math.isfinite(value)
        ):
            raise refuse(name, f"the parameter {key!r} has a wrong type")
    layers = parameters["hidden_units"]
    if layers is None:
        return
    if len(layers) > MAX_HIDDEN_LAYERS or not all(type(units) is int for units in layers):
        raise refuse(name, "the parameter 'hidden_units' has a wrong type")


def _check_images(name: str, config: dict[str, Any]) -> None:
    shape, images = config["image_shape"], config["images"]
    if config["picture_scale"] not in (1.0, 255.0) or type(config["picture_scale"]) is not float:
        raise refuse(name, "picture_scale must be 1.0 or 255.0")
    if shape is None:
        if images is not None:
            raise refuse(name, "it prepares images but was not fitted on any")
        return
    if (
        not isinstance(shape, list)
        or len(shape) != 3
        or not all(type(side) is int and side >= 1 for side in shape)
        or math.prod(shape) != config["n_features"]
    ):
        raise refuse(name, "image_shape must be three ints that make up n_features")
    if images is not None and (
        not isinstance(images, dict)
        or set(images) != {"channels", "height", "resize", "width"}
        or [images["height"], images["width"], images["channels"]] != shape
        or not all(type(images[key]) is int for key in ("height", "width", "channels"))
        or images["channels"] not in (1, 3)
        or images["resize"] not in ("stretch", "letterbox")
    ):
        raise refuse(name, "its preparation of images does not fit the images it learned")


def _check_names(name: str, names: Any, n: int) -> None:
    if names is None:
        return
    if not isinstance(names, list) or len(names) != n or not all(map(_is_text, names)):
        raise refuse(name, f"feature_names must be {n} texts")
    if len(set(names)) != n:
        raise refuse(name, "two columns share a name")


def _check_history(name: str, history: Any) -> None:
    keys = [field.name for field in fields(History)]
    if not isinstance(history, dict) or sorted(history) != sorted(keys):
        raise refuse(name, "its history is not one")
    rounds = len(history["step"]) if isinstance(history["step"], list) else 0
    if not 1 <= rounds <= MAX_ROUNDS:
        raise refuse(name, "its history has no rounds")
    for key in keys:
        values = history[key]
        lengths = (0, rounds) if key == "held_out" else (rounds,)
        if not isinstance(values, list) or len(values) not in lengths:
            raise refuse(name, "its history has gaps")
        if not all(type(v) is int if key == "step" else _is_finite(v) for v in values):
            raise refuse(name, "its history holds something else than numbers")


def check_arrays(name: str, arrays: dict[str, NDArray[Any]], config: dict[str, Any]) -> None:
    """Hold the numbers against what they mean."""
    if (arrays["columns.scale"] <= 0).any():
        raise refuse(name, "a column has a scale that is not positive")
    if (arrays["columns.low"] > arrays["columns.high"]).any():
        raise refuse(name, "a column's range is upside down")
    if (arrays["columns.low"] < arrays["columns.high"]).sum() != config["n_varying"]:
        raise refuse(name, "its columns do not vary as its settings say")
    for key, values in arrays.items():
        if key.endswith(".moving_variance") and (values <= 0).any():
            raise refuse(name, f"the variances {key!r} are not all positive")
    if (np.abs(arrays.get("log_variance", 0.0)) > MAX_LEARNED_LOG_VARIANCE).any():
        raise refuse(name, "its columns have variances out of range")
    if (np.asarray(arrays.get("step", 0.0)) < 0).any():
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
    if (np.diff(arrays["calibration_scores"]) < 0).any():
        raise refuse(name, "its calibration scores are not sorted")


def _is_finite(value: Any) -> bool:
    return type(value) is float and math.isfinite(value)


def _is_text(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True

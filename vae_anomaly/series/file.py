"""Model files of time series: settings and arrays, among them those of the VAE, and no code."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vae_anomaly._parameters import check_parameters
from vae_anomaly._text import listed
from vae_anomaly._types import AnyArray, Json, JsonObject
from vae_anomaly._version import __version__
from vae_anomaly.data.registry import DEFAULT
from vae_anomaly.exceptions import ParameterError
from vae_anomaly.model.file import contents_of, restored
from vae_anomaly.model.model import Model
from vae_anomaly.names import SERIES
from vae_anomaly.series.alarms import AlarmBudget, Promise
from vae_anomaly.series.calibration import N_BLOCK_SCORES
from vae_anomaly.series.channels import ChannelScaler
from vae_anomaly.series.comparison import WindowComparison
from vae_anomaly.series.detector import SeriesDetector
from vae_anomaly.series.fitting import WindowSettings
from vae_anomaly.series.model import MIN_TYPICAL, SeriesModel, Thresholds
from vae_anomaly.series.networks import networks_of
from vae_anomaly.series.parameters import RULES
from vae_anomaly.series.training_windows import TrainingWindows
from vae_anomaly.stats.exemplars import max_exemplars
from vae_anomaly.storage.container import Layout, UnopenedFile, refuse, write_container

__all__ = ["LoadedSeries", "describe", "lines", "load", "load_series", "needs_tensorflow", "save"]

PARAMETER_TYPES: dict[str, tuple[type, ...]] = {
    "architecture": (str,),
    "causal": (bool,),
    "cool_down": (int, type(None)),
    "false_alarms": (float, int, type(None)),
    "max_steps": (int,),
    "min_steps": (int,),
    "per": (str, int),
    "random_state": (int, type(None)),
    "window": (int, type(None)),
}

KEYS = {"channels", "created_with", "modality", "n_exemplars", "n_varying", "network"}
KEYS |= {"parameters", "promise", "reading", "step", "thresholds", "window"}

MAX_CHANNELS = 10_000
MAX_WINDOW = 1_000_000
MAX_COORDINATE = 1e9  # float32 holds the squares of sums

WEIGHT = "network."
"""Start of the names of arrays of the VAE."""


class LoadedSeries(NamedTuple):
    """A detector from a file, and how the series that it was fitted to were read."""

    detector: SeriesDetector
    reading: Mapping[str, Json]  # options of `read_series`


class _Network:
    """The part of a file that holds the VAE; its arrays come after those of the series."""

    def __init__(self, file: UnopenedFile, layout: Layout) -> None:
        self.name = file.name
        self.config: Json = file.config["network"]
        self._file, self._layout = file, layout
        self.before: dict[str, AnyArray] = {}  # arrays of the series, once all are checked

    def arrays(self, layout: Layout) -> dict[str, AnyArray]:
        """Return the arrays of the VAE; those of the series must be as expected, too."""
        inner = {f"{WEIGHT}{name}": array for name, array in layout.items()}
        found = self._file.arrays(self._layout | inner)
        self.before = {name: found[name].copy() for name in self._layout}
        return {name: found[f"{WEIGHT}{name}"] for name in layout}


def save(
    detector: SeriesDetector, path: str | Path, reading: Mapping[str, Json] | None = None
) -> str:
    """Write a fitted detector to one file, whole or not at all, and return its SHA-256.

    Parameters
    ----------
    detector : SeriesDetector
        Fitted.
    path : str or Path
    reading : mapping, optional
        Options of `read_series` that later series are read with.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    model, promise = detector.model_, detector.promise_
    network, weights = contents_of(_without_codes(model.comparison.network))
    given = {name: getattr(detector, name) for name in PARAMETER_TYPES}
    seed = given["random_state"]
    given["random_state"] = int(seed) if isinstance(seed, int | np.integer) else None
    config = {
        "channels": list(model.channels),
        "created_with": {"vae_anomaly": __version__},
        "modality": SERIES,
        "n_exemplars": len(model.comparison.training.points),
        "n_varying": len(model.scaler.varying),
        "network": network,
        "parameters": given,
        "promise": [*map(float, promise.budget), promise.n_blocks, promise.block],
        "reading": dict(reading or {}),
        "step": detector.step_,
        # JSON has no infinity: a score that is not used has no threshold.
        "thresholds": [None if math.isinf(one) else float(one) for one in model.thresholds],
        "window": model.window,
    }
    values: dict[str, AnyArray] = {
        "center": model.scaler.center,
        "scale": model.scaler.scale,
        "longest_runs": model.longest_runs,
        "typical_energy": model.typical_energy,
        "typical_residual": model.typical_residual,
        "block_scores": model.block_scores,
        "exemplars": model.comparison.training.points,
    }
    arrays = {name: (dtype, values[name]) for name, (dtype, _) in _layout(config).items()}
    return write_container(
        path, config, arrays | {f"{WEIGHT}{name}": one for name, one in weights.items()}
    )


def load(file: UnopenedFile, networks: Json = None, features: Json = None) -> SeriesDetector:
    """Check a file and build its detector, which takes no networks from outside.

    Raises
    ------
    ParameterError
        If some are given.
    ModelFileError
        If the file is not sound.
    """
    if networks is not None or features is not None:
        raise ParameterError(
            f"{file.name} is a model of time series, and needs no networks or features. Load it "
            f"without them."
        )
    return load_series(file).detector


def needs_tensorflow(file: UnopenedFile) -> bool:
    """Return whether the networks in a file run in TensorFlow.

    Raises
    ------
    ModelFileError
        If its settings are not sound.
    """
    _check(file.name, file.config)
    return bool(file.config["parameters"]["architecture"] != "dense")


def load_series(file: UnopenedFile) -> LoadedSeries:
    """Check a file and build its detector. Nothing in the file is executed.

    Raises
    ------
    ModelFileError
        If the file is not sound.
    """
    config = file.config
    _check(file.name, config)
    parameters, window, n_varying = (config[key] for key in ("parameters", "window", "n_varying"))
    part = _Network(file, _layout(config))
    if not isinstance(part.config, dict) or part.config.get("modality") != DEFAULT:
        raise refuse(file.name, "the settings of its networks are not those of a model")
    is_dense = parameters["architecture"] == "dense"
    network = restored(
        part, None if is_dense else networks_of(parameters["architecture"], window, n_varying)
    )
    if network.encoder.outline.n_features != window * n_varying:
        raise refuse(file.name, "its networks are not for windows of its channels")
    arrays = part.before
    _check_arrays(file.name, arrays, n_varying)
    model = SeriesModel(
        channels=tuple(config["channels"]),
        window=window,
        hop=WindowSettings(window, parameters["causal"]).hop,
        causal=parameters["causal"],
        scaler=ChannelScaler(arrays["center"], arrays["scale"]),
        longest_runs=arrays["longest_runs"],
        comparison=WindowComparison(network, TrainingWindows(arrays["exemplars"])),
        typical_energy=arrays["typical_energy"],
        typical_residual=arrays["typical_residual"],
        thresholds=Thresholds(*(np.inf if one is None else one for one in config["thresholds"])),
        block_scores=arrays["block_scores"],
    )
    episodes, steps, n_blocks, block = config["promise"]
    promise = Promise(AlarmBudget(episodes, steps), n_blocks, block)
    detector = SeriesDetector.from_model(model, promise, config["step"], **parameters)
    return LoadedSeries(detector, config["reading"])


def _without_codes(network: Model) -> Model:
    """Return the VAE with the least number of exemplars of its own, which nothing here needs."""
    return replace(network, reference=network.reference.without_exemplars())


def _layout(config: JsonObject) -> Layout:
    """Return the types and shapes of the arrays before those of the VAE."""
    channels, varying = (len(config["channels"]),), (config["n_varying"],)
    return {
        "center": ("F64", channels),
        "scale": ("F64", channels),
        "longest_runs": ("F64", channels),
        "typical_energy": ("F64", varying),
        "typical_residual": ("F64", varying),
        "block_scores": ("F64", (config["promise"][2], N_BLOCK_SCORES)),
        "exemplars": ("F32", (config["n_exemplars"], config["window"] * config["n_varying"])),
    }


def _check(name: str, config: JsonObject) -> None:
    """Check the types and bounds of the settings, so that later steps may rely on them."""
    if set(config) != KEYS:
        raise refuse(name, "its settings are not those of a detector of time series")
    channels, parameters = config["channels"], config["parameters"]
    if (
        not isinstance(channels, list)
        or not 1 <= len(channels) <= MAX_CHANNELS
        or not all(isinstance(one, str) for one in channels)
        or len(set(channels)) != len(channels)
    ):
        raise refuse(name, f"channels must be 1 to {MAX_CHANNELS:,} different names")
    _check_counts(name, config, len(channels))
    if not isinstance(parameters, dict) or set(parameters) != set(PARAMETER_TYPES):
        raise refuse(name, "its parameters are not those of a detector of time series")
    for key, value in parameters.items():
        if type(value) not in PARAMETER_TYPES[key]:
            raise refuse(name, f"the parameter {key!r} has a wrong type")
    try:
        check_parameters(SeriesDetector(**parameters), RULES)
    except ParameterError as error:
        raise refuse(name, str(error).rstrip(".")) from None
    made, reading = config["created_with"], config["reading"]
    if not isinstance(made, dict) or not all(map(_is_text, [*made, *made.values()])):
        raise refuse(name, "created_with must map names to texts")
    if not isinstance(reading, dict) or not all(
        type(value) is int or all(map(_is_text, value if isinstance(value, list) else [value]))
        for value in (*reading, *reading.values())
    ):
        raise refuse(name, "reading must map names to texts, lists of texts or integers")


def _is_text(value: Json) -> bool:
    """Return whether a setting is a text without control characters."""
    return isinstance(value, str) and value.isprintable()


def _check_counts(name: str, config: JsonObject, n_channels: int) -> None:
    """Check numbers among the settings."""
    room = {"window": MAX_WINDOW, "n_varying": n_channels, "n_exemplars": 1_000_000}
    for key, most in room.items():
        if type(config[key]) is not int or not 1 <= config[key] <= most:
            raise refuse(name, f"{key} must be an int from 1 to {most:,}")
    most = max_exemplars(config["window"] * config["n_varying"])
    if not 2 <= config["n_exemplars"] <= most:
        raise refuse(name, f"n_exemplars must be 2 to {most}")
    if config["step"] is not None and (type(config["step"]) is not int or config["step"] < 1):
        raise refuse(name, "step must be null or nanoseconds")
    thresholds, promise = config["thresholds"], config["promise"]
    if not _are_positive(thresholds, len(Thresholds._fields), may_miss=True):
        raise refuse(name, "thresholds must be positive numbers")
    if not _are_positive(promise, 4) or not all(type(one) is int for one in promise[2:]):
        raise refuse(name, "promise must be positive numbers")


def _are_positive(values: Json, count: int, *, may_miss: bool = False) -> bool:
    """Return whether settings are so many positive numbers, or null where that is allowed."""
    return (
        isinstance(values, list)
        and len(values) == count
        and all(
            (one is None and may_miss)
            or (type(one) in (int, float) and math.isfinite(one) and one > 0)
            for one in values
        )
    )


def _check_arrays(name: str, arrays: Mapping[str, AnyArray], n_varying: int) -> None:
    """Check the values of the arrays before those of the VAE."""
    if (arrays["scale"] < 0).any() or (arrays["scale"] > 0).sum() != n_varying:
        raise refuse(name, "the scales of its channels are not as its settings say")
    if (arrays["longest_runs"] < 1).any():
        raise refuse(name, "the array 'longest_runs' holds numbers below 1")
    for key in ("typical_energy", "typical_residual"):
        if (arrays[key] < MIN_TYPICAL).any():
            raise refuse(name, f"the array {key!r} holds numbers below {MIN_TYPICAL}")
    if (np.abs(arrays["exemplars"]) > MAX_COORDINATE).any():
        raise refuse(name, "the array 'exemplars' holds numbers out of range")


def describe(file: UnopenedFile) -> JsonObject:
    """Describe a file in plain values, after the same checks as `load_series`.

    Raises
    ------
    ModelFileError
        If the file is not sound.
    """
    detector = load_series(file).detector
    model, config = detector.model_, file.config
    network = model.comparison.network
    return {
        "sha256": file.sha256,
        "created_with": config["created_with"],
        "parameters": config["parameters"],
        "modality": SERIES,
        "channels": list(model.channels),
        "constant_channels": [model.channels[i] for i in np.flatnonzero(model.scaler.scale == 0)],
        "step": detector.step_,
        "window": model.window,
        "thresholds": model.thresholds._asdict(),
        "promise": detector.promise_.words(detector.step_),
        "reading": config["reading"],
        "training_windows": len(model.comparison.training.points),
        "weights": int(network.network.weights.size),
        "steps": network.history.step[-1],
        "loss": network.history.describe("window"),
    }


def lines(facts: JsonObject) -> Sequence[str]:
    """Return lines about a model of time series, from what `describe` returns."""
    constant = facts["constant_channels"]
    reading = ", ".join(f"{name}={value}" for name, value in facts["reading"].items())
    step = "none" if facts["step"] is None else f"{facts['step'] / 1e9:g} s"
    return [
        f"training     {facts['steps']:,} steps, {facts['loss']}",
        f"series       {listed(facts['channels'])}",
        *([f"constant     {listed(constant)}"] if constant else []),
        f"time step    {step}; windows of {facts['window']:,} steps",
        *([f"read with    {reading}"] if reading else []),
        f"alarms       {facts['promise']}",
    ]

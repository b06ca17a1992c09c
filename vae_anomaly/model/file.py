"""Model files: settings and arrays of a fitted model, and no code.

The networks are rebuilt by this package from a few checked numbers, never from
what a file says a network is. See `vae_anomaly.storage.container` for the bytes.
"""

from __future__ import annotations

import math
from dataclasses import asdict, fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._parameters import check_parameters
from vae_anomaly._version import __version__
from vae_anomaly.data.image.encoder import ImageEncoder, smoothing_for
from vae_anomaly.data.registry import modality
from vae_anomaly.data.scaling import ColumnScaler
from vae_anomaly.data.table.encoder import TableEncoder
from vae_anomaly.exceptions import DataError, ParameterError
from vae_anomaly.inference.network import Network
from vae_anomaly.model.calibration import Calibration
from vae_anomaly.model.file_schema import OWN, PARAMETER_TYPES, check_arrays, check_config
from vae_anomaly.model.model import Model, resolved_score
from vae_anomaly.model.parameters import RULES, has_aggregated_prior, network_spec
from vae_anomaly.model.reference import Reference
from vae_anomaly.networks.custom import CustomNetworks
from vae_anomaly.networks.spec import NetworkSpec
from vae_anomaly.storage.container import (
    Layout,
    UnopenedFile,
    open_container,
    refuse,
    write_container,
)
from vae_anomaly.training.history import History

__all__ = ["inspect", "load_model", "save_model"]


def save_model(model: Model, path: str | Path) -> str:
    """Write a model to one file, whole or not at all, and return its SHA-256.

    Raises
    ------
    DataError
        If two columns share a name.
    OutputError
        If the model is larger than `load_model` accepts, or the file cannot be written.
    """
    spec, encoder, reference = model.network.spec, model.encoder, model.reference
    names = encoder.names
    if names is not None and len(set(names)) != len(names):
        raise DataError("Two columns share a name. Rename one of them and fit again.")
    shape = encoder.shape if isinstance(encoder, ImageEncoder) else None
    images = None
    if isinstance(encoder, ImageEncoder) and encoder.resize is not None:
        height, width, channels = encoder.shape
        images = {"height": height, "width": width, "channels": channels, "resize": encoder.resize}
    config = {
        "created_with": {"vae_anomaly": __version__},
        "feature_names": None if names is None else list(names),
        "history": asdict(model.history),
        "image_shape": None if shape is None else list(shape),
        "images": images,
        "n_calibration": len(model.calibration.scores),
        "n_coded": int((reference.code_unit > 0).sum()),
        "n_components": 0 if model.prior is None else model.prior.shape[1],
        "n_doubted": reference.n_skipped_neighbors,
        "n_exemplars": len(reference.points),
        "n_features": len(encoder.features),
        "n_varying": spec.columns,
        "networks": None if spec.custom is None else spec.custom.as_plain(),
        "offset": -model.calibration.threshold,
        "parameters": _plain_parameters(model.parameters),
        "picture_scale": encoder.pixel_scale if isinstance(encoder, ImageEncoder) else 1.0,
    }
    scaler = encoder.scaler
    arrays: dict[str, tuple[str, NDArray[Any]]] = {
        f"columns.{field.name}": ("F64", getattr(scaler, field.name))
        for field in fields(ColumnScaler)
    }
    arrays["calibration_scores"] = ("F64", model.calibration.scores)
    arrays["latent_kl"] = ("F64", model.latent_kl)
    if model.prior is not None:
        arrays["prior"] = ("F32", model.prior)
    arrays["noise"] = ("F32", model.noise)
    for name, (dtype, _) in _reference_layout(spec, config).items():
        field = {"reach": "bandwidth"}.get(name, name)
        arrays[f"reference.{name}"] = (dtype, getattr(reference, field))
    for name, array in spec.unpack(model.network.weights).items():
        arrays[name] = ("F32", array)
    return write_container(path, config, arrays)


def load_model(path: str | Path, *, networks: tuple[Any, Any] | None = None) -> Model:
    """Read a model that `save_model` wrote. Nothing in the file is executed.

    Parameters
    ----------
    path : str or Path
    networks : pair of keras.Model, optional
        Encoder and decoder of a model with custom networks. Only their structure is used.

    Raises
    ------
    ParameterError
        If `networks` are missing, needless, or not those of the file.
    ModelFileError
        If the file is not a sound model.
    OSError
        If the file is missing or cannot be read.
    """
    return _restore(open_container(path), networks)


def inspect(path: str | Path) -> dict[str, Any]:
    """Describe a model file in plain values, after the same checks as `load`.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    dict
        Settings, threshold, training and columns.

    Raises
    ------
    ModelFileError
        If the file is not a sound model.
    OSError
        If the file is missing or cannot be read.
    """
    file = open_container(path)
    model = _restore(file, described=True)
    scaler = model.encoder.scaler
    return {
        "sha256": file.sha256,
        "created_with": file.config["created_with"],
        "parameters": file.config["parameters"],
        "threshold": model.calibration.threshold,
        "calibration_rows": len(model.calibration.scores),
        "weights": int(model.network.weights.size),
        "networks": file.config["networks"],
        "image_shape": file.config["image_shape"],
        "images": file.config["images"],
        "steps": model.history.step[-1],
        "loss": model.history.describe(),
        "columns": [
            {
                "name": name,
                "mean": float(scaler.center[i]),
                "deviation": float(scaler.scale[i]),
                "low": float(scaler.low[i]),
                "high": float(scaler.high[i]),
                "constant": not scaler.varies[i],
            }
            for i, name in enumerate(model.encoder.features)
        ],
    }


def _plain_parameters(given: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for name, types in PARAMETER_TYPES.items():
        value = given[name]
        if name == "architecture":
            plain[name] = value if isinstance(value, str) else OWN
        elif value is None:
            plain[name] = None
        elif name == "hidden_units":
            plain[name] = [int(units) for units in value]
        elif name == "random_state":
            # A generator has moved on since; only a seed can be used again.
            plain[name] = int(value) if isinstance(value, int | np.integer) else None
        else:
            plain[name] = types[0](value)
    return plain


def _custom_networks(
    name: str, config: dict[str, Any], networks: Any, *, described: bool
) -> CustomNetworks | None:
    """Describe the user's own networks, after a look at whether they are given where needed."""
    architecture = config["parameters"]["architecture"]
    if (config["networks"] is None) != (architecture != OWN):
        raise refuse(name, "its networks are not of the kind that its parameters say")
    if networks is not None and architecture != OWN:
        raise ParameterError(
            f"{name} was fitted with architecture={architecture!r}, which needs no networks. Load "
            f"it without them."
        )
    if networks is None and architecture == OWN and not described:
        raise ParameterError(
            f"{name} was fitted with Keras models of the user's own, which a model file does not "
            f"hold. Use it in Python: load(path, networks=(encoder, decoder))."
        )
    if architecture != OWN:
        return None
    try:
        return CustomNetworks.from_plain(config["networks"])
    except ParameterError as error:
        raise refuse(name, str(error).rstrip(".")) from None


def _restore(file: UnopenedFile, networks: Any = None, *, described: bool = False) -> Model:
    """Check a file and build its model; one that is only `described` may lack networks."""
    config = file.config
    check_config(file.name, config)
    custom = _custom_networks(file.name, config, networks, described=described)
    settings = dict(config["parameters"])
    if custom is not None:
        settings["architecture"] = "auto" if networks is None else networks
    if settings["hidden_units"] is not None:
        settings["hidden_units"] = tuple(settings["hidden_units"])
    parameters: Any = SimpleNamespace(**settings)
    rules = {name: rule for name, rule in RULES.items() if name in settings}
    shape = None if config["image_shape"] is None else tuple(config["image_shape"])
    defaults = modality("table" if shape is None else "image").defaults
    try:
        check_parameters(parameters, rules)
        n_inputs, latent = config["n_varying"], defaults.latent_dim
        spec = network_spec(parameters, n_inputs, shape, latent, custom)
        smoothing = 0.0 if shape is None else smoothing_for(parameters, shape)
    except ParameterError as error:
        raise refuse(file.name, str(error).rstrip(".")) from None
    if spec.image is not None and spec.columns != math.prod(spec.image):
        raise refuse(file.name, "a convolution needs every pixel")
    if has_aggregated_prior(parameters) != bool(config["n_components"]):
        raise refuse(file.name, "the components of its prior do not go with its parameters")
    arrays = file.arrays(_layout(parameters, spec, config))
    check_arrays(file.name, arrays, config)

    def kept(key: str) -> NDArray[Any]:
        """Copy an array, to let go of the file's bytes."""
        return _native(arrays[key].copy())

    scaler = ColumnScaler(*(kept(f"columns.{field.name}") for field in fields(ColumnScaler)))
    names = config["feature_names"]
    encoder: Any = TableEncoder(
        None if names is None else tuple(names), scaler, parameters.likelihood
    )
    if shape is not None:
        resize = None if config["images"] is None else config["images"]["resize"]
        scale = config["picture_scale"]
        encoder = ImageEncoder(shape, scale, smoothing, scaler, parameters.likelihood, resize)
    if custom is not None and networks is not None:
        given = CustomNetworks.of(networks, scaler.varies, shape)
        spec = replace(spec, custom=given.like(custom))
    threshold, scores = -config["offset"], kept("calibration_scores")
    calibration = Calibration(scores, threshold, "false_alarm_rate", parameters.false_alarm_rate)
    if parameters.threshold is not None:
        calibration = Calibration(scores, threshold, "threshold", parameters.threshold)
    elif parameters.contamination is not None:
        calibration = Calibration(scores, threshold, "contamination", parameters.contamination)
    reference = {
        {"reach": "bandwidth"}.get(key, key): kept(f"reference.{key}")
        for key in _reference_layout(spec, config)
    }
    return Model(
        encoder=encoder,
        network=Network(spec, _native(spec.pack(arrays))),
        parameters=settings,
        score_type=resolved_score(parameters.score_type, encoder),
        beta=parameters.beta,
        noise=kept("noise"),
        prior=kept("prior") if has_aggregated_prior(parameters) else None,
        reference=Reference(**reference, n_skipped_neighbors=config["n_doubted"]),
        calibration=calibration,
        latent_kl=kept("latent_kl"),
        history=History(**config["history"]),
    )


def _layout(parameters: Any, spec: NetworkSpec, config: dict[str, Any]) -> Layout:
    """Types and shapes of all arrays."""
    columns = ("F64", (config["n_features"],))
    layout: Layout = {f"columns.{field.name}": columns for field in fields(ColumnScaler)}
    layout["calibration_scores"] = ("F64", (config["n_calibration"],))
    layout["latent_kl"] = ("F64", (spec.members, spec.latent))
    if has_aggregated_prior(parameters):
        layout["prior"] = ("F32", (spec.members, config["n_components"], 2 * spec.latent))
    layout["noise"] = ("F32", (1 if spec.noiseless else parameters.n_draws, spec.latent))
    reference = _reference_layout(spec, config)
    layout |= {f"reference.{field}": kind for field, kind in reference.items()}
    weights = spec.weight_shapes().items()
    return layout | {name: ("F32", (spec.members, *shape)) for name, shape in weights}


def _reference_layout(spec: NetworkSpec, config: dict[str, Any]) -> Layout:
    """Types and shapes of what scores compare rows with."""
    members, latent, n_exemplars = spec.members, spec.latent, config["n_exemplars"]
    return {
        "code_unit": ("F32", (members, latent)),
        "residual_unit": ("F32", (spec.columns,)),
        "points": ("F32", (n_exemplars, spec.columns + config["n_coded"])),
        "reach": ("F32", (n_exemplars,)),
        "code_center": ("F64", (members, latent)),
        "code_precision": ("F64", (members, latent, latent)),
        "typical": ("F64", (config["n_features"] + 1,)),
    }


def _native(array: NDArray[Any]) -> NDArray[Any]:
    """Bring numbers into the byte order of this machine, which most often they are in."""
    return array.astype(array.dtype.newbyteorder("="), copy=False)

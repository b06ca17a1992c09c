"""Model files: settings and arrays of a fitted model, and no code.

The networks are rebuilt by this package from a few checked numbers, never from
what a file says a network is. See `vae_anomaly.storage.container` for the bytes.
"""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Protocol

import numpy as np

from vae_anomaly._parameters import check_parameters
from vae_anomaly._types import AnyArray, Json, JsonObject, KerasModel
from vae_anomaly._version import __version__
from vae_anomaly.data.base import Encoded
from vae_anomaly.data.registry import modality
from vae_anomaly.data.state import EncoderState, Outline
from vae_anomaly.detectors import RECORDS, type_of
from vae_anomaly.exceptions import DataError, ParameterError
from vae_anomaly.inference.network import Network
from vae_anomaly.model.calibration import Calibration
from vae_anomaly.model.cells import N_RANKS
from vae_anomaly.model.file_schema import CUSTOM, PARAMETER_TYPES, check_arrays, check_config
from vae_anomaly.model.model import Model
from vae_anomaly.model.parameters import RULES, network_spec
from vae_anomaly.model.patch_file import PATCHES, patch_contents, patch_model
from vae_anomaly.model.patches import PatchModel
from vae_anomaly.model.reference import (
    HIDDEN_SHARES,
    MAX_COMPARED,
    N_STATISTICS,
    EncodedRows,
    Reference,
)
from vae_anomaly.model.seen import SeenRecords
from vae_anomaly.networks.custom import CustomNetworks
from vae_anomaly.networks.spec import NetworkSpec
from vae_anomaly.storage.container import (
    Layout,
    UnopenedFile,
    refuse,
    write_container,
)
from vae_anomaly.training.history import History

__all__ = [
    "Contents",
    "contents_of",
    "describe",
    "model_of",
    "restored",
    "save_model",
]


class Contents(Protocol):
    """What a model is restored from: a file, or the part of one that holds a model."""

    @property
    def name(self) -> str:
        """Name of the file in messages."""

    @property
    def config(self) -> Json:
        """Settings, not checked yet."""

    def arrays(self, layout: Layout) -> dict[str, AnyArray]:
        """Return the arrays, which must be exactly those of `layout`."""


N_COMPARED = 64
"""Exemplars whose codes and reconstructions tell whether custom networks are those of the fit."""

TOLERANCE = 1e-3
"""Difference of codes and standardised targets above which networks are others."""


def save_model(model: Model, path: str | Path) -> str:
    """Write a model to one file, whole or not at all, and return its SHA-256.

    Raises
    ------
    DataError
        If two columns share a name.
    OutputError
        If the model is larger than can be read, or the file cannot be written.
    """
    return write_container(path, *contents_of(model))


def contents_of(model: Model) -> tuple[JsonObject, dict[str, tuple[str, AnyArray]]]:
    """Return the settings of a model, and its arrays with their types.

    Raises
    ------
    DataError
        If two columns share a name.
    """
    if isinstance(model, PatchModel):
        return patch_contents(model, contents_of)
    spec, reference, names = model.network.spec, model.reference, model.encoder.names
    if names is not None and len(set(names)) != len(names):
        raise DataError("Two columns share a name. Rename one of them and fit again.")
    state = model.encoder.to_state()
    config = {
        "created_with": {"vae_anomaly": __version__},
        "encoder": state.settings,
        "history": asdict(model.history),
        "modality": model.encoder.modality,
        "n_calibration": len(model.calibration.scores),
        "n_coded": int((reference.code_unit > 0).sum()),
        "n_components": 0 if model.prior is None else model.prior.shape[1],
        "n_exemplars": len(reference.points),
        "n_skipped_neighbors": reference.n_skipped_neighbors,
        "n_seen": len(model.seen.learned),
        "n_seen_calibration": len(model.seen.calibration),
        "networks": None if spec.custom is None else spec.custom.as_plain(),
        "parameters": _plain_parameters(model.parameters),
        "threshold": model.calibration.threshold,
    }
    values: dict[str, AnyArray] = {
        **{f"data.{name}": array for name, array in state.arrays.items()},
        "calibration_scores": model.calibration.scores,
        "latent_kl": model.latent_kl,
        "prior": np.empty(0) if model.prior is None else model.prior,
        "noise": model.noise,
        **{f"reference.{name}": getattr(reference, name) for name in REFERENCE_ARRAYS},
        "seen.learned": model.seen.learned,
        "seen.calibration": model.seen.calibration,
        **spec.unpack(model.network.weights),
    }
    layout = _layout(model.encoder.outline, spec, config, len(model.noise))
    return config, {name: (dtype, values[name]) for name, (dtype, _) in layout.items()}


def model_of(
    file: UnopenedFile,
    networks: tuple[KerasModel, KerasModel] | None = None,
    features: str | KerasModel | None = None,
) -> Model:
    """Check an unopened file, and build its model. Nothing in the file is executed.

    Parameters
    ----------
    file : UnopenedFile
    networks : pair of keras.Model, optional
        Encoder and decoder of a model with custom networks. Only their structure is used.
    features : str or keras.Model, optional
        Network of a model that was fitted with features.

    Raises
    ------
    ParameterError
        If `networks` or `features` are missing, needless, or not those of the file, or the file
        holds another type of detector than `RECORDS`.
    ModelFileError
        If the file is not a sound model.
    """
    found = type_of(file)
    if found is not RECORDS:
        raise ParameterError(
            f"{file.name} is a model of {found.contents}, for `score` of a file, `evaluate`, "
            f"`recalibrate`, `export`, `inspect` and, in Python, `load`; not for `serve`, `score "
            f"--stream` and `score --scheduler`."
        )
    return restored(file, networks, features)


def describe(file: UnopenedFile) -> JsonObject:
    """Describe a file in plain values, after the same checks as `model_of`.

    Raises
    ------
    ModelFileError
        If the file is not a sound model.
    """
    model, config = restored(file, described=True), file.config
    inner = config["patch"] if isinstance(model, PatchModel) else config
    return {
        "sha256": file.sha256,
        "created_with": config["created_with"],
        "parameters": inner["parameters"] | config["parameters"],
        "threshold": model.calibration.threshold,
        "calibration_rows": len(model.calibration.scores),
        "weights": int(model.network.weights.size),
        "networks": inner["networks"],
        "modality": config["modality"],
        "steps": model.history.step[-1],
        "loss": model.history.describe(model.unit),
        **model.encoder.describe(),
    }


def _plain_parameters(given: Json) -> JsonObject:
    plain: JsonObject = {}
    for name, types in PARAMETER_TYPES.items():
        value = given[name]
        if name == "architecture":
            plain[name] = value if isinstance(value, str) else CUSTOM
        elif value is None:
            plain[name] = None
        elif name == "hidden_units":
            plain[name] = [int(units) for units in value]
        elif name == "pixel_range":
            plain[name] = [float(end) for end in value]
        elif name == "random_state":
            # A generator has moved on since; only a seed can be used again.
            plain[name] = int(value) if isinstance(value, int | np.integer) else None
        else:
            plain[name] = types[0](value)
    return plain


def _custom_networks(
    name: str, config: JsonObject, networks: Json, *, described: bool
) -> CustomNetworks | None:
    """Read the description of custom networks, and check that they are given where needed."""
    architecture = config["parameters"]["architecture"]
    if (config["networks"] is None) != (architecture != CUSTOM):
        raise refuse(name, "its networks do not match its parameter architecture")
    if networks is not None and architecture != CUSTOM:
        raise ParameterError(
            f"{name} was fitted with architecture={architecture!r}, which needs no networks. Load "
            f"it without them."
        )
    if networks is None and architecture == CUSTOM and not described:
        raise ParameterError(
            f"{name} was fitted with custom networks, which a model file does not hold. Use it in "
            f"Python: load(path, networks=(encoder, decoder))."
        )
    if architecture != CUSTOM:
        return None
    try:
        return CustomNetworks.from_plain(config["networks"])
    except ParameterError as error:
        raise refuse(name, str(error).rstrip(".")) from None


def restored(
    file: Contents, networks: Json = None, features: Json = None, *, described: bool = False
) -> Model:
    """Check a file and build its model; one that is only `described` may lack networks."""
    config = file.config
    is_of_patches = isinstance(config, dict) and config.get("modality") == PATCHES
    if is_of_patches and networks is None:
        return patch_model(file, restored, features, described=described)
    if is_of_patches or features is not None:
        raise ParameterError(
            f"{file.name} was fitted {'with' if is_of_patches else 'without'} features, and needs "
            f"no {'networks' if is_of_patches else 'features'}. Load it without them."
        )
    return _restored_rows(file, networks, described=described)


def _restored_rows(file: Contents, networks: Json, *, described: bool) -> Model:
    """Build a model whose encoder makes a row of each record."""
    config = file.config
    check_config(file.name, config)
    custom = _custom_networks(file.name, config, networks, described=described)
    settings = dict(config["parameters"])
    if custom is not None:
        settings["architecture"] = "auto" if networks is None else networks
    settings["missing_values"] = tuple(settings["missing_values"])
    for key in ("hidden_units", "pixel_range"):
        settings[key] = None if settings[key] is None else tuple(settings[key])
    parameters: Json = SimpleNamespace(**settings)
    data = modality(config["modality"])
    try:
        check_parameters(parameters, {key: RULES[key] for key in settings if key in RULES})
        outline = data.encoder.outline_of(config["encoder"])
        spec = network_spec(parameters, outline, data.defaults.latent_dim, custom)
    except (ParameterError, ValueError) as error:
        raise refuse(file.name, str(error).rstrip(".")) from None
    # An encoder whose likelihood is not a choice of the user does not store it.
    if config["encoder"].get("likelihood", parameters.likelihood) != parameters.likelihood:
        raise refuse(file.name, "the likelihood of its encoder is not that of its parameters")
    if spec.grid is not None and spec.n_inputs != math.prod(spec.grid):
        raise refuse(file.name, "a convolution needs every input")
    draws = 1 if spec.noiseless else parameters.n_draws
    arrays = file.arrays(_layout(outline, spec, config, draws))
    check_arrays(file.name, arrays, config)

    def kept(key: str) -> AnyArray:
        """Copy an array, to release the bytes of the file."""
        return _native(arrays[key].copy())

    state = EncoderState(config["encoder"], {name: kept(f"data.{name}") for name in outline.arrays})
    try:
        encoder = data.encoder.from_state(state)
    except ValueError as error:
        raise refuse(file.name, str(error)) from None
    if custom is not None and networks is not None:
        varies = np.isin(np.arange(outline.n_features), encoder.explained)
        given = CustomNetworks.of(networks, varies, outline.grid)
        spec = replace(spec, custom=given.like(custom))
    reference = {name: kept(f"reference.{name}") for name in REFERENCE_ARRAYS}
    named = parameters.score_type != "auto"
    model = Model(
        encoder=encoder,
        network=Network(spec, _native(spec.pack(arrays))),
        parameters=settings,
        score_type=parameters.score_type if named else data.defaults.score_type,
        beta=parameters.beta,
        noise=kept("noise"),
        prior=kept("prior") if config["n_components"] else None,
        reference=Reference(**reference, n_skipped_neighbors=config["n_skipped_neighbors"]),
        calibration=_calibration(kept("calibration_scores"), config["threshold"], parameters),
        latent_kl=kept("latent_kl"),
        history=History(**config["history"]),
        seen=SeenRecords(kept("seen.learned"), kept("seen.calibration")),
    )
    if networks is not None:
        _check_outputs(file.name, model)
    return model


def _check_outputs(name: str, model: Model) -> None:
    """Raise if custom networks do not encode and decode exemplars as those of the fit did."""
    reference = model.reference
    targets = reference.targets[:N_COMPARED].astype(np.float64)
    encoded = Encoded(targets, targets, np.empty(0))
    if any(block.likelihood == "bernoulli" for block in model.network.spec.blocks):
        encoded = model.encoder.encode_targets(targets)  # inputs differ from targets
    rows = EncodedRows.of(model.network, encoded, model.encoder.explained)
    units = np.append(reference.residual_unit, reference.code_unit[reference.code_unit > 0])
    before = reference.points[: len(targets)] * units
    now = reference.locate(rows.mean, rows.residual) * units
    if not np.allclose(now, before, rtol=TOLERANCE, atol=TOLERANCE):
        raise ParameterError(
            f"{name}: the networks have the weights of those that were fitted, but other outputs: "
            f"an activation, or another setting without weights, is a different one. Give the "
            f"networks of the fit."
        )


def _calibration(scores: AnyArray, threshold: float, parameters: Json) -> Calibration:
    """Build the calibration; parameters say what the threshold comes from."""
    if parameters.threshold is not None:
        return Calibration(scores, threshold, "threshold", parameters.threshold)
    if parameters.contamination is not None:
        return Calibration(scores, threshold, "contamination", parameters.contamination)
    return Calibration(scores, threshold, "false_alarm_rate", parameters.false_alarm_rate)


REFERENCE_ARRAYS = (
    *("code_unit", "residual_unit", "points", "bandwidth", "targets", "position", "undetermined"),
    *("code_center", "code_precision", "typical"),
    *("code_bandwidth", "tail_values", "tail_nats", "tail_shares"),
)


def _layout(outline: Outline, spec: NetworkSpec, config: JsonObject, draws: int) -> Layout:
    """Return the types and shapes of all arrays."""
    members, latent = spec.members, spec.latent
    layout: Layout = {f"data.{name}": array for name, array in outline.arrays.items()}
    layout["calibration_scores"] = ("F64", (config["n_calibration"],))
    layout["latent_kl"] = ("F64", (members, latent))
    if config["n_components"]:
        layout["prior"] = ("F32", (members, config["n_components"], 2 * latent))
    n_exemplars = config["n_exemplars"]
    levels = len(HIDDEN_SHARES) if spec.has_masks else 0
    n_compared = min(n_exemplars, MAX_COMPARED) if spec.has_masks else n_exemplars
    n_apart = n_compared if spec.has_masks and config["n_coded"] else 0
    n_tails = spec.joint.n_features + levels * N_STATISTICS if spec.has_masks else 0
    layout |= {
        "noise": ("F32", (draws, latent)),
        "reference.code_unit": ("F32", (members, latent)),
        "reference.residual_unit": ("F32", (spec.joint.n_targets,)),
        "reference.points": ("F32", (n_exemplars, spec.joint.n_targets + config["n_coded"])),
        "reference.bandwidth": ("F32", (n_compared,)),
        "reference.targets": ("F32", (n_exemplars, spec.joint.n_targets)),
        "reference.position": ("F64", (n_exemplars,)),
        "reference.undetermined": ("F64", (n_exemplars, outline.n_undetermined)),
        "reference.code_center": ("F64", (members, latent)),
        "reference.code_precision": ("F64", (members, latent, latent)),
        "reference.typical": ("F64", (outline.n_features + 1,)),
        "reference.code_bandwidth": ("F32", (n_apart,)),
        "reference.tail_values": ("F32", (n_tails, N_RANKS)),
        "reference.tail_nats": ("F32", (n_tails, N_RANKS)),
        "reference.tail_shares": ("F64", (levels,)),
        "seen.learned": ("U64", (config["n_seen"],)),
        "seen.calibration": ("U64", (config["n_seen_calibration"],)),
    }
    weights = spec.weight_shapes().items()
    return layout | {name: ("F32", (members, *shape)) for name, shape in weights}


def _native(array: AnyArray) -> AnyArray:
    """Convert to the byte order of this machine, which it usually has already."""
    return array.astype(array.dtype.newbyteorder("="), copy=False)

"""Save and load fitted detectors: settings and arrays, and no code.

The networks are rebuilt by this package from a few checked numbers, never from
what a file says a network is. See `vae_anomaly.storage.container` for the bytes.
"""

from __future__ import annotations

import math
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._parameters import check_parameters
from vae_anomaly._version import __version__
from vae_anomaly.data.image.schema import ImageSchema
from vae_anomaly.data.scaling import ColumnScaler
from vae_anomaly.exceptions import DataError, ParameterError
from vae_anomaly.model.file_schema import OWN, PARAMETER_TYPES, check_arrays, check_config
from vae_anomaly.model.parameters import (
    RULES,
    column_names,
    has_aggregated_prior,
    network_spec,
    smoothing_for,
)
from vae_anomaly.model.reference import Reference
from vae_anomaly.model.terms import Scorer, ScoringMixin
from vae_anomaly.networks.custom import CustomNetworks, is_pair
from vae_anomaly.networks.spec import NetworkSpec
from vae_anomaly.storage.container import (
    Layout,
    UnopenedFile,
    open_container,
    refuse,
    write_container,
)
from vae_anomaly.training.history import History

if TYPE_CHECKING:
    from vae_anomaly.estimator import VAEDetector

__all__ = ["inspect", "load", "load_scorer", "load_with_images", "save"]

Kind = TypeVar("Kind", bound=ScoringMixin)


def save(detector: VAEDetector, path: str | Path, images: ImageSchema | None = None) -> str:
    """Write a fitted detector to one file, whole or not at all.

    Parameters
    ----------
    detector : VAEDetector
        Fitted.
    path : str or Path
        Where to; ``.vae`` is the usual suffix. A file that is there is replaced.
        Of networks of the user's own it holds the weights, not the models. It also
        holds up to 4,096 rows, of training and calibration, as the networks see them:
        they can be recovered, so share the file as you would share those.
    images : ImageSchema, optional
        How images were prepared, for whoever prepares others to be scored.

    Returns
    -------
    str
        SHA-256 of the model, for whoever wants to pin it.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the detector is not fitted.
    ParameterError
        If parameters of the networks were changed after fit.
    DataError
        If two columns share a name.
    OutputError
        If the model is larger than `load` accepts, or the file cannot be written.
    """
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(detector)
    columns, spec = detector.columns_, detector.network_spec_
    check_parameters(detector, RULES)
    if (
        not _asks_for(detector, spec)
        or len(detector.noise_) != (1 if spec.noiseless else detector.n_draws)
        or has_aggregated_prior(detector) != (detector.prior_ is not None)
    ):
        raise ParameterError("Parameters were changed after fit. Fit again before saving.")
    names = getattr(detector, "feature_names_in_", None)
    if names is not None and len(set(names)) != len(names):
        raise DataError("Two columns share a name. Rename one of them and fit again.")
    config = {
        "created_with": {"vae_anomaly": __version__},
        "feature_names": None if names is None else list(names),
        "history": asdict(detector.history_),
        "image_shape": None if detector.image_shape_ is None else list(detector.image_shape_),
        "images": None if images is None else asdict(images),
        "n_calibration": len(detector.calibration_scores_),
        "n_coded": int((detector.reference_.code_unit > 0).sum()),
        "n_components": 0 if detector.prior_ is None else detector.prior_.shape[1],
        "n_doubted": detector.reference_.doubted,
        "n_exemplars": len(detector.reference_.points),
        "n_features": detector.n_features_in_,
        "n_varying": spec.columns,
        "networks": None if spec.custom is None else spec.custom.as_plain(),
        "offset": detector.offset_,
        "parameters": _plain_parameters(detector),
        "picture_scale": detector.picture_scale_,
    }
    arrays: dict[str, tuple[str, NDArray[Any]]] = {
        f"columns.{field.name}": ("F64", getattr(columns, field.name))
        for field in fields(ColumnScaler)
    }
    arrays["calibration_scores"] = ("F64", detector.calibration_scores_)
    arrays["latent_kl"] = ("F64", detector.latent_kl_)
    if detector.prior_ is not None:
        arrays["prior"] = ("F32", detector.prior_)
    arrays["noise"] = ("F32", detector.noise_)
    for field, (kind, _) in _reference_layout(spec, config).items():
        arrays[f"reference.{field}"] = (kind, getattr(detector.reference_, field))
    for name, array in spec.unpack(detector.weights_).items():
        arrays[name] = ("F32", array)
    return write_container(path, config, arrays)


def load(path: str | Path, *, networks: tuple[Any, Any] | None = None) -> VAEDetector:
    """Read a detector that `save` wrote. Nothing in the file is executed.

    Parameters
    ----------
    path : str or Path
    networks : pair of keras.Model, optional
        Encoder and decoder, for a detector that was fitted with such. Only their
        structure is used: the weights come from the file.

    Returns
    -------
    VAEDetector
        Fitted; its scores equal those of the saved one to the last bit.

    Raises
    ------
    ParameterError
        If `networks` are missing, needless, or not those of the file.
    ModelFileError
        If the file is not a sound model.
    OSError
        If the file is missing or cannot be read.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from pathlib import Path
    >>> from vae_anomaly import VAEDetector, load, save
    >>> X = np.random.RandomState(0).normal(size=(50, 3))
    >>> detector = VAEDetector(contamination=0.1, max_steps=20, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = save(detector, Path(folder) / "model.vae")
    ...     again = load(Path(folder) / "model.vae")
    >>> bool(np.array_equal(again.score_samples(X), detector.score_samples(X)))
    True
    """
    if networks is not None and not is_pair(networks):
        raise ParameterError(
            f"networks must be None or a pair (encoder, decoder) of Keras models. "
            f"Got {networks!r} instead."
        )
    from vae_anomaly.estimator import VAEDetector

    return _restore(VAEDetector, open_container(path), networks)


def load_scorer(path: str | Path) -> Scorer:
    """Read the scoring side of a detector, without the rest and without scikit-learn."""
    return _restore(Scorer, open_container(path))


def load_with_images(path: str | Path) -> tuple[VAEDetector, ImageSchema | None]:
    """Read a detector, and how images are to be prepared for it, as `load` does."""
    from vae_anomaly.estimator import VAEDetector

    file = open_container(path)
    detector, images = _restore(VAEDetector, file), file.config["images"]
    return detector, None if images is None else ImageSchema(**images)


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
    detector: Any = _restore(Scorer, file, described=True)
    columns, history = detector.columns_, detector.history_
    return {
        "sha256": file.sha256,
        "created_with": file.config["created_with"],
        "parameters": file.config["parameters"],
        "threshold": -detector.offset_,
        "calibration_rows": len(detector.calibration_scores_),
        "weights": int(detector.weights_.size),
        "networks": file.config["networks"],
        "image_shape": file.config["image_shape"],
        "images": file.config["images"],
        "steps": history.step[-1],
        "loss": history.describe(),
        "columns": [
            {
                "name": name,
                "mean": float(columns.center[i]),
                "deviation": float(columns.scale[i]),
                "low": float(columns.low[i]),
                "high": float(columns.high[i]),
                "constant": not columns.varies[i],
            }
            for i, name in enumerate(column_names(detector))
        ],
    }


def _plain_parameters(detector: VAEDetector) -> dict[str, Any]:
    given = detector.get_params()
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


def _asks_for(detector: VAEDetector, spec: NetworkSpec) -> bool:
    """Whether the parameters of a detector still are those of its networks."""
    asked = detector.architecture
    if isinstance(asked, str) != (spec.custom is None):
        return False
    if spec.custom is not None and (spec.custom.encoder, spec.custom.decoder) != tuple(asked):
        return False
    if detector.smoothing_ != smoothing_for(detector, detector.image_shape_):
        return False
    return network_spec(detector, spec.columns, detector.image_shape_, spec.custom) == spec


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


def _restore(
    kind: type[Kind], file: UnopenedFile, networks: Any = None, *, described: bool = False
) -> Kind:
    """Check a file and build its detector; one that is only `described` may lack networks."""
    config = file.config
    check_config(file.name, config)
    custom = _custom_networks(file.name, config, networks, described=described)
    parameters = dict(config["parameters"])
    if custom is not None:
        # Only a detector that is described, and goes no further, lacks its networks.
        parameters["architecture"] = "auto" if networks is None else networks
    if parameters["hidden_units"] is not None:
        parameters["hidden_units"] = tuple(parameters["hidden_units"])
    detector: Any = kind(**parameters)
    try:
        check_parameters(
            detector, {name: rule for name, rule in RULES.items() if name in parameters}
        )
    except ParameterError as error:
        raise refuse(file.name, str(error).rstrip(".")) from None

    image = None if config["image_shape"] is None else tuple(config["image_shape"])
    try:
        spec = network_spec(detector, config["n_varying"], image, custom)
        detector.smoothing_ = smoothing_for(detector, image)
    except ParameterError as error:
        raise refuse(file.name, str(error).rstrip(".")) from None
    if spec.image is not None and spec.columns != math.prod(spec.image):
        raise refuse(file.name, "a convolution needs every pixel")
    if has_aggregated_prior(detector) != bool(config["n_components"]):
        raise refuse(file.name, "the components of its prior do not go with its parameters")
    arrays = file.arrays(_layout(detector, spec, config))
    check_arrays(file.name, arrays, config)

    def kept(key: str) -> NDArray[Any]:
        """Copy an array, to let go of the file's bytes."""
        return _native(arrays[key].copy())

    detector.columns_ = ColumnScaler(
        *(kept(f"columns.{field.name}") for field in fields(ColumnScaler))
    )
    if custom is not None and networks is not None:
        given = CustomNetworks.of(networks, detector.columns_.varies, image)
        spec = replace(spec, custom=given.like(custom))
    detector.calibration_scores_ = kept("calibration_scores")
    detector.latent_kl_, detector.noise_ = kept("latent_kl"), kept("noise")
    detector.prior_ = kept("prior") if has_aggregated_prior(detector) else None
    detector.reference_ = Reference(
        **{key: kept(f"reference.{key}") for key in _reference_layout(spec, config)},
        doubted=config["n_doubted"],
    )
    detector.weights_ = _native(spec.pack(arrays))
    detector.network_spec_ = spec
    detector.image_shape_, detector.picture_scale_ = image, config["picture_scale"]
    detector.history_ = History(**config["history"])
    detector.n_features_in_ = config["n_features"]
    if config["feature_names"] is not None:
        detector.feature_names_in_ = np.asarray(config["feature_names"], dtype=object)
    detector.offset_ = config["offset"]
    return detector


def _layout(detector: VAEDetector, spec: NetworkSpec, config: dict[str, Any]) -> Layout:
    """Types and shapes of all arrays."""
    columns = ("F64", (config["n_features"],))
    layout: Layout = {f"columns.{field.name}": columns for field in fields(ColumnScaler)}
    layout["calibration_scores"] = ("F64", (config["n_calibration"],))
    layout["latent_kl"] = ("F64", (spec.members, spec.latent))
    if has_aggregated_prior(detector):
        layout["prior"] = ("F32", (spec.members, config["n_components"], 2 * spec.latent))
    layout["noise"] = ("F32", (1 if spec.noiseless else detector.n_draws, spec.latent))
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

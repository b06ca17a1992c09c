"""From a detector's parameters to its networks: what they may be, and what they mean."""

from __future__ import annotations

import os
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._parameters import Rule, integer, number, one_of, optional, units
from vae_anomaly.data.image.pixels import ImageShape
from vae_anomaly.exceptions import DataError, ParameterError
from vae_anomaly.networks.custom import CustomNetworks, is_pair
from vae_anomaly.networks.spec import ARCHITECTURES, NetworkSpec
from vae_anomaly.stats.likelihoods import LIKELIHOODS
from vae_anomaly.stats.scores import SCORES

__all__ = [
    "CONVOLUTIONAL",
    "RULES",
    "architecture_for",
    "check_channels",
    "column_names",
    "has_aggregated_prior",
    "network_spec",
    "score_for",
    "scoring_noise",
    "shift_for",
    "smoothing_for",
]

# What training offers; it costs the import of TensorFlow. A test compares them.
OPTIMIZERS = ("adam", "rmsprop")
PRIORS = ("aggregated", "normal")

HIDDEN_UNITS = {"dense": (128, 64), "conv": (16,), "conv_bn": (20,)}
CONVOLUTIONAL = ("conv", "conv_bn")
DENSE_MEMBERS = 4

LATENT_DIM, IMAGE_LATENT_DIM = 32, 8

SMOOTHING_SHARE = 1 / 28
"""Of the longer side: one pixel of Fashion-MNIST, on whose training images it was found."""

NAMED = one_of(("auto", *ARCHITECTURES))

MAX_SHIFTED_CELLS = 25_000_000
"""Numbers in images of which moved copies are learned: for more there is memory for once."""

RULES = {
    "architecture": Rule(
        lambda v: NAMED.holds(v) or is_pair(v),
        f"{NAMED.words}, or a pair (encoder, decoder) of Keras models",
    ),
    "latent_dim": optional(integer(1)),
    "hidden_units": optional(units()),
    "smoothing": optional(number(0, np.inf, "[)")),
    "shift": optional(number(0, np.inf, "[)")),
    "likelihood": one_of(tuple(LIKELIHOODS)),
    "variance": optional(number(1e-30, np.inf, "[)")),
    "prior": one_of(PRIORS),
    "beta": number(0, np.inf, "[)"),
    "n_members": optional(integer(1)),
    "n_draws": integer(1),
    "score_type": one_of(("auto", *SCORES)),
    "optimizer": one_of(OPTIMIZERS),
    "learning_rate": number(0, np.inf, "()"),
    "batch_size": integer(1),
    "max_steps": integer(1),
    "patience": integer(1),
    "false_alarm_rate": number(0, 1, "()"),
    "contamination": optional(number(0, 0.5, "(]")),
    "threshold": optional(number(-np.inf, np.inf, "()")),
    "checkpoint": optional(Rule(lambda v: isinstance(v, str | os.PathLike), "a directory")),
}


class NetworkParameters(Protocol):
    """The parameters of a `VAEDetector` that shape its networks."""

    architecture: Any
    smoothing: float | None
    shift: float | None
    latent_dim: int | None
    hidden_units: tuple[int, ...] | None
    likelihood: str
    variance: float | None
    prior: str
    beta: float
    n_members: int | None


def architecture_for(detector: NetworkParameters, image: ImageShape | None) -> str:
    """Choose the kind of network for images of a shape, or for rows; "own" is the user's.

    Raises
    ------
    ParameterError
        If convolutions are asked for where there are no images.
    """
    if not isinstance(detector.architecture, str):
        return "own"
    if detector.architecture in CONVOLUTIONAL and image is None:
        raise ParameterError(
            f"architecture={detector.architecture!r} needs images: an array of shape "
            "(n, height, width) or (n, height, width, channels). Bring them so, or choose 'dense'."
        )
    return "dense" if detector.architecture == "auto" else detector.architecture


def check_channels(architecture: str, varies: NDArray[np.bool_]) -> None:
    """Refuse convolutions where only some channels of images vary.

    Raises
    ------
    DataError
    """
    constant = np.flatnonzero(~varies)
    if architecture in CONVOLUTIONAL and 0 < len(constant) < len(varies):
        raise DataError(
            f"Channel {constant[0]} of the images has one value throughout the training "
            f"images. Expected channels that vary, which architecture={architecture!r} "
            f"needs. Leave the channel out, or choose 'dense'."
        )


def _within(name: str, pixels: float, image: ImageShape) -> float:
    if pixels > max(image[:2]):
        raise ParameterError(
            f"{name} must not be more pixels than the images have, {max(image[:2])}. "
            f"Got {pixels!r} instead."
        )
    return pixels


def smoothing_for(detector: NetworkParameters, image: ImageShape | None) -> float:
    """Tell by how many pixels images are smoothed for dense networks; convolutions do it."""
    if image is None:
        return 0.0
    if detector.smoothing is not None:
        return _within("smoothing", detector.smoothing, image)
    return SMOOTHING_SHARE * max(image[:2]) if architecture_for(detector, image) == "dense" else 0.0


def shift_for(detector: NetworkParameters, image: ImageShape | None, cells: int) -> float:
    """Tell by how many pixels to move training images, of so many numbers in all."""
    if image is None:
        return 0.0
    if detector.shift is not None:
        return _within("shift", detector.shift, image)
    few = cells <= MAX_SHIFTED_CELLS and architecture_for(detector, image) == "dense"
    return SMOOTHING_SHARE * max(image[:2]) if few else 0.0


def has_aggregated_prior(detector: NetworkParameters) -> bool:
    """Tell whether codes are scored against those of training rows; an autoencoder's are not."""
    return detector.prior == "aggregated" and detector.beta > 0


def score_for(detector: Any) -> str:
    """Tell which score a fitted detector gives: images are too wide for neighbours."""
    if detector.score_type != "auto":
        return detector.score_type
    return "exemplar" if detector.image_shape_ is None else "elbo"


def network_spec(
    detector: NetworkParameters,
    varying: int,
    image: ImageShape | None = None,
    custom: CustomNetworks | None = None,
) -> NetworkSpec:
    """Describe the networks that a detector's parameters ask for, on so many columns.

    Raises
    ------
    ParameterError
        If there is nothing to train.
    """
    architecture = "own" if custom is not None else architecture_for(detector, image)
    convolves = architecture in CONVOLUTIONAL
    most = LATENT_DIM if image is None else IMAGE_LATENT_DIM
    spec = NetworkSpec(
        members=detector.n_members or (DENSE_MEMBERS if architecture == "dense" else 1),
        columns=varying,
        hidden=() if custom else tuple(detector.hidden_units or HIDDEN_UNITS[architecture]),
        latent=custom.latent if custom else detector.latent_dim or most,
        likelihood=detector.likelihood,
        variance=detector.variance if detector.likelihood == "gaussian" else None,
        noiseless=detector.beta == 0,
        image=image if convolves else None,
        batch_norm=architecture == "conv_bn",
        custom=custom,
    )
    if custom is not None and spec.family.n_outputs > 1:
        raise ParameterError(
            f"likelihood={spec.likelihood!r} asks the decoder for {spec.family.n_outputs} numbers "
            f"a column, and networks of your own make one. Choose another likelihood."
        )
    if not spec.n_trainable:
        raise ParameterError(
            "Every weight of the encoder and the decoder is frozen, and the likelihood has none: "
            "there is nothing to train. Set trainable=True on some layers."
        )
    return spec


def column_names(detector: Any) -> list[str]:
    """Names of the columns that a detector was fitted on, or x0, x1, ..."""
    numbered = [f"x{i}" for i in range(detector.n_features_in_)]
    return [str(name) for name in getattr(detector, "feature_names_in_", numbered)]


def scoring_noise(spec: NetworkSpec, draws: int, rng: np.random.RandomState) -> NDArray[np.float32]:
    """Draw signs, in opposite pairs, in place of standard normal noise: (draws, latent).

    Their first three moments are those of the normal, and they all lie one
    deviation out, so that a pair estimates the expectation over q(z|x) with a
    fraction of the variance of normal draws: a random half of the corners of
    the degree-3 rule on the cube (McNamee and Stenger, "Construction of fully
    symmetric numerical integration formulas", :doi:`10.1007/BF02162032`).
    """
    if spec.noiseless:
        return np.zeros((1, spec.latent), dtype=np.float32)
    half = rng.choice([-1.0, 1.0], size=((draws + 1) // 2, spec.latent))
    return np.concatenate([half, -half])[:draws].astype(np.float32)

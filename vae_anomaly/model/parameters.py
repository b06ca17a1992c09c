"""Parameters of a detector: their domains, and the networks that they describe."""

from __future__ import annotations

import math
import os
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._parameters import (
    Rule,
    ascending_pair,
    flag,
    integer,
    number,
    one_of,
    optional,
    texts,
    texts_by_name,
    units,
)
from vae_anomaly._types import Architecture
from vae_anomaly.data.state import Outline
from vae_anomaly.exceptions import ParameterError
from vae_anomaly.names import ARCHITECTURES, LIKELIHOODS, OPTIMIZERS, PRIORS, is_features
from vae_anomaly.networks.custom import CustomNetworks, is_pair
from vae_anomaly.networks.spec import NetworkSpec
from vae_anomaly.stats.scores import SCORES

__all__ = [
    "FALSE_ALARM_RATE",
    "RULES",
    "VERBOSE",
    "NetworkParameters",
    "check_threshold_choice",
    "checked_threshold",
    "has_aggregated_prior",
    "network_spec",
    "scoring_noise",
]

HIDDEN_UNITS = {"dense": (128, 64), "conv": (16,), "conv_bn": (20,)}
CONVOLUTIONAL = ("conv", "conv_bn")
DENSE_MEMBERS = 4

FALSE_ALARM_RATE = 0.01
"""Default of `false_alarm_rate`; where it has another value, it was chosen."""

NAMED = one_of(("auto", *ARCHITECTURES))

VERBOSE = Rule(
    lambda v: flag().holds(v) or integer(0).holds(v),
    "an int >= 0: 1 writes lines of progress, 2 more of them",
)

RULES = {
    "architecture": Rule(
        lambda v: NAMED.holds(v) or is_pair(v),
        f"{NAMED.words}, or a pair (encoder, decoder) of Keras models",
    ),
    "latent_dim": optional(integer(1)),
    "hidden_units": optional(units()),
    "smoothing": optional(number(0, np.inf, "[)")),
    "shift": optional(number(0, np.inf, "[)")),
    "features": optional(Rule(is_features, "'gradients', 'onnx:path#node' or a Keras model")),
    "pixel_range": optional(ascending_pair()),
    "column_types": optional(texts_by_name()),
    "missing_values": texts(),
    "likelihood": one_of(LIKELIHOODS),
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
    "verbose": VERBOSE,
}


def checked_threshold(value: float) -> float:
    """Return a threshold, in nats.

    Raises
    ------
    ParameterError
        If it is not a finite number.
    """
    if not math.isfinite(value):
        raise ParameterError(f"threshold must be a finite number of nats. Got {value!r} instead.")
    return float(value)


class ThresholdParameters(Protocol):
    """Parameters of a detector that choose its threshold."""

    false_alarm_rate: float
    contamination: float | None
    threshold: float | None


def check_threshold_choice(parameters: ThresholdParameters) -> None:
    """Raise if several parameters choose the threshold.

    Raises
    ------
    ParameterError
        "contamination and threshold both choose the threshold. Leave one of them at its default."
    """
    chosen = {
        "contamination": parameters.contamination is not None,
        "threshold": parameters.threshold is not None,
        "false_alarm_rate": parameters.false_alarm_rate != FALSE_ALARM_RATE,
    }
    names = [name for name, is_chosen in chosen.items() if is_chosen]
    if len(names) > 1:
        raise ParameterError(
            f"{names[0]} and {names[1]} both choose the threshold. Leave one of them at its "
            f"default."
        )


class NetworkParameters(Protocol):
    """Parameters of a detector that shape its networks."""

    architecture: Architecture
    latent_dim: int | None
    hidden_units: tuple[int, ...] | None
    likelihood: str
    variance: float | None
    prior: str
    beta: float
    n_members: int | None


def has_aggregated_prior(parameters: NetworkParameters) -> bool:
    """Return whether codes are scored against those of training rows; never without the KL."""
    return parameters.prior == "aggregated" and parameters.beta > 0


def network_spec(
    parameters: NetworkParameters,
    outline: Outline,
    default_latent: int,
    custom: CustomNetworks | None = None,
) -> NetworkSpec:
    """Describe the networks for an encoder.

    Parameters
    ----------
    parameters : NetworkParameters
    outline : Outline
    default_latent : int
        Latent dimensions where the parameters leave them open.
    custom : CustomNetworks, optional

    Raises
    ------
    ParameterError
        If convolutions get no grid, or there is nothing to train.
    """
    grid = outline.grid
    architecture = "custom" if custom is not None else _architecture(parameters, grid)
    spec = NetworkSpec(
        members=parameters.n_members or (DENSE_MEMBERS if architecture == "dense" else 1),
        n_inputs=outline.n_inputs,
        blocks=outline.blocks,
        hidden=() if custom else tuple(parameters.hidden_units or HIDDEN_UNITS[architecture]),
        latent=custom.latent if custom else parameters.latent_dim or default_latent,
        variance=parameters.variance,
        noiseless=parameters.beta == 0,
        grid=grid if architecture in CONVOLUTIONAL else None,
        batch_norm=architecture == "conv_bn",
        custom=custom,
        has_masks=outline.has_masks,
    )
    if custom is not None and not spec.n_inputs == spec.joint.n_targets == spec.joint.n_outputs:
        raise ParameterError(
            f"likelihood={parameters.likelihood!r} asks the decoder for {spec.joint.n_outputs} "
            f"numbers for {spec.n_inputs} columns, and custom networks make one a column. Choose "
            f"another likelihood."
        )
    if custom is not None and not spec.n_trainable:
        raise ParameterError(
            "Every weight of the encoder and the decoder is frozen, and the likelihood has none: "
            "there is nothing to train. Set trainable=True on some layers."
        )
    return spec


def _architecture(parameters: NetworkParameters, grid: tuple[int, int, int] | None) -> str:
    """Return the architecture, where "auto" is "dense"."""
    name = str(parameters.architecture)
    if name in CONVOLUTIONAL and grid is None:
        raise ParameterError(
            f"architecture={name!r} needs a grid: an array of shape (n, height, width) or "
            f"(n, height, width, channels). Bring such an array, or choose 'dense'."
        )
    return "dense" if name == "auto" else name


def scoring_noise(spec: NetworkSpec, draws: int, rng: np.random.RandomState) -> NDArray[np.float32]:
    """Draw random signs in opposite pairs, instead of standard normal noise: (draws, latent).

    Their first three moments are those of the normal distribution, and all have the same
    length, so that a pair estimates the expectation over q(z|x) with a fraction of the
    variance of normal draws: a random half of the corners of the degree-3 rule on the cube
    (McNamee and Stenger, "Construction of fully
    symmetric numerical integration formulas", :doi:`10.1007/BF02162032`).
    """
    if spec.noiseless:
        return np.zeros((1, spec.latent), dtype=np.float32)
    half = rng.choice([-1.0, 1.0], size=((draws + 1) // 2, spec.latent))
    return np.concatenate([half, -half])[:draws].astype(np.float32)

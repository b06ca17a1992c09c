"""Networks of the VAE of windows."""

from __future__ import annotations

import warnings
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._types import Parameter
from vae_anomaly.estimator import VAEDetector
from vae_anomaly.model.model import Model
from vae_anomaly.training.collapse import UnusedLatentWarning

if TYPE_CHECKING:
    import keras

__all__ = ["TRAINING", "fit_windows", "networks_of"]

Array = NDArray[np.float64]

TRAINING = ("architecture", "max_steps", "callback", "verbose")
"""Parameters of `SeriesDetector` for `fit_windows`."""

LATENT = 16
"""Latent dimensions of convolutional and recurrent networks."""

FILTERS = (32, 64)
"""Filters of the two convolutions, which halve the window each."""

KERNEL = 5
"""Time steps that a convolution sees."""

UNITS = 64
"""Units of a recurrent layer."""


def fit_windows(
    windows: Array,
    channels: int,
    rng: np.random.RandomState,
    *,
    architecture: str,
    **training: Parameter,
) -> Model:
    """Fit a VAE to flat windows, (n, window * channels); `training` is for `VAEDetector`."""
    shape = windows.shape[1] // channels, channels
    detector = VAEDetector(
        architecture="dense" if architecture == "dense" else networks_of(architecture, *shape),
        score_type="reconstruction",
        threshold=0.0,  # thresholds of time steps are chosen elsewhere
        random_state=rng,
        **training,
    )
    with warnings.catch_warnings():
        # White noise needs no latent dimension; windows are compared with exemplars as well.
        warnings.simplefilter("ignore", UnusedLatentWarning)
        return detector.fit(windows).model_


def networks_of(architecture: str, window: int, channels: int) -> tuple[keras.Model, keras.Model]:
    """Return encoder and decoder, for `VAEDetector`, of windows (window, channels).

    "conv" has two convolutions of 5 steps with 32 and 64 filters, which halve the window, and
    their transposes. "lstm" and "gru" have one recurrent layer of 64 units, whose last state is
    encoded, and another that unrolls the code over the window (Malhotra et al., "LSTM-based
    encoder-decoder for multi-sensor anomaly detection", :arxiv:`1607.00148`).
    """
    import keras
    from keras import layers

    start, code = keras.Input((window, channels)), keras.Input((LATENT,))
    if architecture == "conv":
        x, short = start, ceil(ceil(window / 2) / 2)
        for n in FILTERS:
            x = layers.Conv1D(n, KERNEL, strides=2, padding="same", activation="relu")(x)
        encoded = layers.Dense(2 * LATENT)(layers.Flatten()(x))
        x = layers.Dense(short * FILTERS[1], activation="relu")(code)
        x = layers.Reshape((short, FILTERS[1]))(x)
        x = layers.Conv1DTranspose(
            FILTERS[0], KERNEL, strides=2, padding="same", activation="relu"
        )(x)
        x = layers.Conv1DTranspose(channels, KERNEL, strides=2, padding="same")(x)
        decoded = layers.Cropping1D((0, 4 * short - window))(x)
    else:
        recurrent = layers.LSTM if architecture == "lstm" else layers.GRU
        encoded = layers.Dense(2 * LATENT)(recurrent(UNITS)(start))
        x = recurrent(UNITS, return_sequences=True)(layers.RepeatVector(window)(code))
        decoded = layers.Dense(channels)(x)
    return keras.Model(start, encoded), keras.Model(code, decoded)

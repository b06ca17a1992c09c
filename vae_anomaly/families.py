"""Families of p(x|z), the distribution of a row given its latent code.

A family says what it learns beside the decoder, and evaluates log p(x|z) column by
column, in nats. It knows no library of its own: `ops` is `keras.ops` in training,
`densities.PLAIN` where rows are scored, or writes an ONNX graph. So each formula
stands in one place.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.densities import (
    PLAIN,
    bernoulli_log_density,
    floored_log_variance,
    gaussian_log_density,
    student_t_log_density,
)

__all__ = ["FAMILIES", "Bernoulli", "Family", "Gaussian", "StudentT"]

Tensor = Any
Array = NDArray[np.float64]
Parameters = Mapping[str, Tensor]

LEAST_VARIANCE = 1e-4
"""Of Bernoulli columns that never vary: as of learned variances."""

LEAST_DEGREES, MORE_DEGREES = 2.1, 100.0
"""Of freedom: a variance exists above 2, and beyond a hundred a Student t is a Gaussian."""


class Family(ABC):
    """A distribution of independent columns.

    Attributes
    ----------
    variance : float or None
        That somebody fixed, for families that have one.
    start : dict of str to float
        Names of the parameters that are learned, one number for each member and
        column, and the values with which training starts.
    """

    start: Mapping[str, float] = {}

    def __init__(self, variance: float | None = None) -> None:
        self.variance = variance

    @abstractmethod
    def log_density(self, ops: Any, x: Tensor, outputs: Tensor, parameters: Parameters) -> Tensor:
        """Log p(x|z) of every cell, for outputs of the decoder."""

    def mean(self, ops: Any, outputs: Tensor) -> Tensor:
        """Return the expected rows."""
        return outputs

    @abstractmethod
    def draw(self, rng: np.random.RandomState, means: Array, parameters: Parameters) -> Array:
        """Draw cells with these means, and parameters of the same shape."""

    @abstractmethod
    def unit(self, means: Array, parameters: Parameters) -> Array:
        """Tell standard deviations, averaged over members or rows: (columns,).

        Takes expected rows, (n, columns), and parameters, (members, columns).
        """


class Gaussian(Family):
    """Normal columns around the decoder's outputs.

    Parameters
    ----------
    variance : float or None
        Variance of every column, in squared standard deviations; None learns one
        for each.

    Notes
    -----
    A learned variance weighs each column by how well it can be predicted
    (Rybkin, Daniilidis and Levine, "Simple and effective VAE training with
    calibrated decoders", :arxiv:`2006.13202`). It has a floor,
    `densities.MIN_VARIANCE`.
    """

    def __init__(self, variance: float | None = None) -> None:
        super().__init__(variance)
        self.start = {"log_variance": 0.0} if variance is None else {}

    def _log_variance(self, ops: Any, parameters: Parameters) -> Tensor:
        if self.variance is not None:
            return math.log(self.variance)
        return floored_log_variance(ops, parameters["log_variance"])

    def log_density(self, ops: Any, x: Tensor, outputs: Tensor, parameters: Parameters) -> Tensor:
        """See `Family`."""
        return gaussian_log_density(ops, x, outputs, self._log_variance(ops, parameters))

    def draw(self, rng: np.random.RandomState, means: Array, parameters: Parameters) -> Array:
        """See `Family`."""
        deviation = np.exp(0.5 * self._log_variance(PLAIN, parameters))
        return means + deviation * rng.standard_normal(means.shape)

    def unit(self, means: Array, parameters: Parameters) -> Array:
        """See `Family`; squared errors are weighed by the mean of inverse deviations."""
        if self.variance is not None:
            return np.full(means.shape[1], np.sqrt(self.variance))
        return 1 / np.exp(-0.5 * self._log_variance(PLAIN, parameters)).mean(axis=0)


class StudentT(Family):
    """Columns with heavy tails: a Student t around the decoder's outputs.

    Scale and degrees of freedom are learned for each column: a column without
    outliers comes close to a Gaussian, in one with many none of them pulls at the
    network for long. Takahashi et al., "Student-t variational autoencoder for
    robust density estimation", IJCAI 2018.
    """

    start: Mapping[str, float] = {"log_variance": 0.0, "raw_degrees": -2.5}

    def _scale_and_degrees(self, ops: Any, parameters: Parameters) -> tuple[Tensor, Tensor]:
        log_squared_scale = floored_log_variance(ops, parameters["log_variance"])
        degrees = LEAST_DEGREES + MORE_DEGREES * ops.sigmoid(parameters["raw_degrees"])
        return log_squared_scale, degrees

    def log_density(self, ops: Any, x: Tensor, outputs: Tensor, parameters: Parameters) -> Tensor:
        """See `Family`."""
        log_squared_scale, degrees = self._scale_and_degrees(ops, parameters)
        return student_t_log_density(ops, x, outputs, log_squared_scale, degrees)

    def draw(self, rng: np.random.RandomState, means: Array, parameters: Parameters) -> Array:
        """See `Family`."""
        log_squared_scale, degrees = self._scale_and_degrees(PLAIN, parameters)
        return means + np.exp(0.5 * log_squared_scale) * rng.standard_t(degrees, size=means.shape)

    def unit(self, means: Array, parameters: Parameters) -> Array:
        """See `Gaussian.unit`."""
        log_squared_scale, degrees = self._scale_and_degrees(PLAIN, parameters)
        log_variance = log_squared_scale + np.log(degrees / (degrees - 2.0))
        return 1 / np.exp(-0.5 * log_variance).mean(axis=0)


class Bernoulli(Family):
    """Coins: the log loss of values in [0, 1] against the decoder's logits."""

    def log_density(self, ops: Any, x: Tensor, outputs: Tensor, parameters: Parameters) -> Tensor:
        """See `Family`."""
        return bernoulli_log_density(ops, x, outputs)

    def mean(self, ops: Any, outputs: Tensor) -> Tensor:
        """Return probabilities."""
        return ops.sigmoid(outputs)

    def draw(self, rng: np.random.RandomState, means: Array, parameters: Parameters) -> Array:
        """See `Family`."""
        return (rng.uniform(size=means.shape) < means).astype(np.float64)

    def unit(self, means: Array, parameters: Parameters) -> Array:
        """See `Family`."""
        return np.sqrt(np.maximum((means * (1 - means)).mean(axis=0), LEAST_VARIANCE))


FAMILIES: dict[str, type[Family]] = {
    "gaussian": Gaussian,
    "student_t": StudentT,
    "bernoulli": Bernoulli,
}

"""Families of p(x|z), the distribution of a row given its latent code.

A family says what it learns or measures beside the decoder, and evaluates log p(x|z)
column by column, in nats. It knows no library of its own: `ops` is `keras.ops` in training,
`densities.numpy_ops` where rows are scored, or writes an ONNX graph. So each formula
stands in one place.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.stats.densities import (
    MIN_VARIANCE,
    bernoulli_log_density,
    floored_log_variance,
    gaussian_log_density,
    logistic_log_mass,
    numpy_ops,
    student_t_log_density,
)
from vae_anomaly.stats.soft_clip import CLIP_THRESHOLD, inverse_soft_clip, soft_clip

__all__ = [
    "LIKELIHOODS",
    "Bernoulli",
    "Block",
    "DiscretizedLogistic",
    "Likelihood",
    "Gaussian",
    "HeteroscedasticGaussian",
    "StudentT",
]

Tensor = Any
Array = NDArray[np.float64]
Parameters = Mapping[str, Tensor]
Outputs = Sequence[Tensor]

MIN_BERNOULLI_VARIANCE = 1e-4
"""Of Bernoulli columns that never vary: as of learned variances."""

MIN_DEGREES, DEGREES_RANGE = 2.1, 100.0
"""Of freedom: a variance exists above 2, and beyond a hundred a Student t is a Gaussian."""

LOG_DEVIATION = 0.5 * math.log(math.pi**2 / 3)
"""Log of the standard deviation of a logistic distribution of scale 1."""

FINEST = 1e-3
"""Steps are told from a continuous column down to this part of its range."""

EVEN = 0.01
"""How far from a step a gap between values may be, in units of the finest: they are rounded."""


class Block(NamedTuple):
    """Consecutive targets that one likelihood explains.

    Attributes
    ----------
    likelihood : str
        Name in `LIKELIHOODS`.
    features : tuple of int
        Features that the targets belong to, in order.
    width : int
        Targets of each feature.
    """

    likelihood: str
    features: tuple[int, ...]
    width: int = 1

    @property
    def n_targets(self) -> int:
        """Number of targets."""
        return len(self.features) * self.width


class Likelihood(ABC):
    """A distribution of independent columns.

    Attributes
    ----------
    variance : float or None
        That somebody fixed, for families that have one.
    learned_parameters : dict of str to float
        Names of the parameters that are learned, one number for each member and
        column, and the values with which training starts.
    fixed_parameters : tuple of str
        Names of the parameters that are measured, by `estimate`, and then stay.
    n_outputs : int
        Numbers that the decoder makes for each column.
    """

    learned_parameters: Mapping[str, float] = {}
    fixed_parameters: tuple[str, ...] = ()
    n_outputs = 1

    def __init__(self, variance: float | None = None) -> None:
        self.variance = variance

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of what goes with the decoder's outputs."""
        return (*self.learned_parameters, *self.fixed_parameters)

    def estimate(self, target: Array) -> dict[str, Array]:
        """Measure the parameters that are `given` by rows, (n, columns): (columns,) each."""
        return {}

    def parts(self, outputs: Tensor) -> Outputs:
        """Split what a decoder makes, (..., outputs), into its kinds, (..., columns) each.

        The numbers of a column stand side by side, as channels of a pixel do.
        """
        if self.n_outputs == 1:
            return (outputs,)
        return tuple(outputs[..., i :: self.n_outputs] for i in range(self.n_outputs))

    @abstractmethod
    def log_prob(self, ops: Any, x: Tensor, outputs: Outputs, parameters: Parameters) -> Tensor:
        """Log p(x|z) of every cell, for outputs of the decoder, each of the shape of x."""

    def mean(self, ops: Any, outputs: Outputs) -> Tensor:
        """Return the expected rows."""
        return outputs[0]

    @abstractmethod
    def sample(self, rng: np.random.RandomState, outputs: Outputs, parameters: Parameters) -> Array:
        """Draw cells for outputs of the decoder, and parameters of the same shape."""

    @abstractmethod
    def residual_scale(self, means: Array, residual: Array, parameters: Parameters) -> Array:
        """Tell standard deviations, averaged over members or rows: (columns,).

        Takes expected rows and what they leave unexplained, (n, columns), and
        parameters, (members, columns).
        """


class Gaussian(Likelihood):
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
        self.learned_parameters = {"log_variance": 0.0} if variance is None else {}

    def _log_variance(self, ops: Any, parameters: Parameters) -> Tensor:
        if self.variance is not None:
            return math.log(self.variance)
        return floored_log_variance(ops, parameters["log_variance"])

    def log_prob(self, ops: Any, x: Tensor, outputs: Outputs, parameters: Parameters) -> Tensor:
        """See `Likelihood`."""
        return gaussian_log_density(ops, x, outputs[0], self._log_variance(ops, parameters))

    def sample(self, rng: np.random.RandomState, outputs: Outputs, parameters: Parameters) -> Array:
        """See `Likelihood`."""
        deviation = np.exp(0.5 * self._log_variance(numpy_ops, parameters))
        return outputs[0] + deviation * rng.standard_normal(outputs[0].shape)

    def residual_scale(self, means: Array, residual: Array, parameters: Parameters) -> Array:
        """See `Likelihood`; squared errors are weighed by the mean of inverse deviations."""
        if self.variance is not None:
            return np.full(means.shape[1], np.sqrt(self.variance))
        return 1 / np.exp(-0.5 * self._log_variance(numpy_ops, parameters)).mean(axis=0)


class HeteroscedasticGaussian(Likelihood):
    """Normal columns whose variances the decoder tells as well, anew for each row.

    Two outputs a column: the mean, and the log of a variance to which
    `densities.MIN_VARIANCE` is added. Kingma and Welling, "Auto-encoding variational
    Bayes", appendix C.2 (:arxiv:`1312.6114`).
    """

    n_outputs = 2

    def log_prob(self, ops: Any, x: Tensor, outputs: Outputs, parameters: Parameters) -> Tensor:
        """See `Likelihood`."""
        mean, raw = outputs
        return gaussian_log_density(ops, x, mean, floored_log_variance(ops, raw))

    def sample(self, rng: np.random.RandomState, outputs: Outputs, parameters: Parameters) -> Array:
        """See `Likelihood`."""
        mean, raw = outputs
        deviation = np.exp(0.5 * floored_log_variance(numpy_ops, raw))
        return mean + deviation * rng.standard_normal(mean.shape)

    def residual_scale(self, means: Array, residual: Array, parameters: Parameters) -> Array:
        """See `Likelihood`: what a variance for all rows would have been, its likeliest value."""
        return np.sqrt(np.maximum((residual**2).mean(axis=0), MIN_VARIANCE))


class StudentT(Likelihood):
    """Columns with heavy tails: a Student t around the decoder's outputs.

    Scale and degrees of freedom are learned for each column: a column without
    outliers comes close to a Gaussian, in one with many none of them pulls at the
    network for long. Takahashi et al., "Student-t variational autoencoder for
    robust density estimation", IJCAI 2018.
    """

    learned_parameters: Mapping[str, float] = {"log_variance": 0.0, "raw_degrees": -2.5}

    def _scale_and_degrees(self, ops: Any, parameters: Parameters) -> tuple[Tensor, Tensor]:
        log_squared_scale = floored_log_variance(ops, parameters["log_variance"])
        degrees = MIN_DEGREES + DEGREES_RANGE * ops.sigmoid(parameters["raw_degrees"])
        return log_squared_scale, degrees

    def log_prob(self, ops: Any, x: Tensor, outputs: Outputs, parameters: Parameters) -> Tensor:
        """See `Likelihood`."""
        log_squared_scale, degrees = self._scale_and_degrees(ops, parameters)
        return student_t_log_density(ops, x, outputs[0], log_squared_scale, degrees)

    def sample(self, rng: np.random.RandomState, outputs: Outputs, parameters: Parameters) -> Array:
        """See `Likelihood`."""
        log_squared_scale, degrees = self._scale_and_degrees(numpy_ops, parameters)
        noise = rng.standard_t(degrees, size=outputs[0].shape)
        return outputs[0] + np.exp(0.5 * log_squared_scale) * noise

    def residual_scale(self, means: Array, residual: Array, parameters: Parameters) -> Array:
        """See `Gaussian.residual_scale`."""
        log_squared_scale, degrees = self._scale_and_degrees(numpy_ops, parameters)
        log_variance = log_squared_scale + np.log(degrees / (degrees - 2.0))
        return 1 / np.exp(-0.5 * log_variance).mean(axis=0)


class DiscretizedLogistic(Likelihood):
    """Counts, codes and whatever else has steps: the probability of a step, not a density.

    A column whose values in training lie on a lattice, no finer than `FINEST` of their
    range, gets the mass that a logistic distribution around the decoder's output has on
    the step around a value; any other column its density. Values beyond the knee of
    `scaling` do not count in that. The scale is learned for each column. So a value that
    is certain costs nothing, whatever the scale, and surprises cost in proportion to how
    far out they are, not to its square.
    Salimans et al., "PixelCNN++" (:arxiv:`1701.05517`), section 2.1.
    """

    learned_parameters: Mapping[str, float] = {"log_variance": 0.0}
    fixed_parameters = ("step", "origin")

    def estimate(self, target: Array) -> dict[str, Array]:
        """Find the lattice of each column: its step, 0 where there is none, and a place on it."""
        lattices = [_lattice(column) for column in target.T]
        step, origin = np.array(lattices).T
        return {"step": step, "origin": origin}

    def _log_scale(self, ops: Any, parameters: Parameters) -> Tensor:
        """Half the log of the variance, less that of a logistic distribution of scale 1."""
        return 0.5 * floored_log_variance(ops, parameters["log_variance"]) - LOG_DEVIATION

    def log_prob(self, ops: Any, x: Tensor, outputs: Outputs, parameters: Parameters) -> Tensor:
        """See `Likelihood`."""
        log_scale = self._log_scale(ops, parameters)
        return logistic_log_mass(ops, x, outputs[0], log_scale, parameters["step"])

    def sample(self, rng: np.random.RandomState, outputs: Outputs, parameters: Parameters) -> Array:
        """See `Likelihood`; drawn values lie on the lattice, as float32 knows it."""
        scale, shape = np.exp(self._log_scale(numpy_ops, parameters)), outputs[0].shape
        drawn = outputs[0] + scale * rng.logistic(size=shape)
        step, origin = (np.broadcast_to(parameters[name], shape) for name in self.fixed_parameters)
        steps = step > 0
        on = np.rint((inverse_soft_clip(drawn[steps]) - origin[steps]) / step[steps])
        drawn[steps] = soft_clip(origin[steps] + on * step[steps])
        return drawn

    def residual_scale(self, means: Array, residual: Array, parameters: Parameters) -> Array:
        """See `Gaussian.residual_scale`."""
        deviation = np.exp(self._log_scale(numpy_ops, parameters) + LOG_DEVIATION)
        return 1 / (1 / deviation).mean(axis=0)


class Bernoulli(Likelihood):
    """Coins: the log loss of values in [0, 1] against the decoder's logits."""

    def log_prob(self, ops: Any, x: Tensor, outputs: Outputs, parameters: Parameters) -> Tensor:
        """See `Likelihood`."""
        return bernoulli_log_density(ops, x, outputs[0])

    def mean(self, ops: Any, outputs: Outputs) -> Tensor:
        """Return probabilities."""
        return ops.sigmoid(outputs[0])

    def sample(self, rng: np.random.RandomState, outputs: Outputs, parameters: Parameters) -> Array:
        """See `Likelihood`."""
        means = self.mean(numpy_ops, outputs)
        return (rng.uniform(size=means.shape) < means).astype(np.float64)

    def residual_scale(self, means: Array, residual: Array, parameters: Parameters) -> Array:
        """See `Likelihood`."""
        return np.sqrt(np.maximum((means * (1 - means)).mean(axis=0), MIN_BERNOULLI_VARIANCE))


def _lattice(values: Array) -> tuple[float, float]:
    """Step of the lattice that values lie on, and a place on it; (0, 0) if it is too fine."""
    distinct = np.unique(values[np.abs(values) <= CLIP_THRESHOLD])  # further out they are bent
    gaps = np.diff(distinct)
    if not len(gaps):
        return 0.0, 0.0
    finest = FINEST * (distinct[-1] - distinct[0])
    step = gaps.min()
    while step > finest:  # Euclid's algorithm, with rounding
        over = np.abs(gaps - step * np.rint(gaps / step))
        if over.max() <= EVEN * finest:
            return float(step), float(distinct[0])
        step = over[over > EVEN * finest].min()
    return 0.0, 0.0


LIKELIHOODS: dict[str, type[Likelihood]] = {
    "gaussian": Gaussian,
    "heteroscedastic": HeteroscedasticGaussian,
    "student_t": StudentT,
    "discretized_logistic": DiscretizedLogistic,
    "bernoulli": Bernoulli,
}

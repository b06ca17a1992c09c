"""Likelihoods p(x|z): the distribution of targets given the latent code, in nats.

A `Likelihood` evaluates log p(x|z) for targets of one type; a `JointLikelihood` joins several
over blocks of targets. Neither knows a library: `ops` is `keras_ops` in training,
`densities.numpy_ops` where records are scored, `onnx_ops` in an ONNX graph. Method names
follow `torch.distributions` and NumPyro.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._types import Ops, Tensor
from vae_anomaly.stats.categorical import Categorical
from vae_anomaly.stats.densities import (
    bernoulli_log_density,
    gaussian_log_density,
    logistic_log_mass,
    numpy_ops,
    student_t_log_density,
)
from vae_anomaly.stats.lattice import lattice_of
from vae_anomaly.stats.likelihood import Likelihood, Outputs, Parameters
from vae_anomaly.stats.soft_clip import inverse_soft_clip, soft_clip

__all__ = [
    "LIKELIHOODS",
    "MIN_VARIANCE",
    "Bernoulli",
    "Block",
    "Categorical",
    "DiscretizedLogistic",
    "Gaussian",
    "HeteroscedasticGaussian",
    "JointLikelihood",
    "Likelihood",
    "StudentT",
    "floored_log_variance",
]

Array = NDArray[np.float64]

MIN_VARIANCE = 1e-4
"""Minimum of learned variances; without it the density of a predictable column is unbounded."""

MIN_BERNOULLI_VARIANCE = 1e-4
"""Floor of the variance of a Bernoulli target, as of learned variances."""

MIN_DEGREES, DEGREES_RANGE = 2.1, 100.0
"""Degrees of freedom: a variance exists above 2; beyond a hundred a Student t is a Gaussian."""

LOG_DEVIATION = 0.5 * math.log(math.pi**2 / 3)
"""Log of the standard deviation of a logistic distribution of scale 1."""


class Block(NamedTuple):
    """Consecutive targets that one likelihood explains.

    Attributes
    ----------
    likelihood : str
        Name in `LIKELIHOODS`.
    n_features : int
        Features that the targets belong to.
    width : int
        Targets of each feature.
    """

    likelihood: str
    n_features: int
    width: int = 1

    @property
    def n_targets(self) -> int:
        """Number of targets."""
        return self.n_features * self.width


def floored_log_variance(ops: Ops, raw: Tensor) -> Tensor:
    """Return the log of a learned variance, log(exp(raw) + `MIN_VARIANCE`)."""
    return ops.logaddexp(raw, math.log(MIN_VARIANCE))


class Gaussian(Likelihood):
    """Normal columns around the decoder's outputs.

    Parameters
    ----------
    variance : float or None
        Variance of every column, in squared standard deviations; None learns one
        for each.

    Notes
    -----
    A learned variance weights each column by how well it can be predicted
    (Rybkin, Daniilidis and Levine, "Simple and effective VAE training with
    calibrated decoders", :arxiv:`2006.13202`). It has a floor, `MIN_VARIANCE`.
    """

    def __init__(self, variance: float | None = None) -> None:
        self.variance = variance
        self.learned_parameters = {"log_variance": 0.0} if variance is None else {}

    def _log_variance(self, ops: Ops, parameters: Parameters) -> Tensor:
        if self.variance is not None:
            return math.log(self.variance)
        return floored_log_variance(ops, parameters["log_variance"])

    def log_prob(self, ops: Ops, x: Tensor, outputs: Outputs, parameters: Parameters) -> Tensor:
        """See `Likelihood`."""
        return gaussian_log_density(ops, x, outputs[0], self._log_variance(ops, parameters))

    def sample(self, rng: np.random.RandomState, outputs: Outputs, parameters: Parameters) -> Array:
        """See `Likelihood`."""
        deviation = np.exp(0.5 * self._log_variance(numpy_ops, parameters))
        return outputs[0] + deviation * rng.standard_normal(outputs[0].shape)

    def residual_scale(self, means: Array, residual: Array, parameters: Parameters) -> Array:
        """See `Likelihood`; the inverse of the mean of inverse deviations."""
        if self.variance is not None:
            return np.full(means.shape[1], np.sqrt(self.variance))
        return 1 / np.exp(-0.5 * self._log_variance(numpy_ops, parameters)).mean(axis=0)


class HeteroscedasticGaussian(Likelihood):
    """Normal columns whose variances are outputs of the decoder too, different for each row.

    Two outputs a target: the mean, and the log of a variance to which `MIN_VARIANCE` is added.
    Kingma and Welling, "Auto-encoding variational Bayes", appendix C.2 (:arxiv:`1312.6114`).
    """

    n_outputs = 2

    def log_prob(self, ops: Ops, x: Tensor, outputs: Outputs, parameters: Parameters) -> Tensor:
        """See `Likelihood`."""
        mean, raw = outputs
        return gaussian_log_density(ops, x, mean, floored_log_variance(ops, raw))

    def sample(self, rng: np.random.RandomState, outputs: Outputs, parameters: Parameters) -> Array:
        """See `Likelihood`."""
        mean, raw = outputs
        deviation = np.exp(0.5 * floored_log_variance(numpy_ops, raw))
        return mean + deviation * rng.standard_normal(mean.shape)

    def residual_scale(self, means: Array, residual: Array, parameters: Parameters) -> Array:
        """See `Likelihood`; the maximum-likelihood estimate of one variance for all rows."""
        return np.sqrt(np.maximum((residual**2).mean(axis=0), MIN_VARIANCE))


class StudentT(Likelihood):
    """Columns with heavy tails: a Student t around the decoder's outputs.

    Scale and degrees of freedom are learned for each column: a column without
    outliers comes close to a Gaussian, and outliers have a bounded gradient. Takahashi et
    al., "Student-t variational autoencoder for robust density estimation", IJCAI 2018.
    """

    learned_parameters: Mapping[str, float] = {"log_variance": 0.0, "raw_degrees": -2.5}

    def _scale_and_degrees(self, ops: Ops, parameters: Parameters) -> tuple[Tensor, Tensor]:
        log_squared_scale = floored_log_variance(ops, parameters["log_variance"])
        degrees = MIN_DEGREES + DEGREES_RANGE * ops.sigmoid(parameters["raw_degrees"])
        return log_squared_scale, degrees

    def log_prob(self, ops: Ops, x: Tensor, outputs: Outputs, parameters: Parameters) -> Tensor:
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
    """Counts, codes and other lattices: the probability of a step instead of a density.

    A column whose training values lie on a lattice, no finer than `MIN_STEP` of their
    range, gets the mass that a logistic distribution around the decoder's output has on
    the step around a value; any other column its density. Values beyond `CLIP_THRESHOLD`
    are ignored. The scale is learned for each column. A certain value costs nothing,
    whatever the scale, and the cost of a deviation grows linearly, not with its square.
    Salimans et al., "PixelCNN++" (:arxiv:`1701.05517`), section 2.1.
    """

    learned_parameters: Mapping[str, float] = {"log_variance": 0.0}
    fixed_parameters = ("step", "origin")

    def estimate(self, targets: Array) -> dict[str, Array]:
        """Find the lattice of each column: its step, 0 if there is none, and a value on it."""
        lattices = [lattice_of(column) for column in targets.T]
        step, origin = np.array(lattices).T
        return {"step": step, "origin": origin}

    def _log_scale(self, ops: Ops, parameters: Parameters) -> Tensor:
        """Return half the log of the variance, minus that of a logistic distribution of scale 1."""
        return 0.5 * floored_log_variance(ops, parameters["log_variance"]) - LOG_DEVIATION

    def log_prob(self, ops: Ops, x: Tensor, outputs: Outputs, parameters: Parameters) -> Tensor:
        """See `Likelihood`."""
        log_scale = self._log_scale(ops, parameters)
        return logistic_log_mass(ops, x, outputs[0], log_scale, parameters["step"])

    def sample(self, rng: np.random.RandomState, outputs: Outputs, parameters: Parameters) -> Array:
        """See `Likelihood`; drawn values lie on the lattice, in float32."""
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
    """Bernoulli: the log loss of values in [0, 1] with logits from the decoder."""

    mean_is_output = False

    def log_prob(self, ops: Ops, x: Tensor, outputs: Outputs, parameters: Parameters) -> Tensor:
        """See `Likelihood`."""
        return bernoulli_log_density(ops, x, outputs[0])

    def mean(self, ops: Ops, outputs: Outputs) -> Tensor:
        """Return probabilities."""
        return ops.sigmoid(outputs[0])

    def sample(self, rng: np.random.RandomState, outputs: Outputs, parameters: Parameters) -> Array:
        """See `Likelihood`."""
        means = self.mean(numpy_ops, outputs)
        return (rng.uniform(size=means.shape) < means).astype(np.float64)

    def residual_scale(self, means: Array, residual: Array, parameters: Parameters) -> Array:
        """See `Likelihood`."""
        return np.sqrt(np.maximum((means * (1 - means)).mean(axis=0), MIN_BERNOULLI_VARIANCE))


LIKELIHOODS: dict[str, type[Likelihood]] = {
    "gaussian": Gaussian,
    "heteroscedastic": HeteroscedasticGaussian,
    "student_t": StudentT,
    "discretized_logistic": DiscretizedLogistic,
    "bernoulli": Bernoulli,
    "categorical": Categorical,
}
"""By name. "categorical" is for categories alone: users do not choose it."""


class JointLikelihood:
    """Independent blocks of targets, each with its own likelihood.

    Parameters of a block are named ``likelihood_i.name``, with i the number of the block.

    Parameters
    ----------
    blocks : tuple of Block
    variance : float or None
        Fixed variance of Gaussian blocks.

    Attributes
    ----------
    mean_outputs : ndarray of int of shape (n_targets,) or None
        Outputs of the decoder that are the expected targets themselves, so that their means are
        the means of these; None where any is computed from outputs.

    Examples
    --------
    >>> joint = JointLikelihood((Block("gaussian", 2), Block("bernoulli", 1)), variance=1.0)
    >>> joint.n_targets, joint.n_outputs, joint.n_features
    (3, 3, 3)
    >>> joint.log_prob(numpy_ops, np.zeros((1, 3)), np.zeros((1, 3)), {}).round(2).tolist()
    [[-0.92, -0.92, -0.69]]
    """

    def __init__(self, blocks: tuple[Block, ...], variance: float | None = None) -> None:
        self.blocks = blocks
        self.likelihoods = tuple(
            Gaussian(variance) if one.likelihood == "gaussian" else LIKELIHOODS[one.likelihood]()
            for one in blocks
        )
        self.n_features = sum(one.n_features for one in blocks)
        self.n_targets = sum(one.n_targets for one in blocks)
        pairs = zip(blocks, self.likelihoods, strict=True)
        self.n_outputs = sum(one.n_targets * likelihood.n_outputs for one, likelihood in pairs)
        self.learned: dict[str, float] = {}
        self.parameter_sizes: dict[str, int] = {}
        for i, (one, likelihood) in enumerate(zip(blocks, self.likelihoods, strict=True)):
            named = {f"likelihood_{i}.{k}": v for k, v in likelihood.learned_parameters.items()}
            self.learned |= named
            fixed = (f"likelihood_{i}.{name}" for name in likelihood.fixed_parameters)
            self.parameter_sizes |= dict.fromkeys((*named, *fixed), one.n_targets)
        self.mean_outputs: NDArray[np.intp] | None = None
        if all(one.mean_is_output for one in self.likelihoods):
            pairs = zip(blocks, self.likelihoods, strict=True)
            n_outputs = [own.n_outputs for one, own in pairs for _ in range(one.n_targets)]
            self.mean_outputs = np.cumsum(n_outputs, dtype=np.intp) - n_outputs

    def starting_outputs(self, targets: Array) -> Array | None:
        """Return outputs of the decoder to start from, (n_outputs,); None for zeros."""
        if not any(one.starts_from_data for one in self.likelihoods):
            return None
        parts = zip(self.likelihoods, self.split(numpy_ops, targets), strict=True)
        return np.concatenate([one.starting_outputs(x) for one, x in parts])

    def estimate(self, targets: Array) -> dict[str, Array]:
        """Compute the fixed parameters from targets, (n, n_targets)."""
        found: dict[str, Array] = {}
        for i, (likelihood, x) in enumerate(
            zip(self.likelihoods, self.split(numpy_ops, targets), strict=True)
        ):
            if likelihood.fixed_parameters:
                found |= {f"likelihood_{i}.{k}": v for k, v in likelihood.estimate(x).items()}
        return found

    def log_prob(self, ops: Ops, x: Tensor, outputs: Tensor, parameters: Parameters) -> Tensor:
        """Log p(x|z) of every feature: targets (..., n_targets) to (..., n_features)."""
        parts = zip(
            self.likelihoods,
            self.split(ops, x),
            self._split_outputs(ops, outputs),
            self._split_parameters(parameters),
            strict=True,
        )
        return self.by_feature(ops, [one.log_prob(ops, *rest) for one, *rest in parts])

    def mean(self, ops: Ops, outputs: Tensor) -> Tensor:
        """Return the expected targets: (..., n_outputs) to (..., n_targets)."""
        parts = zip(self.likelihoods, self._split_outputs(ops, outputs), strict=True)
        return _joined(ops, [one.mean(ops, part) for one, part in parts])

    def sample(self, rng: np.random.RandomState, outputs: Array, parameters: Parameters) -> Array:
        """Draw targets for outputs, (n, n_outputs), and parameters, (n, size) each."""
        parts = zip(
            self.likelihoods,
            self._split_outputs(numpy_ops, outputs),
            self._split_parameters(parameters),
            strict=True,
        )
        return _joined(numpy_ops, [one.sample(rng, part, own) for one, part, own in parts])

    def residual_scale(self, means: Array, residual: Array, parameters: Parameters) -> Array:
        """Return standard deviations of the targets: (n_targets,). See `Likelihood`."""
        parts = zip(
            self.likelihoods,
            self.split(numpy_ops, means),
            self.split(numpy_ops, residual),
            self._split_parameters(parameters),
            strict=True,
        )
        return np.concatenate([one.residual_scale(*rest) for one, *rest in parts])

    def by_feature(self, ops: Ops, parts: Sequence[Tensor]) -> Tensor:
        """Sum values of the targets of each block by feature: (..., n_features)."""
        pairs = zip(parts, self.blocks, strict=True)
        # A category has so many levels that single additions take long to compile.
        sums = [
            ops.sum(part) if one.n_features == 1 else sum_adjacent(ops, part, one.width)
            for part, one in pairs
        ]
        return _joined(ops, sums)

    @cached_property
    def feature_of_target(self) -> NDArray[np.intp]:
        """Number of the feature that each target belongs to: (n_targets,)."""
        widths = [one.width for one in self.blocks for _ in range(one.n_features)]
        return np.repeat(np.arange(self.n_features), widths)

    @cached_property
    def feature_of_output(self) -> NDArray[np.intp]:
        """Number of the feature that each output of the decoder belongs to: (n_outputs,)."""
        pairs = zip(self.blocks, self.likelihoods, strict=True)
        outputs = [own.n_outputs for one, own in pairs for _ in range(one.n_targets)]
        return np.repeat(self.feature_of_target, outputs)

    def split(self, ops: Ops, x: Tensor) -> list[Tensor]:
        """Split targets by block."""
        return _cut(ops, x, [one.n_targets for one in self.blocks])

    def _split_outputs(self, ops: Ops, outputs: Tensor) -> list[Outputs]:
        """Split outputs of the decoder by block and meaning."""
        pairs = list(zip(self.blocks, self.likelihoods, strict=True))
        cut = _cut(ops, outputs, [one.n_targets * own.n_outputs for one, own in pairs])
        return [_parts(ops, part, own.n_outputs) for (_, own), part in zip(pairs, cut, strict=True)]

    def _split_parameters(self, parameters: Parameters) -> list[Parameters]:
        """Split parameters by block, under the names that its likelihood knows."""
        return [
            {
                name: parameters[f"likelihood_{i}.{name}"]
                for name in (*likelihood.learned_parameters, *likelihood.fixed_parameters)
            }
            for i, likelihood in enumerate(self.likelihoods)
        ]


def _parts(ops: Ops, outputs: Tensor, n: int) -> Outputs:
    """Split outputs of the decoder, (..., outputs), by meaning: n parts, (..., targets) each.

    The outputs of a target are adjacent, as channels of a pixel are.
    """
    return (outputs,) if n == 1 else tuple(ops.take(outputs, i, None, n) for i in range(n))


def _cut(ops: Ops, x: Tensor, sizes: list[int]) -> list[Tensor]:
    """Cut the last axis into parts of some sizes; a single part is the tensor itself."""
    if len(sizes) == 1:
        return [x]
    ends = np.cumsum(sizes).tolist()
    return [ops.take(x, end - size, end) for size, end in zip(sizes, ends, strict=True)]


def sum_adjacent(ops: Ops, x: Tensor, width: int) -> Tensor:
    """Sum adjacent targets: (..., n width) to (..., n)."""
    total = ops.take(x, 0, None, width) if width > 1 else x
    for i in range(1, width):
        total = total + ops.take(x, i, None, width)
    return total


def _joined(ops: Ops, parts: list[Tensor]) -> Tensor:
    """Concatenate along the last axis; a single part is the result itself."""
    return parts[0] if len(parts) == 1 else ops.concatenate(parts)

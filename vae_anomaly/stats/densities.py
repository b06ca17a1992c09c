"""Log-densities and KL divergence of the ELBO, in nats, for any array library.

Each function takes its array operations from `ops`: `keras.ops` in a graph with
gradients, or `numpy_ops`. So every engine evaluates the same code.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np

from vae_anomaly._types import Ops, Tensor

__all__ = [
    "MAX_LOG_VARIANCE",
    "numpy_ops",
    "UNUSED_NATS",
    "bernoulli_log_density",
    "gaussian_kl",
    "gaussian_log_density",
    "logistic_log_mass",
    "student_t_log_density",
]

LOG_PI = math.log(math.pi)
LOG_2PI = math.log(2 * math.pi)

MAX_LOG_VARIANCE = 12.0
"""Maximum magnitude of the encoder's log-variances, far beyond those of trained encoders."""

UNUSED_NATS = 0.01
"""Mean KL divergence from N(0, 1) below which a latent dimension counts as unused."""


def _lgamma(x: Tensor) -> Tensor:
    from scipy.special import gammaln  # late: its import takes twice as long as NumPy's

    return gammaln(x)


def _sigmoid(x: Tensor) -> Tensor:
    from scipy.special import expit

    return expit(x)


def _logsumexp(x: Tensor) -> Tensor:
    peak = x.max(axis=-1, keepdims=True)
    return peak + np.log(np.exp(x - peak).sum(axis=-1, keepdims=True))


def _softmax(x: Tensor) -> Tensor:
    powers = x - x.max(axis=-1, keepdims=True)
    np.exp(powers, out=powers)
    powers /= powers.sum(axis=-1, keepdims=True)
    return powers


numpy_ops = SimpleNamespace(
    concatenate=lambda parts: np.concatenate(parts, axis=-1),
    exp=np.exp,
    expm1=np.expm1,
    lgamma=_lgamma,
    log=np.log,
    log1p=np.log1p,
    square=np.square,
    logaddexp=np.logaddexp,
    logsumexp=_logsumexp,
    maximum=np.maximum,
    sigmoid=_sigmoid,
    softmax=_softmax,
    softplus=lambda x: np.logaddexp(0.0, x),
    sum=lambda x: x.sum(axis=-1, keepdims=True),
    take=lambda x, start, stop, step=1: x[..., start:stop:step],
    where=np.where,
)
"""NumPy functions under the names of `keras.ops`, or of TensorFlow where Keras has none."""


def gaussian_kl(ops: Ops, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return the KL divergence of N(mean, exp(log_variance)) from N(0, 1), elementwise, in nats.

    Kingma and Welling, "Auto-encoding variational Bayes", appendix B
    (:arxiv:`1312.6114`).
    """
    return 0.5 * (ops.square(mean) + ops.exp(log_variance) - 1.0 - log_variance)


def gaussian_log_density(ops: Ops, x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return the log-density of N(mean, exp(log_variance)) at x, elementwise, in nats.

    With a float as `log_variance` the result has the dtype of `x`.
    """
    exp = math.exp if isinstance(log_variance, float) else ops.exp
    return -0.5 * (LOG_2PI + log_variance + ops.square(x - mean) * exp(-log_variance))


def student_t_log_density(
    ops: Ops, x: Tensor, mean: Tensor, log_squared_scale: Tensor, degrees: Tensor
) -> Tensor:
    """Return the log-density of Student's t with location `mean`, elementwise, in nats."""
    half = 0.5 * (degrees + 1.0)
    norm = ops.lgamma(half) - ops.lgamma(0.5 * degrees) - 0.5 * (LOG_PI + ops.log(degrees))
    square = ops.square(x - mean) * (ops.exp(-log_squared_scale) / degrees)
    return norm - 0.5 * log_squared_scale - half * ops.log1p(square)


def logistic_log_mass(ops: Ops, x: Tensor, mean: Tensor, log_scale: Tensor, step: Tensor) -> Tensor:
    """Return the log-probability of a discretized logistic distribution, elementwise, in nats.

    ``log(sigmoid(u + d / 2) - sigmoid(u - d / 2))`` with u the deviation of x from `mean` and
    d the `step`, both in units of the scale, in a form without cancellation; the
    log-density where the step is 0. Kingma et al., "Improved variational inference with
    inverse autoregressive flow" (:arxiv:`1606.04934`), section 5.2.
    """
    inverse_scale = ops.exp(-log_scale)
    deviation, half_step = (x - mean) * inverse_scale, 0.5 * step * inverse_scale
    width = ops.where(step > 0, 2.0 * half_step, 1.0)  # the unused branch has to be finite too
    log_width = ops.where(step > 0, ops.log(-ops.expm1(-width)), -log_scale)
    return log_width - ops.softplus(-(deviation + half_step)) - ops.softplus(deviation - half_step)


def bernoulli_log_density(ops: Ops, x: Tensor, logits: Tensor) -> Tensor:
    """Return the Bernoulli log-probability of x in {0, 1}, elementwise, in nats.

    For x between 0 and 1 this is the negative cross-entropy, which is not a normalised
    density (Loaiza-Ganem and Cunningham, "The continuous Bernoulli",
    :arxiv:`1907.06845`).
    """
    return x * logits - ops.softplus(logits)

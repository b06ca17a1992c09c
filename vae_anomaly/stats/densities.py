"""The formulas of the ELBO, in nats, for any library of arrays.

Each takes the functions that it needs from `ops`: `keras.ops` in a graph, where
gradients flow, or `numpy_ops`, which is NumPy. So every engine evaluates the same
lines.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np

__all__ = [
    "MAX_LOG_VARIANCE",
    "MIN_VARIANCE",
    "numpy_ops",
    "UNUSED_NATS",
    "bernoulli_log_density",
    "floored_log_variance",
    "gaussian_kl",
    "gaussian_log_density",
    "logistic_log_mass",
    "student_t_log_density",
]

Tensor = Any

LOG_PI = math.log(math.pi)
LOG_2PI = math.log(2 * math.pi)

MAX_LOG_VARIANCE = 12.0
"""Bound of the encoder's log-variances, far outside what training reaches."""

UNUSED_NATS = 0.01
"""Mean KL divergence from N(0, 1) below which a latent dimension is not used."""

MIN_VARIANCE = 1e-4
"""Floor of learned variances, without which a column that can be predicted has no bound."""


def _lgamma(x: Any) -> Any:
    from scipy.special import gammaln  # later: its import takes as long as that of NumPy twice

    return gammaln(x)


def _sigmoid(x: Any) -> Any:
    from scipy.special import expit

    return expit(x)


numpy_ops = SimpleNamespace(
    concatenate=lambda parts: np.concatenate(parts, axis=-1),
    exp=np.exp,
    expm1=np.expm1,
    lgamma=_lgamma,
    log=np.log,
    log1p=np.log1p,
    square=np.square,
    logaddexp=np.logaddexp,
    sigmoid=_sigmoid,
    softplus=lambda x: np.logaddexp(0.0, x),
    take=lambda x, start, stop, step=1: x[..., start:stop:step],
    where=np.where,
)
"""NumPy under the names of `keras.ops`, and of TensorFlow for what is missing there."""


def gaussian_kl(ops: Any, mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence of N(mean, exp(log_variance)) from N(0, 1), elementwise, in nats.

    Kingma and Welling, "Auto-encoding variational Bayes", appendix B
    (:arxiv:`1312.6114`).
    """
    return 0.5 * (ops.square(mean) + ops.exp(log_variance) - 1.0 - log_variance)


def gaussian_log_density(ops: Any, x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Log of N(x; mean, exp(log_variance)), elementwise, in nats.

    A plain number for `log_variance` takes the type of `x`.
    """
    exp = math.exp if isinstance(log_variance, float) else ops.exp
    return -0.5 * (LOG_2PI + log_variance + ops.square(x - mean) * exp(-log_variance))


def student_t_log_density(
    ops: Any, x: Tensor, mean: Tensor, log_squared_scale: Tensor, degrees: Tensor
) -> Tensor:
    """Log-density of a Student t with `degrees` of freedom around `mean`, elementwise, in nats."""
    half = 0.5 * (degrees + 1.0)
    norm = ops.lgamma(half) - ops.lgamma(0.5 * degrees) - 0.5 * (LOG_PI + ops.log(degrees))
    square = ops.square(x - mean) * (ops.exp(-log_squared_scale) / degrees)
    return norm - 0.5 * log_squared_scale - half * ops.log1p(square)


def logistic_log_mass(ops: Any, x: Tensor, mean: Tensor, log_scale: Tensor, step: Tensor) -> Tensor:
    """Log-probability under a logistic distribution of the step around x, elementwise, in nats.

    ``log(sigmoid(u + d / 2) - sigmoid(u - d / 2))`` with u the distance from `mean` and
    d the step in units of the scale, as a sum that loses no digits; where the step is 0,
    the log-density. Kingma et al., "Improved variational inference with inverse
    autoregressive flow" (:arxiv:`1606.04934`), section 5.2.
    """
    shrink = ops.exp(-log_scale)
    away, half = (x - mean) * shrink, 0.5 * step * shrink
    some = ops.where(step > 0, 2.0 * half, 1.0)  # a logarithm that is not used has to exist too
    height = ops.where(step > 0, ops.log(-ops.expm1(-some)), -log_scale)
    return height - ops.softplus(-(away + half)) - ops.softplus(away - half)


def floored_log_variance(ops: Any, raw: Tensor) -> Tensor:
    """Log of exp(raw) + `MIN_VARIANCE`."""
    return ops.logaddexp(raw, math.log(MIN_VARIANCE))


def bernoulli_log_density(ops: Any, x: Tensor, logits: Tensor) -> Tensor:
    """Log-probability of x in {0, 1} under a coin with these logits, elementwise, in nats.

    For values strictly inside the interval this is the usual cross-entropy, not
    a normalised density (Loaiza-Ganem and Cunningham, "The continuous
    Bernoulli", :arxiv:`1907.06845`).
    """
    return x * logits - ops.softplus(logits)

"""How likely a row is given its latent code, and the Gaussian KL divergence.

A likelihood is the decoder's last layer: it holds what p(x|z) needs beyond the
decoder's outputs, and evaluates log p(x|z) column by column, in nats. The same
functions train the network in float32 and score rows in float64.
"""

from __future__ import annotations

import math
from typing import Any

from vae_anomaly._backend import keras

__all__ = ["LIKELIHOODS", "Bernoulli", "Gaussian", "gaussian_kl"]

ops = keras.ops

Tensor = Any

LOG_2PI = math.log(2 * math.pi)


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence of N(mean, exp(log_variance)) from N(0, 1), elementwise, in nats.

    Kingma and Welling, "Auto-encoding variational Bayes", appendix B
    (:arxiv:`1312.6114`).
    """
    return 0.5 * (ops.square(mean) + ops.exp(log_variance) - 1.0 - log_variance)


class Gaussian(keras.layers.Layer):
    """Independent normal columns around the decoder's output.

    Parameters
    ----------
    members, columns : int
        Sizes of the learned variances.
    variance : float or None
        Fixed variance of every column, in squared standard deviations;
        None learns one per member and column.

    Notes
    -----
    A learned variance weighs each column by how well it can be predicted
    (Rybkin, Daniilidis and Levine, "Simple and effective VAE training with
    calibrated decoders", :arxiv:`2006.13202`). It has the floor `MIN_VARIANCE`,
    without which the likelihood of a column that can be predicted exactly has
    no bound.
    """

    MIN_VARIANCE = 1e-4

    def __init__(self, members: int, columns: int, variance: float | None = None) -> None:
        super().__init__(dtype="float32", name="likelihood")
        self.variance = variance
        if variance is None:
            self.raw_log_variance = self.add_weight(
                shape=(members, 1, columns), initializer="zeros", name="log_variance"
            )

    @property
    def log_variance(self) -> Tensor:
        """Log-variance of every column: (members, 1, columns), or (1, 1, 1)."""
        if self.variance is not None:
            return ops.full((1, 1, 1), math.log(self.variance), dtype="float32")
        return ops.logaddexp(self.raw_log_variance, math.log(self.MIN_VARIANCE))

    def log_prob(self, x: Tensor, outputs: Tensor) -> Tensor:
        """Log-density of every cell: (members, draws, n, columns)."""
        log_variance = ops.cast(self.log_variance, x.dtype)[:, None]
        residual = x - ops.cast(outputs, x.dtype)
        return -0.5 * (LOG_2PI + log_variance + ops.square(residual) * ops.exp(-log_variance))

    def mean(self, outputs: Tensor) -> Tensor:
        """Return the expected rows."""
        return outputs

    def draw(self, outputs: Tensor, seed: Tensor) -> Tensor:
        """Draw rows."""
        import tensorflow as tf

        noise = tf.random.stateless_normal(ops.shape(outputs), seed)
        return outputs + ops.exp(0.5 * self.log_variance) * noise


class Bernoulli(keras.layers.Layer):
    """Independent coins: the log loss of values in [0, 1] against the decoder's logits.

    For values strictly inside the interval this is the usual cross-entropy, not
    a normalised density (Loaiza-Ganem and Cunningham, "The continuous
    Bernoulli", :arxiv:`1907.06845`).
    """

    def __init__(self, members: int, columns: int) -> None:
        super().__init__(dtype="float32", name="likelihood")

    def log_prob(self, x: Tensor, outputs: Tensor) -> Tensor:
        """Log-probability of every cell: (members, draws, n, columns)."""
        logits = ops.cast(outputs, x.dtype)
        return x * logits - ops.softplus(logits)

    def mean(self, outputs: Tensor) -> Tensor:
        """Return the expected rows: probabilities."""
        return ops.sigmoid(outputs)

    def draw(self, outputs: Tensor, seed: Tensor) -> Tensor:
        """Draw rows of zeros and ones."""
        import tensorflow as tf

        uniform = tf.random.stateless_uniform(ops.shape(outputs), seed)
        return ops.cast(uniform < ops.sigmoid(outputs), "float32")


LIKELIHOODS = {"gaussian": Gaussian, "bernoulli": Bernoulli}

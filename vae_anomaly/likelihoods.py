"""How likely a row is given its latent code.

A likelihood is the decoder's last layer: it holds what p(x|z) needs beyond the
decoder's outputs, and evaluates log p(x|z) column by column, in nats. The same
functions train the network in float32 and score rows in float64.
"""

from __future__ import annotations

from typing import Any

from vae_anomaly._backend import keras
from vae_anomaly.densities import (
    bernoulli_log_density,
    fixed_log_variance,
    floored_log_variance,
    gaussian_log_density,
)

__all__ = ["LIKELIHOODS", "Bernoulli", "Gaussian"]

ops = keras.ops

Tensor = Any


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
    calibrated decoders", :arxiv:`2006.13202`). It has a floor,
    `densities.MIN_VARIANCE`.
    """

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
            return ops.full((1, 1, 1), fixed_log_variance(self.variance), dtype="float32")
        return floored_log_variance(ops, self.raw_log_variance)

    def log_prob(self, x: Tensor, outputs: Tensor) -> Tensor:
        """Log-density of every cell: (members, draws, n, columns)."""
        log_variance = ops.cast(self.log_variance, x.dtype)[:, None]
        return gaussian_log_density(ops, x, ops.cast(outputs, x.dtype), log_variance)

    def mean(self, outputs: Tensor) -> Tensor:
        """Return the expected rows."""
        return outputs


class Bernoulli(keras.layers.Layer):
    """Independent coins: the log loss of values in [0, 1] against the decoder's logits."""

    def __init__(self, members: int, columns: int) -> None:
        super().__init__(dtype="float32", name="likelihood")

    def log_prob(self, x: Tensor, outputs: Tensor) -> Tensor:
        """Log-probability of every cell: (members, draws, n, columns)."""
        return bernoulli_log_density(ops, x, ops.cast(outputs, x.dtype))

    def mean(self, outputs: Tensor) -> Tensor:
        """Return the expected rows: probabilities."""
        return ops.sigmoid(outputs)


LIKELIHOODS = {"gaussian": Gaussian, "bernoulli": Bernoulli}

"""The decoder's last layer: it holds the parameters that a family of p(x|z) has beside it.

The same formulas train the networks in float32 and score rows in float64.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import tensorflow as tf

from vae_anomaly.networks.backend import keras
from vae_anomaly.stats.likelihoods import Likelihood

__all__ = ["LikelihoodLayer"]

ops = keras.ops

Tensor = Any

keras_ops = SimpleNamespace(
    exp=ops.exp,
    expm1=ops.expm1,
    lgamma=tf.math.lgamma,  # Keras has none
    log=ops.log,
    log1p=ops.log1p,
    logaddexp=ops.logaddexp,
    sigmoid=ops.sigmoid,
    softplus=ops.softplus,
    square=ops.square,
    where=ops.where,
)
"""What `densities` needs, on tensors."""


class LikelihoodLayer(keras.layers.Layer):
    """A family of distributions, for each of several networks at once.

    Parameters
    ----------
    family : Likelihood
    members, columns : int
        Sizes of what is learned.
    """

    def __init__(self, family: Likelihood, members: int, columns: int) -> None:
        super().__init__(dtype="float32", name="likelihood")
        self.family = family
        self.parameters = {
            name: self.add_weight(
                shape=(members, 1, columns),
                initializer=keras.initializers.Constant(family.learned_parameters.get(name, 0.0)),
                trainable=name in family.learned_parameters,
                name=name,
            )
            for name in family.parameters
        }

    def log_prob(self, x: Tensor, outputs: Tensor) -> Tensor:
        """Log p(x|z) of every cell, in the type of x: (members, draws, n, columns).

        Takes what the decoder makes: (members, draws, n, outputs).
        """
        parameters = {
            name: ops.cast(value, x.dtype)[:, None] for name, value in self.parameters.items()
        }
        parts = self.family.parts(ops.cast(outputs, x.dtype))
        return self.family.log_prob(keras_ops, x, parts, parameters)

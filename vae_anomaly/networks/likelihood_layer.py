"""Likelihood layer: the parameters of p(x|z) that are not outputs of the decoder.

The same formulas train the networks in float32 and score rows in float64.
"""

from __future__ import annotations

from types import SimpleNamespace

from vae_anomaly._types import Tensor
from vae_anomaly.networks.backend import keras, tf
from vae_anomaly.stats.likelihoods import JointLikelihood

__all__ = ["LikelihoodLayer"]

ops = keras.ops

keras_ops = SimpleNamespace(
    concatenate=lambda parts: ops.concatenate(parts, axis=-1),
    exp=ops.exp,
    expm1=ops.expm1,
    lgamma=tf.math.lgamma,  # Keras has none
    log=ops.log,
    log1p=ops.log1p,
    logaddexp=ops.logaddexp,
    logsumexp=lambda x: ops.logsumexp(x, axis=-1, keepdims=True),
    sigmoid=ops.sigmoid,
    softmax=ops.softmax,
    softplus=ops.softplus,
    square=ops.square,
    sum=lambda x: ops.sum(x, axis=-1, keepdims=True),
    take=lambda x, start, stop, step=1: x[..., start:stop:step],
    where=ops.where,
)
"""Functions of `stats.densities` and `stats.likelihoods`, on tensors."""


class LikelihoodLayer(keras.layers.Layer):
    """Joint likelihood with parameters for each of several networks.

    Parameters
    ----------
    joint : JointLikelihood
    members : int
    """

    def __init__(self, joint: JointLikelihood, members: int) -> None:
        super().__init__(dtype="float32", name="likelihood")
        self.joint = joint
        self.parameters = {
            name: self.add_weight(
                shape=(members, 1, size),
                initializer=keras.initializers.Constant(joint.learned.get(name, 0.0)),
                trainable=name in joint.learned,
                name=name,
            )
            for name, size in joint.parameter_sizes.items()
        }

    def log_prob(self, x: Tensor, outputs: Tensor) -> Tensor:
        """Log p(x|z) of every explained feature, in the type of x.

        Maps targets (members, 1, n, targets) and outputs of the decoder (members, draws, n,
        outputs) to (members, draws, n, features).
        """
        parameters = {
            name: ops.cast(value, x.dtype)[:, None] for name, value in self.parameters.items()
        }
        return self.joint.log_prob(keras_ops, x, ops.cast(outputs, x.dtype), parameters)

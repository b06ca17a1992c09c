"""Dense encoders and decoders of an ensemble.

Every tensor and every weight has a leading members axis, so all members share one
batched matrix product, and four networks cost little more than one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vae_anomaly._types import Tensor
from vae_anomaly.networks.backend import keras

__all__ = ["MemberDense", "dense_decoder", "dense_encoder"]

ops = keras.ops


class MemberDense(keras.layers.Layer):
    """Fully connected layers of an ensemble, in one batched product.

    Parameters
    ----------
    members, units : int
        Number of networks, and of outputs of each.
    activation : str or None
        Name of a Keras activation.
    """

    def __init__(
        self, members: int, units: int, activation: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.members, self.units = members, units
        self.activation = keras.activations.get(activation)

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Create kernel (members, inputs, units) and bias (members, 1, units)."""
        shape = (self.members, input_shape[-1], self.units)
        self.kernel = self.add_weight(shape=shape, initializer="zeros", name="kernel")
        self.bias = self.add_weight(
            shape=(self.members, 1, self.units), initializer="zeros", name="bias"
        )

    def call(self, x: Tensor) -> Tensor:
        """Map (members, n, inputs) to (members, n, units)."""
        return self.activation(ops.matmul(x, self.kernel) + self.bias)


def _stack(members: int, sizes: Sequence[int], outputs: int, name: str) -> list[MemberDense]:
    hidden = [
        MemberDense(members, size, "relu", name=f"{name}_{i}") for i, size in enumerate(sizes)
    ]
    return [*hidden, MemberDense(members, outputs, name=f"{name}_out")]


def dense_encoder(members: int, columns: int, hidden: Sequence[int], latent: int) -> keras.Model:
    """Build encoders: rows (members, n, columns) to means and log-variances of codes.

    The output has shape (members, n, 2 latent).
    """
    layers = _stack(members, hidden, 2 * latent, "encoder")
    model = keras.Sequential(layers, name="encoder")
    model.build((members, None, columns))
    return model


def dense_decoder(members: int, outputs: int, hidden: Sequence[int], latent: int) -> keras.Model:
    """Build decoders: codes (members, n, latent) to parameters of p(x|z), (members, n, outputs)."""
    layers = _stack(members, tuple(reversed(hidden)), outputs, "decoder")
    model = keras.Sequential(layers, name="decoder")
    model.build((members, None, latent))
    return model

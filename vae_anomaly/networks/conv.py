"""Convolutional encoder and decoder for images.

3x3 convolutions with stride 2 halve the image as `ConvPlan` says; transposed
convolutions mirror them. Members are unrolled: a
convolution is heavy enough to fill the cores by itself.
"""

from __future__ import annotations

from typing import Any

from vae_anomaly._backend import keras
from vae_anomaly.networks import ConvPlan
from vae_anomaly.networks.dense import MemberDense

__all__ = ["ConvDecoder", "ConvEncoder", "MemberConv"]

ops = keras.ops

Tensor = Any


class MemberConv(keras.layers.Layer):
    """A 3x3 convolution, or its transpose, for each of several networks.

    Parameters
    ----------
    members, inputs, filters : int
        Networks side by side; channels in and out.
    stride : int
        By which the image shrinks, or grows if `transposed`.
    transposed : bool
    activation : str or None
    """

    def __init__(
        self,
        members: int,
        inputs: int,
        filters: int,
        *,
        stride: int = 2,
        transposed: bool = False,
        activation: str | None = "relu",
        name: str,
    ) -> None:
        super().__init__(dtype="float32", name=name)
        self.stride, self.transposed = stride, transposed
        self.activation = keras.activations.get(activation)
        # Keras' order: a transposed convolution has its outputs before its inputs.
        channels = (filters, inputs) if transposed else (inputs, filters)
        self.kernel = self.add_weight(
            shape=(members, 3, 3, *channels), initializer="zeros", name="kernel"
        )
        self.bias = self.add_weight(shape=(members, filters), initializer="zeros", name="bias")
        self.built = True

    def call(self, x: Tensor) -> Tensor:
        """Map (members, n, height, width, inputs) to (members, n, height', width', filters)."""
        convolve = ops.conv_transpose if self.transposed else ops.conv
        kernel, bias = ops.convert_to_tensor(self.kernel), ops.convert_to_tensor(self.bias)
        return ops.stack(
            [
                self.activation(
                    convolve(x[m], kernel[m], strides=self.stride, padding="same") + bias[m]
                )
                for m in range(kernel.shape[0])
            ]
        )


class ConvEncoder(keras.layers.Layer):
    """Rows of pixels (members, n, pixels) to means and log-variances (members, n, 2 latent)."""

    def __init__(self, members: int, plan: ConvPlan, hidden: tuple[int, ...], latent: int) -> None:
        super().__init__(dtype="float32", name="encoder")
        self.members, self.plan, self.latent = members, plan, latent
        channels = [plan.sizes[0][2], *plan.filters]
        self.convolutions = [
            MemberConv(members, channels[i], channels[i + 1], name=f"encoder_conv_{i}")
            for i in range(len(plan.filters))
        ]
        self.hidden = [
            MemberDense(members, units, "relu", name=f"encoder_{i}")
            for i, units in enumerate(hidden)
        ]
        self.out = MemberDense(members, 2 * latent, name="encoder_out")
        inputs = plan.flat
        for layer in (*self.hidden, self.out):
            layer.build((members, None, inputs))
            inputs = layer.units
        self.built = True

    def call(self, x: Tensor) -> Tensor:
        """Convolve, flatten, and map to the latent code."""
        x = ops.reshape(x, (self.members, -1, *self.plan.sizes[0]))
        for layer in self.convolutions:
            x = layer(x)
        x = ops.reshape(x, (self.members, -1, self.plan.flat))
        for layer in self.hidden:
            x = layer(x)
        return self.out(x)


class ConvDecoder(keras.layers.Layer):
    """Codes (members, n, latent) to parameters of p(x|z), (members, n, pixels)."""

    def __init__(self, members: int, plan: ConvPlan, latent: int) -> None:
        super().__init__(dtype="float32", name="decoder")
        self.members, self.plan = members, plan
        self.grow = MemberDense(members, plan.flat, "relu", name="decoder_0")
        self.grow.build((members, None, latent))
        filters = plan.filters[::-1]
        inputs = [filters[0], *filters]
        self.convolutions = [
            MemberConv(members, inputs[i], f, transposed=True, name=f"decoder_conv_{i}")
            for i, f in enumerate(filters)
        ]
        self.out = MemberConv(
            members,
            filters[-1],
            plan.sizes[0][2],
            stride=1,
            transposed=True,
            activation=None,
            name="decoder_out",
        )
        self.built = True

    def call(self, z: Tensor) -> Tensor:
        """Map to a small image and grow it to full size."""
        x = ops.reshape(self.grow(z), (self.members, -1, *self.plan.sizes[-1]))
        for layer, (height, width, _) in zip(
            self.convolutions, self.plan.sizes[-2::-1], strict=True
        ):
            # An odd side was rounded up on its way down.
            x = layer(x)[:, :, :height, :width]
        return ops.reshape(self.out(x), (self.members, -1, self.plan.pixels))

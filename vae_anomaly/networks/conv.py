"""Convolutional encoders and decoders of an ensemble.

3x3 convolutions with stride 2 halve a grid as `ConvPlan` specifies; transposed
convolutions mirror them, with optional batch normalisation. Members run one after
another: one convolution is enough work for all cores.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise

from vae_anomaly._types import Tensor
from vae_anomaly.networks.backend import keras
from vae_anomaly.networks.dense import MemberDense
from vae_anomaly.networks.spec import ConvPlan

__all__ = ["ConvDecoder", "ConvEncoder", "MemberBatchNorm", "MemberConv"]

ops = keras.ops


class MemberBatchNorm(keras.layers.Layer):
    """Batch normalisation of channels, for each member of an ensemble.

    In training each channel is standardised over the rows and pixels of the batch,
    and moving statistics are updated. In inference these are used, so that the
    output for a row does not depend on the batch. Ioffe and Szegedy, "Batch
    normalization: accelerating deep network training by reducing internal
    covariate shift", ICML 2015 (:arxiv:`1502.03167`). The constants are those of
    Keras.

    Parameters
    ----------
    members, channels : int
    """

    MOMENTUM = 0.99
    EPSILON = 1e-3
    MIN_MOVING_VARIANCE = 1e-12
    """Minimum that keeps the moving variance of a constant channel a positive float32."""

    def __init__(self, members: int, channels: int, *, name: str) -> None:
        super().__init__(dtype="float32", name=name)
        shape = (members, channels)
        self.gamma = self.add_weight(shape=shape, initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=shape, initializer="zeros", name="beta")
        self.moving_mean = self.add_weight(
            shape=shape, initializer="zeros", trainable=False, name="moving_mean"
        )
        self.moving_variance = self.add_weight(
            shape=shape, initializer="ones", trainable=False, name="moving_variance"
        )
        self.built = True

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        """Normalise (members, n, ..., channels)."""
        axes = tuple(range(1, len(x.shape) - 1))

        def expand(values: Tensor) -> Tensor:  # (members, channels) to (members, 1, ..., channels)
            return ops.expand_dims(values, axes)

        mean, variance = self.moving_mean, self.moving_variance
        if training:
            mean, variance = ops.moments(x, axes=axes)
            self.moving_mean.assign(self._moving_average(self.moving_mean, mean))
            moving_variance = self._moving_average(self.moving_variance, variance)
            self.moving_variance.assign(ops.maximum(moving_variance, self.MIN_MOVING_VARIANCE))
        factor = self.gamma * ops.rsqrt(variance + self.EPSILON)
        return x * expand(factor) + expand(self.beta - mean * factor)

    def _moving_average(self, average: Tensor, value: Tensor) -> Tensor:
        return self.MOMENTUM * average + (1.0 - self.MOMENTUM) * value


class MemberConv(keras.layers.Layer):
    """Ensemble of 3x3 convolutions, or of transposed ones.

    Parameters
    ----------
    members, inputs, filters : int
        Number of networks; channels of input and output.
    stride : int
        Factor by which the grid shrinks, or grows if `transposed`.
    transposed : bool
    batch_norm : bool
        Whether to normalise between convolution and activation.
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
        batch_norm: bool = False,
        activation: str | None = "relu",
        name: str,
    ) -> None:
        super().__init__(dtype="float32", name=name)
        self.stride, self.transposed = stride, transposed
        self.activation = keras.activations.get(activation)
        # As in Keras, the kernel of a transposed convolution has outputs before inputs.
        channels = (filters, inputs) if transposed else (inputs, filters)
        self.kernel = self.add_weight(
            shape=(members, 3, 3, *channels), initializer="zeros", name="kernel"
        )
        self.bias = self.add_weight(shape=(members, filters), initializer="zeros", name="bias")
        self.norm = MemberBatchNorm(members, filters, name="norm") if batch_norm else None
        self.built = True

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        """Map (members, n, height, width, inputs) to (members, n, height', width', filters)."""
        # The grid is ours, not that of a user's keras.json.
        convolve = partial(
            ops.conv_transpose if self.transposed else ops.conv, data_format="channels_last"
        )
        kernel, bias = ops.convert_to_tensor(self.kernel), ops.convert_to_tensor(self.bias)
        convolved = ops.stack(
            [
                convolve(x[m], kernel[m], strides=self.stride, padding="same") + bias[m]
                for m in range(kernel.shape[0])
            ]
        )
        if self.norm is not None:
            convolved = self.norm(convolved, training=training)
        return self.activation(convolved)


class ConvEncoder(keras.layers.Layer):
    """Encoders: pixels (members, n, pixels) to means and log-variances, (members, n, 2 latent)."""

    def __init__(
        self,
        members: int,
        plan: ConvPlan,
        hidden: tuple[int, ...],
        latent: int,
        *,
        batch_norm: bool = False,
    ) -> None:
        super().__init__(dtype="float32", name="encoder")
        self.members, self.plan, self.latent = members, plan, latent
        channels = [plan.sizes[0][2], *plan.filters]
        self.convolutions = [
            MemberConv(members, *ends, batch_norm=batch_norm, name=f"encoder_conv_{i}")
            for i, ends in enumerate(pairwise(channels))
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

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        """Compute means and log-variances of codes: convolutions, then dense layers."""
        x = ops.reshape(x, (self.members, -1, *self.plan.sizes[0]))
        for layer in self.convolutions:
            x = layer(x, training=training)
        x = ops.reshape(x, (self.members, -1, self.plan.flat))
        for layer in self.hidden:
            x = layer(x)
        return self.out(x)


class ConvDecoder(keras.layers.Layer):
    """Decoders: codes (members, n, latent) to parameters of p(x|z), (members, n, outputs).

    There are `n_outputs` for each number of the grid, as adjacent channels.
    """

    def __init__(
        self,
        members: int,
        plan: ConvPlan,
        latent: int,
        *,
        n_outputs: int = 1,
        batch_norm: bool = False,
    ) -> None:
        super().__init__(dtype="float32", name="decoder")
        self.members, self.outputs = members, n_outputs * plan.pixels
        self.plan = plan
        self.grow = MemberDense(members, plan.flat, "relu", name="decoder_0")
        self.grow.build((members, None, latent))
        filters = plan.filters[::-1]
        self.convolutions = [
            MemberConv(
                members, *ends, transposed=True, batch_norm=batch_norm, name=f"decoder_conv_{i}"
            )
            for i, ends in enumerate(pairwise([filters[0], *filters]))
        ]
        self.out = MemberConv(
            members,
            filters[-1],
            n_outputs * plan.sizes[0][2],
            stride=1,
            transposed=True,
            activation=None,
            name="decoder_out",
        )
        self.built = True

    def call(self, z: Tensor, training: bool = False) -> Tensor:
        """Compute parameters of p(x|z): a dense layer, then transposed convolutions."""
        x = ops.reshape(self.grow(z), (self.members, -1, *self.plan.sizes[-1]))
        for layer, (height, width, _) in zip(
            self.convolutions, self.plan.sizes[-2::-1], strict=True
        ):
            # The encoder rounds up half of an odd size.
            x = layer(x, training=training)[:, :, :height, :width]
        return ops.reshape(self.out(x), (self.members, -1, self.outputs))

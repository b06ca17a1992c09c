"""The variational autoencoder: encode, sample, decode, and the two halves of the ELBO.

The model is structure only. Its weights travel beside it as one matrix with a
row per member, which is what training updates, a model file stores and a
pickle carries; `VAE.holding` puts them in place for the length of a call. So a
compiled function serves every detector of the same shape.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._backend import keras
from vae_anomaly.densities import MAX_LOG_VARIANCE, gaussian_kl
from vae_anomaly.likelihoods import LIKELIHOODS
from vae_anomaly.networks import ConvPlan, NetworkSpec
from vae_anomaly.networks.conv import ConvDecoder, ConvEncoder
from vae_anomaly.networks.dense import dense_decoder, dense_encoder

__all__ = ["VAE", "ElboTerms", "build_vae"]

ops = keras.ops

Tensor = Any


class ElboTerms(NamedTuple):
    """The ELBO is the sum of `log_likelihood` less the sum of `kl`, in nats."""

    log_likelihood: Tensor  # (members, draws, n, columns)
    kl: Tensor  # (members, n, latent)


class VAE(keras.Model):
    """Encoder, decoder and likelihood of several networks side by side.

    Parameters
    ----------
    encoder : keras.Model
        Maps (members, n, columns) to (members, n, 2 latent).
    decoder : keras.Model
        Maps (members, n, latent) to (members, n, outputs).
    likelihood : keras.layers.Layer
        One of `vae_anomaly.likelihoods.LIKELIHOODS`.
    noiseless : bool
        Decode posterior means instead of samples: an autoencoder.
    """

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        likelihood: keras.layers.Layer,
        *,
        noiseless: bool = False,
    ) -> None:
        super().__init__(dtype="float32", name="vae")
        self.encoder, self.decoder, self.likelihood = encoder, decoder, likelihood
        self.noiseless = noiseless
        self.built = True

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z|x), both (members, n, latent)."""
        mean, log_variance = ops.split(self.encoder(x), 2, axis=-1)
        return mean, ops.clip(log_variance, -MAX_LOG_VARIANCE, MAX_LOG_VARIANCE)

    def sample(self, mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
        """Draw z ~ q(z|x) from standard normal `noise` (the reparameterisation trick)."""
        if self.noiseless:
            return mean + 0.0 * noise
        return mean + ops.exp(0.5 * log_variance) * noise

    def decode(self, z: Tensor) -> Tensor:
        """Parameters of p(x|z), (members, n, outputs)."""
        return self.decoder(z)

    def elbo(self, x: Tensor, target: Tensor, noise: Tensor) -> ElboTerms:
        """Evaluate the terms of the ELBO.

        Parameters
        ----------
        x : tensor of shape (members, n, columns)
            What the encoder sees, float32.
        target : tensor of shape (members, n, columns)
            What the likelihood explains; its dtype is that of the result.
        noise : tensor broadcastable to (members, draws, n, latent)
            Standard normal.
        """
        mean, log_variance = self.encode(x)
        z = self.sample(mean[:, None], log_variance[:, None], noise)  # (m, draws, n, latent)
        members, draws, n, latent = ops.shape(z)
        outputs = self.decode(ops.reshape(z, (members, draws * n, latent)))
        outputs = ops.reshape(outputs, (members, draws, n, outputs.shape[-1]))
        return ElboTerms(
            log_likelihood=self.likelihood.log_prob(target[:, None], outputs),
            kl=gaussian_kl(ops, ops.cast(mean, target.dtype), ops.cast(log_variance, target.dtype)),
        )

    # ------------------------------------------------------------- weights beside the model

    @property
    def members(self) -> int:
        """Networks side by side."""
        return int(self.trainable_variables[0].shape[0])

    @property
    def weight_sizes(self) -> list[int]:
        """Numbers that each variable holds for one member."""
        return [int(np.prod(v.shape[1:])) for v in self.trainable_variables]

    def initial_weights(self, rng: np.random.RandomState) -> NDArray[np.float32]:
        """Draw starting weights, (members, n_weights): Glorot uniform kernels, zeros elsewhere.

        Glorot and Bengio, "Understanding the difficulty of training deep
        feedforward neural networks", AISTATS 2010.
        """
        parts = []
        for variable in self.trainable_variables:
            shape = variable.shape
            start = np.zeros(shape)
            if variable.name == "kernel":
                reach = np.prod(shape[1:-2])  # of a convolution: its window
                bound = np.sqrt(6.0 / (reach * (shape[-2] + shape[-1])))
                start = rng.uniform(-bound, bound, size=shape)
            parts.append(start.reshape(shape[0], -1))
        return np.concatenate(parts, axis=1).astype(np.float32)

    def holding(self, weights: Tensor) -> AbstractContextManager[Any]:
        """Compute with `weights`, (members, n_weights), inside a ``with`` block."""
        parts = ops.split(weights, np.cumsum(self.weight_sizes)[:-1].tolist(), axis=1)
        mapping = [
            (variable, ops.reshape(part, variable.shape))
            for variable, part in zip(self.trainable_variables, parts, strict=True)
        ]
        return keras.StatelessScope(state_mapping=mapping)


@lru_cache(maxsize=64)
def build_vae(spec: NetworkSpec) -> VAE:
    """Build the structure that `spec` describes, once."""
    options = {"variance": spec.variance} if spec.likelihood == "gaussian" else {}
    if spec.image is None:
        sizes = (spec.members, spec.columns, spec.hidden, spec.latent)
        encoder, decoder = dense_encoder(*sizes), dense_decoder(*sizes)
    else:
        plan = ConvPlan.for_image(spec.image)
        encoder = ConvEncoder(spec.members, plan, spec.hidden, spec.latent)
        decoder = ConvDecoder(spec.members, plan, spec.latent)
    return VAE(
        encoder,
        decoder,
        LIKELIHOODS[spec.likelihood](spec.members, spec.columns, **options),
        noiseless=spec.noiseless,
    )

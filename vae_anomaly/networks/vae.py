"""Variational autoencoder: encode, sample, decode, and the two terms of the ELBO.

The Keras model is structure only. Its weights are a separate matrix with a row per
member, which training updates and model files and pickles store. `VAE.with_weights` uses
them for the length of a call. So a compiled function serves every detector of the same
shape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._types import AnyArray, Tensor
from vae_anomaly.networks.backend import keras
from vae_anomaly.networks.conv import ConvDecoder, ConvEncoder
from vae_anomaly.networks.custom_layers import CustomDecoder, CustomEncoder
from vae_anomaly.networks.dense import dense_decoder, dense_encoder
from vae_anomaly.networks.likelihood_layer import LikelihoodLayer
from vae_anomaly.networks.spec import ConvPlan, NetworkSpec, cached_by_spec
from vae_anomaly.stats.densities import MAX_LOG_VARIANCE, gaussian_kl

__all__ = ["VAE", "ElboTerms", "build_vae"]

ops = keras.ops


class ElboTerms(NamedTuple):
    """The ELBO is the sum of `log_likelihood` less the sum of `kl`, in nats."""

    log_likelihood: Tensor  # (members, draws, n, features)
    kl: Tensor  # (members, n, latent)


class VAE(keras.Model):
    """Encoder, decoder and likelihood of several networks side by side.

    Parameters
    ----------
    encoder : keras.Model
        Maps (members, n, inputs) to (members, n, 2 latent).
    decoder : keras.Model
        Maps (members, n, latent) to (members, n, outputs).
    likelihood : LikelihoodLayer
    noiseless : bool
        Decode posterior means instead of samples: an autoencoder.
    """

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        likelihood: LikelihoodLayer,
        *,
        noiseless: bool = False,
    ) -> None:
        super().__init__(dtype="float32", name="vae")
        self.encoder, self.decoder, self.likelihood = encoder, decoder, likelihood
        self.noiseless = noiseless
        self.built = True

    def encode(self, x: Tensor, *, training: bool = False) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z|x), both (members, n, latent)."""
        mean, log_variance = ops.split(self.encoder(x, training=training), 2, axis=-1)
        return mean, ops.clip(log_variance, -MAX_LOG_VARIANCE, MAX_LOG_VARIANCE)

    def sample(self, mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
        """Draw z ~ q(z|x) from standard normal `noise` (the reparameterisation trick)."""
        if self.noiseless:
            return mean + 0.0 * noise
        return mean + ops.exp(0.5 * log_variance) * noise

    def decode(self, z: Tensor, *, training: bool = False) -> Tensor:
        """Parameters of p(x|z), (members, n, outputs)."""
        return self.decoder(z, training=training)

    def elbo(
        self, x: Tensor, target: Tensor, noise: Tensor, *, training: bool = False
    ) -> ElboTerms:
        """Evaluate the terms of the ELBO.

        Parameters
        ----------
        x : tensor of shape (members, n, inputs)
            Float32.
        target : tensor of shape (members, n, targets)
            Its dtype is that of the result.
        noise : tensor broadcastable to (members, draws, n, latent)
            Standard normal.
        training : bool
            Whether layers behave as in training, as normalisation by batch does.
        """
        mean, log_variance = self.encode(x, training=training)
        return ElboTerms(
            log_likelihood=self.log_likelihood(
                target, mean, log_variance, noise, training=training
            ),
            kl=gaussian_kl(ops, ops.cast(mean, target.dtype), ops.cast(log_variance, target.dtype)),
        )

    def log_likelihood(
        self,
        target: Tensor,
        mean: Tensor,
        log_variance: Tensor,
        noise: Tensor,
        *,
        training: bool = False,
    ) -> Tensor:
        """Log p(x|z) of every feature for draws from q(z|x): (members, draws, n, features)."""
        z = self.sample(mean[:, None], log_variance[:, None], noise)  # (m, draws, n, latent)
        members, draws, n, latent = ops.shape(z)
        outputs = self.decode(ops.reshape(z, (members, draws * n, latent)), training=training)
        outputs = ops.reshape(outputs, (members, draws, n, outputs.shape[-1]))
        return self.likelihood.log_prob(target[:, None], outputs)

    # ------------------------------------------------------------- weights beside the model

    @property
    def members(self) -> int:
        """Networks side by side."""
        return int(self.weights[0].shape[0])

    def initial_weights(
        self,
        rng: np.random.RandomState,
        fixed: Mapping[str, AnyArray] | None = None,
        outputs: AnyArray | None = None,
    ) -> NDArray[np.float32]:
        """Draw starting weights, (members, n_weights): Glorot uniform kernels.

        Parameters in `fixed`, from `JointLikelihood.estimate`, start there; all others at
        the value of their variable, to which nothing else is ever assigned: zero for
        biases, one for the factors of a normalisation, and that of a custom network for
        its weights. With `outputs`, from `JointLikelihood.starting_outputs`, the decoder's last
        biases start there.
        Glorot and Bengio, "Understanding the difficulty of training deep
        feedforward neural networks", AISTATS 2010.
        """
        parts = []
        for variable in (*self.trainable_weights, *self.non_trainable_weights):
            shape = variable.shape
            if variable.name == "kernel":
                window = np.prod(shape[1:-2])  # of a convolution
                bound = np.sqrt(6.0 / (window * (shape[-2] + shape[-1])))
                start = rng.uniform(-bound, bound, size=shape)
            elif outputs is not None and variable is self.decoder.trainable_weights[-1]:
                start = np.broadcast_to(outputs, shape)
            elif fixed is not None and variable.name in fixed:
                start = np.broadcast_to(fixed[variable.name], shape)
            else:
                start = variable.numpy()
            parts.append(start.reshape(shape[0], -1))
        return np.concatenate(parts, axis=1).astype(np.float32)

    def with_weights(
        self, weights: Tensor, state: Tensor | None = None, *, seed: Tensor = (0, 0)
    ) -> keras.StatelessScope:
        """Compute with other weights inside a ``with`` block.

        Parameters
        ----------
        weights : tensor of shape (members, n_weights)
            With `state`, only the trainable ones.
        state : tensor of shape (members, n_state), optional
            State without a gradient, separate, so that gradients exclude it.
        seed : tensor of shape (2,)
            Seed of random layers, such as dropout.

        Returns
        -------
        keras.StatelessScope
            Records what layers assign, instead of the variables.
        """
        if state is None:
            both = (*self.trainable_weights, *self.non_trainable_weights)
            mapping = _cut(weights, both)
        else:
            mapping = _cut(weights, self.trainable_weights)
            mapping += _cut(state, self.non_trainable_weights)
        for i, variable in enumerate(self._seed_states, start=1):
            own_seed = ops.stack([seed[0] + i, seed[1]])
            mapping.append((variable, ops.cast(own_seed, variable.dtype)))
        return keras.StatelessScope(state_mapping=mapping)

    @property
    def _seed_states(self) -> list[Tensor]:
        weights = {id(variable) for variable in self.weights}
        return [variable for variable in self.variables if id(variable) not in weights]

    def state_after(self, scope: keras.StatelessScope, state: Tensor) -> Tensor:
        """Collect what layers assigned in a `with_weights` block: (members, n_state)."""
        parts = [
            ops.reshape(scope.get_current_value(variable), (self.members, -1))
            for variable in self.non_trainable_weights
        ]
        return ops.concatenate(parts, axis=1) if parts else state


def _cut(weights: Tensor, variables: Sequence[keras.Variable]) -> list[tuple[Tensor, Tensor]]:
    """Return each variable with its part of (members, n)."""
    if not variables:
        return []
    sizes = [int(np.prod(variable.shape[1:])) for variable in variables]
    parts = ops.split(weights, np.cumsum(sizes)[:-1].tolist(), axis=1)
    return [
        (variable, ops.reshape(part, variable.shape))
        for variable, part in zip(variables, parts, strict=True)
    ]


@cached_by_spec
def build_vae(spec: NetworkSpec) -> VAE:
    """Build the Keras model that `spec` describes, once."""
    if spec.custom is not None:
        encoder = CustomEncoder(spec.members, spec.custom)
        decoder = CustomDecoder(spec.members, spec.custom)
    elif spec.grid is None:
        inner = (spec.hidden, spec.latent)
        encoder = dense_encoder(spec.members, spec.n_inputs, *inner)
        decoder = dense_decoder(spec.members, spec.joint.n_outputs, *inner)
    else:
        plan = ConvPlan.for_grid(spec.grid)
        normalised = {"batch_norm": spec.batch_norm}
        encoder = ConvEncoder(spec.members, plan, spec.hidden, spec.latent, **normalised)
        n_outputs = spec.joint.n_outputs // spec.joint.n_targets
        decoder = ConvDecoder(spec.members, plan, spec.latent, n_outputs=n_outputs, **normalised)
    return VAE(
        encoder,
        decoder,
        LikelihoodLayer(spec.joint, spec.members),
        noiseless=spec.noiseless,
    )

"""TensorFlow engine for any network. See `Engine` for arguments and results of the methods.

Compiled functions are cached by structure, not by detector; weights are arguments.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._threads import SINGLE_THREAD, ProcessWideSetting
from vae_anomaly._types import Tensor
from vae_anomaly.inference.base import Codes, expected_by_member, predict_by_masks
from vae_anomaly.networks.backend import check_tensorflow, has_gpu, tf
from vae_anomaly.networks.spec import NetworkSpec, cached_by_spec
from vae_anomaly.networks.vae import VAE, build_vae

__all__ = ["TensorFlowEngine"]

Array = NDArray[np.float64]
Weights = NDArray[np.float32]

GPU_BREADTH = 16
"""Rows in a call to a GPU, as a multiple of those in a call to a processor."""


class _FullPrecision(ProcessWideSetting):
    """Disable TensorFloat-32 and divided products of NumPy.

    With TensorFloat-32, GPUs would round factors to ten bits, too few for scores.
    """

    _before = False

    def apply(self) -> None:
        check_tensorflow()
        SINGLE_THREAD.__enter__()
        self._before = tf.config.experimental.tensor_float_32_execution_enabled()
        tf.config.experimental.enable_tensor_float_32_execution(False)

    def restore(self) -> None:
        tf.config.experimental.enable_tensor_float_32_execution(self._before)
        SINGLE_THREAD.__exit__()


FULL_PRECISION = _FullPrecision()


class TensorFlowEngine:
    """Forward passes of all networks.

    Parameters
    ----------
    spec : NetworkSpec
    weights : ndarray of shape (members, n_weights)
    """

    threads = 1  # one call uses all cores, or a GPU
    setting = FULL_PRECISION

    def __init__(self, spec: NetworkSpec, weights: Weights) -> None:
        check_tensorflow()
        self.spec, self.weights = spec, tf.constant(weights)

    @property
    def breadth(self) -> int:
        """A GPU is efficient with many rows at a time."""
        return GPU_BREADTH if has_gpu() else 1

    def encode(self, x: Weights) -> Codes:
        """Encode inputs."""
        of_members = np.broadcast_to(x, (self.spec.members, *x.shape[-2:]))
        parts = _compiled_encoder(self.spec)(self.weights, of_members)
        return Codes(*(part.numpy() for part in parts))

    def decode(self, z: Weights) -> Array:
        """Decode codes."""
        return _compiled_decoder(self.spec)(self.weights, z).numpy()

    def encode_means(self, x: Weights) -> Weights:
        """Encode inputs."""
        return self.encode(x).mean

    def expected(self, z: Weights, first: int = 0) -> Array:
        """Decode codes, and average what members expect."""
        return expected_by_member(self, self.spec, z, first)

    def reconstruction_error(self, codes: Codes, noise: Weights, target: Array) -> Array:
        """Average -log p(x|z) over members and draws."""
        return _compiled_error(self.spec)(self.weights, *codes, noise, target).numpy()

    def predict(self, x: Weights, halves: NDArray[np.bool_]) -> Weights:
        """Decode the outputs of each feature from the other half of the features."""
        return predict_by_masks(self, self.spec, x, halves)


def _for_members(vae: VAE, x: Tensor) -> Tensor:
    """Repeat rows for every member: (n, ...) to (members, n, ...)."""
    return tf.tile(x[None], [vae.members] + [1] * len(x.shape))


def _weights_type(spec: NetworkSpec) -> Tensor:
    return tf.TensorSpec([spec.members, spec.n_weights], tf.float32)


def _rows_type(columns: int, dtype: Tensor = tf.float32) -> Tensor:
    return tf.TensorSpec([None, columns], dtype)


def _members_type(spec: NetworkSpec, columns: int) -> Tensor:
    return tf.TensorSpec([spec.members, None, columns], tf.float32)


@cached_by_spec
def _compiled_encoder(spec: NetworkSpec) -> Callable[..., Tensor]:
    vae = build_vae(spec)

    # Explicit types, so that each function is traced once.
    @tf.function(
        autograph=spec.needs_autograph,
        input_signature=[_weights_type(spec), _members_type(spec, spec.n_inputs)],
    )
    def encode(weights: Tensor, x: Tensor) -> Tensor:
        with vae.with_weights(weights):
            return vae.encode(x)

    return encode


@cached_by_spec
def _compiled_error(spec: NetworkSpec) -> Callable[..., Tensor]:
    vae = build_vae(spec)
    noise = tf.TensorSpec([None, spec.latent], tf.float32)

    @tf.function(
        autograph=spec.needs_autograph,
        input_signature=[
            *(
                _weights_type(spec),
                _members_type(spec, spec.latent),
                _members_type(spec, spec.latent),
                noise,
            ),
            _rows_type(spec.joint.n_targets, tf.float64),
        ],
    )
    def reconstruction_error(
        weights: Tensor, mean: Tensor, log_variance: Tensor, noise: Tensor, target: Tensor
    ) -> Tensor:
        with vae.with_weights(weights):
            likelihood = vae.log_likelihood(
                _for_members(vae, target), mean, log_variance, noise[None, :, None]
            )
        return -tf.reduce_mean(likelihood, axis=[0, 1])

    return reconstruction_error


@cached_by_spec
def _compiled_decoder(spec: NetworkSpec) -> Callable[..., Tensor]:
    vae = build_vae(spec)

    @tf.function(
        autograph=spec.needs_autograph,
        input_signature=[_weights_type(spec), _members_type(spec, spec.latent)],
    )
    def decode(weights: Tensor, z: Tensor) -> Tensor:
        with vae.with_weights(weights):
            return tf.cast(vae.decode(z), tf.float64)

    return decode

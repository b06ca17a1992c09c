"""Where forward passes run: NumPy for dense networks, TensorFlow for all others.

An engine holds the weights of one detector and works on blocks of rows. Dense
networks are a handful of matrix products, for which NumPy needs neither
TensorFlow's seconds of import nor its memory.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.networks import NetworkSpec

__all__ = ["Engine", "needs_tensorflow", "open_engine"]

Array = NDArray[np.float64]
Weights = NDArray[np.float32]


class Engine(Protocol):
    """Forward passes of the networks of one detector. Inputs float32, results float64."""

    def running(self) -> AbstractContextManager[int]:
        """Prepare for some calls, and say how many may run at a time."""

    def terms(self, noise: Weights, x: Weights, target: Array) -> tuple[Array, Weights, Weights]:
        """Reconstruction error, a mean over members and draws, and the codes.

        Takes noise (draws, latent), x and target (n, columns); returns the error
        (n, columns), and means and log-variances of q(z|x), (members, n, latent).
        """

    def posterior(self, x: Weights) -> tuple[Array, Array, Array]:
        """Means and log-variances of q(z|x), (members, n, latent), and rows rebuilt from the means.

        The rows, (members, n, columns), are the expected ones.
        """

    def decode(self, z: Weights) -> Array:
        """Decode codes, (members, n, latent), to expected rows, (members, n, columns)."""


def needs_tensorflow(spec: NetworkSpec) -> bool:
    """Tell whether forward passes of networks of a shape run in TensorFlow."""
    return spec.image is not None or spec.own is not None


def open_engine(spec: NetworkSpec, weights: Weights) -> Engine:
    """Choose the engine for networks of a shape, and give it their weights, (members, n_weights).

    A detector's engine depends on its shape alone, so that its scores do not
    depend on where they are made.
    """
    if not needs_tensorflow(spec):
        from vae_anomaly.engines.with_numpy import NumpyEngine

        return NumpyEngine(spec, weights)
    from vae_anomaly.engines.with_tensorflow import TensorFlowEngine

    return TensorFlowEngine(spec, weights)

"""Contract of engines: the forward passes of one network, on batches of rows."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._threads import ProcessWideSetting
from vae_anomaly.networks.spec import NetworkSpec
from vae_anomaly.stats.densities import numpy_ops

__all__ = ["Codes", "Engine", "expected_by_member", "predict_by_masks"]

Array = NDArray[np.float64]
Weights = NDArray[np.float32]


class Codes(NamedTuple):
    """Parameters of q(z|x) of every member."""

    mean: Weights  # (members, n, latent)
    log_variance: Weights  # (members, n, latent)


class Engine(Protocol):
    """Forward passes of one network. Inputs are float32."""

    @property
    def breadth(self) -> int:
        """Rows of an efficient call, as a multiple of those on a processor."""

    @property
    def threads(self) -> int:
        """Number of calls that may run at the same time."""

    @property
    def setting(self) -> ProcessWideSetting:
        """Context of all calls. Products of NumPy round the same in it, whatever the engine."""

    def encode(self, x: Weights) -> Codes:
        """Encode inputs, (n, inputs), or those of each member: (members, n, inputs)."""

    def decode(self, z: Weights) -> Array:
        """Decode codes, (members, n, latent): (members, n, outputs)."""

    def encode_means(self, x: Weights) -> Weights:
        """Return the means that `encode` returns, alone: (members, n, latent)."""

    def expected(self, z: Weights, first: int = 0) -> Array:
        """Return the mean of p(x|z) over members, of targets from one on.

        Codes are (members, n, latent), the result (n, targets - first).
        """

    def reconstruction_error(self, codes: Codes, noise: Weights, target: Array) -> Array:
        """Return -log p(x|z), a mean over members and draws z ~ q(z|x): (n, features), in nats.

        Parameters
        ----------
        codes : Codes
        noise : ndarray of shape (draws, latent)
            Standard normal.
        target : ndarray of shape (n, targets)
        """

    def predict(self, x: Weights, halves: NDArray[np.bool_]) -> Weights:
        """Decode the outputs of each feature from the inputs of features of the other half.

        For networks with masks.

        Parameters
        ----------
        x : ndarray of shape (n, inputs)
        halves : ndarray of shape (passes, members, n_features)
            Which features are in the first half of a member's pass.

        Returns
        -------
        ndarray of shape (passes * members, n, outputs)
        """


def expected_by_member(engine: Engine, spec: NetworkSpec, z: Weights, first: int) -> Array:
    """Return `Engine.expected` from the outputs of each member."""
    expected: Array = spec.joint.mean(numpy_ops, engine.decode(z)).mean(axis=0)
    return expected[:, first:]


def predict_by_masks(
    engine: Engine, spec: NetworkSpec, x: Weights, halves: NDArray[np.bool_]
) -> Weights:
    """Return `Engine.predict` by passes over all inputs, half of them 0."""
    found = []
    for half in halves:
        first, second = (
            engine.decode(engine.encode(x * ~hidden[:, None, spec.feature_of_input]).mean)
            for hidden in (half, ~half)
        )
        found.append(np.where(half[:, None, spec.joint.feature_of_output], first, second))
    return np.concatenate(found).astype(np.float32)

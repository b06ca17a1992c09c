"""Contract of engines: the forward passes of one network, on batches of rows."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._threads import ProcessWideSetting

__all__ = ["Codes", "Engine"]

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

    def reconstruction_error(self, codes: Codes, noise: Weights, target: Array) -> Array:
        """Return -log p(x|z), a mean over members and draws z ~ q(z|x): (n, features), in nats.

        Parameters
        ----------
        codes : Codes
        noise : ndarray of shape (draws, latent)
            Standard normal.
        target : ndarray of shape (n, targets)
        """

"""Contract of likelihoods: the distribution of targets of one type given the latent code."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._types import Ops, Tensor

__all__ = ["Likelihood", "Outputs", "Parameters"]

Array = NDArray[np.float64]
Parameters = Mapping[str, Tensor]
Outputs = Sequence[Tensor]


class Likelihood(ABC):
    """Distribution of independent features.

    Attributes
    ----------
    learned_parameters : dict of str to float
        Names and starting values of learned parameters, one number for each member and
        target.
    fixed_parameters : tuple of str
        Names of parameters that `estimate` computes before training.
    n_outputs : int
        Outputs of the decoder for each target.
    mean_is_output : bool
        Whether expected targets are the first outputs themselves.
    starts_from_data : bool
        Whether training starts from `starting_outputs` instead of zeros.
    """

    learned_parameters: Mapping[str, float] = {}
    fixed_parameters: tuple[str, ...] = ()
    n_outputs = 1
    mean_is_output = True
    starts_from_data = False

    def estimate(self, targets: Array) -> dict[str, Array]:
        """Compute the fixed parameters from targets, (n, targets): (targets,) each."""
        return {}

    def starting_outputs(self, targets: Array) -> Array:
        """Return outputs of the decoder, (outputs,), to start training from."""
        return np.zeros(targets.shape[1] * self.n_outputs)

    @abstractmethod
    def log_prob(self, ops: Ops, x: Tensor, outputs: Outputs, parameters: Parameters) -> Tensor:
        """Log p(x|z) of every target: (..., targets)."""

    def mean(self, ops: Ops, outputs: Outputs) -> Tensor:
        """Return the expected targets."""
        return outputs[0]

    @abstractmethod
    def sample(self, rng: np.random.RandomState, outputs: Outputs, parameters: Parameters) -> Array:
        """Draw targets for outputs of the decoder, and parameters of the same shape."""

    @abstractmethod
    def residual_scale(self, means: Array, residual: Array, parameters: Parameters) -> Array:
        """Return standard deviations, averaged over members or rows: (targets,).

        Takes expected targets and residuals, (n, targets), and parameters, (members,
        targets).
        """

"""Categorical likelihood: the level of a category, by a softmax."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._types import Ops, Tensor
from vae_anomaly.stats.likelihood import Likelihood, Outputs, Parameters

__all__ = ["Categorical", "unseen_probability"]

Array = NDArray[np.float64]


class Categorical(Likelihood):
    """One category: its targets are indicators of levels, the decoder's outputs their logits.

    The last level stands for all that no training row has. A block has one such feature.
    Indicators that are all 0 are a missing cell, of probability 1.
    """

    mean_is_output = False
    starts_from_data = True

    def starting_outputs(self, targets: Array) -> Array:
        """Return the log-probabilities of the levels, whatever the code: (targets,).

        Half a row is added to each level (Krichevsky and Trofimov, "The performance of
        universal encoding", :doi:`10.1109/TIT.1981.1056331`).
        """
        counts = targets.sum(axis=0) + 0.5
        return np.log(counts / counts.sum())

    def log_prob(self, ops: Ops, x: Tensor, outputs: Outputs, parameters: Parameters) -> Tensor:
        """See `Likelihood`; the sum over targets is the log-probability of the level."""
        return x * (outputs[0] - ops.logsumexp(outputs[0]))

    def mean(self, ops: Ops, outputs: Outputs) -> Tensor:
        """Return the probabilities of the levels."""
        return ops.softmax(outputs[0])

    def sample(self, rng: np.random.RandomState, outputs: Outputs, parameters: Parameters) -> Array:
        """Draw indicators; never that of the levels that no training row has."""
        logits = outputs[0][:, :-1].astype(np.float64)
        level = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
        drawn = np.zeros(outputs[0].shape)
        drawn[np.arange(len(level)), level] = 1.0
        return drawn

    def residual_scale(self, means: Array, residual: Array, parameters: Parameters) -> Array:
        """Return the square root of a half for each level.

        Two rows with different levels, both certain, are then 2 nats apart at most, however
        rare the levels are.
        """
        return np.full(means.shape[1], np.sqrt(0.5))


def unseen_probability(counts: Array) -> float:
    """Return the probability that the next cell has a level that occurred in none.

    Good and Turing's estimate, the share of levels that occurred once, with one more cell
    of a new level: (n1 + 1) / (n + 2 + n1). I. J. Good, "The population frequencies of
    species and the estimation of population parameters", Biometrika 1953,
    :doi:`10.1093/biomet/40.3-4.237`.

    Examples
    --------
    >>> unseen_probability(np.array([5.0, 2.0, 1.0]))
    0.18181818181818182
    """
    once = float((counts == 1).sum())
    return (once + 1.0) / (float(counts.sum()) + 2.0 + once)

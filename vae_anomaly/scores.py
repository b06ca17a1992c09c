"""One row in, one number out: the registry of anomaly scores.

Direction: an anomaly score is higher for stranger rows, in nats. scikit-learn's
`score_samples` is its negative. Every score is the sum of *contributions*, one
per column and one for the latent code, so that each can be explained.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["SCORES", "RowTerms"]

Array = NDArray[np.float64]


class RowTerms(NamedTuple):
    """The two halves of minus the ELBO for each row, in nats, means over members and draws."""

    reconstruction: Array  # (n, columns)
    kl: Array  # (n,)


def elbo(terms: RowTerms, beta: float) -> Array:
    """Minus the ELBO: reconstruction error plus `beta` times the KL divergence.

    With ``beta = 1`` and in expectation over the draws an upper bound of
    -log p(x). Kingma and Welling,
    "Auto-encoding variational Bayes" (:arxiv:`1312.6114`), equation 3; An and
    Cho, "Variational autoencoder based anomaly detection using reconstruction
    probability", 2015; for `beta`, Higgins et al., "beta-VAE", ICLR 2017.
    """
    return np.column_stack([terms.reconstruction, beta * terms.kl])


def reconstruction(terms: RowTerms, beta: float) -> Array:
    """Minus the expected log-likelihood alone: how badly the row is rebuilt."""
    return np.column_stack([terms.reconstruction, np.zeros_like(terms.kl)])


def kl(terms: RowTerms, beta: float) -> Array:
    """KL divergence of q(z|x) from the prior alone: how far out its code lies."""
    return np.column_stack([np.zeros_like(terms.reconstruction), terms.kl])


SCORES: dict[str, Callable[[RowTerms, float], Array]] = {
    "elbo": elbo,
    "reconstruction": reconstruction,
    "kl": kl,
}

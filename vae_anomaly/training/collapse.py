"""Warning for posterior collapse."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from vae_anomaly.stats.densities import UNUSED_NATS

__all__ = ["UnusedLatentWarning", "warn_if_unused"]

MIN_STEPS = 500
"""Gradient steps below which the KL divergence is not yet conclusive."""


class UnusedLatentWarning(ConvergenceWarning):
    """Posterior collapse: no latent dimension is used, and all rows have the same code."""


def warn_if_unused(latent_kl: NDArray[np.float64], *, columns: int, steps: int) -> None:
    """Warn if the posterior of all latent dimensions has collapsed onto the prior.

    Parameters
    ----------
    latent_kl : ndarray of shape (n_members, latent_dim)
        Mean KL divergence of each latent dimension, in nats.
    columns : int
        Number of network inputs; a single one leaves nothing to encode.
    steps : int
        Number of gradient steps.

    Warns
    -----
    UnusedLatentWarning

    Examples
    --------
    >>> warn_if_unused(np.array([[0.001, 1.2]]), columns=3, steps=3000)
    """
    if columns < 2 or steps < MIN_STEPS or latent_kl.max() >= UNUSED_NATS:
        return
    warnings.warn(
        f"No latent dimension is used: the largest mean KL divergence is {latent_kl.max():.2g} "
        f"nats. Columns are scored independently of each other. If they depend on each "
        f"other, lower beta, or try another optimizer or learning_rate.",
        UnusedLatentWarning,
        stacklevel=3,
    )

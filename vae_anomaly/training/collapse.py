"""What a finished training has to answer for, said as a warning."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from vae_anomaly.stats.densities import UNUSED_NATS

__all__ = ["UnusedLatentWarning", "warn_if_unused"]

ENOUGH_STEPS = 500
"""Gradient steps before which nothing can be said."""


class UnusedLatentWarning(ConvergenceWarning):
    """No latent dimension is used: every row has the same code."""


def warn_if_unused(latent_kl: NDArray[np.float64], *, columns: int, steps: int) -> None:
    """Warn if the posterior of a fitted detector has collapsed onto the prior.

    Parameters
    ----------
    latent_kl : ndarray of shape (n_members, latent_dim)
        Mean KL divergence of each latent dimension, in nats.
    columns : int
        That reached the network; of a single one there is nothing to encode.
    steps : int
        Of training.

    Warns
    -----
    UnusedLatentWarning

    Examples
    --------
    >>> warn_if_unused(np.array([[0.001, 1.2]]), columns=3, steps=3000)
    """
    if columns < 2 or steps < ENOUGH_STEPS or latent_kl.max() >= UNUSED_NATS:
        return
    warnings.warn(
        f"No latent dimension is used: the largest mean KL divergence is {latent_kl.max():.2g} "
        f"nats. Rows are scored column by column, as if no column depended on another. If some "
        f"do, lower beta, or try another optimizer or learning_rate.",
        UnusedLatentWarning,
        stacklevel=3,
    )

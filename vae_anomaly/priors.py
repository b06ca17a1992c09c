"""What codes to expect: the prior against which a row's latent code is scored.

Training pulls the codes of all rows towards N(0, I), but where normal rows come
in clusters the codes do too, and a code between clusters is strange however
close to the origin. So rows are scored against the aggregated posterior: a
mixture of the q(z|x) of training rows, which of all priors gives them the
highest ELBO (Hoffman and Johnson, "ELBO surgery", 2016; Tomczak and Welling,
"VAE with a VampPrior", :arxiv:`1705.07120`). Here some rows stand for all, the
exemplars, and N(0, I) for what they miss.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.densities import PLAIN, gaussian_kl

__all__ = ["MAX_EXEMPLARS", "as_exemplars", "draw_codes", "kl_from_prior", "some_rows"]

Array = NDArray[np.float64]
Weights = NDArray[np.float32]

MAX_EXEMPLARS = 256

NORMAL_SHARE = 0.1
"""Of the aggregated prior that is N(0, I)."""

RIM = 16
"""Zeros around the rows in a matrix product, so that it rounds them all alike."""


def as_exemplars(mean: Array, log_variance: Array) -> Weights:
    """Join posteriors of rows, both (n, members, latent), with N(0, I), which comes first.

    Returns
    -------
    ndarray of shape (members, 1 + n, 2 latent)
        Means and log-variances.
    """
    rows = np.concatenate([mean, log_variance], axis=-1).swapaxes(0, 1)
    return np.pad(rows, [(0, 0), (1, 0), (0, 0)]).astype(np.float32)


def some_rows(rows: NDArray[Any], most: int, rng: np.random.RandomState) -> NDArray[Any]:
    """Take so many rows at most, at random, for data may have a period."""
    if len(rows) <= most:
        return rows
    return rows[np.sort(rng.choice(len(rows), most, replace=False))]


def kl_from_prior(
    mean: Weights, log_variance: Weights, noise: Weights, exemplars: Weights | None
) -> Array:
    """KL divergence of q(z|x) from the prior in nats, averaged over members.

    Parameters
    ----------
    mean, log_variance : ndarray of shape (members, n, latent)
        Of q(z|x).
    noise : ndarray of shape (draws, latent)
        Where q(z|x) is looked at, in its standard deviations.
    exemplars : ndarray of shape (members, m, 2 latent) or None
        Components of the prior: `NORMAL_SHARE` is the first, the rest is shared
        equally. None is N(0, I).

    Returns
    -------
    ndarray of shape (n,)
        Exact for N(0, I), else the mean over the draws of log q(z|x) - log p(z),
        which may come out below zero where the two are alike.
    """
    mean, log_variance = mean.astype(np.float64), log_variance.astype(np.float64)
    if exemplars is None:
        return gaussian_kl(PLAIN, mean, log_variance).sum(axis=-1).mean(axis=0)
    deviation = np.exp(0.5 * log_variance)
    kl = np.zeros(mean.shape[1])
    for m, components in enumerate(exemplars.astype(np.float64)):
        for draw in noise.astype(np.float64):
            entropy = 0.5 * (log_variance[m] + draw**2).sum(axis=-1)
            kl -= entropy + _log_mixture(mean[m] + deviation[m] * draw, components)
    # Of both densities: log q(z|x) was left without, log p(z) is.
    return kl / (len(exemplars) * len(noise))


def _log_mixture(z: Array, components: Array) -> Array:
    """Log-density of codes (n, latent) under the prior, but for latent/2 log 2 pi."""
    center, log_variance = np.split(components, 2, axis=-1)  # (m, latent)
    precision = np.exp(-log_variance)
    square = np.pad(np.concatenate([z**2, z], axis=1).T, [(0, 0), (RIM, RIM)])
    # Minus twice the log-densities, (m, n).
    distance = (np.concatenate([precision, -2 * center * precision], axis=1) @ square)[:, RIM:-RIM]
    distance += (center**2 * precision + log_variance).sum(axis=1)[:, None]
    distance -= 2 * np.log(_shares(len(components)))[:, None]
    nearest = distance.min(axis=0)
    near = np.exp(-0.5 * (distance - nearest).astype(np.float32)).sum(axis=0, dtype=np.float64)
    return np.log(near) - 0.5 * nearest


def _shares(components: int) -> Array:
    """Tell how much of the prior each component is."""
    if components == 1:
        return np.ones(1)
    return np.r_[NORMAL_SHARE, np.full(components - 1, (1 - NORMAL_SHARE) / (components - 1))]


def draw_codes(exemplars: Weights, n: int, rng: np.random.RandomState) -> Array:
    """Draw codes of each member from the prior: (n, members, latent)."""
    members, m, both = exemplars.shape
    latent = both // 2
    drawn = rng.choice(m, size=n, p=_shares(m))
    chosen = exemplars[:, drawn].astype(np.float64)  # (members, n, 2 latent)
    noise = rng.standard_normal((members, n, latent))
    return (chosen[..., :latent] + np.exp(0.5 * chosen[..., latent:]) * noise).swapaxes(0, 1)

"""What codes to expect: the prior against which a row's latent code is scored.

Training pulls the codes of all rows towards N(0, I), but where normal rows come
in clusters the codes do too, and a code between clusters is strange however
close to the origin. So rows are scored against the aggregated posterior: a
mixture of the q(z|x) of training rows, which of all priors gives them the
highest ELBO (Hoffman and Johnson, "ELBO surgery", 2016; Tomczak and Welling,
"VAE with a VampPrior", :arxiv:`1705.07120`). Here some rows stand for all,
and N(0, I) for what they miss.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._threads import PADDING
from vae_anomaly.stats.densities import gaussian_kl, numpy_ops

__all__ = [
    "MAX_COMPONENTS",
    "as_components",
    "draw_codes",
    "kl_from_prior",
    "mixture_coefficients",
    "subsample",
]

Array = NDArray[np.float64]
Weights = NDArray[np.float32]

MAX_COMPONENTS = 256

NORMAL_SHARE = 0.1
"""Of the aggregated prior that is N(0, I)."""


def as_components(mean: Array, log_variance: Array) -> Weights:
    """Join posteriors of rows, both (n, members, latent), with N(0, I), which comes first.

    Returns
    -------
    ndarray of shape (members, 1 + n, 2 latent)
        Means and log-variances.
    """
    rows = np.concatenate([mean, log_variance], axis=-1).swapaxes(0, 1)
    return np.pad(rows, [(0, 0), (1, 0), (0, 0)]).astype(np.float32)


def subsample(rows: NDArray[Any], most: int, rng: np.random.RandomState) -> NDArray[Any]:
    """Take so many rows at most, at random, for data may have a period."""
    if len(rows) <= most:
        return rows
    return rows[np.sort(rng.choice(len(rows), most, replace=False))]


def kl_from_prior(
    mean: Weights, log_variance: Weights, noise: Weights, components: Weights | None
) -> Array:
    """KL divergence of q(z|x) from the prior in nats, averaged over members.

    Parameters
    ----------
    mean, log_variance : ndarray of shape (members, n, latent)
        Of q(z|x).
    noise : ndarray of shape (draws, latent)
        Where q(z|x) is looked at, in its standard deviations.
    components : ndarray of shape (members, m, 2 latent) or None
        Components of the prior: `NORMAL_SHARE` is the first, the rest is shared
        equally. None is N(0, I).

    Returns
    -------
    ndarray of shape (n,)
        Exact for N(0, I), else the mean over the draws of log q(z|x) - log p(z),
        which may come out below zero where the two are alike.
    """
    mean, log_variance = mean.astype(np.float64), log_variance.astype(np.float64)
    if components is None:
        return gaussian_kl(numpy_ops, mean, log_variance).sum(axis=-1).mean(axis=0)
    # Rows go last, so that every step runs along them.
    mean, log_variance = (np.ascontiguousarray(a.swapaxes(1, 2)) for a in (mean, log_variance))
    deviation = np.exp(0.5 * log_variance)
    kl = np.zeros(mean.shape[2])
    for m, of_member in enumerate(components.astype(np.float64)):
        coefficients = mixture_coefficients(of_member)
        spread = log_variance[m].sum(axis=0)
        for draw in noise.astype(np.float64)[:, :, None]:
            log_mixture = _log_mixture(mean[m] + deviation[m] * draw, coefficients)
            kl -= 0.5 * (spread + np.sum(draw**2)) + log_mixture
    # Of both densities: log q(z|x) was left without, log p(z) is.
    return kl / (len(components) * len(noise))


def mixture_coefficients(components: Array) -> Array:
    """Write the log of each share and density as a polynomial in z**2, z and 1: (m, 2 latent + 1).

    Without latent/2 log 2 pi.
    """
    center, log_variance = np.split(components, 2, axis=-1)  # (m, latent)
    precision = np.exp(-log_variance)
    constant = np.log(_shares(len(components)))
    constant = constant - 0.5 * (center**2 * precision + log_variance).sum(axis=1)
    return np.concatenate([-0.5 * precision, center * precision, constant[:, None]], axis=1)


def _log_mixture(z: Array, coefficients: Array) -> Array:
    """Log-density of codes (latent, n) under the prior, but for latent/2 log 2 pi."""
    latent, n = z.shape
    powers = np.ones((2 * latent + 1, n + 2 * PADDING))
    np.square(z, out=powers[:latent, PADDING:-PADDING])
    powers[latent:-1, PADDING:-PADDING] = z
    # All components relative to the first, for sums of exponentials that float32 can hold: it is
    # broad, and no code is so far from it that the others do not vanish there as well.
    first = (coefficients[0] @ powers)[PADDING:-PADDING]
    above = ((coefficients - coefficients[0]) @ powers)[:, PADDING:-PADDING]
    ratios = above.astype(np.float32)
    with np.errstate(over="ignore"):
        near = np.exp(ratios, out=ratios).sum(axis=0)
    mixed = first + np.log(near, dtype=np.float64)
    for i in np.flatnonzero(np.isinf(near)):  # next to a component that is a needle
        mixed[i] = first[i] + np.logaddexp.reduce(above[:, i])
    return mixed


def _shares(components: int) -> Array:
    """Tell how much of the prior each component is."""
    if components == 1:
        return np.ones(1)
    return np.r_[NORMAL_SHARE, np.full(components - 1, (1 - NORMAL_SHARE) / (components - 1))]


def draw_codes(components: Weights, n: int, rng: np.random.RandomState) -> Array:
    """Draw codes of each member from the prior: (n, members, latent)."""
    members, m, both = components.shape
    latent = both // 2
    drawn = rng.choice(m, size=n, p=_shares(m))
    chosen = components[:, drawn].astype(np.float64)  # (members, n, 2 latent)
    noise = rng.standard_normal((members, n, latent))
    return (chosen[..., :latent] + np.exp(0.5 * chosen[..., latent:]) * noise).swapaxes(0, 1)

"""Aggregated posterior: the prior of latent codes for scoring.

Training draws the codes of all rows towards N(0, I), but clusters of normal rows
have clusters of codes, and a code between clusters is anomalous however close to
the origin. So rows are scored against the aggregated posterior, the mixture of
q(z|x) over training rows. Of all priors it maximises their mean ELBO (Hoffman and
Johnson, "ELBO surgery", 2016; Tomczak and Welling, "VAE with a VampPrior",
:arxiv:`1705.07120`). The mixture here has a subsample of the rows as components, and
N(0, I) to cover the rest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._threads import PADDING
from vae_anomaly._types import AnyArray
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

STANDARD_NORMAL_WEIGHT = 0.1
"""Mixture weight of N(0, I)."""


def as_components(mean: Array, log_variance: Array) -> Weights:
    """Build the components of the mixture: N(0, I) first, then q(z|x) of each row.

    Parameters
    ----------
    mean, log_variance : ndarray of shape (n, members, latent)
        Of q(z|x).

    Returns
    -------
    ndarray of shape (members, 1 + n, 2 latent)
        Means and log-variances.
    """
    rows = np.concatenate([mean, log_variance], axis=-1).swapaxes(0, 1)
    return np.pad(rows, [(0, 0), (1, 0), (0, 0)]).astype(np.float32)


def subsample(rows: AnyArray, max_rows: int, rng: np.random.RandomState) -> AnyArray:
    """Return a random subsample of at most `max_rows` rows, in their order.

    Every k-th row would not do: data may be periodic.
    """
    if len(rows) <= max_rows:
        return rows
    return rows[np.sort(rng.choice(len(rows), max_rows, replace=False))]


def kl_from_prior(
    mean: Weights, log_variance: Weights, noise: Weights, components: Weights | None
) -> Array:
    """Compute the KL divergence of q(z|x) from the prior, in nats, averaged over members.

    Parameters
    ----------
    mean, log_variance : ndarray of shape (members, n, latent)
        Of q(z|x).
    noise : ndarray of shape (draws, latent)
        Draws from N(0, I): z is the mean plus noise times the standard deviation.
    components : ndarray of shape (members, m, 2 latent) or None
        Components of the prior. The first has weight `STANDARD_NORMAL_WEIGHT`, the
        others have equal weights. None is N(0, I).

    Returns
    -------
    ndarray of shape (n,)
        Exact for N(0, I), else the mean of log q(z|x) - log p(z) over the draws. This
        estimate may be negative where the two distributions are close.
    """
    mean, log_variance = mean.astype(np.float64), log_variance.astype(np.float64)
    if components is None:
        return gaussian_kl(numpy_ops, mean, log_variance).sum(axis=-1).mean(axis=0)
    # Rows are the last axis, so that memory access is contiguous.
    mean, log_variance = (np.ascontiguousarray(a.swapaxes(1, 2)) for a in (mean, log_variance))
    deviation = np.exp(0.5 * log_variance)
    kl = np.zeros(mean.shape[2])
    for m, of_member in enumerate(components.astype(np.float64)):
        coefficients = mixture_coefficients(of_member)
        log_determinant = log_variance[m].sum(axis=0)
        for draw in noise.astype(np.float64)[:, :, None]:
            log_mixture = _log_mixture(mean[m] + deviation[m] * draw, coefficients)
            # Both log-densities omit -latent/2 log 2 pi, which cancels.
            kl -= 0.5 * (log_determinant + np.sum(draw**2)) + log_mixture
    return kl / (len(components) * len(noise))


def mixture_coefficients(components: Array) -> Array:
    """Compute log(weight x density) of each component as a polynomial in z**2, z and 1.

    The constant -latent/2 log 2 pi is omitted.

    Returns
    -------
    ndarray of shape (m, 2 latent + 1)
    """
    center, log_variance = np.split(components, 2, axis=-1)  # (m, latent)
    precision = np.exp(-log_variance)
    constant = np.log(_mixture_weights(len(components)))
    constant = constant - 0.5 * (center**2 * precision + log_variance).sum(axis=1)
    return np.concatenate([-0.5 * precision, center * precision, constant[:, None]], axis=1)


def _log_mixture(z: Array, coefficients: Array) -> Array:
    """Compute the log-density of codes (latent, n) under the prior, plus latent/2 log 2 pi."""
    latent, n = z.shape
    powers = np.ones((2 * latent + 1, n + 2 * PADDING))
    np.square(z, out=powers[:latent, PADDING:-PADDING])
    powers[latent:-1, PADDING:-PADDING] = z
    # Components are relative to the first, so that the sum of exponentials fits float32. The
    # first is broad: where its density is small, those of the others are smaller.
    first = (coefficients[0] @ powers)[PADDING:-PADDING]
    log_ratios = ((coefficients - coefficients[0]) @ powers)[:, PADDING:-PADDING]
    ratios = log_ratios.astype(np.float32)
    with np.errstate(over="ignore"):
        total = np.exp(ratios, out=ratios).sum(axis=0)
    log_density = first + np.log(total, dtype=np.float64)
    for i in np.flatnonzero(np.isinf(total)):  # near the mean of a very narrow component
        log_density[i] = first[i] + np.logaddexp.reduce(log_ratios[:, i])
    return log_density


def _mixture_weights(n_components: int) -> Array:
    """Return the mixture weight of each component."""
    if n_components == 1:
        return np.ones(1)
    others = n_components - 1
    return np.r_[STANDARD_NORMAL_WEIGHT, np.full(others, (1 - STANDARD_NORMAL_WEIGHT) / others)]


def draw_codes(components: Weights, n: int, rng: np.random.RandomState) -> Array:
    """Draw n codes of each member from the prior: (n, members, latent)."""
    members, m, width = components.shape
    latent = width // 2
    drawn = rng.choice(m, size=n, p=_mixture_weights(m))
    chosen = components[:, drawn].astype(np.float64)  # (members, n, 2 latent)
    noise = rng.standard_normal((members, n, latent))
    return (chosen[..., :latent] + np.exp(0.5 * chosen[..., latent:]) * noise).swapaxes(0, 1)

"""Distance of latent codes from the prior, N(0, I)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist, pdist

__all__ = ["MAX_CODES", "PriorFit", "prior_fit"]

MAX_CODES = 2000
"""Number of draws from the prior, and of codes that it makes sense to compare with them."""


@dataclass(frozen=True)
class PriorFit:
    """Distance of the latent codes of a model from the prior, N(0, I).

    Attributes
    ----------
    beta : float
        Weight of the KL divergence.
    mean : float
        Length of the mean code; 0 under the prior.
    variance : float
        Mean variance of a dimension; 1 under the prior.
    energy : float
        Energy distance between codes and draws from the prior; 0 if they have
        the same distribution.
    n_codes : int
        Number of codes.
    """

    beta: float
    mean: float
    variance: float
    energy: float
    n_codes: int


def prior_fit(codes: NDArray[np.float64], beta: float) -> PriorFit:
    """Compute the distance of codes from N(0, I).

    The energy distance is that of Székely and Rizzo, "Energy statistics: a class
    of statistics based on distances", :doi:`10.1016/j.jspi.2013.03.018`.

    Parameters
    ----------
    codes : ndarray of shape (n, latent)
    beta : float
        Weight of the KL divergence with which the codes were learned.

    Returns
    -------
    PriorFit
    """
    prior = np.random.RandomState(0).standard_normal((MAX_CODES, codes.shape[1]))
    n, m = len(codes), len(prior)
    # pdist holds each pair once; the distance of a point from itself is zero.
    within = 2 * pdist(codes).sum() / n**2 + 2 * pdist(prior).sum() / m**2
    return PriorFit(
        beta=float(beta),
        mean=float(np.linalg.norm(codes.mean(axis=0))),
        variance=float(codes.var(axis=0).mean()),
        energy=float(2 * cdist(codes, prior).mean() - within),
        n_codes=n,
    )

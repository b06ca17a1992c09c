"""How suspect each target of a row is: by which one or two of them the row differs from others.

A Gaussian is fitted to the rows that are most similar, to the nearest ones most. Given the other
targets, it predicts those that may be wrong; the fall of the squared distance, if these had the
predicted values, is the evidence that they are. All single targets and all pairs of them are
compared: a wrong value makes others look wrong, and what remains without it shows which these are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["log_suspicion"]

Array = NDArray[np.float64]

SHRINKAGE, MIN_VARIANCE = 0.02, 0.01
"""Added to the variances of similar rows: a share of their mean, and a constant."""

PENALTY = 1.0
"""Nats that a second target has to explain, as in Akaike's information criterion."""

MAX_PAIRED = 16
"""Targets of which pairs are compared: the most suspect ones."""

MAX_CELLS = 2**20
"""Numbers of similar rows that are processed at a time."""


def log_suspicion(targets: Array, similar: Array, log_weights: Array) -> Array:
    """Compute the log of how probable it is that each target is one of those that are wrong.

    Up to a constant for each row. The log-probability of a set S of one or two targets is
    half the fall ``q_S' P_SS^-1 q_S``, and the log-weights of its targets, less a penalty for a
    second one, where P is the precision matrix of the Gaussian and q the product of P and the
    differences from its mean: K. V. Mardia, J. T. Kent and J. M. Bibby, "Multivariate analysis",
    1979, theorem 3.2.4.

    Parameters
    ----------
    targets : ndarray of shape (n, n_targets)
    similar : ndarray of shape (n, k, n_targets)
        The same of the most similar rows, in this order: the k-th one weighs ``k^-1/2``.
    log_weights : ndarray of shape (n, n_targets)
        Other evidence, in nats.

    Returns
    -------
    ndarray of shape (n, n_targets)
    """
    found = np.empty(targets.shape)
    size = max(1, MAX_CELLS // max(1, similar[:1].size))
    for i in range(0, len(targets), size):
        part = slice(i, i + size)
        found[part] = _log_suspicion(targets[part], similar[part], log_weights[part])
    return found


def _log_suspicion(targets: Array, similar: Array, log_weights: Array) -> Array:
    weights = 1 / np.sqrt(np.arange(1, similar.shape[1] + 1))
    weights /= weights.sum()
    mean = np.matmul(weights, similar)
    precision = _precision((similar - mean[:, None]) * np.sqrt(weights)[:, None])
    pull = np.matmul(precision, (targets - mean)[:, :, None])[:, :, 0]  # q
    own = np.diagonal(precision, axis1=1, axis2=2)
    single = 0.5 * pull**2 / own + log_weights

    count = min(MAX_PAIRED, single.shape[1])
    chosen = np.argpartition(-single, count - 1, axis=1)[:, :count]
    chosen.sort(axis=1)  # of equal ones the first comes first, however many are paired
    rows = np.arange(len(targets))[:, None, None]
    between = precision[rows, chosen[:, :, None], chosen[:, None]]  # (n, count, count)
    of_chosen = np.take_along_axis(single, chosen, axis=1)
    paired = np.logaddexp.reduce(
        _pairs(
            between,
            np.take_along_axis(pull, chosen, axis=1),
            np.take_along_axis(log_weights, chosen, axis=1),
            of_chosen,
        ),
        axis=2,
    )
    # Others are suspect as far as they are by themselves, less than the least of these.
    found: Array = single - of_chosen.min(axis=1, keepdims=True)
    found += paired.min(axis=1, keepdims=True)
    np.put_along_axis(found, chosen, paired, axis=1)
    return found


def _pairs(precision: Array, pull: Array, log_weights: Array, single: Array) -> Array:
    """Return log-probabilities of pairs, and of single targets on the diagonal: (n, k, k)."""
    own = np.diagonal(precision, axis1=1, axis2=2)
    squares = pull**2
    determinant = own[:, :, None] * own[:, None] - precision**2
    fall = squares[:, :, None] * own[:, None] + squares[:, None] * own[:, :, None]
    fall -= 2 * precision * pull[:, :, None] * pull[:, None]
    diagonal = np.arange(pull.shape[1])
    determinant[:, diagonal, diagonal] = 1.0
    found: Array = 0.5 * fall / determinant + log_weights[:, :, None] + log_weights[:, None]
    found -= PENALTY
    found[:, diagonal, diagonal] = single
    return found


def _precision(differences: Array) -> Array:
    """Return inverses of the shrunk second moments of differences, (n, k, d): (n, d, d)."""
    _, k, d = differences.shape
    added = SHRINKAGE * (differences**2).sum(axis=(1, 2)) / d + MIN_VARIANCE  # (n,)
    ridge, turned = added[:, None, None], np.swapaxes(differences, 1, 2)
    inverse: Array
    if d <= k:
        inverse = np.linalg.inv(np.matmul(turned, differences) + ridge * np.eye(d))
        return inverse
    # Woodbury's identity: the inverse of a matrix of k rows is enough.
    small = np.linalg.inv(np.matmul(differences, turned) + ridge * np.eye(k))
    inverse = (np.eye(d) - np.matmul(turned, np.matmul(small, differences))) / ridge
    return inverse

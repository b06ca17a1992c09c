"""Cells given the others of their row: how far each is from what a masked network predicts.

Networks that learn with hidden features predict each from the others of its row. The
surprise of a cell is half its squared standardised residual, for a category minus the log of
the probability of its level. Its rank among the training cells of its column gives all
columns one unit: nats of a tail probability, at most log((n + 1) / 2).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.stats.categorical import Categorical, unseen_probability
from vae_anomaly.stats.densities import numpy_ops
from vae_anomaly.stats.likelihoods import JointLikelihood

__all__ = ["N_RANKS", "CellRanks", "cell_units", "surprises"]

Array = NDArray[np.float64]
Weights = NDArray[np.float32]

MIN_DEVIATION = 0.1
"""Added to deviations of numbers from what is predicted, in standard deviations of the column."""

CLIPPED_QUANTILE = 0.99
"""Squared residuals above this quantile are clipped to it, to measure a unit."""

N_RANKS = 64
"""Ranks of training cells that are kept for each column, evenly spaced in log."""

MIN_PROBABILITY = 1e-12
"""Smallest probability of a level, against rounding to 0."""


def cell_units(
    joint: JointLikelihood, residual: Array, targets: Array, observed: NDArray[np.bool_]
) -> Array:
    """Return the units of residuals of features that are predicted from the others: (n_targets,).

    Of a number the root mean square over training rows, the largest hundredth clipped, plus
    `MIN_DEVIATION`. Of a level the square root of a half, so that two rows of different levels
    are 2 nats apart at most. The last indicator of a category stands for unseen levels: its
    unit makes one cost minus the log of their probability.

    Parameters
    ----------
    joint : JointLikelihood
    residual, targets : ndarray of shape (n, n_targets)
    observed : ndarray of shape (n, n_features)
    """
    units = np.ones(joint.n_targets)
    start, feature = 0, 0
    for block, likelihood in zip(joint.blocks, joint.likelihoods, strict=True):
        end = start + block.n_targets
        if isinstance(likelihood, Categorical):
            counts = targets[:, start : end - 1].sum(axis=0)
            units[start:end] = np.sqrt(0.5)
            units[end - 1] = 1 / np.sqrt(-2 * np.log(unseen_probability(counts)))
        else:
            for i in range(block.n_targets):
                seen = observed[:, feature + i // block.width]
                squares = residual[seen, start + i] ** 2
                if len(squares):
                    squares = np.minimum(squares, np.quantile(squares, CLIPPED_QUANTILE))
                    units[start + i] = np.sqrt(squares.mean() + MIN_DEVIATION**2)
        start, feature = end, feature + block.n_features
    return units


def surprises(
    joint: JointLikelihood, units: Array, expected: Array, residual: Array, targets: Array
) -> Array:
    """Return the surprise of each cell given the others, in nats: (n, n_features).

    Cells that are not observed have residuals and targets of 0, and no surprise.

    Parameters
    ----------
    joint : JointLikelihood
    units : ndarray of shape (n_targets,)
    expected, residual, targets : ndarray of shape (n, n_targets)
    """
    parts = []
    blocks = zip(
        joint.likelihoods,
        joint.split(numpy_ops, expected),
        joint.split(numpy_ops, 0.5 * (residual / units) ** 2),
        joint.split(numpy_ops, targets),
        strict=True,
    )
    for likelihood, probability, square, given in blocks:
        if isinstance(likelihood, Categorical):
            parts.append(-given * np.log(np.maximum(probability, MIN_PROBABILITY)))
        else:
            parts.append(square)
    return joint.by_feature(numpy_ops, parts)


class CellRanks(NamedTuple):
    """Surprises of training cells at some ranks, and what cells beyond them cost.

    Attributes
    ----------
    surprise : ndarray of shape (n_features, N_RANKS)
        Ascending.
    nats : ndarray of shape (n_features, N_RANKS)
        Minus the log of the share of training cells that are at least as surprising, one more
        cell counted, times a weight.
    """

    surprise: Weights
    nats: Weights

    @classmethod
    def fit(cls, surprise: Array, observed: NDArray[np.bool_]) -> CellRanks:
        """Rank the cells of training rows, (n, n_features)."""
        values = np.zeros((surprise.shape[1], N_RANKS))
        nats = np.zeros_like(values)
        for j, column in enumerate(surprise.T):
            cells = np.sort(column[observed[:, j]])
            if not len(cells):
                continue
            # Of the cells with a rank, all at least as surprising count, also equal ones.
            rank = np.unique(np.geomspace(1, len(cells), N_RANKS).astype(int))[::-1]
            kept = cells[-rank]
            least = len(cells) - np.searchsorted(cells, kept, side="left")
            cost = -np.log((1.0 + least) / (len(cells) + 1.0))
            place = np.linspace(0, len(kept) - 1, N_RANKS)
            values[j] = np.interp(place, np.arange(len(kept)), kept)
            nats[j] = np.interp(place, np.arange(len(kept)), cost)
        return cls(values.astype(np.float32), nats.astype(np.float32))

    def weighted(self, weight: float) -> CellRanks:
        """Return the ranks with costs times a weight."""
        return self._replace(nats=(self.nats * weight).astype(np.float32))

    def costs(self, surprise: Array) -> Array:
        """Return the costs of cells of some surprise, (n, n_features), interpolated."""
        costs = np.empty_like(surprise)
        for j, (known, nats) in enumerate(zip(self.surprise, self.nats, strict=True)):
            costs[:, j] = np.interp(surprise[:, j], known, nats)
        return costs

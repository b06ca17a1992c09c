"""Comparison of two models on the same records: difference of areas, agreement of flags."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, norm, rankdata

from vae_anomaly.metrics.intervals import LEVEL, Estimate

__all__ = ["Agreement", "agreement", "auroc_difference"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Agreement(NamedTuple):
    """Records of a group by the flags of two models.

    Attributes
    ----------
    name : str
    both, only_first, only_second, neither : int
    p_value : float
        Of the exact test of McNemar, "Note on the sampling error of the difference between
        correlated proportions or percentages", :doi:`10.1007/BF02295996`: that both models flag
        the same share of such records.
    """

    name: str
    both: int
    only_first: int
    only_second: int
    neither: int
    p_value: float


def agreement(name: str, first: Flags, second: Flags) -> Agreement:
    """Count the records of a group by the flags of two models.

    Parameters
    ----------
    name : str
    first, second : ndarray of bool of shape (n,)

    Examples
    --------
    >>> flags = np.array([True, True, False, False])
    >>> agreement("rows", flags, np.array([True, False, False, False]))[1:5]
    (1, 1, 0, 2)
    """
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    differing = only_first + only_second
    p_value = float(binomtest(only_first, differing).pvalue) if differing else 1.0
    both, neither = int((first & second).sum()), int((~first & ~second).sum())
    return Agreement(name, both, only_first, only_second, neither, p_value)


def auroc_difference(first: Array, second: Array, labels: Flags) -> Estimate:
    """Return the AUROC of one score minus that of another on the same records.

    The interval is that of DeLong, DeLong and Clarke-Pearson, "Comparing the areas under two or
    more correlated receiver operating characteristic curves: a nonparametric approach",
    :doi:`10.2307/2531595`, computed by ranks.

    Parameters
    ----------
    first, second : ndarray of shape (n,)
        Higher is more anomalous.
    labels : ndarray of bool of shape (n,)
        True for anomalies; both classes must occur.

    Returns
    -------
    Estimate
        With its 95 % interval; no wider than a point if the scores order the records alike.

    Examples
    --------
    >>> labels = np.array([False, False, True, True])
    >>> auroc_difference(np.array([1.0, 2, 3, 4]), np.array([1.0, 3, 2, 4]), labels).value
    0.25
    """
    both = [_placements(scores, labels) for scores in (first, second)]
    by_anomaly, by_normal = (one - other for one, other in zip(*both, strict=True))
    value = float(by_anomaly.mean())
    variance = sum(
        float(np.var(shares, ddof=1)) / len(shares)
        for shares in (by_anomaly, by_normal)
        if len(shares) > 1
    )
    half = float(norm.ppf((1 + LEVEL) / 2)) * float(np.sqrt(variance))
    return Estimate(value, value - half, value + half)


def _placements(scores: Array, labels: Flags) -> tuple[Array, Array]:
    """Return shares of the other class that each anomaly, and each normal record, is apart from.

    That is below it for an anomaly, above it for a normal record; ties count one half.
    """
    ranks = rankdata(scores)
    n_anomalies, n_normal = int(labels.sum()), int((~labels).sum())
    below = (ranks[labels] - rankdata(scores[labels])) / n_normal
    above = 1 - (ranks[~labels] - rankdata(scores[~labels])) / n_anomalies
    return below, above

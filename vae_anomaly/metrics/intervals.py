"""Rates and areas under curves with 95 % confidence intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score, roc_auc_score

__all__ = ["LEVEL", "Areas", "Estimate", "areas", "rate"]

Array = NDArray[np.float64]
Counts = NDArray[np.int_]
Flags = NDArray[np.bool_]

LEVEL = 0.95
N_RESAMPLES = 1000
CHUNK_RESAMPLES = 100
MAX_LEVELS = 2000
"""Distinct scores of anomalies above which neighbours share a cell of the bootstrap."""


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval."""

    value: float
    low: float
    high: float


class Areas(NamedTuple):
    """Areas under the ROC curve and under the precision-recall curve."""

    auroc: Estimate
    average_precision: Estimate


def rate(hits: int, n: int) -> Estimate | None:
    """Return the share of `hits` in `n` with its exact binomial interval; None if n is 0.

    Clopper and Pearson, "The use of confidence or fiducial limits illustrated
    in the case of the binomial", :doi:`10.1093/biomet/26.4.404`.

    Examples
    --------
    >>> share = rate(5, 100)
    >>> round(share.low, 3), share.value, round(share.high, 3)
    (0.016, 0.05, 0.113)
    """
    if n == 0:
        return None
    interval = binomtest(hits, n).proportion_ci(LEVEL, method="exact")
    return Estimate(hits / n, float(interval.low), float(interval.high))


def areas(scores: Array, labels: Flags, *, resamples: int = N_RESAMPLES, seed: int = 0) -> Areas:
    """Compute AUROC and average precision with percentile-bootstrap intervals.

    Normal rows and anomalies are resampled separately (Efron and Tibshirani,
    "An introduction to the bootstrap", 1993, chapter 13). Both areas depend only
    on the number of normal rows between neighbouring anomalies, so these counts
    are resampled, and the time does not grow with the number of rows. With more
    than 2000 distinct scores of anomalies, neighbours share a cell; the areas
    themselves stay exact.

    Parameters
    ----------
    scores : ndarray of shape (n_rows,)
        Higher is more anomalous.
    labels : ndarray of bool of shape (n_rows,)
        True for anomalies; both classes must occur.
    resamples : int, default=1000
    seed : int, default=0

    Returns
    -------
    Areas
    """
    counts = _cells(scores[~labels], scores[labels])
    rng = np.random.default_rng(seed)
    drawn: list[Array] = []
    for start in range(0, resamples, CHUNK_RESAMPLES):
        size = min(CHUNK_RESAMPLES, resamples - start)
        normal, anomalous = (rng.multinomial(c.sum(), c / c.sum(), size=size) for c in counts)
        drawn.append(_areas_of_cells(normal, anomalous))
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(np.concatenate(drawn), [tail, 100 - tail], axis=0)
    exact = (roc_auc_score(labels, scores), average_precision_score(labels, scores))
    return Areas(
        *(
            # Resamples have ties that the data do not, and so lie a little beside the estimate.
            Estimate(float(value), float(min(a, value)), float(max(b, value)))
            for value, a, b in zip(exact, low, high, strict=True)
        )
    )


def _cells(normal: Array, anomalous: Array) -> tuple[Counts, Counts]:
    """Count rows of both classes between the anomalies' scores (even cells) and at them (odd)."""
    levels = np.unique(anomalous)
    if len(levels) > MAX_LEVELS:
        levels = levels[np.linspace(0, len(levels) - 1, MAX_LEVELS).round().astype(int)]
    cells = 2 * len(levels) + 1

    def count(scores: Array) -> Counts:
        cell = np.searchsorted(levels, scores, "left") + np.searchsorted(levels, scores, "right")
        return np.bincount(cell, minlength=cells)

    return count(normal), count(anomalous)


def _areas_of_cells(normal: Counts, anomalous: Counts) -> Array:
    """Compute AUROC and average precision of each resample: two (n, cells) to (n, 2)."""
    below = normal.cumsum(axis=1) - 0.5 * normal  # ties count half
    auroc = (anomalous * below).sum(axis=1) / normal[0].sum() / anomalous[0].sum()

    anomalous = anomalous[:, ::-1]
    found = anomalous.cumsum(axis=1)
    flagged = (normal[:, ::-1] + anomalous).cumsum(axis=1)
    precision = found / np.maximum(flagged, 1)
    return np.column_stack([auroc, (anomalous * precision).sum(axis=1) / anomalous[0].sum()])

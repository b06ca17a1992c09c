"""Numbers with their uncertainty: areas under curves, and rates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score, roc_auc_score

from vae_anomaly.report.data import Estimate

__all__ = ["LEVEL", "areas", "rate"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

LEVEL = 0.95
RESAMPLES = 1000
BLOCK = 100
MAX_LEVELS = 2000


def rate(hits: int, n: int) -> Estimate | None:
    """Share of `hits` in `n` with its exact binomial interval; None of nothing.

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


def areas(
    scores: Array, labels: Flags, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[Estimate, Estimate]:
    """AUROC and average precision, with percentile-bootstrap intervals.

    Normal rows and anomalies are drawn anew apart from each other (Efron and
    Tibshirani, "An introduction to the bootstrap", 1993, chapter 13). Both
    areas depend only on how many normal rows lie between neighbouring
    anomalies, so that is what is drawn: the time does not grow with the rows.
    Of more than 2000 different anomaly scores, neighbours are taken together;
    the areas themselves stay exact.

    Parameters
    ----------
    scores : ndarray of shape (n_rows,)
        Higher is stranger.
    labels : ndarray of bool of shape (n_rows,)
        True for anomalies; both kinds must be there.
    resamples : int, default=1000
    seed : int, default=0

    Returns
    -------
    auroc, average_precision : Estimate
    """
    counts = _cells(scores[~labels], scores[labels])
    rng = np.random.default_rng(seed)
    drawn: list[Array] = []
    for start in range(0, resamples, BLOCK):
        size = min(BLOCK, resamples - start)
        normal, strange = (rng.multinomial(c.sum(), c / c.sum(), size=size) for c in counts)
        drawn.append(_areas_of_cells(normal, strange))
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(np.concatenate(drawn), [tail, 100 - tail], axis=0)
    exact = (roc_auc_score(labels, scores), average_precision_score(labels, scores))
    auroc, precision = (
        Estimate(float(value), float(a), float(b))
        for value, a, b in zip(exact, low, high, strict=True)
    )
    return auroc, precision


def _cells(normal: Array, strange: Array) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """Count both kinds of rows between the anomalies' scores (even cells) and at them (odd)."""
    levels = np.unique(strange)
    if len(levels) > MAX_LEVELS:
        levels = levels[np.linspace(0, len(levels) - 1, MAX_LEVELS).round().astype(int)]
    cells = 2 * len(levels) + 1

    def count(scores: Array) -> NDArray[np.int_]:
        cell = np.searchsorted(levels, scores, "left") + np.searchsorted(levels, scores, "right")
        return np.bincount(cell, minlength=cells)

    return count(normal), count(strange)


def _areas_of_cells(normal: NDArray[np.int_], strange: NDArray[np.int_]) -> Array:
    """AUROC and average precision of each resample: two (n, cells) to (n, 2)."""
    below = normal.cumsum(axis=1) - 0.5 * normal  # ties count half
    auroc = (strange * below).sum(axis=1) / normal[0].sum() / strange[0].sum()

    strange = strange[:, ::-1]
    found, flagged = strange.cumsum(axis=1), (normal[:, ::-1] + strange).cumsum(axis=1)
    precision = found / np.maximum(flagged, 1)
    return np.column_stack([auroc, (strange * precision).sum(axis=1) / strange[0].sum()])

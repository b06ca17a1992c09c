"""ROC and precision-recall curves, thinned for drawing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

from vae_anomaly.metrics.intervals import Estimate, areas

__all__ = ["Curve", "Curves", "curves"]

Array = NDArray[np.float64]

MAX_CURVE_POINTS = 1000


@dataclass(frozen=True, eq=False)
class Curve:
    """A ROC or precision-recall curve, thinned for drawing, and its exact area."""

    x: Array
    y: Array
    area: Estimate


class Curves(NamedTuple):
    """Curves over all thresholds."""

    roc: Curve
    precision_recall: Curve


def curves(scores: Array, labels: NDArray[np.bool_] | None) -> Curves | None:
    """Compute the ROC and the precision-recall curve; None without labels of both classes."""
    if labels is None or labels.all() or not labels.any():
        return None
    auroc, average_precision = areas(scores, labels)
    false_alarms, recall, _ = roc_curve(labels, scores)
    roc = Curve(*_thinned(false_alarms, recall), auroc)
    precision, recall, _ = precision_recall_curve(labels, scores, drop_intermediate=True)
    return Curves(roc, Curve(*_thinned(recall, precision), average_precision))


def _thinned(x: Array, y: Array) -> tuple[Array, Array]:
    """Return points at even distances along the curve, both ends included."""
    length = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    wanted = np.linspace(0, length[-1], MAX_CURVE_POINTS)
    kept = np.unique([0, *np.searchsorted(length, wanted[:-1]), len(x) - 1])
    return x[kept], y[kept]

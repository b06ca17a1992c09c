"""Confusion counts, groups of scores and metrics of categories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.metrics.intervals import Estimate, areas, rate

__all__ = ["Category", "Confusion", "Group", "category_metrics", "confusion", "score_groups"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Confusion:
    """Counts of labels against flags, and rates where they are defined."""

    found: int
    missed: int
    false_alarms: int
    passed: int
    recall: Estimate | None
    precision: Estimate | None
    false_alarm_rate: Estimate | None

    @property
    def n_anomalies(self) -> int:
        """Number of rows labelled as anomalies."""
        return self.found + self.missed

    @property
    def n_normal(self) -> int:
        """Number of rows labelled as normal."""
        return self.false_alarms + self.passed


def confusion(found: int, alarms: int, n_anomalies: int, n_normal: int) -> Confusion:
    """Return the confusion counts from numbers of flags and of labels."""
    return Confusion(
        found,
        n_anomalies - found,
        alarms,
        n_normal - alarms,
        recall=rate(found, n_anomalies),
        precision=rate(found, found + alarms),
        false_alarm_rate=rate(alarms, n_normal),
    )


@dataclass(frozen=True)
class Group:
    """Anomaly scores of a group of rows, in nats.

    Attributes
    ----------
    name : str
    n_rows, n_flagged : int
    lowest, median, p95, highest : float
        Quantiles of the scores; `p95` is the 95th percentile.
    """

    name: str
    n_rows: int
    n_flagged: int
    lowest: float
    median: float
    p95: float
    highest: float


def score_groups(scores: Array, flagged: Flags, groups: Mapping[str, Flags]) -> tuple[Group, ...]:
    """Return the quantiles of the scores of each group of rows."""
    return tuple(
        Group(
            name,
            int(mask.sum()),
            int(flagged[mask].sum()),
            *(float(q) for q in np.percentile(scores[mask], [0, 50, 95, 100])),
        )
        for name, mask in groups.items()
    )


@dataclass(frozen=True)
class Category:
    """Rows of one category, and how well they are separated from normal rows.

    Attributes
    ----------
    name : str
    n_rows, n_flagged : int
    is_normal : bool or None
        None without labels.
    auroc : Estimate or None
        AUROC of the anomalies of the category against all normal rows.
    """

    name: str
    n_rows: int
    n_flagged: int
    is_normal: bool | None
    auroc: Estimate | None


def category_metrics(
    scores: Array, flagged: Flags, labels: Flags | None, categories: Mapping[str, Flags]
) -> tuple[Category, ...]:
    """Return the metrics of categories: normal ones first, then by ascending AUROC.

    Parameters
    ----------
    scores : ndarray of shape (n_rows,)
        Higher is more anomalous.
    flagged : ndarray of bool of shape (n_rows,)
    labels : ndarray of bool of shape (n_rows,), optional
        True for anomalies.
    categories : mapping of str to ndarray of bool of shape (n_rows,)
        The rows of each category.

    Returns
    -------
    tuple of Category
    """
    found = []
    for name, mask in categories.items():
        auroc = None
        if labels is not None and (labels & mask).any() and not labels.all():
            compared = ~labels | (labels & mask)
            auroc = areas(scores[compared], labels[compared]).auroc
        is_normal = None if labels is None else not labels[mask].any()
        found.append(Category(name, int(mask.sum()), int(flagged[mask].sum()), is_normal, auroc))
    return tuple(sorted(found, key=lambda c: (c.auroc.value if c.auroc else 0.0, c.name)))

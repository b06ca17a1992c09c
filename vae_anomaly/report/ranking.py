"""Most anomalous records of a report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.report.data import ListedRecord, ScoredRecords

__all__ = ["MAX_LISTED", "MAX_TOP", "listed_records", "most_anomalous", "n_listed", "ranking"]

MAX_TOP = 100
"""Records that a page shows by themselves, at most."""

MAX_LISTED = 500
"""Flagged records that a page lists, at most, so that it stays small."""


def most_anomalous(scores: NDArray[np.float64], top: int) -> NDArray[np.intp]:
    """Return the positions of the most anomalous records, at most `MAX_TOP`."""
    return ranking(scores)[: np.clip(top, 0, MAX_TOP)]


def ranking(scores: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the positions of all records, the most anomalous first."""
    return np.argsort(-scores, kind="stable")


def n_listed(scored: ScoredRecords) -> int:
    """Return how many flagged records the page lists."""
    return min(scored.n_flagged, MAX_LISTED)


def listed_records(
    scored: ScoredRecords,
    reasons: Sequence[tuple[str, ...]],
    categories: Sequence[str] | None,
) -> tuple[ListedRecord, ...]:
    """Return the flagged records, the most anomalous first, with the reasons for them.

    Parameters
    ----------
    scored : ScoredRecords
    reasons : sequence of tuple of str
        Of the first ones; the others have none.
    categories : sequence of str of shape (n,), optional
    """
    rows = ranking(scored.scores)[: n_listed(scored)].tolist()
    return tuple(
        ListedRecord(
            **vars(scored.ranked(row)),
            category=None if categories is None else str(categories[row]),
            reasons=reasons[i] if i < len(reasons) else (),
        )
        for i, row in enumerate(rows)
    )

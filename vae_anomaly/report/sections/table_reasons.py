"""Reasons for the most anomalous rows of a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._types import Json
from vae_anomaly.data.base import Encoder
from vae_anomaly.model.reasons import DIRECTIONS, NormalValues, Reasons, directions_of, reasons_of
from vae_anomaly.report.data import RankedRecord, ScoredRecords
from vae_anomaly.report.formatting import legible, number
from vae_anomaly.report.sections.histogram import TrainingHistogram

if TYPE_CHECKING:
    from vae_anomaly.data.table.encoder import TableEncoder

__all__ = ["Explained", "Neighbor", "Reason", "TopRow", "explain_rows", "top_rows"]

MAX_NAME_LENGTH, MAX_TEXT_LENGTH = 60, 24
"""Characters of a column and of a value in a sentence."""

MIDNIGHT = " 00:00:00"
"""End of a date without a time of day."""

N_NEIGHBORS = 3
"""Similar training rows that a card shows, folded."""


@dataclass(frozen=True)
class Reason:
    """Contribution of a column to the score of a row.

    Attributes
    ----------
    column : str
    contribution : float
        In nats.
    value, expected : float, str or None
        Value of the row and what the rest of the row lets expect; None where there is none.
    probability : float or None
        That of an expected level; None for what is no category.
    low, high : float or None
        Normal range; None for what is no number. See `model.reasons`.
    direction : str or None
        One of `model.reasons.directions_of`, or None.
    feature : int
        Position of the column among all.
    mark : float or None
        Position of the value in the histogram of the column; None without one.
    """

    column: str
    contribution: float
    value: float | str | None = None
    expected: float | str | None = None
    probability: float | None = None
    low: float | None = None
    high: float | None = None
    direction: str | None = None
    feature: int = 0
    mark: float | None = None

    @property
    def words(self) -> str:
        """Column, value and what is normal."""
        name = legible(self.column, MAX_NAME_LENGTH)
        if self.value is None:
            return f"{name} is missing"
        text = f"{name} {_text(self.value)}"
        if self.low is not None and self.high is not None:
            low, high = number(self.low, 4), number(self.high, 4)
            if low != high:
                where = "unreadable, usually" if self.direction == "unreadable" else self.direction
                notes = [f"{where} {low} to {high}"]
                if self.direction == "within" and self.expected not in (None, self.value):
                    notes.append(f"expected {_text(self.expected)}")
                return f"{text} ({', '.join(notes)})"
            return f"{text} ({'usually' if self.direction == 'within' else self.direction} {low})"
        notes = [] if self.direction in (None, "within") else [str(self.direction)]
        if self.expected is not None and self.expected != self.value:
            sure = "" if self.probability is None else f", p {self.probability:.2f}"
            notes.append(f"expected {_text(self.expected)}{sure}")
        return f"{text} ({', '.join(notes)})" if notes else text


@dataclass(frozen=True)
class Neighbor:
    """Training row that is similar to a row.

    Attributes
    ----------
    distance : float
        In standard deviations.
    values : tuple of float, str or None
        In the columns of the reasons.
    """

    distance: float
    values: tuple[float | str | None, ...]


@dataclass(frozen=True)
class TopRow(RankedRecord):
    """One of the most anomalous rows, with its greatest contributions and similar rows."""

    reasons: tuple[Reason, ...]
    neighbors: tuple[Neighbor, ...] = ()


class Explained(NamedTuple):
    """Rows with the reasons for their scores.

    Attributes
    ----------
    rows : ndarray of int of shape (n,)
    reasons : list of tuple of Reason
    histograms : mapping of int to TrainingHistogram
        Of the columns that the reasons name, by position.
    """

    rows: NDArray[np.intp]
    reasons: list[tuple[Reason, ...]]
    histograms: Mapping[int, TrainingHistogram]


def explain_rows(
    scored: ScoredRecords, normal: NormalValues, rows: NDArray[np.intp], count: int
) -> Explained:
    """Return the reasons for the scores of some rows.

    Parameters
    ----------
    scored : ScoredRecords
    normal : NormalValues
    rows : ndarray of int of shape (n,)
    count : int
        Number of reasons for each, at most.
    """
    model, shown = scored.model, scored.records[rows]
    encoder = cast("TableEncoder", model.encoder)
    evaluated = model.evaluate(shown, contributions=True, expected=True)
    found = reasons_of(model, normal, shown, evaluated, count)
    named = np.unique(found.feature[found.contribution > 0]).tolist()
    drawn = {feature: TrainingHistogram.of(normal, feature) for feature in named}
    histograms = {feature: one for feature, one in drawn.items() if one is not None}
    feature = found.feature.ravel()
    values, others = (encoder.cells(one.ravel(), feature) for one in (found.value, found.expected))
    values = scored.texts.shown(values, rows.repeat(found.feature.shape[1]), feature)
    cells = iter(zip(values, others, strict=True))
    reasons = [
        tuple(
            _reason(encoder, found, (i, k), *one, histograms)
            for k, one in enumerate(islice(cells, found.feature.shape[1]))
            if found.contribution[i, k] > 0
        )
        for i in range(len(rows))
    ]
    return Explained(rows, reasons, histograms)


def _reason(
    encoder: Encoder,
    found: Reasons,
    at: tuple[int, int],
    value: Json,
    expected: Json,
    histograms: Mapping[int, TrainingHistogram],
) -> Reason:
    feature, code = int(found.feature[at]), float(found.value[at])
    histogram, direction = histograms.get(feature), found.direction[at]
    is_drawn = histogram is not None and direction < DIRECTIONS.index("missing")
    return Reason(
        encoder.features[feature],
        float(found.contribution[at]),
        cell(value),
        cell(expected),
        _bound(found.probability[at]),
        _bound(found.low[at]),
        _bound(found.high[at]),
        (*directions_of(encoder), None)[direction],
        feature,
        histogram.at(code) if histogram is not None and is_drawn else None,
    )


def top_rows(
    scored: ScoredRecords, normal: NormalValues, explained: Explained, top: int, count: int
) -> tuple[TopRow, ...]:
    """Return the first explained rows, with some of the reasons, and similar training rows."""
    rows = explained.rows[:top]
    if not len(rows):
        return ()
    model, shown = scored.model, scored.records[rows]
    encoder = cast("TableEncoder", model.encoder)
    similar = model.neighbors(shown, N_NEIGHBORS)
    kept = normal.records[similar.exemplar.ravel()]
    training = np.asarray(encoder.rows(kept), dtype=object)
    training = training.reshape(*similar.exemplar.shape, -1)  # (n, neighbours, n_features)
    found = []
    for i, row in enumerate(rows):
        reasons = explained.reasons[i][:count]
        neighbors = tuple(
            Neighbor(float(distance), tuple(cell(cells[one.feature]) for one in reasons))
            for distance, cells in zip(similar.distance[i], training[i], strict=True)
        )
        found.append(TopRow(**vars(scored.ranked(row)), reasons=reasons, neighbors=neighbors))
    return tuple(found)


def _bound(value: float) -> float | None:
    """Return a bound of a range; None if there is none."""
    return None if np.isnan(value) else float(value)


def cell(value: Json) -> float | str | None:
    """Return a cell as a number or a text; None if it is missing."""
    if value is None or value != value:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number:
        return float(value)
    return value if isinstance(value, str) else str(value).removesuffix(MIDNIGHT)


def _text(value: float | str) -> str:
    """Return a value in a sentence."""
    return legible(value, MAX_TEXT_LENGTH) if isinstance(value, str) else number(value, 4)

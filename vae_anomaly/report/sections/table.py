"""Report section of tables: the most anomalous rows and the contributions of their columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self, cast

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._text import counted
from vae_anomaly._types import Json
from vae_anomaly.data.cells import STRAY
from vae_anomaly.data.table.column import DATE
from vae_anomaly.data.table.dates import timestamps_of
from vae_anomaly.model.reasons import DIRECTIONS, NormalValues, reasons_of
from vae_anomaly.report.data import (
    Context,
    Figure,
    Options,
    RankedRecord,
    ScoredRecords,
    Tile,
)
from vae_anomaly.report.formatting import legible, number, percent
from vae_anomaly.report.ranking import most_anomalous
from vae_anomaly.report.sections.distribution import Distribution, of_levels, of_numbers

if TYPE_CHECKING:
    from vae_anomaly.data.table.encoder import TableEncoder

__all__ = ["SECTION", "ColumnFacts", "Neighbor", "Reason", "TableSection", "TopRow"]

Array = NDArray[np.float64]

MAX_REASONS = 10

MAX_LEVEL_LENGTH = 24

MAX_SHOWN_LEVELS = 5
"""Levels of a category that the page names."""

MAX_DISTRIBUTIONS = 300
"""Columns whose distributions are drawn, so that the page stays small."""

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
    low, high : float or None
        Normal range; None for what is no number. See `model.reasons`.
    direction : str or None
        One of `model.reasons.DIRECTIONS`; None for dates.
    """

    column: str
    contribution: float
    value: float | str | None = None
    expected: float | str | None = None
    low: float | None = None
    high: float | None = None
    direction: str | None = None


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
class ColumnFacts:
    """What a column is, and how often it is missing.

    Attributes
    ----------
    name : str
    role : str
        Its type, or "left out".
    content : str
        Range or levels in training, or why it is left out.
    missing_in_training, missing : float or None
        Shares of missing cells in training and in the data of the report; None for columns
        that are left out.
    distribution : Distribution or None
        None for columns that are left out or constant, and beyond the first `MAX_DISTRIBUTIONS`.
    """

    name: str
    role: str
    content: str
    missing_in_training: float | None = None
    missing: float | None = None
    distribution: Distribution | None = None


@dataclass(frozen=True)
class TopRow(RankedRecord):
    """One of the most anomalous rows, with its greatest contributions and similar rows."""

    reasons: tuple[Reason, ...]
    neighbors: tuple[Neighbor, ...] = ()


@dataclass(frozen=True, eq=False)
class TableSection:
    """Most anomalous rows of a table; see `report.data.Section`.

    Attributes
    ----------
    rows : tuple of TopRow
        The most anomalous first.
    columns : tuple of ColumnFacts
    """

    context: ClassVar[type[Context]] = Context
    template: ClassVar[str] = "_table.html.j2"
    figure_names: ClassVar[tuple[str, ...]] = ()

    rows: tuple[TopRow, ...]
    columns: tuple[ColumnFacts, ...]

    @classmethod
    def collect(cls, scored: ScoredRecords, options: Options, context: Context) -> Self:
        """Explain the most anomalous rows, and describe the columns."""
        return cls(_top_rows(scored, options), _columns(scored))

    @property
    def size(self) -> str:
        """Number of columns."""
        return f"{len(self.columns):,} columns"

    @property
    def content(self) -> str:
        """Name of the data that the page shows."""
        return "values" if self.rows else ""

    @property
    def settings(self) -> tuple[tuple[str, str], ...]:
        """Number of columns."""
        return (("columns", f"{len(self.columns):,}"),)

    def figures(self) -> dict[str, Figure]:
        """Return no figures."""
        return {}

    def sentences(self) -> list[str]:
        """Return no sentences."""
        return []

    def tiles(self) -> list[Tile]:
        """Return no numbers."""
        return []


SECTION = TableSection


def _columns(scored: ScoredRecords) -> tuple[ColumnFacts, ...]:
    """Describe the columns as the model knows them."""
    encoder = cast("TableEncoder", scored.model.encoder)
    codes = np.asarray(scored.records, dtype=np.float64)
    described = zip(encoder.describe()["columns"], codes.T, strict=True)
    found = [_column_facts(facts, encoder.n_rows, column) for facts, column in described]
    rest = (replace(one, distribution=None) for one in found[MAX_DISTRIBUTIONS:])
    return (*found[:MAX_DISTRIBUTIONS], *rest)


def _column_facts(facts: Mapping[str, Json], n_rows: int, codes: Array) -> ColumnFacts:
    role, distribution = facts.get("type", "number"), None
    known = np.where(codes == STRAY, np.nan, codes)
    content = facts.get("reason", "")
    if "levels" in facts:
        content = _levels(facts["levels"], facts["level_rows"])
        n_others = n_rows - facts["missing_rows"] - sum(facts["level_rows"])
        distribution = of_levels(codes, facts["level_rows"], n_others)
    elif "low" in facts:
        value = number(facts["low"])
        spread = f"{value} to {number(facts['high'])}, mean {number(facts['mean'], 4)}"
        content = f"always {value}" if facts["constant"] else spread
        if not facts["constant"]:
            distribution = of_numbers(known, facts["low"], facts["high"])
    elif role == DATE and not np.isnan(known).all():
        first, last = np.nanmin(known), np.nanmax(known)
        content = f"{content}; here {_day(first)} to {_day(last)}"
        distribution = of_numbers(known, first, last)
    elif "missing_rows" not in facts:
        return ColumnFacts(facts["name"], "left out", f"{role}: {content}")
    in_training = facts.get("missing_rows", 0) / max(n_rows, 1)
    missing = float(np.isnan(codes).mean())
    return ColumnFacts(facts["name"], role, content, in_training, missing, distribution)


def _day(seconds: float) -> str:
    """Return the day of a date."""
    return str(timestamps_of(np.array([seconds]))[0].astype("datetime64[D]"))


def _levels(levels: Sequence[str], rows: Sequence[int]) -> str:
    """List the most frequent levels with their shares."""
    total = max(sum(rows), 1)
    pairs = sorted(zip(levels, rows, strict=False), key=lambda pair: -pair[1])[:MAX_SHOWN_LEVELS]
    text = ", ".join(
        f"{legible(level, MAX_LEVEL_LENGTH)} {percent(n / total)}" for level, n in pairs
    )
    others = len(levels) - len(pairs)
    return f"{text} and {counted(others, 'other')}" if others else text


def _top_rows(scored: ScoredRecords, options: Options) -> tuple[TopRow, ...]:
    rows = most_anomalous(scored.scores, options.top)
    if not len(rows):
        return ()
    model, shown = scored.model, scored.records[rows]
    normal = NormalValues.of(model)
    evaluated = model.evaluate(shown, contributions=True, expected=True)
    count = min(max(options.reasons, 0), MAX_REASONS)
    found = reasons_of(model, normal, shown, evaluated, count)
    n_reasons = (found.contribution > 0).sum(axis=1)
    similar = model.neighbors(shown, N_NEIGHBORS)
    encoder = cast("TableEncoder", model.encoder)
    usual, kept = normal.usual(encoder.decode(evaluated.expected)), similar.exemplar.ravel()
    values, others, training = (
        np.asarray(encoder.rows(one), dtype=object) for one in (shown, usual, normal.records[kept])
    )
    training = training.reshape(*similar.exemplar.shape, -1)  # (n, neighbours, n_features)
    top = []
    for i, row in enumerate(rows):
        features = found.feature[i, : n_reasons[i]].tolist()
        reasons = tuple(
            Reason(
                encoder.features[j],
                float(found.contribution[i, k]),
                _cell(values[i, j]),
                _cell(others[i, j]),
                _bound(found.low[i, k]),
                _bound(found.high[i, k]),
                (*DIRECTIONS, None)[found.direction[i, k]],
            )
            for k, j in enumerate(features)
        )
        neighbors = tuple(
            Neighbor(float(distance), tuple(_cell(cells[j]) for j in features))
            for distance, cells in zip(similar.distance[i], training[i], strict=True)
        )
        top.append(TopRow(**vars(scored.ranked(row)), reasons=reasons, neighbors=neighbors))
    return tuple(top)


def _bound(value: float) -> float | None:
    """Return a bound of a range; None if there is none."""
    return None if np.isnan(value) else float(value)


def _cell(value: Json) -> float | str | None:
    """Return a cell as a number or a text; None if it is missing."""
    if value is None or value != value:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else str(value)

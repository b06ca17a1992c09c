"""Report section of tables: the most anomalous rows and the contributions of their columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self, cast

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._text import distinct
from vae_anomaly._types import AnyArray, Json
from vae_anomaly.report.data import (
    Context,
    Figure,
    Options,
    RankedRecord,
    ScoredRecords,
    Tile,
)
from vae_anomaly.report.ranking import most_anomalous

if TYPE_CHECKING:
    from vae_anomaly.data.table.encoder import TableEncoder

__all__ = ["SECTION", "Reason", "TableSection", "TopRow"]

Array = NDArray[np.float64]

MAX_REASONS = 10

LATENT_CODE = "latent code"
"""Name of the contribution that belongs to no column."""


@dataclass(frozen=True)
class Reason:
    """Contribution of a column to the score of a row.

    Attributes
    ----------
    column : str
    contribution : float
        In nats.
    value, expected : float, str or None
        Value of the row and its reconstruction; None where the cell is missing, and for the
        latent code, which is no column.
    """

    column: str
    contribution: float
    value: float | str | None = None
    expected: float | str | None = None


@dataclass(frozen=True)
class TopRow(RankedRecord):
    """One of the most anomalous rows, with its greatest contributions."""

    reasons: tuple[Reason, ...]


@dataclass(frozen=True, eq=False)
class TableSection:
    """Most anomalous rows of a table; see `report.data.Section`.

    Attributes
    ----------
    rows : tuple of TopRow
        The most anomalous first.
    n_columns : int
    """

    context: ClassVar[type[Context]] = Context
    template: ClassVar[str] = "_table.html.j2"
    figure_names: ClassVar[tuple[str, ...]] = ()

    rows: tuple[TopRow, ...]
    n_columns: int

    @classmethod
    def collect(cls, scored: ScoredRecords, options: Options, context: Context) -> Self:
        """Explain the most anomalous rows."""
        return cls(_top_rows(scored, options), scored.model.encoder.outline.n_features)

    @property
    def size(self) -> str:
        """Number of columns."""
        return f"{self.n_columns:,} columns"

    @property
    def content(self) -> str:
        """Name of the data that the page shows."""
        return "values" if self.rows else ""

    @property
    def settings(self) -> tuple[tuple[str, str], ...]:
        """Number of columns."""
        return (("columns", f"{self.n_columns:,}"),)

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


def _top_rows(scored: ScoredRecords, options: Options) -> tuple[TopRow, ...]:
    rows = most_anomalous(scored.scores, options.top)
    if not len(rows):
        return ()
    model, shown = scored.model, scored.records[rows]
    contributions = model.contributions(shown)
    names = [*distinct(model.encoder.features, LATENT_CODE), LATENT_CODE]
    # The latent code has no value of its own.
    none = np.full((len(rows), 1), None, dtype=object)
    encoder = cast("TableEncoder", model.encoder)
    values = np.hstack([np.asarray(encoder.rows(shown), dtype=object), none])
    expected = np.hstack([np.asarray(model.expected(shown), dtype=object), none])
    return tuple(
        TopRow(**vars(scored.ranked(row)), reasons=_reasons(names, *parts, limit=options.reasons))
        for row, *parts in zip(rows, contributions, values, expected, strict=True)
    )


def _reasons(
    names: list[str], contributions: Array, values: AnyArray, expected: AnyArray, *, limit: int
) -> tuple[Reason, ...]:
    """Return the greatest positive contributions of a row."""
    order = np.argsort(-contributions, kind="stable")[: np.clip(limit, 0, MAX_REASONS)]
    return tuple(
        Reason(names[i], float(contributions[i]), _cell(values[i]), _cell(expected[i]))
        for i in order
        if contributions[i] > 0
    )


def _cell(value: Json) -> float | str | None:
    """Return a cell as a number or a text; None if it is missing."""
    if value is None or value != value:
        return None
    return str(value) if isinstance(value, str | bool) else float(value)

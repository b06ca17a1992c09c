"""Report section of tables: reasons for the most anomalous rows, and columns that moved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from vae_anomaly.model.reasons import NormalValues
from vae_anomaly.report.data import Context, Figure, Options, ScoredRecords, Tile
from vae_anomaly.report.ranking import MAX_TOP, ranking
from vae_anomaly.report.sections.histogram import TrainingHistogram
from vae_anomaly.report.sections.table_columns import (
    ColumnFacts,
    MovedColumn,
    describe_columns,
    moved_columns,
    n_moved,
)
from vae_anomaly.report.sections.table_reasons import TopRow, explain_rows, top_rows

__all__ = ["SECTION", "TableSection"]

MAX_REASONS = 10

N_WORDS = 3
"""Reasons in words, for the list of flagged rows."""


@dataclass(frozen=True, eq=False)
class TableSection:
    """Most anomalous rows of a table, and its columns; see `report.data.Section`.

    Attributes
    ----------
    rows : tuple of TopRow
        The most anomalous first.
    columns : tuple of ColumnFacts
    moved : tuple of MovedColumn
        The greatest movement first; none without calibration rows.
    n_moved : int
        Columns that moved enough to be named.
    histograms : mapping of int to TrainingHistogram
        Of the columns that reasons name, by position.
    listed : tuple of tuple of str
        Reasons for the flagged rows, in words.
    reason : str
        Why the most anomalous row is.
    """

    context: ClassVar[type[Context]] = Context
    template: ClassVar[str] = "_table.html.j2"
    figure_names: ClassVar[tuple[str, ...]] = ()

    rows: tuple[TopRow, ...]
    columns: tuple[ColumnFacts, ...]
    moved: tuple[MovedColumn, ...]
    n_moved: int
    histograms: Mapping[int, TrainingHistogram]
    listed: tuple[tuple[str, ...], ...]
    reason: str

    @classmethod
    def collect(cls, scored: ScoredRecords, options: Options, context: Context) -> Self:
        """Explain the most anomalous rows, and describe the columns."""
        normal = NormalValues.of(scored.model)
        columns = describe_columns(scored, normal)
        top = min(max(options.top, 0), MAX_TOP)
        count = min(max(options.reasons, 0), MAX_REASONS)
        rows = ranking(scored.scores)[: max(1, top, options.listed)]
        explained = explain_rows(scored, normal, rows, max(count, N_WORDS))
        shown = top_rows(scored, normal, explained, top, count)
        words = [tuple(one.words for one in few[:N_WORDS]) for few in explained.reasons]
        named = {one.feature for row in shown for one in row.reasons}
        return cls(
            shown,
            columns,
            moved_columns(scored, columns),
            0 if scored.drift is None else n_moved(scored.drift.movements),
            {i: one for i, one in explained.histograms.items() if i in named},
            tuple(words[: options.listed]),
            "; ".join(words[0]),
        )

    @property
    def size(self) -> str:
        """Number of columns."""
        return f"{len(self.columns):,} columns"

    @property
    def content(self) -> str:
        """Name of the data that the page shows."""
        return "values"

    @property
    def settings(self) -> tuple[tuple[str, str], ...]:
        """Number of columns."""
        return (("columns", f"{len(self.columns):,}"),)

    def figures(self) -> dict[str, Figure]:
        """Return no figures."""
        return {}

    def why(self) -> str:
        """Return the main reasons for the most anomalous row."""
        return self.reason

    def sentences(self) -> list[str]:
        """Return no sentences."""
        return []

    def tiles(self) -> list[Tile]:
        """Return no numbers."""
        return []


SECTION = TableSection

"""Columns of a table: what they are, how often they are missing, how they moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._text import counted
from vae_anomaly._types import Json
from vae_anomaly.data.cells import STRAY
from vae_anomaly.data.table.column import DATE
from vae_anomaly.data.table.dates import day_of
from vae_anomaly.model.drift import Moments, Movement
from vae_anomaly.model.reasons import NormalValues
from vae_anomaly.pipeline.messages import MIN_MOVEMENT
from vae_anomaly.report.data import ScoredRecords
from vae_anomaly.report.formatting import legible, number, percent
from vae_anomaly.report.sections.distribution import Distribution, of_levels, of_numbers

if TYPE_CHECKING:
    from vae_anomaly.data.table.encoder import TableEncoder

__all__ = ["ColumnFacts", "MovedColumn", "describe_columns", "moved_columns", "n_moved"]

Array = NDArray[np.float64]

MAX_LEVEL_LENGTH = 24

MAX_SHOWN_LEVELS = 5
"""Levels of a category that the page names."""

MAX_DISTRIBUTIONS = 300
"""Columns whose distributions are drawn, so that the page stays small."""

MAX_MOVED = 10
"""Columns whose movement the page shows."""


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
class MovedColumn:
    """Movement of a column since training; see `model.drift.Movement`.

    Attributes
    ----------
    name : str
    shift, spread : float
        Of the normal rows, without labels of all, in standard deviations of training.
    shift_of_anomalies : float or None
        None without anomalies.
    distribution : Distribution or None
    """

    name: str
    shift: float
    spread: float
    shift_of_anomalies: float | None
    distribution: Distribution | None


def describe_columns(scored: ScoredRecords, normal: NormalValues) -> tuple[ColumnFacts, ...]:
    """Describe the columns as the model knows them."""
    encoder = cast("TableEncoder", scored.model.encoder)
    codes = np.asarray(scored.records, dtype=np.float64)
    described = zip(encoder.describe()["columns"], codes.T, normal.records.T, strict=True)
    found = [_column_facts(one, encoder.n_rows, *columns) for one, *columns in described]
    rest = (replace(one, distribution=None) for one in found[MAX_DISTRIBUTIONS:])
    return (*found[:MAX_DISTRIBUTIONS], *rest)


def _column_facts(
    facts: Mapping[str, Json], n_rows: int, codes: Array, training: Array
) -> ColumnFacts:
    """Describe a column.

    Parameters
    ----------
    facts : mapping
        What the encoder says of it.
    n_rows : int
        Number of training rows.
    codes : ndarray of shape (n,)
        Its cells here, as `Encoder.encode` takes them.
    training : ndarray of shape (m,)
        Those of the training rows that the model keeps.
    """
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
            distribution = of_numbers(known, facts["low"], facts["high"], training)
    elif role == DATE and not np.isnan(known).all():
        first, last = np.nanmin(known), np.nanmax(known)
        content = f"{content}; {_training_days(facts)}here {day_of(first)} to {day_of(last)}"
        distribution = of_numbers(known, first, last)
    elif "missing_rows" not in facts:
        return ColumnFacts(facts["name"], "left out", f"{role}: {content}")
    in_training = facts.get("missing_rows", 0) / max(n_rows, 1)
    missing = float(np.isnan(codes).mean())
    return ColumnFacts(facts["name"], role, content, in_training, missing, distribution)


def _training_days(facts: Mapping[str, Json]) -> str:
    """Return the days between which nearly all dates of training are."""
    return f"{facts['first']} to {facts['last']} in training, " if "first" in facts else ""


def _levels(levels: Sequence[str], rows: Sequence[int]) -> str:
    """List the most frequent levels with their shares."""
    total = max(sum(rows), 1)
    pairs = sorted(zip(levels, rows, strict=False), key=lambda pair: -pair[1])[:MAX_SHOWN_LEVELS]
    text = ", ".join(
        f"{legible(level, MAX_LEVEL_LENGTH)} {percent(n / total)}" for level, n in pairs
    )
    others = len(levels) - len(pairs)
    return f"{text} and {counted(others, 'other')}" if others else text


def n_moved(movements: Sequence[Movement]) -> int:
    """Return how many columns moved enough to be named."""
    return sum(one.distance >= MIN_MOVEMENT for one in movements)


def moved_columns(scored: ScoredRecords, columns: Sequence[ColumnFacts]) -> tuple[MovedColumn, ...]:
    """Return the numbers that moved most, at most `MAX_MOVED`; none without calibration rows."""
    if scored.drift is None:
        return ()
    anomalies: dict[str, float] = {}
    if scored.labels is not None and scored.labels.any() and not scored.labels.all():
        moments = Moments(scored.model.encoder).add(scored.records[scored.labels])
        anomalies = {one.column: one.shift for one in moments.movements()}
    drawn = {one.name: one.distribution for one in columns}
    return tuple(
        MovedColumn(*one, anomalies.get(one.column), drawn.get(one.column))
        for one in scored.drift.movements[:MAX_MOVED]
        if one.distance
    )

"""Reasons for scores, and repairs, as columns of the result."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_anomaly._types import Json
from vae_anomaly.data.arrow import ColumnValues
from vae_anomaly.data.base import Encoder
from vae_anomaly.data.cell_texts import NO_TEXTS, CellTexts
from vae_anomaly.data.cells import STRAY
from vae_anomaly.model.model import Model
from vae_anomaly.model.reasons import UNKNOWN, Reasons, directions_of
from vae_anomaly.model.repair import repair_records

__all__ = ["reason_columns", "reason_fields", "repair_texts"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]

NO_REPAIR = "not normal whatever changes"


def reason_fields(
    encoder: Encoder, count: int, *, described: bool
) -> list[tuple[str, pa.DataType]]:
    """Return names and types of the columns of reasons.

    Values are numbers where all features are, else texts, and expected levels have probabilities.
    """
    number, text = pa.float64(), pa.string()
    cell = number if encoder.are_numbers.all() else text
    fields = []
    for k in range(1, count + 1):
        fields += [(f"reason_{k}", text), (f"contribution_{k}", number)]
        if described:
            fields += [(f"value_{k}", cell), (f"expected_{k}", cell)]
            fields += [] if cell is number else [(f"probability_{k}", number)]
            fields += [(f"low_{k}", number), (f"high_{k}", number), (f"direction_{k}", text)]
    return fields


def reason_columns(
    encoder: Encoder, found: Reasons, texts: CellTexts = NO_TEXTS
) -> list[ColumnValues]:
    """Return the columns of described reasons; see `reason_fields`.

    `texts` are those of unseen levels and stray cells.
    """
    names = pa.array(encoder.features, pa.string())
    directions = pa.array(directions_of(encoder), pa.string())
    are_numbers = encoder.are_numbers.all()
    columns: list[ColumnValues] = []
    for k in range(found.feature.shape[1]):
        feature, direction = found.feature[:, k], found.direction[:, k]
        hidden = found.contribution[:, k] <= 0  # what lowers a score is no reason for it
        columns += [
            ColumnValues(feature, hidden, names),
            _numbers(found.contribution[:, k], hidden),
        ]
        for cells, own in ((found.value[:, k], texts), (found.expected[:, k], NO_TEXTS)):
            if are_numbers:
                columns.append(_numbers(cells, hidden))
            else:
                rows = np.arange(len(cells))
                words = pa.array(_texts(encoder, cells, rows, feature, own), pa.string())
                columns.append(ColumnValues(rows, hidden, words))
        if not are_numbers:
            columns.append(_numbers(found.probability[:, k], hidden))
        columns += [_numbers(found.low[:, k], hidden), _numbers(found.high[:, k], hidden)]
        columns.append(ColumnValues(direction, hidden | (direction == UNKNOWN), directions))
    return columns


def _numbers(values: Array, hidden: Flags) -> ColumnValues:
    """Return a column of numbers, empty where they are NaN, or stand for text."""
    return ColumnValues(values, hidden | np.isnan(values) | (values == STRAY))


def repair_texts(model: Model, records: Array, texts: CellTexts = NO_TEXTS) -> list[str | None]:
    """Return what would make the flagged records normal, None for the others.

    Such as "normal if flow were 3.1 (it is 80) and site were 'north' (it is 'east')".
    """
    found = repair_records(model, records)
    flagged = model.calibration.flags(model.anomaly_scores(records))
    clauses: list[list[str]] = [[] for _ in records]
    names = model.encoder.features
    at = found.record, found.feature
    was = _texts(model.encoder, records[at], *at, texts)
    now = _texts(model.encoder, found.records[at], *at, NO_TEXTS)
    is_normal = ~flagged
    for record, feature, old, new, score in zip(
        found.record, found.feature, was, now, found.score, strict=True
    ):
        value, other = ("missing" if old is None else old), ("another" if new is None else new)
        clauses[record].append(f"{names[feature]} were {other} (it is {value})")
        is_normal[record] = not model.calibration.flags(score)
    return [
        None if not flag else _sentence(parts) if normal else NO_REPAIR
        for parts, flag, normal in zip(clauses, flagged, is_normal, strict=True)
    ]


def _sentence(clauses: Sequence[str]) -> str:
    """Join what has to change."""
    *first, last = clauses
    return f"normal if {', '.join(first)} and {last}" if first else f"normal if {last}"


def _texts(
    encoder: Encoder, values: Array, row: Indices, feature: Indices, texts: CellTexts
) -> list[str | None]:
    """Return values of records and features, (n,) each, as texts; None where they are missing."""
    return [_text(cell) for cell in texts.shown(encoder.cells(values, feature), row, feature)]


def _text(cell: Json) -> str | None:
    """Return a cell as a text, a number as short as it can be without loss.

    Examples
    --------
    >>> [_text(cell) for cell in (3.0, 0.1, "north", True, None, float("nan"))]
    ['3', '0.1', 'north', 'True', None, None]
    """
    if cell is None or cell != cell:
        return None
    return repr(cell).removesuffix(".0") if isinstance(cell, float) else str(cell)

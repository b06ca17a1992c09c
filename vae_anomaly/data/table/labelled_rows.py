"""Rows that a column of labels calls normal, and other columns that give the labels away."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._text import listed, shown
from vae_anomaly.data.base import Array, Batch
from vae_anomaly.data.labels import anomalous, label_summary
from vae_anomaly.data.table.reader import TableReader
from vae_anomaly.exceptions import DataError

__all__ = ["LabelledRows"]

Flags = NDArray[np.bool_]

MIN_NORMAL_ROWS = 10
"""Normal rows from which on a column that is constant in them is remarkable."""


@dataclass
class LabelledRows:
    """Labels of all rows of a table, of which only the normal rows are learned.

    Attributes
    ----------
    column : str
        Column of the labels.
    normal : ndarray of bool of shape (n,)
    note : str
        Which labels are taken as normal.
    """

    column: str
    normal: Flags
    note: str
    _value: Array | None = None  # of each column in the first normal row
    _constant: Flags = field(default_factory=lambda: np.zeros(0, dtype=bool))  # in normal rows
    _shared: Flags = field(default_factory=lambda: np.zeros(0, dtype=bool))  # with an anomaly
    _changed: Flags = field(default_factory=lambda: np.zeros(0, dtype=bool))  # in an anomaly

    @classmethod
    def read(cls, reader: TableReader, column: str, normal_label: Sequence[str]) -> Self:
        """Read the labels of all rows.

        Raises
        ------
        DataError
            If a label is missing or not known, or no row is normal.
        """
        labels: list[object] = []
        for batch in reader.batches((), [column]):
            labels += batch.column(column).to_pylist()
        flags = anomalous(labels, source=reader.name, column=column, normal=normal_label)
        note = f"labels in {shown(column)}: {label_summary(labels, flags, 'row')}"
        if labels and flags.all():
            raise DataError(
                f"{reader.name}: no row is normal; {note}. Say which label is with --normal-label."
            )
        return cls(column, ~flags, note)

    def only_normal(self, batch: Batch) -> Batch:
        """Return a batch without its anomalies, after comparing them with the normal rows."""
        normal = self.normal[batch.start : batch.start + len(batch.keys)]
        self._compare(np.where(np.isnan(batch.records), np.inf, batch.records), normal, batch.start)
        return batch._replace(records=batch.records[normal], positions=np.flatnonzero(normal))

    def _compare(self, rows: Array, normal: Flags, start: int) -> None:
        """Compare the cells of normal rows and of anomalies, (n, n_columns)."""
        if start == 0:
            self._value = None
        if self._value is None:
            if not normal.any():
                return
            self._value = rows[normal][0]
            self._constant = np.ones(len(self._value), dtype=bool)
            self._shared, self._changed = ~self._constant, ~self._constant
        equal = rows == self._value
        self._constant &= equal[normal].all(axis=0)
        self._shared |= equal[~normal].any(axis=0)
        self._changed |= ~equal[~normal].all(axis=0)

    def warnings(self, names: Sequence[str]) -> list[str]:
        """Return lines about columns, of these names, that say what the labels say."""
        if self._value is None or self.normal.sum() < MIN_NORMAL_ROWS:
            return []
        lines, suspect = [], self._constant & self._changed
        for chosen, words in (
            (~self._shared, "never that one in anomalies: a copy of the labels?"),
            (self._shared, "other ones in anomalies alone: known only afterwards, as labels are?"),
        ):
            found = [names[i] for i in np.flatnonzero(suspect & chosen).tolist()]
            if found:
                lines.append(
                    f"warning: {listed(found)}: one value in all normal rows, and {words} If so, "
                    f"--ignore {shlex.quote(','.join(found))}"
                )
        return lines


def copies_of_labels(
    reader: TableReader, column: str, records: Array, names: Sequence[str]
) -> list[str]:
    """Return warnings of columns that say what a column of labels says, if it is one.

    Parameters
    ----------
    reader : TableReader
    column : str
        May hold labels.
    records : ndarray of shape (n, n_columns)
        All rows, or nothing is said.
    names : sequence of str
        Names of the columns of the records.
    """
    try:
        labelled = LabelledRows.read(reader, column, ())
    except DataError:  # they would have to be explained first
        return []
    if len(labelled.normal) != len(records):
        return []
    others = [i for i, name in enumerate(names) if name != column]
    rows = np.where(np.isnan(records), np.inf, records)[:, others]
    labelled._compare(rows, labelled.normal, 0)
    return labelled.warnings([names[i] for i in others])

"""Tables as a source: a reader, and the columns that are features."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from types import MappingProxyType

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_anomaly._text import listed, shown
from vae_anomaly.data.base import Batch, Encoder, Records, Source
from vae_anomaly.data.labels import anomalous
from vae_anomaly.data.table.coding import Coding
from vae_anomaly.data.table.column import CATEGORY, MAX_LEVELS, NUMBER
from vae_anomaly.data.table.column_types import check_column_types
from vae_anomaly.data.table.columns import (
    ColumnSelection,
    require_columns,
    select_for_fitting,
    select_for_scoring,
)
from vae_anomaly.data.table.dates import MAX_PARTS
from vae_anomaly.data.table.encoder import TableEncoder
from vae_anomaly.data.table.reader import CellError, TableReader
from vae_anomaly.exceptions import DataError, ParameterError

__all__ = ["TableSource", "open_source"]


class TableSource(Source):
    """A table whose features are read as float64.

    Parameters
    ----------
    reader : TableReader
        Closed together with the source.
    columns : ColumnSelection
    coding : Coding
        How cells become numbers.
    id_column : str, optional
        Column of the keys; by default rows are numbered from 1.
    label_column : str, optional
        Column of the labels.
    normal_label : sequence of str
        Labels of normal rows; see `vae_anomaly.data.labels.anomalous`.
    unfitted : bool, default=False
        Whether an encoder is still to be fitted: the user may leave columns out.
    """

    unit = "row"

    def __init__(
        self,
        reader: TableReader,
        columns: ColumnSelection,
        coding: Coding,
        *,
        id_column: str | None = None,
        label_column: str | None = None,
        normal_label: Sequence[str] = (),
        unfitted: bool = False,
    ) -> None:
        self.name, self.n_records = reader.name, reader.rows
        self.columns = columns
        self._reader, self._unfitted = reader, unfitted
        self._id_column, self._label_column = id_column, label_column
        self._normal_label = normal_label
        self._coding = coding
        roles = (name for name in (label_column, id_column) if name is not None)
        self._keep = tuple(dict.fromkeys((*coding.texts, *coding.dates, *roles)))
        self._labels: NDArray[np.bool_] | None = None
        self.key_name = "row" if id_column is None else id_column
        if columns.unused and not unfitted:
            self.notes = (
                f"note: {self.name}: the model does not know {listed(columns.unused)}; ignored",
            )

    @property
    def key_type(self) -> pa.DataType:
        """Arrow type of the keys: that of the identifiers, or int64."""
        return pa.int64() if self._id_column is None else self._reader.type_of(self._id_column)

    @property
    def record_shape(self) -> tuple[int, ...]:
        """Number of features."""
        return (self._coding.width,)

    @property
    def max_numbers(self) -> int:
        """Numbers of a row, parts of dates, and indicators of levels for each text."""
        coding = self._coding
        of_dates, of_texts = MAX_PARTS * len(coding.dates), (MAX_LEVELS + 2) * len(coding.texts)
        return len(coding.numbers) + of_dates + of_texts

    @property
    def description(self) -> str:
        """Number of columns, in words."""
        count = len(self.columns.features)
        return f"{count} column{'s' * (count > 1)}"

    @property
    def labels(self) -> NDArray[np.bool_] | None:
        """True for anomalies, one for each row, after a complete reading with a label column."""
        return self._labels

    def batches(self) -> Iterator[Batch]:
        """Yield the rows, features as float64.

        Yields
        ------
        Batch

        Raises
        ------
        CellError
            For the first cell of a number that is neither missing nor a finite number.
        DataError
            If the file is not a sound table, or labels are missing or ambiguous.
        """
        self._labels, labels, start = None, [], 0
        try:
            for batch in self._reader.batches(self._coding.numbers, self._keep):
                if self._label_column is not None:
                    labels += batch.column(self._label_column).to_pylist()
                yield Batch(start, self._keys(batch, start), self._coding.matrix(batch))
                start += batch.num_rows
        except CellError as error:
            if not self._unfitted:
                raise
            raise DataError(
                f"{error.fact} Correct the cell, or leave the column out with "
                f"{_ignore_options([error.column])}, or make it one of levels with "
                f"--type {shlex.quote(error.column + '=category')}."
            ) from error
        if self._label_column is not None:
            self._labels = anomalous(
                labels, source=self.name, column=self._label_column, normal=self._normal_label
            )

    def _keys(self, batch: pa.RecordBatch, start: int) -> pa.Array:
        if self._id_column is not None:
            return batch.column(self._id_column)
        numbers = np.arange(start + 1, start + batch.num_rows + 1, dtype=np.int64)
        # As `pyarrow.array` does, which imports pandas.
        return pa.Array.from_buffers(pa.int64(), len(numbers), [None, pa.py_buffer(numbers)])

    def check(self) -> int:
        """Read the whole table once and count its rows."""
        return self._reader.check(self._coding.numbers, self._keep)

    def require(self, count: int, minimum: int, need: str) -> None:
        """Raise if the table has too few rows; see `Source.require`."""
        if count < minimum:
            number = "no" if minimum == 1 else str(count)
            raise DataError(
                f"{self.name} has {number} row{'' if count == 1 else 's'} below its column names. "
                f"{need}"
            )

    def training_data(self, records: Records) -> Records:
        """Return rows with the names of their columns: a DataFrame that shares their memory."""
        import pandas as pd

        features = list(self.columns.features)
        if len(self._coding.numbers) == len(features):
            return pd.DataFrame(records, columns=features, copy=False)
        return pd.DataFrame(self._coding.cells(records, features))

    def fit_notes(self, encoder: Encoder) -> Sequence[str]:
        """Return lines about columns that were left out, and about constant ones."""
        notes = []
        if self.columns.unused:
            notes.append(f"left out: {listed(self.columns.unused)}")
        if isinstance(encoder, TableEncoder):
            notes += encoder.notes()
        return notes

    def close(self) -> None:
        """Close the reader, which removes its temporary copy."""
        self._reader.close()


def open_source(
    reader: TableReader,
    encoder: TableEncoder | None = None,
    *,
    ignore: Sequence[str] = (),
    column_types: Mapping[str, str] = MappingProxyType({}),
    id_column: str | None = None,
    label_column: str | None = None,
    normal_label: Sequence[str] = (),
    strict: bool = False,
) -> TableSource:
    """Match the columns of a table to an encoder, or select those to fit one to.

    Parameters
    ----------
    reader : TableReader
        Closed if the table is refused.
    encoder : TableEncoder, optional
    ignore : sequence of str
        Columns to leave out, without an encoder.
    column_types : mapping of str to str
        Columns whose type is chosen, without an encoder.
    id_column, label_column : str, optional
        Columns of the keys and of the labels; without an encoder they are left out.
    normal_label : sequence of str
        Labels of normal rows.
    strict : bool, default=False
        Refuse columns that the encoder does not know.

    Returns
    -------
    TableSource

    Raises
    ------
    DataError
        If columns are missing, or unknown and `strict`.
    ParameterError
        If the encoder knows a column that is to be the identifier or the label.
    """
    roles = [name for name in (label_column, id_column) if name is not None]
    with ExitStack() as stack:
        stack.callback(reader.close)
        if encoder is None:
            not_used = [name for name, type_ in column_types.items() if type_ == "ignore"]
            ignored = [*ignore, *roles, *not_used]
            columns = select_for_fitting(reader.name, reader.columns, ignored=ignored)
            coding = Coding.draft(columns.features, _kept(reader, columns.features, column_types))
            stack.pop_all()
            return TableSource(reader, columns, coding, unfitted=True)
        columns = _matched(reader, encoder, roles, strict=strict)
        coding = Coding.of(columns.features, encoder.schema)
        stack.pop_all()
    return TableSource(
        reader,
        columns,
        coding,
        id_column=id_column,
        label_column=label_column,
        normal_label=normal_label,
    )


def _kept(
    reader: TableReader, features: Sequence[str], column_types: Mapping[str, str]
) -> dict[str, pa.DataType]:
    """Return the columns that are read unchanged, and their types.

    Those of a chosen category are texts.
    """
    check_column_types(column_types)
    chosen = {name: type_ for name, type_ in column_types.items() if type_ != "ignore"}
    require_columns(reader.name, features, list(chosen))
    kept = {name: reader.type_of(name) for name in (*reader.text_columns(), *chosen)}
    kept |= {name: pa.string() for name, type_ in chosen.items() if type_ == CATEGORY}
    return {name: type_ for name, type_ in kept.items() if chosen.get(name) != NUMBER}


def _matched(
    reader: TableReader, encoder: TableEncoder, roles: Sequence[str], *, strict: bool
) -> ColumnSelection:
    for name in roles:
        if name in (encoder.used_names or ()):
            raise ParameterError(
                f"The model was fitted on column {shown(name)}: it cannot be the label or the "
                f"identifier as well."
            )
    columns = select_for_scoring(
        reader.name,
        reader.columns,
        names=encoder.used_names,
        n_features=len(encoder.features),
        roles=roles,
        known=encoder.names or (),
    )
    if columns.unused and strict:
        raise DataError(
            f"{reader.name}: the model does not know {listed(columns.unused)}. Remove what is "
            f"extra, or score without --strict."
        )
    return columns


def _ignore_options(names: Sequence[str]) -> str:
    """Return the command-line options that leave columns out."""
    return " ".join(f"--ignore {shlex.quote(name)}" for name in names)

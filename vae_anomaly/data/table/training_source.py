"""Tables that an encoder is fitted to: the columns that are text are found in all rows."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import replace

import numpy as np
import pyarrow as pa

from vae_anomaly._text import listed, shown
from vae_anomaly.data.base import Array, Batch, Encoder, Records
from vae_anomaly.data.parsing import has_codes, parse_numbers
from vae_anomaly.data.table.codebook import Codebook
from vae_anomaly.data.table.column import CATEGORY, NUMBER
from vae_anomaly.data.table.column_types import check_column_types
from vae_anomaly.data.table.columns import ColumnSelection, require_columns
from vae_anomaly.data.table.encoder import TableEncoder
from vae_anomaly.data.table.labelled_rows import LabelledRows, copies_of_labels
from vae_anomaly.data.table.missing import MissingValues
from vae_anomaly.data.table.reader import CellError, TableReader
from vae_anomaly.data.table.source import Coding, TableSource
from vae_anomaly.data.table.strays import advice, infinite_cells, refuse_cells
from vae_anomaly.data.table.time_steps import time_step_notes
from vae_anomaly.exceptions import DataError
from vae_anomaly.names import may_be_labels

__all__ = ["TrainingTable"]

MIN_NUMBERED_ROWS = 50
MIN_NUMBERED_SHARE = 0.5
"""Whole numbers that are all different and fill their range by this share number the rows."""


class TrainingTable(TableSource):
    """A table before an encoder is fitted to it.

    Parameters
    ----------
    reader : TableReader
        Closed together with the source.
    columns : ColumnSelection
    column_types : mapping of str to str
        Types of columns that are chosen.
    missing : MissingValues
        Cells that the user says are missing.
    id_column : str, optional
        Column of the keys, for `remembered`.
    label_column : str, optional
        Column that says which rows are normal; only these are yielded.
    normal_label : sequence of str
        Labels of normal rows; see `vae_anomaly.data.labels.anomalous`.
    """

    def __init__(
        self,
        reader: TableReader,
        columns: ColumnSelection,
        column_types: Mapping[str, str],
        missing: MissingValues,
        *,
        id_column: str | None = None,
        label_column: str | None = None,
        normal_label: Sequence[str] = (),
    ) -> None:
        check_column_types(column_types)
        require_columns(reader.name, columns.features, list(column_types))
        kept = {name: reader.type_of(name) for name in (*reader.text_columns(), *column_types)}
        kept |= {name: pa.string() for name, type_ in column_types.items() if type_ == CATEGORY}
        kept = {name: type_ for name, type_ in kept.items() if column_types.get(name) != NUMBER}
        formats = {
            name: type_.removeprefix("date:")
            for name, type_ in column_types.items()
            if type_.startswith("date:")
        }
        super().__init__(
            reader,
            columns,
            Coding.draft(columns.features, kept, missing, formats),
            label_column=label_column,
            normal_label=normal_label,
        )
        self._labelled: LabelledRows | None = None
        self._id_of_fit = id_column
        self._kept, self._formats, self._chosen = kept, formats, dict(column_types)

    def _opening_notes(self) -> list[str]:
        description = self._reader.description
        return [f"note: {self.name}: {description}"] if description else []

    def batches(self) -> Iterator[Batch]:
        """Yield the rows, numbers as float64, and text as codes of this reading.

        With labels the records are the normal rows. The reading begins again where a column that
        was read as numbers turns out to be text, and where texts that are too many to keep turn
        out to be dates. Leading zeros are lost in numbers:
        where there may be any, all is read as text once.

        Yields
        ------
        Batch

        Raises
        ------
        DataError
            If the file is not a sound table, a number is infinite, or columns of numbers hold
            text, unless their types are chosen.
        """
        labelled = None
        if self._label_column is not None:
            labelled = LabelledRows.read(self._reader, self._label_column, self._normal_label)
            self._labels = np.zeros(np.count_nonzero(labelled.normal), dtype=bool)
        self._labelled = labelled
        try:
            for batch in self._batches(as_text=self._reader.may_have_codes()):
                yield batch if labelled is None else labelled.only_normal(batch)
        except CellError as error:
            found = infinite_cells(self._reader, self._coding.numbers)
            refuse_cells(*found, what="Infinity")
            raise DataError(f"{error.fact} {advice([error.column])}") from error
        self._refuse_text()

    def _batches(self, *, as_text: bool) -> Iterator[Batch]:
        coding, found, start = self._coding, set[str](), 0
        numbers = () if as_text else coding.numbers
        texts = (*coding.numbers, *coding.texts) if as_text else coding.texts
        for batch in self._reader.batches(numbers, texts=texts, strict=False):
            found |= self._text_columns(batch, found)
            if not found and not self._dates_of_texts():
                yield self._batch(batch, start)
                start += batch.num_rows
        dates = self._dates_of_texts()
        if found or dates:
            self._reader.check([name for name in found if name in self._chosen])
            self._kept |= dict.fromkeys(found, pa.string())
            self._formats |= dates
            self._coding = Coding.draft(
                self.columns.features, self._kept, coding.missing, self._formats
            )
            yield from self._batches(as_text=False)

    def _dates_of_texts(self) -> dict[str, str]:
        """Return the columns of texts that are dates and too many to keep, and their formats."""
        return {
            name: book.date_format
            for name, book in self._coding.codebooks.items()
            if isinstance(book, Codebook) and book.date_format
            if self._chosen.get(name) != CATEGORY
        }

    def _text_columns(self, batch: pa.RecordBatch, known: Set[str]) -> set[str]:
        """Return which numbers, but for known ones, hold text or codes in some rows."""
        found = set()
        for name in set(self._coding.numbers) - known:
            column = batch.column(name)
            if not pa.types.is_string(column.type):
                continue
            is_code = name not in self._chosen and has_codes(column)
            if is_code or parse_numbers(column, self._reader.missing).is_text.any():
                found.add(name)
        return found

    def _refuse_text(self) -> None:
        """Raise if columns of numbers hold text, unless their types are chosen."""
        errors, n_cells = [], 0
        for name, book in self._coding.codebooks.items():
            if name in self._chosen or not isinstance(book, Codebook):
                continue
            if book.is_of_numbers and book.first_other:
                row, text = book.first_other
                errors.append(CellError(f"{self.name}, {self._reader.place_of(row)}", name, text))
                n_cells += book.n_others
        refuse_cells(errors, n_cells)

    def training_notes(self, records: Records) -> Sequence[str]:
        """Return lines about the labels, and about columns that may be labels or times."""
        notes = time_step_notes(self._reader, self.columns.features)
        notes += [
            f"warning: {shown(name)} numbers the rows in another order than theirs. If it "
            f"identifies them, --ignore {shlex.quote(name)}"
            for name in self._coding.numbers
            if is_numbering(records[:, self._coding.places[name]])
        ]
        if self._labelled is not None:
            warnings = self._labelled.warnings(self.columns.features)
            return [self._labelled.note, *warnings, *notes]
        for name in filter(may_be_labels, self.columns.features):
            quoted = shlex.quote(name)
            notes.append(
                f"warning: {shown(name)} may hold labels, but is learned like any other column. If "
                f"it does, --label-column {quoted}, or leave it out: --ignore {quoted}"
            )
            notes += copies_of_labels(self._reader, name, records, self.columns.features)
        return notes

    def training_data(self, records: Records) -> Records:
        """Return rows as a DataFrame, with the texts that codes stand for."""
        import pandas as pd

        if not self._coding.texts:
            return super().training_data(records)
        return pd.DataFrame(self._coding.cells(records, self.columns.features))

    def remembered(self, encoder: TableEncoder) -> TableEncoder:
        """Return an encoder that knows the columns of this table that are no features."""
        return replace(encoder, id_column=self._id_of_fit, ignored=self.columns.unused)

    def fit_notes(self, encoder: Encoder) -> Sequence[str]:
        """Return lines about columns that were left out, and about constant ones."""
        notes = []
        unused = [name for name in self.columns.unused if name not in self._reader.left_out]
        if unused:
            notes.append(f"left out: {listed(unused)}")
        for name, reason in self._reader.left_out.items():
            if name in self.columns.unused:
                notes.append(f"{shown(name)}: left out, {reason}")
        if isinstance(encoder, TableEncoder):
            notes += encoder.notes()
        return notes


def is_numbering(cells: Array) -> bool:
    """Return whether cells are numbers of rows, which are not in this order.

    Those that increase from row to row are counters, which a model leaves out.

    Examples
    --------
    >>> is_numbering(np.arange(60.0)[::-1]), is_numbering(np.arange(60.0))
    (True, False)
    """
    n = len(cells)
    if n < MIN_NUMBERED_ROWS or not (cells == np.round(cells)).all():
        return False
    is_dense = np.ptp(cells) + 1 <= n / MIN_NUMBERED_SHARE
    return bool(is_dense and len(np.unique(cells)) == n and not (np.diff(cells) > 0).all())

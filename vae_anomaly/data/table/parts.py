"""Tables in several files with the same columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

import pyarrow as pa

from vae_anomaly._text import shown
from vae_anomaly.data.parsing import plain_type
from vae_anomaly.data.table.listing import PartFile
from vae_anomaly.data.table.reader import TableReader
from vae_anomaly.exceptions import DataError

__all__ = ["PartsReader"]


class PartsReader(TableReader):
    """A table in several files with the same columns.

    Parameters
    ----------
    path : str
    name : str
        Name of the table in messages.
    parts : sequence of PartFile
    open_part : callable
        Opens the reader of a file.
    """

    def __init__(
        self,
        path: str,
        name: str,
        parts: Sequence[PartFile],
        open_part: Callable[[PartFile], TableReader],
    ) -> None:
        self._parts = list(parts)
        self._open_part = open_part
        self._readers: list[TableReader] = []
        self._starts: list[int] = []
        super().__init__(Path(path), name)

    def _current_state(self) -> object:
        """Return nothing: each part knows whether it changed."""
        return None

    def _read_columns(self) -> tuple[str, ...]:
        """Open the parts, and compare their columns."""
        try:
            for part in self._parts:
                reader = self._open_part(part)
                self._temporary.callback(reader.close)
                self._readers.append(reader)
                self._check_columns(reader)
        except BaseException:
            self.close()
            raise
        first = self._readers[0]
        counts = [reader.rows for reader in self._readers]
        self.rows = None if None in counts else sum(count or 0 for count in counts)
        self.description = first.description
        self._partitions = self._typed_partitions(first.columns)
        names = list(self._partitions)
        of_parts = (reader.left_out for reader in self._readers)
        self.left_out = {
            **dict(chain.from_iterable(found.items() for found in of_parts)),
            **dict.fromkeys(names, "a partition: the name of a folder"),
        }
        self.index = [*first.index, *names]
        return (*first.columns, *names)

    def _check_columns(self, reader: TableReader) -> None:
        """Raise if a part has other columns than the first one."""
        first = self._readers[0]
        for one, other in ((first, reader), (reader, first)):
            lacking = [name for name in one.columns if name not in other.columns]
            if lacking:
                raise DataError(
                    f"{self.name}: {other.name} lacks the column {shown(lacking[0])}, which "
                    f"{one.name} has. Write all parts with the same columns, or name those that "
                    f"have them."
                )

    def _typed_partitions(self, columns: Sequence[str]) -> Mapping[str, pa.Array]:
        """Return the columns that names of folders bring, a value for each part."""
        given = [part.partitions for part in self._parts]
        found = {}
        for name in given[0]:
            values = [one.get(name) for one in given]
            are_whole = all(value is None or value.isdecimal() for value in values)
            dtype = pa.int64() if are_whole else pa.string()
            if name not in columns:
                cells = [int(value) if value and are_whole else value for value in values]
                found[name] = pa.array(cells, dtype)
        return found

    def text_columns(self) -> dict[str, str]:
        """Return columns that hold text in any part: name -> an example."""
        texts = {
            name: str(values[0])
            for name, values in self._partitions.items()
            if pa.types.is_string(values.type)
        }
        for reader in self._readers:
            texts = reader.text_columns() | texts
        return texts

    def may_have_codes(self) -> bool:
        """Return whether any part may have leading zeros."""
        return any(reader.may_have_codes() for reader in self._readers)

    def place_of(self, row: int) -> str:
        """Return the part of a row, and its place there."""
        index = max(i for i, start in enumerate(self._starts) if start <= row)
        reader = self._readers[index]
        return f"{reader.name}, {reader.place_of(row - self._starts[index])}"

    def numbers_of(self, column: pa.Array, name: str, rows_before: int) -> pa.Array:
        """Return a column of numbers as float64, or as text."""
        return self._readers[0].numbers_of(column, name, rows_before)

    def type_of(self, column: str) -> pa.DataType:
        """Return a type that holds a column of all parts."""
        if column in self._partitions:
            return self._partitions[column].type
        types = dict.fromkeys(plain_type(reader.type_of(column)) for reader in self._readers)
        schemas = [pa.schema([(column, dtype)]) for dtype in types]
        try:
            return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
        except (pa.ArrowTypeError, pa.ArrowInvalid):
            return pa.string()

    def batches(
        self,
        numbers: Sequence[str],
        keep: Sequence[str] = (),
        *,
        texts: Sequence[str] = (),
        strict: bool = True,
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows, one part after the other; see `TableReader.batches`."""
        types = {name: self.type_of(name) for name in (*texts, *keep)}
        wanted = [*numbers, *texts, *keep]
        row, self._starts, self.faults = 0, [], {}
        for index, reader in enumerate(self._readers):
            reader.missing, reader.allows_infinite = self.missing, self.allows_infinite
            reader.may_skip = self.may_skip
            self._starts.append(row)
            of_files = [
                [name for name in names if name not in self._partitions]
                for names in (numbers, texts, keep)
            ]
            if not any(of_files):  # the number of rows is needed in any case
                of_files[2] = [reader.columns[0]]
            own_numbers, own_texts, own_keep = of_files
            for batch in reader.batches(own_numbers, own_keep, texts=own_texts, strict=strict):
                arrays = [self._column(batch, index, name, types.get(name)) for name in wanted]
                self._take_faults(reader, row, self._starts[index])
                yield pa.RecordBatch.from_arrays(arrays, names=wanted)
                row += batch.num_rows

    def refuse_faults(self) -> None:
        """Raise for rows that were skipped in a part; see `TableReader.refuse_faults`."""
        for reader in self._readers:
            reader.refuse_faults()

    def _take_faults(self, reader: TableReader, row: int, start: int) -> None:
        """Take the faults of a part, whose rows begin at `start`, from a row on."""
        for place in list(reader.faults):
            if start + place >= row:
                self.faults[start + place] = reader.faults.pop(place)

    def _column(
        self, batch: pa.RecordBatch, index: int, name: str, dtype: pa.DataType | None
    ) -> pa.Array:
        """Return a column of a part in the type of all parts; without one as it is."""
        if name in self._partitions:
            value = self._partitions[name][index]
            cells = pa.repeat(value, batch.num_rows)
            is_number = dtype is None and not pa.types.is_string(cells.type)
            return cells.cast(pa.float64()) if is_number else cells
        column = batch.column(name)
        if dtype is None or column.type == dtype:
            return column
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        try:
            return column.cast(dtype)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as cause:
            raise DataError(
                f"{self.name}: the column {shown(name)} has the type {column.type} in "
                f"{self._readers[index].name} and others elsewhere. Write it alike in all parts."
            ) from cause

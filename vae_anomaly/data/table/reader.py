"""Readers of tables: batches of columns, and the error for a bad cell."""

from __future__ import annotations

import errno
import os
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import IO, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vae_anomaly._text import listed, shown
from vae_anomaly.data.arrow import array_of
from vae_anomaly.data.cell_texts import MAX_TEXT_LENGTH
from vae_anomaly.data.cells import MISSING, NUMBER, WEAKLY_MISSING, is_number
from vae_anomaly.exceptions import DataError, ResourceError

__all__ = [
    "PANDAS_INDEX",
    "CellError",
    "TableReader",
    "check_resources",
    "coded",
    "factorized",
    "is_infinite",
    "openable",
    "rows_of_batch",
    "texts_at",
    "with_columns",
]


MAX_BATCH_ROWS = 32_768
MAX_BATCH_CELLS = 2**22

MAX_SOUND_BYTES = 2**40
"""Bytes of memory that no sound table asks for at once."""

PANDAS_INDEX = "the index of a pandas data frame"
"""Why its column is left out."""

NOT_FINITE = re.compile(r"[ \t]*[+-]?inf(inity)?[ \t]*", re.IGNORECASE)


class CellError(DataError):
    """A cell that is not a finite number, or not what else was `wanted`.

    Attributes
    ----------
    fact : str
        Place and content of the cell, without advice.
    column : str
    """

    def __init__(self, where: str, column: str, value: Any, *, wanted: str = "number") -> None:
        got = shown(value)
        if value is None:
            got = "a missing value"
        elif isinstance(value, str) and not value.strip():
            got = "an empty cell"
        elif is_infinite(str(value)):
            wanted = "finite number"
        self.fact = f"{where}, column {shown(column)}: expected a {wanted}, got {got}."
        self.column = column
        super().__init__(f"{self.fact} Correct the cell or remove the row.")


def is_infinite(text: str) -> bool:
    """Return whether a cell is a number beyond the range of float64, or an infinite one.

    Examples
    --------
    >>> [is_infinite(text) for text in ("-inf", "1e400", "1e4", "off")]
    [True, True, False, False]
    """
    if NOT_FINITE.fullmatch(text):
        return True
    return NUMBER.fullmatch(text) is not None and not is_number(text)


class TableReader(ABC):
    """A table in a file, readable in batches as often as needed.

    Parameters
    ----------
    path : Path
    name : str
        Name of the table in messages.
    copy : file, optional
        Temporary file to close together with the reader.

    Attributes
    ----------
    columns : tuple of str
        Distinct names of the columns.
    rows : int or None
        Number of rows, if it is known without reading them.
    description : str
        What is unusual about the file, in words; mostly empty.
    missing : set of str
        Cells that are missing in columns of numbers.
    left_out : mapping of str to str
        Columns that are no features unless they are chosen -> what they are.
    index : sequence of str
        Those of them that are the index of a pandas data frame: in CSV a first column without
        a name.
    is_whole : bool
        Whether it is a table, not a few rows of one, whose shares of cells mean nothing.
    allows_infinite : bool
        Whether infinite numbers are read as such instead of refused.
    is_json : bool
        Whether the file holds JSON Lines.
    may_skip : bool
        Whether rows that cannot be parsed come as rows of missing cells instead of being refused.
    faults : dict of int to str
        Those of them up to the last batch of the reading: position -> what is wrong.
    """

    columns: tuple[str, ...]
    rows: int | None = None
    description: str = ""
    missing: Set[str] = MISSING | WEAKLY_MISSING
    left_out: Mapping[str, str] = MappingProxyType({})
    index: Sequence[str] = ()
    is_whole: bool = True
    allows_infinite: bool = False
    is_json: bool = False
    may_skip: bool = False

    def __init__(self, path: Path, name: str, copy: IO[bytes] | None = None) -> None:
        self.path, self.name = path, name
        self.faults: dict[int, str] = {}
        self._temporary = ExitStack()
        if copy is not None:
            self._temporary.enter_context(copy)
        self.close = self._temporary.close
        """Remove temporary copies of the file, if there are any."""
        self._state = self._current_state()
        self.columns = self._read_columns()
        _check_header(name, self.columns)
        first, *others = self.columns
        if others and not first.strip() and first not in self.left_out:
            self.left_out = {**self.left_out, first: PANDAS_INDEX}
            self.index = [*self.index, first]

    @abstractmethod
    def _read_columns(self) -> tuple[str, ...]:
        """Read the names of the columns, and what else the file says before its rows."""

    @abstractmethod
    def batches(
        self,
        numbers: Sequence[str],
        keep: Sequence[str] = (),
        *,
        texts: Sequence[str] = (),
        strict: bool = True,
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows in batches.

        Parameters
        ----------
        numbers : sequence of str
            Columns that are read as float64: finite, or null or NaN where a cell is missing.
        keep : sequence of str
            Columns that are read unchanged.
        texts : sequence of str
            Columns that are read as they are, but for the decimal mark of numbers: a point.
        strict : bool, default=True
            Refuse cells of `numbers` that are text. Without, they may come as text, see `texts`,
            from some batch on.

        Yields
        ------
        RecordBatch
            With the columns `numbers`, `texts` and `keep`, in this order.

        Raises
        ------
        CellError
            For the first cell of `numbers` that is infinite or, if `strict`, text.
        DataError
            If the file is not a sound table; rows that cannot be parsed are refused unless
            `may_skip`.
        """

    def refuse_faults(self) -> None:
        """Raise for rows that cannot be parsed and were skipped.

        Raises
        ------
        DataError
        """
        return

    @abstractmethod
    def text_columns(self) -> dict[str, str]:
        """Return columns that hold text, by type or first rows: name -> an example."""

    def may_have_codes(self) -> bool:
        """Return whether numbers that are text may have leading zeros below the first rows."""
        return False

    @abstractmethod
    def place_of(self, row: int) -> str:
        """Return where a row is, the first of which is 0: "line 7"."""

    def numbers_of(self, column: pa.Array, name: str, rows_before: int) -> pa.Array:
        """Return a column of numbers that was read as it is: as float64, or as text."""
        return column

    def kept(self, column: pa.Array, name: str) -> pa.Array:
        """Return a column of `keep` or `texts` in the type of `type_of`."""
        return column

    @abstractmethod
    def type_of(self, column: str) -> pa.DataType:
        """Return the type of a column in `keep`."""

    def check(self, numbers: Sequence[str], keep: Sequence[str] = ()) -> int:
        """Read the whole table and count its rows.

        Raises
        ------
        DataError
            As `batches` would.
        """
        return sum(batch.num_rows for batch in self.batches(numbers, keep))

    def _current_state(self) -> object:
        """Return what differs once the file is another one."""
        return _state_of(self.path)

    def check_unchanged(self) -> None:
        """Raise if the file changed since it was opened.

        Raises
        ------
        OSError
        """
        if self._current_state() != self._state:
            words = "it changed while it was read. Make a copy that nobody writes to, and read that"
            raise OSError(errno.ESTALE, words, str(self.path))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _check_header(name: str, columns: Sequence[str]) -> None:
    """Raise if a table has no columns, or two of one name.

    Raises
    ------
    DataError
    """
    if not columns:
        raise DataError(f"{name} has no columns. Expected a table with named columns.")
    twice = [column for column, times in Counter(columns).items() if times > 1]
    if twice:
        raise DataError(
            f"{name} has more than one column called {listed(twice)}. "
            f"Rename them: columns are told apart by name."
        )


def _state_of(path: Path) -> tuple[int, int]:
    """Return the size and the time of the last change of a file."""
    status = os.stat(str(path))  # noqa: PTH116 - errors then have the name as text
    return status.st_size, status.st_mtime_ns


def openable(path: Path) -> str | pa.PythonFile:
    """Return the name of a file for pyarrow, or the open file if its name is not UTF-8."""
    text = str(path)
    return (
        text
        if text.isascii() or text == text.encode(errors="replace").decode()
        else pa.PythonFile(path.open("rb"))
    )


def check_resources(name: str, cause: Exception) -> None:
    """Raise if pyarrow got no memory or no thread: the table is not to blame.

    Raises
    ------
    ResourceError
    """
    words = str(cause)
    asked = re.search(r"of size (\d+)", words)
    is_damaged = asked is not None and int(asked[1]) > MAX_SOUND_BYTES
    if (isinstance(cause, MemoryError) and not is_damaged) or "worker thread" in words:
        raise ResourceError(
            f"Out of memory or threads while {name} was read ({words.rstrip('.')}). Close other "
            f"programs, or raise the limits of this process (ulimit -v, ulimit -u)."
        ) from cause


def coded(column: pa.Array, code_of: Callable[[object], float]) -> NDArray[np.float64]:
    """Return the cells of a column as codes; `code_of` is asked once for equal ones."""
    distinct, places = factorized(column)
    return np.array([*map(code_of, distinct), np.nan])[places]


def factorized(column: pa.Array) -> tuple[list[object], NDArray[np.int64]]:
    """Return the distinct cells of a column, and the place of each cell among them.

    Missing cells are in the place after the last.
    """
    if pa.types.is_dictionary(column.type):  # which may be that of a whole file
        column = column.dictionary_decode()
    encoded = column.dictionary_encode()
    distinct = encoded.dictionary.to_pylist()
    places = pc.fill_null(encoded.indices.cast(pa.int64()), len(distinct))
    data = np.frombuffer(places.buffers()[1] or b"", np.int64)
    return distinct, data[places.offset :][: len(places)]


def texts_at(
    cells: pa.Array, rows: NDArray[np.intp], text_of: Callable[[object], str | None]
) -> pa.Array:
    """Return the texts of some cells, (k,), cut to a bounded length; see `ColumnTexts`."""
    taken = cells.take(array_of(rows))
    if pa.types.is_dictionary(taken.type):
        taken = taken.dictionary_decode()
    if not (pa.types.is_string(taken.type) or pa.types.is_large_string(taken.type)):
        return pa.array([text_of(cell) for cell in taken.to_pylist()], pa.string())
    trimmed = pc.utf8_trim_whitespace(taken.cast(pa.string()))
    return pc.utf8_slice_codeunits(trimmed, 0, MAX_TEXT_LENGTH + 1)


def with_columns(
    batch: pa.RecordBatch, names: Sequence[str], change: Callable[[pa.Array], pa.Array]
) -> pa.RecordBatch:
    """Return rows in which some columns are changed."""
    arrays = [
        change(column) if name in names else column
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)


def rows_of_batch(columns: int) -> int:
    """Return the number of rows in a batch: fewer for wide tables."""
    return max(1, min(MAX_BATCH_ROWS, MAX_BATCH_CELLS // max(1, columns)))

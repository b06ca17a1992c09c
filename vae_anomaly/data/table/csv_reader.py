"""Reader of CSV tables: pyarrow parses them, Python's csv module locates faults.

Messages of pyarrow do not name the line, nor always the true cause, and an unclosed
quote hides the rest of a file from it. So the bytes of a file are checked first
(encoding, NUL, quotes), and its records too if it has quotes. The fault of a file that
pyarrow refuses is then located with the csv module.
"""

from __future__ import annotations

import csv
import re
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import islice
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from vae_anomaly._text import shown
from vae_anomaly.data.arrow import array_of
from vae_anomaly.data.cells import has_leading_zero, is_number
from vae_anomaly.data.csv_content import (
    CHUNK_BYTES,
    ContentScan,
    check_start,
    may_have_codes,
)
from vae_anomaly.data.dialect import (
    LONG_CELLS,
    SAMPLE_ROWS,
    Dialect,
)
from vae_anomaly.data.parsing import BLANKS, parse_numbers, with_points
from vae_anomaly.data.table.csv_records import (
    Record,
    filled,
    further_lines,
    sound_records,
    tolerant_records,
    width_advice,
    width_fault,
)
from vae_anomaly.data.table.reader import (
    CellError,
    TableReader,
    check_resources,
    is_infinite,
    openable,
    rows_of_batch,
    with_columns,
)
from vae_anomaly.exceptions import DataError
from vae_anomaly.storage.atomic import output_error

__all__ = ["CsvReader"]

BLOCK_BYTES = 2**20
"""Bytes that are parsed at once: pyarrow reads 32 such blocks ahead."""

MAX_ROW_BYTES = 2**28
"""Bytes of a block from which on no larger one is tried for a long row."""

WRONG_WIDTH = re.compile(r"CSV parse error: (Row #\d+: )?Expected \d+ columns")
"""What pyarrow says of a row of another number of fields than the header."""


class TextInNumbersError(Exception):
    """A column that was to be one of numbers holds text."""


class _LongRowError(Exception):
    """A row that is longer than the blocks of a reading."""


class _WrongWidthError(Exception):
    """A row of another number of fields than the header."""


class CsvReader(TableReader):
    """A CSV file in UTF-8, with a line of column names.

    Commas, semicolons, tabs or bars separate its columns. A byte-order mark, quoted fields,
    blanks before fields, all line ends and blank lines are accepted. A row has as many fields
    as there are names.
    """

    _checked = False
    _is_repaired = False  # whether a copy is parsed, without the lines whose quotes are not sound
    _has_wrong_widths = False
    _known_faults: Mapping[int, str] = MappingProxyType({})
    """Faults of rows in `_parsed_file`."""

    def _read_columns(self) -> tuple[str, ...]:
        """Read the header."""
        header = self._header()
        self.description = self._dialect.description
        self._lines_before_rows = header.last_line
        return tuple(header.fields)

    # ------------------------------------------------------------ parsing with pyarrow

    def batches(
        self,
        numbers: Sequence[str],
        keep: Sequence[str] = (),
        *,
        texts: Sequence[str] = (),
        strict: bool = True,
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows; see `TableReader.batches`."""
        self._check_syntax()
        wanted, n_rows = [*numbers, *texts, *keep], 0
        size = rows_of_batch(len(wanted))
        try:
            for chunk in _joined(self._chunks(numbers, wanted, strict=strict), size):
                yield from _slices(self._with_points(chunk, texts), size)
                n_rows += chunk.num_rows
        except TextInNumbersError:
            if strict:
                self._find_fault(numbers)  # none, if these are missing cells with blanks
            for chunk in _joined(self._chunks((), wanted, n_rows=n_rows), size):
                rows = self._with_points(chunk, [*numbers, *texts])
                yield from _slices(self._parsed(rows, numbers) if strict else rows, size)
        self.check_unchanged()

    def _chunks(
        self,
        numbers: Sequence[str],
        wanted: list[str],
        *,
        strict: bool = True,
        n_rows: int = 0,
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows, but for the first ones, as pyarrow parses them.

        The blocks are larger from a row on that needs one.
        """
        block = BLOCK_BYTES
        while True:
            skipped = n_rows
            _ = self._parsed_file  # which may know of faults
            self.faults = dict(self._known_faults)
            try:
                for chunk in self._blocks(numbers, wanted, block, strict=strict):
                    if skipped < chunk.num_rows:
                        yield chunk.slice(skipped)
                        n_rows += chunk.num_rows - skipped
                    skipped = max(0, skipped - chunk.num_rows)
            except _LongRowError:
                block *= 4
            except _WrongWidthError:
                self._has_wrong_widths = True
            else:
                return

    def _blocks(
        self, numbers: Sequence[str], wanted: list[str], block: int, *, strict: bool
    ) -> Iterator[pa.RecordBatch]:
        types = {name: pa.string() for name in wanted} | {name: pa.float64() for name in numbers}
        path, lines_before_rows = self._parsed_file
        # An empty line is a missing cell in a table of one column, and ignored in others.
        single = len(self.columns) == 1
        pending: list[int] = []

        def skip(row: pa_csv.InvalidRow) -> str:
            place = row.number - lines_before_rows - 1
            pending.append(place)
            self.faults[place] = width_fault(row.expected_columns, row.actual_columns)
            return "skip"

        # The rows of several threads would have no number.
        handler, threads = (skip, False) if self._has_wrong_widths else (None, True)
        try:
            reader = pa_csv.open_csv(
                openable(path),
                read_options=pa_csv.ReadOptions(
                    use_threads=threads,
                    block_size=block,
                    skip_rows=lines_before_rows,
                    column_names=self.columns,
                ),
                parse_options=pa_csv.ParseOptions(
                    delimiter=self._dialect.delimiter,
                    newlines_in_values=True,
                    ignore_empty_lines=not single,
                    invalid_row_handler=handler,
                ),
                convert_options=pa_csv.ConvertOptions(
                    column_types=types,
                    include_columns=wanted or [self.columns[0]],
                    null_values=sorted(self.missing),
                    strings_can_be_null=False,
                    decimal_point=self._dialect.decimal,
                ),
            )
            for chunk in reader if handler is None else filled(reader, pending):
                for name in numbers:
                    if not _are_sound(chunk.column(name), infinite=self.allows_infinite):
                        words = f"column {shown(name)} holds a number that is not finite"
                        self._refuse(numbers, words, strict=strict)
                yield chunk
        except (pa.ArrowException, KeyError) as cause:
            check_resources(self.name, cause)
            if "CSV conversion error" in str(cause):
                raise TextInNumbersError from cause
            if "straddling" in str(cause) and block < MAX_ROW_BYTES:
                raise _LongRowError from cause
            if WRONG_WIDTH.search(str(cause)) and self.may_skip and not self._has_wrong_widths:
                raise _WrongWidthError from cause
            self._refuse(numbers, str(cause), strict=strict)
        except OSError as cause:  # pyarrow does not name the file
            raise OSError(cause.errno, cause.strerror, str(self.path)) from cause

    def _refuse(self, numbers: Sequence[str], words: str, *, strict: bool) -> None:
        """Raise for what pyarrow refuses; return if there only are no rows."""
        self.check_unchanged()
        if self._find_fault(numbers, strict=strict):
            raise DataError(f"{self.name} cannot be read as CSV: {words.rstrip('.')}.")

    def _with_points(self, chunk: pa.RecordBatch, names: Sequence[str]) -> pa.RecordBatch:
        """Return rows with a point for the decimal mark in columns of text."""
        if self._dialect.decimal == ".":
            return chunk
        return with_columns(chunk, names, with_points)

    def _parsed(self, chunk: pa.RecordBatch, names: Sequence[str]) -> pa.RecordBatch:
        """Return rows with columns of text, which have been checked, as numbers."""
        return with_columns(
            chunk, names, lambda text: array_of(parse_numbers(text, self.missing).values)
        )

    @cached_property
    def _parsed_file(self) -> tuple[Path, int]:
        """The file that pyarrow parses, and how many of its lines precede the rows.

        pyarrow takes a quote after blanks for a part of the cell, and one that is not closed for
        the start of a cell as long as the file: such a file is copied.
        """
        if not (self._content.has_quotes_after_blanks or self._is_repaired):
            return self.path, self._lines_before_rows
        copy = tempfile.NamedTemporaryFile(  # noqa: SIM115 - `close` closes it
            "w", encoding="utf-8", newline="", prefix="vae-anomaly-"
        )
        self._temporary.enter_context(copy)
        writer, faults = csv.writer(copy, delimiter=self._dialect.delimiter), {}
        try:
            for row, record in enumerate(islice(self._records(), 1, None)):
                writer.writerow(record.fields)
                if record.fault is not None:
                    faults[row] = record.fault
            copy.flush()
        except OSError as cause:
            place = tempfile.gettempdir()
            raise output_error(f"a copy of {self.name} in {place}", cause) from cause
        self._known_faults = faults
        return Path(copy.name), 0

    # ------------------------------------------------- location of faults with csv

    def _records(self) -> Iterator[Record]:
        """Yield the lines that are not blank, header first; with one column, blank ones too.

        Where lines with unsound quotes are skipped, they have empty fields and a fault.
        """
        width = 0
        with LONG_CELLS, self.path.open(encoding="utf-8-sig", newline="") as file:
            if self._is_repaired:
                records = tolerant_records(file, self._dialect)
            else:
                records = sound_records(file, self._dialect, self.name)
            try:
                for record in records:
                    if record.fault is not None:
                        yield record._replace(fields=[""] * width)
                    elif record.fields or width == 1:
                        yield record if record.fields else record._replace(fields=[""])
                    width = width or len(record.fields)
            except UnicodeDecodeError:
                _ = self._content  # checks the file and raises with the line
                raise

    def _check_syntax(self) -> None:
        """Check once that all quotes are sound; if not, skip or refuse their lines.

        Raises
        ------
        DataError
            Unless rows may be skipped, also for the first row of another width than the header.
        """
        if self._checked or not self._content.has_quotes:
            return
        if self.may_skip:
            try:
                deque(self._records(), maxlen=0)
            except DataError:
                self._is_repaired = True
        else:
            self._find_fault()
        self._checked = True

    def _header(self) -> Record:
        with self.path.open("rb") as file:
            start = file.read(CHUNK_BYTES)
        is_whole = len(start) < CHUNK_BYTES
        check_start(self.name, start, is_whole=is_whole)
        text = start.decode("utf-8-sig", errors="ignore")  # the last character may be cut off
        if not is_whole:
            text = text[: 1 + max(text.rfind(end) for end in "\r\n")]
        self._dialect = Dialect.of(text, self.path)
        header = next(self._records())
        names = header.fields
        is_separator = names[0].startswith("sep=") and not any(names[1:])
        if is_separator or (names[0].startswith("#") and self._is_comment(names)):
            what = "a line for spreadsheets" if is_separator else "a comment"
            raise DataError(
                f"{self.name} begins with {what}, {shown(names[0])}. "
                f"Remove it: the first line holds the column names."
            )
        # pandas writes the positions of columns that have no names.
        are_positions = len(names) > 1 and names == [str(i) for i in range(len(names))]
        if not are_positions and all(is_number(self._dialect.number(name)) for name in names):
            raise DataError(
                f"{self.name} begins with numbers, {shown(self._dialect.delimiter.join(names))}. "
                f"Put a line of column names above them, or, if they are names, add a letter to "
                f"each."
            )
        return header

    def _is_comment(self, names: list[str]) -> bool:
        """Return whether a first line that begins with # is no header, by the two below it."""
        below = [record.fields for record in islice(self._records(), 1, 3)]
        if any(len(fields) != len(names) for fields in below):
            return True
        numeric = [any(is_number(self._dialect.number(one)) for one in row) for row in below]
        return len(names) == 1 or numeric == [False, True]

    def type_of(self, column: str) -> pa.DataType:
        """Return the type of a column: text."""
        if column not in self.columns:
            raise KeyError(column)
        return pa.string()

    def text_columns(self) -> dict[str, str]:
        """Return columns without any number in the first rows, or with leading zeros.

        Name -> a text from it.
        """
        texts: dict[str, str] = {}
        codes: dict[str, str] = {}
        numeric: set[str] = set()
        for record in islice(self._records(), 1, SAMPLE_ROWS + 1):
            for name, field in zip(self.columns, record.fields, strict=False):
                if has_leading_zero(field):
                    codes[name] = field
                elif is_number(self._dialect.number(field)):
                    numeric.add(name)
                elif field.strip() not in self.missing:
                    texts.setdefault(name, field)
        return {name: text for name, text in texts.items() if name not in numeric} | codes

    def may_have_codes(self) -> bool:
        """Return whether any cell may begin with a zero that no number needs."""
        return may_have_codes(self.path, self._dialect.delimiter)

    def place_of(self, row: int) -> str:
        """Return the line that a row is on; see `TableReader.place_of`."""
        record = next(islice(self._records(), row + 1, None))
        return f"line {self._line_of(row, record)}"

    def _line_of(self, row: int, record: Record) -> int:
        """Return the line that a row is on."""
        return record.line

    def refuse_faults(self) -> None:
        """Raise for rows that were skipped; see `TableReader.refuse_faults`."""
        self.may_skip = self._is_repaired = False
        self._find_fault()

    def _find_fault(self, numbers: Sequence[str] = (), *, strict: bool = True) -> bool:
        """Raise for the first ragged row or bad cell; else return whether there are rows."""
        places = [(self.columns.index(name), name) for name in numbers]
        width, any_rows = len(self.columns), False
        for row, record in enumerate(islice(self._records(), 1, None)):
            any_rows, fields, line = True, record.fields, self._line_of(row, record)
            if len(fields) != width:
                if self.may_skip:
                    continue
                raise DataError(
                    f"{self.name}, line {line}: {width_fault(width, len(fields))}."
                    f"{further_lines(self._lines_of_other_width(line))} "
                    f"{width_advice(width, fields, self._dialect)}"
                )
            for i, name in places:
                text = self._dialect.number(fields[i])
                if is_number(text) or text.strip(BLANKS) in self.missing:
                    continue
                if strict or (is_infinite(text) and not self.allows_infinite):
                    raise CellError(f"{self.name}, line {line}", name, fields[i])
        return any_rows

    def _lines_of_other_width(self, after: int) -> list[int]:
        """Return lines of rows, after one, that have another number of fields than the header."""
        lines = []
        with suppress(DataError):  # another fault below
            for row, record in enumerate(islice(self._records(), 1, None)):
                line = self._line_of(row, record)
                if len(record.fields) != len(self.columns) and line > after:
                    lines.append(line)
        return lines

    @cached_property
    def _content(self) -> ContentScan:
        return ContentScan(self.path, self.name, self._dialect.delimiter)


def _are_sound(numbers: pa.Array, *, infinite: bool) -> bool:
    """Return whether no number is NaN, nor infinite unless that is allowed."""
    sound = pc.invert(pc.is_nan(numbers)) if infinite else pc.is_finite(numbers)
    return bool(pc.all(sound, min_count=0).as_py())


def _joined(chunks: Iterable[pa.RecordBatch], size: int) -> Iterator[pa.RecordBatch]:
    """Yield consecutive rows, several chunks at once where these have at most `size` rows."""
    several: list[pa.RecordBatch] = []
    for chunk in chunks:
        if several and sum(one.num_rows for one in several) + chunk.num_rows > size:
            yield _joint(several)
            several = []
        several.append(chunk)
    if several:
        yield _joint(several)


def _joint(chunks: list[pa.RecordBatch]) -> pa.RecordBatch:
    if len(chunks) == 1:
        return chunks[0]
    [joint] = pa.Table.from_batches(chunks).combine_chunks().to_batches()
    return joint


def _slices(chunk: pa.RecordBatch, size: int) -> Iterator[pa.RecordBatch]:
    for start in range(0, chunk.num_rows, size):
        yield chunk.slice(start, size)

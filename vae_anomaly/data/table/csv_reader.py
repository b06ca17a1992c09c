"""Reader of CSV tables: pyarrow parses them, Python's csv module locates faults.

Messages of pyarrow do not name the line, nor always the true cause, and an unclosed
quote hides the rest of a file from it. So the bytes of a file are checked first
(encoding, NUL, quotes), and its records too if it has quotes. The fault of a file that
pyarrow refuses is then located with the csv module.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from vae_anomaly._text import shown
from vae_anomaly.data.cells import MISSING, WEAKLY_MISSING, has_leading_zero, is_number
from vae_anomaly.data.table.reader import (
    CellError,
    TableReader,
    openable,
    rows_of_batch,
)
from vae_anomaly.exceptions import DataError

__all__ = ["CsvReader"]

NO_NUMBERS = sorted(MISSING | WEAKLY_MISSING)
"""Cells of a column of numbers that are missing."""

CHUNK_BYTES = 2**22
SAMPLE_ROWS = 100

FIRST_LINE = re.compile(rb"[^\r\n]*\r?\n")

WIDE = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


class Record(NamedTuple):
    """A row of fields and the line of the file that it starts on."""

    line: int
    fields: list[str]


class CsvReader(TableReader):
    """A comma-separated file in UTF-8, with a line of column names.

    A byte-order mark, quoted fields, all line ends and blank lines are accepted. A row
    has as many fields as there are names.
    """

    _checked = False

    def _read_columns(self) -> tuple[str, ...]:
        """Read the header."""
        header = self._header()
        self._header_line = header.line
        return tuple(header.fields)

    # ------------------------------------------------------------ parsing with pyarrow

    def batches(self, numbers: Sequence[str], keep: Sequence[str] = ()) -> Iterator[pa.RecordBatch]:
        """Yield the rows; see `TableReader.batches`."""
        if self._has_quotes and not self._checked:
            self._find_fault(numbers=())
        self._checked = True
        wanted = [*numbers, *keep]
        size = rows_of_batch(len(wanted))
        for chunk in self._chunks(numbers, wanted):
            for name in numbers:
                if not pc.all(pc.is_finite(chunk.column(name)), min_count=0).as_py():
                    self._refuse(numbers, f"column {shown(name)} holds a number that is not finite")
            for start in range(0, chunk.num_rows, size):
                yield chunk.slice(start, size)
        self.check_unchanged()

    def _chunks(self, numbers: Sequence[str], wanted: list[str]) -> Iterator[pa.RecordBatch]:
        types = {name: pa.string() for name in wanted} | {name: pa.float64() for name in numbers}
        # An empty line is a missing cell in a table of one column, and ignored in others.
        single = len(self.columns) == 1
        try:
            reader = pa_csv.open_csv(
                openable(self.path),
                read_options=pa_csv.ReadOptions(
                    block_size=CHUNK_BYTES, skip_rows=self._header_line - 1 if single else 0
                ),
                parse_options=pa_csv.ParseOptions(
                    newlines_in_values=True, ignore_empty_lines=not single
                ),
                convert_options=pa_csv.ConvertOptions(
                    column_types=types,
                    include_columns=wanted or [self.columns[0]],
                    null_values=NO_NUMBERS,
                    strings_can_be_null=False,
                ),
            )
            yield from reader
        except (pa.ArrowException, KeyError) as cause:
            self._refuse(numbers, str(cause))
        except OSError as cause:  # pyarrow does not name the file
            raise OSError(cause.errno, cause.strerror, str(self.path)) from cause

    def _refuse(self, numbers: Sequence[str], words: str) -> None:
        """Raise for what pyarrow refuses; return if there only are no rows."""
        self.check_unchanged()
        if self._find_fault(numbers):
            raise DataError(f"{self.name} cannot be read as CSV: {words.rstrip('.')}.")

    # ------------------------------------------------- location of faults with csv

    def _records(self) -> Iterator[Record]:
        """Yield the lines that are not blank, header first; with one column, blank ones too."""
        with self.path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            line, width = 1, 0
            try:
                for fields in reader:
                    if fields or width == 1:
                        yield Record(line, fields or [""])
                    width = width or len(fields)
                    line = reader.line_num + 1
            except csv.Error as cause:
                raise DataError(f"{self.name}, line {line}: {_csv_fault(cause)}") from cause
            except UnicodeDecodeError:
                _ = self._has_quotes  # checks the file and raises with the line
                raise

    def _header(self) -> Record:
        with self.path.open("rb") as file:
            start = file.read(CHUNK_BYTES)
        if not start.strip(b"\xef\xbb\xbf \t\r\n"):
            raise DataError(f"{self.name} is empty. Expected a line of column names, then rows.")
        for mark, encoding in WIDE.items():
            if start.startswith(mark):
                raise DataError(f"{self.name} is {encoding} text. Save it as UTF-8.")
        self._check_bytes(start, 0, final=len(start) < CHUNK_BYTES)
        header = next(self._records())
        names = header.fields
        if names[0].startswith("#"):
            raise DataError(
                f"{self.name} begins with a comment, {shown(names[0])}. "
                f"Remove it: the first line holds the column names."
            )
        for separator, words in {";": "semicolons", "\t": "tabs", "|": "bars"}.items():
            if len(names) <= 2 and separator in names[0]:
                raise DataError(
                    f"{self.name} seems to separate its columns by {words}. "
                    f"Save it with commas between columns and points in decimals."
                )
        if all(is_number(name) for name in names):
            raise DataError(
                f"{self.name} begins with numbers, {shown(','.join(names))}. "
                f"Put a line of column names above them."
            )
        return header

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
                elif is_number(field):
                    numeric.add(name)
                elif field.strip() not in NO_NUMBERS:
                    texts.setdefault(name, field)
        return {name: text for name, text in texts.items() if name not in numeric} | codes

    def _find_fault(self, numbers: Sequence[str]) -> bool:
        """Raise for the first ragged row or bad cell; else return whether there are rows."""
        places = [(self.columns.index(name), name) for name in numbers]
        width, any_rows = len(self.columns), False
        for line, fields in islice(self._records(), 1, None):
            any_rows = True
            if len(fields) != width:
                raise DataError(
                    f"{self.name}, line {line}: expected {_fields(width)}, as in the header, "
                    f"got {len(fields)}. {_ragged_advice(fields, width)}"
                )
            for i, name in places:
                if not is_number(fields[i]) and fields[i] not in NO_NUMBERS:
                    raise CellError(f"{self.name}, line {line}", name, fields[i])
        return any_rows

    @cached_property
    def _has_quotes(self) -> bool:
        """Whether there are quotes below the header; raises if the file is not UTF-8 text."""
        decoder = codecs.getincrementaldecoder("utf-8")()
        quotes, lines = False, 0
        with self.path.open("rb") as file:
            # `_header` has parsed those around names, which many programs write.
            header = FIRST_LINE.match(file.read(CHUNK_BYTES))
            quotes_from = 0 if header is None else header.end()
            file.seek(0)
            while chunk := file.read(CHUNK_BYTES):
                quotes = quotes or chunk.find(b'"', quotes_from) >= 0
                quotes_from = 0
                pending = decoder.getstate()[0]
                try:
                    decoder.decode(chunk)
                except UnicodeDecodeError:
                    self._check_bytes(pending + chunk, lines, final=True)
                if b"\0" in chunk:
                    self._check_bytes(chunk, lines, final=False)
                lines += chunk.count(b"\n")
        pending = decoder.getstate()[0]
        self._check_bytes(pending, lines, final=True)
        return quotes

    def _check_bytes(self, chunk: bytes, lines_before: int, *, final: bool) -> None:
        """Raise if some bytes hold NUL, or are not UTF-8."""
        nul = chunk.find(b"\0")
        if nul >= 0:
            line = lines_before + chunk.count(b"\n", 0, nul) + 1
            raise DataError(
                f"{self.name}, line {line}: a NUL byte. This is not a text file, or it is UTF-16; "
                f"save it as CSV in UTF-8."
            )
        try:
            codecs.getincrementaldecoder("utf-8")().decode(chunk, final)
        except UnicodeDecodeError as cause:
            line = lines_before + chunk.count(b"\n", 0, cause.start) + 1
            raise DataError(
                f"{self.name}, line {line}: the byte 0x{chunk[cause.start]:02x} is not UTF-8 text. "
                f"Save the file as UTF-8."
            ) from cause


def _fields(count: int) -> str:
    return "1 field" if count == 1 else f"{count} fields"


def _ragged_advice(fields: list[str], width: int) -> str:
    if len(fields) < width:
        return "Complete the row or remove it."
    if len(fields) == width + 1 and not fields[-1].strip():
        return "Remove the comma at the end of the line."
    return "Quote cells that hold a comma, or remove the row."


def _csv_fault(cause: csv.Error) -> str:
    words = str(cause)
    if "unexpected end of data" in words:
        return "a quote is opened and never closed. Close it."
    if "field larger than field limit" in words:
        return (
            f"a cell longer than {csv.field_size_limit():,} characters, perhaps an unclosed quote."
        )
    if "expected after" in words:
        return "text after a closing quote. Double the quotes inside a quoted cell."
    return f"not CSV ({words})."

"""Dialect of a CSV file: what separates its fields, and the mark of its decimals."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from vae_anomaly._threads import Swapped
from vae_anomaly.data.cells import is_number
from vae_anomaly.data.csv_content import parts_of

if TYPE_CHECKING:
    from _csv import Reader

__all__ = [
    "DECIMAL_COMMA",
    "DELIMITERS",
    "LONG_CELLS",
    "MAX_CELL_LENGTH",
    "SAMPLE_ROWS",
    "Dialect",
    "decimal_mark",
]

SAMPLE_ROWS = 100
"""Rows by which a dialect is found."""

MAX_CELL_LENGTH = 2**26
"""Characters of a cell. A longer one is most likely the rest of a file after an open quote."""

LONG_CELLS = Swapped(csv.field_size_limit, MAX_CELL_LENGTH)
"""Lets the csv module read cells of `MAX_CELL_LENGTH` instead of 131,072 characters."""

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
"""What may separate fields; the first one wins where several fit."""

DECIMAL_COMMA = re.compile(r"[ \t]*[+-]?(\d+,\d*|,\d+)([eE][+-]?\d+)?[ \t]*", re.ASCII)

THOUSANDS = re.compile(r"[ \t]*[+-]?[1-9]\d{0,2}(,\d{3})+[ \t]*", re.ASCII)
"""Numbers in which a comma may separate thousands."""


@dataclass(frozen=True)
class Dialect:
    r"""Syntax of a CSV file.

    Attributes
    ----------
    delimiter : str
        What separates fields.
    decimal : str
        "." or ",".

    Examples
    --------
    >>> Dialect.of("a;b\n1,5;x, y\n2;z\n")
    Dialect(delimiter=';', decimal=',')
    >>> Dialect.of("a,b;c\n1,5;x\n2,z\n")
    Dialect(delimiter=',', decimal='.')
    """

    delimiter: str = ","
    decimal: str = "."

    @classmethod
    def of(cls, text: str, path: Path | None = None) -> Dialect:
        """Find the dialect of the first lines of a file.

        The delimiter is the one by which most rows have as many fields as the header, of which
        there are at least two. A comma is the decimal mark where semicolons or tabs separate, and
        cells such as 1,5 say so: none is a number with a point, nor has commas at its thousands,
        and not all could have. Where the first lines do not tell, the first later cell that does
        decides.

        Parameters
        ----------
        text : str
            First lines.
        path : Path, optional
            The whole file.
        """
        with LONG_CELLS:
            samples = {sign: cls(sign)._sample(text) for sign in DELIMITERS}
        found = max(samples, key=lambda sign: _fit(samples[sign]))
        cells = [cell for row in samples[found][1:] for cell in row]
        if found not in ";\t":
            return cls(found)
        mark = decimal_mark(cells)
        if mark is None and path is not None:
            mark = _first_mark(parts_of(path), found)
        return cls(found, mark or ".")

    def records(self, lines: Iterable[str]) -> Reader:
        """Read records; blanks before a cell do not count, so that a quote may follow them."""
        return csv.reader(lines, delimiter=self.delimiter, skipinitialspace=True, strict=True)

    def number(self, text: str) -> str:
        """Return a cell with a point for the decimal mark, where it is a number."""
        if self.decimal == "," and DECIMAL_COMMA.fullmatch(text):
            return text.replace(",", ".")
        return text

    @property
    def description(self) -> str:
        """What differs from commas between fields and points in decimals; else empty."""
        if self.delimiter == ",":
            return ""
        mark = ", and a comma is the decimal mark" if self.decimal == "," else ""
        return f"{DELIMITERS[self.delimiter]}s separate its columns{mark}"

    def _sample(self, text: str) -> list[list[str]]:
        """Return the header and the first rows; an empty one last if that is not sound."""
        records = self.records(io.StringIO(text, newline=""))
        sample: list[list[str]] = []
        try:
            sample.extend(islice(filter(None, records), SAMPLE_ROWS + 1))
        except csv.Error:
            sample.append([])
        return sample


def _fit(sample: list[list[str]]) -> float:
    """Return the share of rows that have as many fields as the header; 0 if it has only one."""
    if not sample or len(sample[0]) < 2:
        return 0.0
    header, *rows = sample
    return sum(len(row) == len(header) for row in rows) / len(rows) if rows else 1.0


def decimal_mark(cells: Iterable[str]) -> str | None:
    """Return the decimal mark of the numbers among cells, None where they do not tell."""
    cells = list(cells)
    has_points = any("." in cell and is_number(cell) for cell in cells)
    has_thousands = any(cell.count(",") > 1 and THOUSANDS.fullmatch(cell) for cell in cells)
    if has_points or has_thousands:
        return "."
    commas = filter(DECIMAL_COMMA.fullmatch, cells)
    return None if all(map(THOUSANDS.fullmatch, commas)) else ","


def _first_mark(parts: Iterable[bytes], delimiter: str) -> str | None:
    """Return the decimal mark of the first cell that tells one."""
    edge = re.escape(delimiter) + r'\r\n"'
    # What may be a number with a mark, in time that is linear in the size of the file.
    cell = re.compile(rf"[{edge}]([ +-]*+\d*+[.,][\d,]*+[\deE+ -]*+)(?![^{edge}])".encode())
    for part in parts:
        if b"," not in part and b"." not in part:
            continue
        for found in cell.finditer(b"\n" + part):
            mark = decimal_mark([found[1].decode("ascii")])
            if mark:
                return mark
    return None

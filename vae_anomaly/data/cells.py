"""Cells of text: numbers and missing values."""

from __future__ import annotations

import re

__all__ = ["MISSING", "NUMBER", "is_number"]

MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "#N/A", "-")
"""Spellings of a missing value; they do not make a column one of text."""

# The numbers that pyarrow parses too. Python's float() also accepts "1_000".
NUMBER = re.compile(r"[ \t]*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?[ \t]*", re.ASCII)


def is_number(text: str) -> bool:
    """Return whether a cell is a finite number.

    Examples
    --------
    >>> [is_number(text) for text in ("-1.5e3", " 2", "1e400", "nan", "1,5", "1_000", "")]
    [True, True, False, False, False, False, False]
    """
    return NUMBER.fullmatch(text) is not None and abs(float(text)) != float("inf")

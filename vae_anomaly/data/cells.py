"""Syntax of numbers and of missing values in text cells, and the code of a stray cell."""

from __future__ import annotations

import re
import sys

__all__ = ["MISSING", "NUMBER", "STRAY", "WEAKLY_MISSING", "has_leading_zero", "is_number"]

MISSING = frozenset({"", "?", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "<NA>"})
"""Cells that stand for a missing value in any column."""

WEAKLY_MISSING = frozenset({"None", "none", "unknown", "Unknown", "-", "."})
"""Cells that stand for a missing value where all other cells of the column are numbers or dates."""

STRAY = sys.float_info.max
"""Code of text in a column of numbers or dates: as unexpected as a level that is new."""


# Numbers for pyarrow as well. Python's float() also accepts "1_000".
NUMBER = re.compile(r"[ \t]*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?[ \t]*", re.ASCII)


def is_number(text: str) -> bool:
    """Return whether the text of a cell is a finite number.

    Examples
    --------
    >>> [is_number(text) for text in ("-1.5e3", " 2", "1e400", "nan", "1,5", "1_000", "")]
    [True, True, False, False, False, False, False]
    """
    return NUMBER.fullmatch(text) is not None and abs(float(text)) != float("inf")


def has_leading_zero(text: str) -> bool:
    """Return whether digits begin with a zero that no number needs, as codes do.

    Examples
    --------
    >>> [has_leading_zero(text) for text in ("007", " 01.5", "-01", "0.7", "0", "700")]
    [True, True, False, False, False, False]
    """
    digits = text.strip()
    return len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()

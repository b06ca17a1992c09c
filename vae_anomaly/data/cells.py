"""Cells of text: numbers and missing values."""

from __future__ import annotations

import re

__all__ = ["MISSING", "NUMBER", "is_number"]

MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "#N/A", "-")
"""Spellings of a missing value: no numbers, but no sign of a text column either."""


# What pyarrow and we both take for a number. Python's float() also takes "1_000".
NUMBER = re.compile(r"[ \t]*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?[ \t]*", re.ASCII)


def is_number(text: str) -> bool:
    """Tell whether a cell spells a finite number.

    Examples
    --------
    >>> [is_number(text) for text in ("-1.5e3", " 2", "1e400", "nan", "1,5", "1_000", "")]
    [True, True, False, False, False, False, False]
    """
    return NUMBER.fullmatch(text) is not None and abs(float(text)) != float("inf")

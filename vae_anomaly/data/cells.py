"""Syntax of numbers and of missing values in text cells, and the code of a stray cell."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable

__all__ = [
    "MISSING",
    "NUMBER",
    "STRAY",
    "TRUTH",
    "WEAKLY_MISSING",
    "are_booleans",
    "has_leading_zero",
    "is_amount",
    "is_number",
    "plain_number",
]


def _spellings(*words: str) -> frozenset[str]:
    """Return words in lower case, in capitals, and with one capital."""
    return frozenset(
        spelling for word in words for spelling in (word, word.upper(), word.capitalize())
    )


MISSING = _spellings("", "?", "na", "n/a", "#n/a", "nan", "null", "<na>") | {"NaN"}
"""Cells that stand for a missing value in any column."""

WEAKLY_MISSING = _spellings("none", "unknown", "-", ".")
"""Cells that stand for a missing value where all other cells of the column are numbers or dates."""

BOOLEANS = (("true", "false"), ("t", "f"), ("yes", "no"), ("y", "n"), ("1", "0"))
"""Spellings of true and false, in any case."""

TRUTH = {text: truth for pair in BOOLEANS for text, truth in zip(pair, (True, False), strict=True)}
"""Spelling in lower case -> what it says."""

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


AMOUNT = re.compile(
    r"[-+]?[$€£¥]?\s?(\d+|\d{1,3}([.,'\s]\d{3})+)([.,]\d+)?\s?[%‰°$€£¥]?[^\W\d_]{0,3}"
    r"|(-?\d+ days?,? )?\d{1,4}:\d\d(:\d\d([.,]\d+)?)?"
)
"""Number with separators of thousands, a percent sign, a currency or a short unit; or a time."""


def is_amount(text: str) -> bool:
    """Return whether text looks like a number with separators or a unit, or like a time.

    Examples
    --------
    >>> [is_amount(text) for text in ("1.234,56", "17 %", "€3.50", "-1 200 kg", "0:26:52")]
    [True, True, True, True, True]
    >>> [is_amount(text) for text in ("12", "M8", "1.2.3", "10.0.0.1", "12-07", "7a4")]
    [False, False, False, False, False, False]
    """
    return AMOUNT.fullmatch(text) is not None and not is_number(text)


def has_leading_zero(text: str) -> bool:
    """Return whether digits begin with a zero that no number needs, as codes do.

    Examples
    --------
    >>> [has_leading_zero(text) for text in ("007", " 01.5", "-01", "0.7", "0", "700")]
    [True, True, False, False, False, False]
    """
    digits = text.strip()
    return len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()


def plain_number(text: str) -> str:
    """Return the shortest text of a whole number, and other texts as they are.

    Examples
    --------
    >>> [plain_number(text) for text in ("3.0", "+3", "1e3", "3.5", "007", "x")]
    ['3', '3', '1000', '3.5', '007', 'x']
    """
    if not is_number(text) or has_leading_zero(text) or not float(text).is_integer():
        return text
    return str(int(float(text)))


def are_booleans(texts: Iterable[str]) -> bool:
    """Return whether texts spell true and false, all in the same way but for their case.

    Examples
    --------
    >>> [are_booleans(texts) for texts in (["TRUE", "True", "false"], ["yes", "true"], ["yes"])]
    [True, False, False]
    """
    found = {text.lower() for text in texts}
    return any(found == set(pair) for pair in BOOLEANS)

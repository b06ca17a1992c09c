"""Formats of dates as text."""

from __future__ import annotations

import re
from datetime import UTC, datetime

__all__ = ["ISO", "is_date_format"]

ISO = "ISO8601"
"""Stands for all that `datetime.fromisoformat` reads: an optional time, fraction and zone."""

MAX_FORMAT_LENGTH = 100

SAMPLE = datetime(2001, 2, 13, tzinfo=UTC)


def is_date_format(text: str) -> bool:
    """Return whether a format of `datetime.strptime` gives a year, a month and a day.

    Examples
    --------
    >>> [is_date_format(text) for text in ("%d-%m-%y", "%H:%M", "%Q", "ISO8601")]
    [True, False, False, True]
    """
    if text == ISO:
        return True
    if len(text) > MAX_FORMAT_LENGTH:
        return False
    try:
        found = datetime.strptime(SAMPLE.strftime(text), text)
    except (ValueError, re.error):
        return False
    return found.date() == SAMPLE.date()

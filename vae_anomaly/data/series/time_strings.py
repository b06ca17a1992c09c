"""Time stamps as text: ISO 8601, and dates that begin with the day or the month."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vae_anomaly._text import shown
from vae_anomaly.data.series.stamps import DIGITS, Refusal, bools_of, integers_of, scaled

__all__ = ["COMPACT", "MONTH_NAMED", "YEAR_FIRST", "YEAR_LAST", "parse_text"]

Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

ZONE = r"\s*(?P<zone>Z|z|UTC|GMT|[+-]\d\d(?::?\d\d)?)?$"

TIME = r"(?P<minute>\d\d)(?::?(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?)?"

YEAR_FIRST = (
    r"^(?P<year>\d{4})[-/.]?(?P<month>\d\d)[-/.]?(?P<day>\d\d)"
    rf"(?:[T ]?\s*(?P<hour>\d\d):?{TIME})?{ZONE}"
)
"""ISO 8601, extended or basic; also with a blank or nothing before the time, or with slashes."""

COMPACT = r"^(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(([01]\d|2[0-3])[0-5]\d[0-5]\d)?$"
"""Numbers that are dates, such as 20240301 or 20240301100000."""

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

MONTH_NAMED = (
    rf"^\[?(?P<day>\d{{1,2}})[-/ ](?P<name>(?i:{'|'.join(MONTHS)}))[-/ ](?P<year>\d{{4}})"
    rf"(?:[:T ,]\s*(?P<hour>\d\d):{TIME})?{ZONE.removesuffix('$')}\]?$"
)
"""Dates with the name of the month, as in the logs of web servers."""

YEAR_LAST = (
    r"^(?P<first>\d{1,2})(?P<mark>[-/.])(?P<other>\d{1,2})[-/.](?P<year>\d{4})"
    rf"(?:[T ,]\s*(?P<hour>\d\d?):{TIME}\s*(?P<half>[AaPp][Mm])?)?{ZONE}"
)
"""Dates whose day or month comes first. Before points it is the day."""


def parse_text(text: pa.Array, known: Booleans, refusal: Refusal) -> tuple[Integers, bool, str]:
    """Return the nanoseconds of text, whether it is naive, and what was recognised."""
    note = ""
    parts = _parts_of(text, known)
    matches = ~bools_of(parts.is_null())
    if not matches[known].all():
        row = int(np.argmax(known & ~matches))
        wanted, example = "a time", "2024-03-01T10:00:00Z"
        if matches.any():
            example = text[int(np.argmax(matches))].as_py()
            wanted = f"a time such as {shown(example)}"
        advice = (
            f"Correct the cell, write times such as {example!r}, or give time_format; or leave "
            f"the column out with ignore, if rows are in order and evenly spaced."
        )
        raise refusal.error(row, text[row].as_py(), wanted, advice)
    fields = _Fields(parts, matches)
    year, hour = fields.integers("year"), fields.integers("hour")
    if "name" in fields.names:
        month, day = fields.months("name"), fields.integers("day")
    elif "month" in fields.names:
        month, day = fields.integers("month"), fields.integers("day")
    else:
        day, month, note = _day_and_month(fields, text, refusal)
        hour = _twenty_four(hour, fields)
    minute, second = fields.integers("minute"), fields.integers("second")
    date, is_date = _days(year, month, day)
    in_range = (hour < 24) & (minute < 60) & (second < 60)
    offset, has_zone = fields.offsets()
    bad = known & ~(is_date & in_range & (np.abs(offset) < 24 * 60))
    if bad.any():
        row = int(np.argmax(bad))
        advice = "There is no such date or time of day. Correct the cell."
        raise refusal.error(row, text[row].as_py(), "a time", advice)
    seconds = 86400 * date + 3600 * hour + 60 * (minute - offset) + second
    ns = scaled(seconds, 10**9, known, lambda row: text[row].as_py(), refusal)
    _check_offsets(has_zone, text, known, refusal)
    return ns + fields.nanoseconds(), not has_zone[known][0], note


def _parts_of(text: pa.Array, known: Booleans) -> pa.Array:
    """Return the parts of text by the pattern that most cells follow."""
    found = []
    for pattern in (YEAR_FIRST, YEAR_LAST, MONTH_NAMED):
        parts = pc.extract_regex(text, pattern)
        if parts.null_count == len(known) - np.count_nonzero(known):
            return parts
        found.append(parts)
    return min(found, key=lambda parts: parts.null_count)


class _Fields:
    """Parts of time stamps as numbers."""

    def __init__(self, parts: pa.Array, matches: Booleans) -> None:
        self._parts, self._matches = parts, matches
        self.names = [field.name for field in parts.type]

    def text(self, name: str) -> pa.Array:
        """Return a part, empty where there is none."""
        return pc.fill_null(pc.struct_field(self._parts, name), "")

    def integers(self, name: str) -> Integers:
        """Return a part as whole numbers, 0 where there is none."""
        text = self.text(name)
        return integers_of(pc.if_else(pc.equal(text, ""), "0", text).cast(pa.int64()))

    def months(self, name: str) -> Integers:
        """Return the numbers of months that are named, from 1."""
        names = pc.utf8_lower(self.text(name))
        return integers_of(pc.index_in(names, value_set=pa.array(MONTHS)).cast(pa.int64())) + 1

    def nanoseconds(self) -> Integers:
        """Return the fraction of a second; digits beyond the ninth are cut."""
        text = self.text("fraction")
        padded = pc.utf8_slice_codeunits(pc.utf8_rpad(text, DIGITS, "0"), 0, DIGITS)
        return integers_of(padded.cast(pa.int64()))

    def offsets(self) -> tuple[Integers, Booleans]:
        """Return minutes east of UTC, and where there is an offset."""
        codes = self.text("zone").dictionary_encode()
        zones = codes.dictionary.to_pylist()
        minutes = np.array([_minutes_of(zone) for zone in zones] or [0], np.int64)
        given = np.array([zone != "" for zone in zones] or [False])
        places = integers_of(codes.indices.cast(pa.int64()))
        return minutes[places], given[places]


def _minutes_of(zone: str) -> int:
    digits = zone.lstrip("+-").replace(":", "")
    if not digits.isdigit():
        return 0  # UTC, or no offset
    minutes = 60 * int(digits[:2]) + int(digits[2:] or 0)
    return -minutes if zone.startswith("-") else minutes


def _day_and_month(
    fields: _Fields, text: pa.Array, refusal: Refusal
) -> tuple[Integers, Integers, str]:
    """Return days and months of dates that end with the year, and what was recognised.

    Raises
    ------
    DataError
        If all of them may be days or months.
    """
    first, other = fields.integers("first"), fields.integers("other")
    has_points = bool(pc.any(pc.equal(fields.text("mark"), ".")).as_py())
    may_be_month, may_be_day = (first <= 12).all(), (other <= 12).all()
    if has_points or (may_be_day and not may_be_month):
        return first, other, "" if has_points else "In the times the day comes before the month."
    if may_be_month and not may_be_day:
        return other, first, "In the times the month comes before the day."
    row = int(np.argmax((first > 0) & (first != other)))
    if not may_be_month:
        row = int(np.argmax((first > 12) | (other > 12)))
        wanted = "the day before the month or after it, in all rows"
        raise refusal.error(row, text[row].as_py(), wanted, "Bring the times to one format.")
    raise refusal.error(
        row,
        text[row].as_py(),
        "a date that is clear",
        "In no row the day is above 12, so that day and month may be either. Give "
        "time_format: '%d/%m/%Y ...' if the day comes first, '%m/%d/%Y ...' if the month does.",
    )


def _twenty_four(hour: Integers, fields: _Fields) -> Integers:
    """Return hours of a day from those of its halves, where it is said which."""
    half = pc.utf8_lower(fields.text("half"))
    is_pm, is_am = (bools_of(pc.equal(half, name)) for name in ("pm", "am"))
    of_half = np.where((hour >= 1) & (hour <= 12), hour % 12 + 12 * is_pm, 24)
    return np.where(is_pm | is_am, of_half, hour)


def _days(year: Integers, month: Integers, day: Integers) -> tuple[Integers, Booleans]:
    """Return days since 1970, and where there is such a date."""
    months = (12 * (year - 1970) + month - 1).view("datetime64[M]")
    firsts = months.astype("datetime64[D]").view(np.int64)
    ends = (months + 1).astype("datetime64[D]").view(np.int64)
    exists = (month >= 1) & (month <= 12) & (day >= 1) & (day <= ends - firsts)
    return firsts + day - 1, exists


def _check_offsets(has_zone: Booleans, text: pa.Array, known: Booleans, refusal: Refusal) -> None:
    """Raise if some times have an offset from UTC and others have none."""
    first = int(np.argmax(known))
    mixed = known & (has_zone != has_zone[first])
    if mixed.any():
        row = int(np.argmax(mixed))
        wanted = "a time with an offset" if has_zone[first] else "a time without an offset"
        raise refusal.error(
            row,
            text[row].as_py(),
            f"{wanted} from UTC, such as {shown(text[first].as_py())}",
            "Write all times in one way.",
        )

"""Time stamps: cells of a column to nanoseconds since 1970 in UTC."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vae_anomaly._text import shown
from vae_anomaly.data.cells import MISSING, NUMBER, WEAKLY_MISSING
from vae_anomaly.data.date_formats import is_date_format
from vae_anomaly.data.series.stamps import (
    DIGITS,
    EPOCH_UNITS,
    MAX_NS,
    Place,
    Refusal,
    Stamps,
    bools_of,
    integers_of,
    scaled,
)
from vae_anomaly.data.series.time_strings import COMPACT, parse_text
from vae_anomaly.exceptions import ParameterError

__all__ = ["MAX_EPOCH", "MIN_EPOCH", "read_times", "time_text"]

Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

UNIT_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}

MIN_EPOCH, MAX_EPOCH = 1e8, 1e10
"""Seconds that are recognised, from 1973 to 2286: those of different units do not overlap."""

FIRST_YEAR, LAST_YEAR = "1678", "2261"
"""Years that nanoseconds cover from the first day to the last."""

MISSING_TIMES = MISSING | WEAKLY_MISSING | {"NaT"}


def time_text(ns: int, zone: str | None = None) -> str:
    """Return a time as ISO 8601 with as many decimals as it needs.

    Parameters
    ----------
    ns : int
        Nanoseconds since 1970.
    zone : str, optional
        Zone whose clocks show the text, with their offset from UTC, or Z for UTC itself. Without
        one the text has none.

    Examples
    --------
    >>> time_text(1_709_287_200_500_000_000), time_text(1_709_287_200_000_000_000, "Asia/Tokyo")
    ('2024-03-01 10:00:00.5', '2024-03-01 19:00:00+09:00')
    """
    seconds, fraction = divmod(int(ns), 10**9)
    decimals = f".{fraction:09d}".rstrip("0") if fraction else ""
    if zone in (None, "UTC"):
        text = str(np.datetime64(seconds, "s")).replace("T", " ")
        return f"{text}{decimals}{'Z' if zone else ''}"
    local = datetime.fromtimestamp(seconds, ZoneInfo(zone))
    return f"{local:%Y-%m-%d %H:%M:%S}{decimals}{str(local)[19:]}"


def read_times(
    cells: pa.Array, column: str, place: Place, *, time_format: str | None = None
) -> Stamps:
    """Read the time stamps of a column.

    Parameters
    ----------
    cells : Arrow array
        Text, numbers, or dates.
    column : str
        Its name in messages.
    place : callable
    time_format : str, optional
        Format of `datetime.strptime`, or "s", "ms", "us", "ns" for numbers since 1970. By
        default numbers are those since 1970 in the unit that their magnitude says, and text is
        ISO 8601 with any number of decimals, or has its day or its month first if the whole
        column leaves only one of the two.

    Returns
    -------
    Stamps

    Raises
    ------
    DataError
        With the place and the content of the first cell that is no time, or not like the
        others: with an offset or without, in another unit.
    ParameterError
        If `time_format` does not suit the type of the column.

    Examples
    --------
    >>> cells = pa.array(["2024-03-01T10:00:00.25+01:00", None])
    >>> stamps = read_times(cells, "time", lambda row: f"line {row + 2}")
    >>> time_text(stamps.ns[0]), stamps.known.tolist(), stamps.is_naive
    ('2024-03-01 09:00:00.25', [True, False], False)
    """
    if isinstance(cells, pa.ChunkedArray):
        cells = cells.combine_chunks()
    if pa.types.is_dictionary(cells.type):
        cells = cells.dictionary_decode()
    refusal = Refusal(column, place)
    if pa.types.is_timestamp(cells.type) or pa.types.is_date(cells.type):
        return _of_dates(cells, refusal)
    text = pc.utf8_trim_whitespace(cells.cast(pa.string()))
    if pa.types.is_floating(cells.type):
        missing = pc.fill_null(pc.is_nan(cells), True)
    else:
        missing = pc.is_in(text, value_set=pa.array([*MISSING_TIMES, None], pa.string()))
    known = ~bools_of(missing)
    bare = pc.if_else(missing, None, text)
    if not known.any():
        return Stamps(np.zeros(len(known), np.int64), known, True, text)
    if time_format is not None and time_format not in EPOCH_UNITS:
        ns, is_naive, note = *_by_format(bare, known, time_format, refusal), ""
    elif time_format is None and bool(pc.all(pc.match_substring_regex(bare, COMPACT)).as_py()):
        with_mark = pc.replace_substring_regex(bare, r"^(\d{8})(\d+)$", r"\1T\2")
        ns, is_naive, note = parse_text(with_mark, known, refusal)
    elif time_format is not None or _are_numbers(bare):
        ns, note = _of_numbers(cells, bare, known, time_format, refusal)
        is_naive = False
    else:
        ns, is_naive, note = _plain_iso(bare) or parse_text(bare, known, refusal)
    return Stamps(np.where(known, ns, 0), known, is_naive, text, note)


# ------------------------------------------------------------------------ dates of a type


def _of_dates(cells: pa.Array, refusal: Refusal) -> Stamps:
    """Return the stamps of cells of a type of dates."""
    if pa.types.is_date(cells.type):
        cells = cells.cast(pa.timestamp("s" if pa.types.is_date32(cells.type) else "ms"))
    unit, known = cells.type.unit, ~bools_of(cells.is_null())
    is_naive = cells.type.tz is None
    plain = cells.cast(pa.timestamp(unit)) if is_naive else cells.cast(pa.timestamp(unit, "UTC"))
    counts = integers_of(plain.view(pa.int64()) if is_naive else plain.cast(pa.int64()))
    ns = scaled(counts, EPOCH_UNITS[unit], known, lambda row: f"{counts[row]} {unit}", refusal)
    # The text has no more decimals than the dates need.
    coarse = next(name for name, size in EPOCH_UNITS.items() if not (ns % size).any())
    if cells.type.tz == "UTC":  # without its zone, which takes a fifth of the time
        text = cells.cast(pa.timestamp(coarse)).cast(pa.string())
        return Stamps(ns, known, is_naive, pc.binary_join_element_wise(text, "Z", ""))
    text = cells.cast(pa.timestamp(coarse, cells.type.tz)).cast(pa.string())
    return Stamps(ns, known, is_naive, text)


# -------------------------------------------------------------------------------- numbers


def _are_numbers(text: pa.Array) -> bool:
    """Return whether most cells that are not missing are numbers, and not dates as numbers."""
    matches = pc.match_substring_regex(text, f"^({NUMBER.pattern})$")
    is_date = pc.match_substring_regex(text, COMPACT)
    n_known = len(text) - text.null_count
    counts = [int(pc.sum(one.cast(pa.int64()), min_count=0).as_py()) for one in (matches, is_date)]
    return 2 * counts[0] > n_known and 2 * counts[1] < n_known


def _of_numbers(
    cells: pa.Array, text: pa.Array, known: Booleans, unit: str | None, refusal: Refusal
) -> tuple[Integers, str]:
    """Return the nanoseconds of numbers since 1970, and what was recognised."""
    is_number = bools_of(pc.match_substring_regex(text, f"^({NUMBER.pattern})$"))
    stray = known & ~is_number
    if unit is not None and (stray == known).all():
        raise ParameterError(
            f"time_format={unit!r} stands for numbers since 1970, and column "
            f"{shown(refusal.column)} holds text. Give the format of the text, such as '%d/%m/%Y'."
        )
    if stray.any():
        row = int(np.argmax(stray))
        wanted = "a time as a number, as in other rows"
        raise refusal.error(row, text[row].as_py(), wanted, "Correct the cell.")
    values = _floats(text.cast(pa.float64()))
    note = ""
    if unit is None:
        unit = _unit_of(values, text, known, refusal)
        note = f"Times are {UNIT_NAMES[unit]} since 1970, by their magnitude."
    factor = EPOCH_UNITS[unit]
    whole = _whole_numbers(cells, text)
    if whole is not None:
        return scaled(whole, factor, known, lambda row: str(text[row]), refusal), note
    beyond = known & ~(np.abs(values) < MAX_NS / factor)
    if beyond.any():
        row = int(np.argmax(beyond))
        raise refusal.error(row, str(text[row]), "a time from 1678 to 2261", "Correct the cell.")
    return _exact_decimals(cells, text, values, factor), note


def _unit_of(values: NDArray[np.float64], text: pa.Array, known: Booleans, refusal: Refusal) -> str:
    """Return the unit of numbers since 1970: that in which they are from 1973 to 2286."""
    first = int(np.argmax(known))
    fitting = [
        unit
        for unit, factor in EPOCH_UNITS.items()
        if MIN_EPOCH <= values[first] * factor / 10**9 < MAX_EPOCH
    ]
    if not fitting:
        raise refusal.error(
            first,
            text[first].as_py(),
            "a time, or seconds, ms, us or ns since 1970",
            "Give time_format: 's', 'ms', 'us' or 'ns' for numbers since 1970, or a format such "
            "as '%Y%m%d'; or leave the column out, if rows are in order and evenly spaced.",
        )
    seconds = values * (EPOCH_UNITS[fitting[0]] / 10**9)
    bad = known & ~((seconds >= MIN_EPOCH) & (seconds < MAX_EPOCH))
    if bad.any():
        row = int(np.argmax(bad))
        raise refusal.error(
            row,
            text[row].as_py(),
            f"{UNIT_NAMES[fitting[0]]} since 1970, as before",
            "Correct the cell, or bring all times to one unit.",
        )
    return fitting[0]


def _whole_numbers(cells: pa.Array, text: pa.Array) -> Integers | None:
    """Return whole numbers exactly, as those of nanoseconds are beyond float64; else None."""
    try:
        whole = cells if pa.types.is_integer(cells.type) else text.cast(pa.int64())
        return integers_of(whole.cast(pa.int64()))
    except pa.ArrowInvalid:
        return None


def _exact_decimals(
    cells: pa.Array, text: pa.Array, values: NDArray[np.float64], factor: int
) -> Integers:
    """Return numbers with decimals as nanoseconds: text exactly, floats to a microsecond."""
    if not pa.types.is_floating(cells.type):
        try:
            scale = pa.scalar(Decimal(factor), pa.decimal128(11, 0))
            scaled = pc.multiply(text.cast(pa.decimal128(26, DIGITS)), scale)
            return integers_of(pc.floor(scaled).cast(pa.int64()))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            pass  # with an exponent, or with more decimals
    filled = np.nan_to_num(values)
    whole = np.floor(filled)
    micros = np.rint((filled - whole) * (factor / 1000)).astype(np.int64)
    return whole.astype(np.int64) * factor + 1000 * micros


# ----------------------------------------------------------------------------------- text


def _plain_iso(text: pa.Array) -> tuple[Integers, bool, str] | None:
    """Return the nanoseconds of ISO 8601 as pyarrow reads it, which is fast; None otherwise."""
    years = pc.min_max(pc.utf8_slice_codeunits(text, 0, 4)).as_py()
    if years["min"] < FIRST_YEAR or years["max"] > LAST_YEAR:
        return None  # some versions of pyarrow do not notice them
    for zone in (None, "UTC"):
        try:
            dates = text.cast(pa.timestamp("ns", zone))
        except pa.ArrowInvalid:
            continue
        return integers_of(dates.cast(pa.int64())), zone is None, ""
    return None


def _by_format(
    text: pa.Array, known: Booleans, time_format: str, refusal: Refusal
) -> tuple[Integers, bool]:
    """Return the nanoseconds of text in a format, and whether it is naive."""
    import pandas as pd

    if not is_date_format(time_format):
        raise ParameterError(
            f"time_format must be a format of datetime.strptime with year, month and day, such as "
            f"'%d/%m/%Y %H:%M', or 's', 'ms', 'us' or 'ns'. Got {time_format!r} instead."
        )
    cells = pd.Series(text.to_numpy(zero_copy_only=False))
    parsed = pd.to_datetime(cells, format=time_format, errors="coerce", utc=True)
    bad = known & parsed.isna().to_numpy()
    if bad.any():
        row = int(np.argmax(bad))
        wanted = f"a time in the format {time_format!r}"
        raise refusal.error(row, text[row].as_py(), wanted, "Correct the cell or the format.")
    dates = parsed.dt.tz_localize(None).to_numpy()
    unit = np.datetime_data(dates.dtype)[0]
    counts = dates.view(np.int64)
    ns = scaled(counts, EPOCH_UNITS[unit], known, lambda row: str(text[row]), refusal)
    return ns, "%z" not in time_format.lower()


def _floats(array: pa.Array) -> NDArray[np.float64]:
    return np.array(pc.fill_null(array, np.nan), dtype=np.float64)

"""Columns of tables whose rows are time steps: dates, and times as numbers, in equal steps."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from vae_anomaly._text import display_name, shown
from vae_anomaly.data.base import Array
from vae_anomaly.data.cells import MISSING, STRAY, WEAKLY_MISSING
from vae_anomaly.data.parsing import parse_numbers
from vae_anomaly.data.table.arrow_dates import is_date, seconds_of_array
from vae_anomaly.data.table.dates import best_formats, parsed, seconds_of
from vae_anomaly.data.table.reader import TableReader

__all__ = ["counts_up", "time_step_notes"]

TIME_NAME = re.compile(r"(.*[\W_])?(date|time|datetime|timestamp|epoch|ts|t|secs?|seconds?)", re.I)
"""Names of columns in which numbers may be times; others that count up number the rows."""

MAX_ROWS, MIN_ROWS = 2000, 50
"""Rows at the start of a file by which time steps are recognised, and the fewest."""

FORMAT_ROWS = 50
"""Texts by which their format is found."""

MIN_STEPS = 10
STEP_TOLERANCE, STEP_SHARE = 0.1, 0.8
"""Steps are equal if most are near their median."""

RUN_SHARE = 0.9
"""Rows of several series share each time: these runs are equally long, not those of orders."""


def time_step_notes(reader: TableReader, features: Sequence[str]) -> list[str]:
    """Return a line if the rows of a file look like time steps, by the first such column.

    Parameters
    ----------
    reader : TableReader
    features : sequence of str
        Columns that are to be learned.
    """
    if not reader.is_whole or reader.name != display_name(reader.path):
        return []  # standard input, a folder or a database, of which no series are read
    names = [*reader.index, *(name for name in features if name not in reader.index)]
    batch = next(iter(reader.batches((), texts=names, strict=False)), None)
    for name, cells in () if batch is None else zip(names, batch.columns, strict=True):
        if any(map(counts_up, _times(name, cells.slice(0, MAX_ROWS)))):
            return [
                f"warning: {shown(name)} counts up in equal steps. If the rows are time steps, "
                f"fit a time series with --time-column {shlex.quote(name)}; also --series-column "
                f"if several series are among them"
            ]
    return []


def _times(name: str, cells: pa.Array) -> list[Array]:
    """Return the seconds or numbers that cells may stand for, NaN where they are missing."""
    if is_date(cells.type):
        return [seconds_of_array(cells)]
    if pa.types.is_dictionary(cells.type):
        cells = cells.dictionary_decode()
    if TIME_NAME.fullmatch(name) and not pa.types.is_boolean(cells.type):
        numbers = parse_numbers(cells, MISSING | WEAKLY_MISSING)
        if not numbers.is_text.any():
            return [numbers.values]
    if not pa.types.is_string(cells.type):
        return []
    texts = [text for text in cells.to_pylist() if text and text.strip()]
    formats = best_formats(Counter(texts[:FORMAT_ROWS])) if len(texts) >= MIN_ROWS else []
    return [np.array([seconds_of(parsed(text, one)) for text in texts]) for one in formats]


def counts_up(times: Array) -> bool:
    """Return whether numbers mostly go up in equal steps, alone or in runs of equal length.

    Examples
    --------
    >>> daily = 86_400.0 * np.arange(60)
    >>> machines = daily.repeat(3)
    >>> orders = daily.repeat(1 + np.arange(60) % 4)
    >>> counts_up(daily), counts_up(machines), counts_up(orders)
    (True, True, False)
    """
    known = times[np.isfinite(times) & (times != STRAY)]
    if len(known) < MIN_ROWS:
        return False
    starts = np.flatnonzero(np.r_[True, np.diff(known) != 0])
    lengths, steps = np.diff(starts)[1:], np.diff(known[starts])
    if len(steps) < MIN_STEPS:
        return False
    usual = np.median(steps)
    equal = np.abs(steps - usual) <= STEP_TOLERANCE * usual
    together = lengths == np.median(lengths)
    return bool(usual > 0 and equal.mean() >= STEP_SHARE and together.mean() >= RUN_SHARE)

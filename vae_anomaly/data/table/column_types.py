"""Types of columns, decided from their cells or chosen by the user."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._text import shown
from vae_anomaly.data.cells import (
    WEAKLY_MISSING,
    are_booleans,
    has_leading_zero,
    is_amount,
    is_number,
)
from vae_anomaly.data.date_formats import ISO, is_date_format
from vae_anomaly.data.table.column import (
    CATEGORY,
    DATE,
    MAX_LEVELS,
    NUMBER,
    Column,
    is_numeric,
    is_timestamp,
    text_of,
)
from vae_anomaly.data.table.dates import (
    FORMATS,
    best_formats,
    covered_cycles,
    covered_span,
    is_aware,
    parsed,
)
from vae_anomaly.exceptions import DataError, ParameterError
from vae_anomaly.names import COLUMN_TYPES, is_column_type

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["check_column_types", "columns_of"]

Array = NDArray[np.float64]

MIN_IDENTIFIER_LEVELS = 50
"""Distinct texts above which a column of mostly distinct ones is an identifier."""

MIN_COUNTER_ROWS = 10
"""Rows from which on whole numbers that increase from row to row are a counter."""

MIN_IDENTIFIER_ROWS = 50
"""Rows from which on whole numbers without gaps are an identifier."""

DISTINCT_SHARE = 0.995
"""Share of distinct values among whole numbers from which on they are an identifier."""

MAX_WHOLE = 2.0**53
"""Magnitude below which floats are whole numbers because they are meant to be."""

MIN_AMOUNT_SHARE = 0.9
"""Share of cells that look like numbers, times or dates, from which on this is said."""

N_COMPARED = 200
"""Most frequent texts that are compared with all formats of dates, to say so."""

TEXT_WORDS = 4
"""Mean number of words from which on a cell is free text."""


MAX_LEVEL_LENGTH = 10_000
"""Characters of a cell above which its column is text: a model file holds the levels."""


def check_column_types(chosen: Mapping[str, str]) -> None:
    """Raise if a type that a user chose for a column is none.

    Raises
    ------
    ParameterError
    """
    for name, type_ in chosen.items():
        if not is_column_type(type_):
            raise ParameterError(
                f"column_types: column {shown(name)}: expected one of {', '.join(COLUMN_TYPES)}, "
                f"got {shown(type_)}."
            )
        if type_.startswith("date:") and not is_date_format(type_.removeprefix("date:")):
            raise ParameterError(
                f"column_types: column {shown(name)}: {shown(type_)} is no format of dates. "
                f"Expected directives of strptime for year, month and day, such as date:%d.%m.%Y."
            )


def refuse_text_in_numbers(columns: Sequence[pd.Series]) -> None:
    """Raise for columns of text of which at least half of the cells are numbers, but not all.

    Missing cells, and codes with leading zeros, are neither.

    Raises
    ------
    DataError
        With the first other cell of each column.
    """
    facts, n_cells, names = [], 0, []
    for cells in columns:
        counts = {text: n for text, n in _counts(cells).items() if text not in WEAKLY_MISSING}
        others = [text for text in counts if not is_number(text)]
        n_others = sum(counts[text] for text in others)
        is_code = any(has_leading_zero(text) for text in counts if is_number(text))
        if not 0 < 2 * n_others <= sum(counts.values()) or is_code:
            continue
        row, first = next((i, one) for i, one in enumerate(cells) if text_of(one) in others)
        facts.append(
            f"Column {shown(str(cells.name))}, index {cells.index[row]}: expected a number, got "
            f"{shown(text_of(first))}."
        )
        n_cells += n_others
        names.append(str(cells.name))
    if facts:
        number = "a column" if len(names) == 1 else f"{len(names)} columns"
        raise DataError(
            f"{' '.join(facts)} Text is in {n_cells:,} cell{'s' * (n_cells > 1)} of {number} of "
            f"numbers. Correct the cells, or say what the columns are, as in "
            f"column_types={dict.fromkeys(names, CATEGORY)}."
        )


def columns_of(frame: pd.DataFrame, chosen: Mapping[str, str]) -> tuple[Column, ...]:
    """Decide the types of all columns of a frame, but for those that are chosen.

    Raises
    ------
    DataError
        If a column that is to be one of numbers or dates holds other text.
    """
    named = [(str(name), frame.iloc[:, i]) for i, name in enumerate(frame.columns)]
    refuse_text_in_numbers([c for name, c in named if name not in chosen and is_text(c)])
    return tuple(
        chosen_column(c, chosen[name]) if name in chosen else column_of(c) for name, c in named
    )


def column_of(cells: pd.Series) -> Column:
    """Decide the type of a column by all of its cells."""
    import pandas as pd

    dtype = cells.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return _category(_counts(cells), "a category in pandas", "category")
    if pd.api.types.is_bool_dtype(dtype) or _are_booleans(cells):
        return _category(_counts(cells), "booleans", "boolean")
    if is_numeric(cells):
        values = cells.to_numpy(dtype=np.float64, na_value=np.nan)
        is_integer = pd.api.types.is_integer_dtype(dtype)
        return _column_of_numbers(values, "integer" if is_integer else "float")
    if is_timestamp(cells):
        return _date(cells, ISO, "object")
    is_string = isinstance(dtype, pd.StringDtype)
    return _column_of_texts(cells, "string" if is_string else "object")


def chosen_column(cells: pd.Series, type_: str) -> Column:
    """Return a column whose type is chosen by the user."""
    if type_.startswith(DATE):
        return _chosen_date(cells, type_.removeprefix(DATE).removeprefix(":"))
    found = column_of(cells)
    if type_ == CATEGORY:
        return _category(_counts(cells), "as chosen", found.dtype)
    if type_ == NUMBER and not is_numeric(cells):
        texts = [text for text in _counts(cells) if text not in WEAKLY_MISSING]
        stray = next((text for text in texts if not is_number(text)), None)
        if stray is not None:
            raise DataError(
                f"Column {shown(str(cells.name))}: expected numbers, as column_types says, got "
                f"{shown(stray)}. Correct the cell, or choose another type."
            )
    return Column("ignored" if type_ == "ignore" else NUMBER, "as chosen", dtype=found.dtype)


def _chosen_date(cells: pd.Series, form: str) -> Column:
    """Return a column that the user says holds dates."""
    if is_timestamp(cells):
        return column_of(cells)
    if form:
        return _date(cells, form, "object")
    counts = _counts(cells)
    found = best_formats({text: n for text, n in counts.items() if text not in WEAKLY_MISSING})
    if len(found) == 1:
        return _date(cells, found[0], "object")
    fact = "they are dates in no format that is known"
    if found:
        fact = f"they are dates as {' and as '.join(found)}"
    raise DataError(
        f"Column {shown(str(cells.name))}: expected dates, as column_types says, got cells such as "
        f"{shown(next(iter(counts), None))}: {fact}. Choose a format with date:FORMAT."
    )


def is_text(cells: pd.Series) -> bool:
    """Return whether cells have a type that holds text."""
    import pandas as pd

    return cells.dtype == object or isinstance(cells.dtype, pd.StringDtype)


def _are_booleans(cells: pd.Series) -> bool:
    """Return whether all cells that are not missing are True or False."""
    return all(cell is True or cell is False for cell in cells.dropna().unique())


def _are_dates(cells: pd.Series) -> bool:
    """Return whether all cells that are not missing are dates of Python."""
    import pandas as pd

    return pd.api.types.infer_dtype(cells, skipna=True) in ("date", "datetime", "datetime64")


def _counts(cells: pd.Series) -> Counter[str]:
    """Return how often each text occurs, without missing cells."""
    import pandas as pd

    places, distinct = pd.factorize(cells)
    numbers = np.bincount(places[places >= 0], minlength=len(distinct))
    counts: Counter[str] = Counter()
    for cell, number in zip(distinct, numbers, strict=True):
        if (text := text_of(cell)) is not None:
            counts[text] += int(number)
    return _with_one_spelling(counts) if len(counts) > 2 and are_booleans(counts) else counts


def _with_one_spelling(counts: Counter[str]) -> Counter[str]:
    """Return counts of booleans by the most frequent spelling of each."""
    spelling: dict[str, str] = {}
    merged: Counter[str] = Counter()
    for text, count in counts.most_common():
        merged[spelling.setdefault(text.lower(), text)] += count
    return merged


def _category(counts: Counter[str], reason: str, dtype: str) -> Column:
    levels = sorted(counts, key=lambda level: (-counts[level], level))
    if not levels:
        return Column("empty", "no cell has a value", dtype=dtype)
    longest = max(map(len, levels[:MAX_LEVELS]))
    if longest > MAX_LEVEL_LENGTH:
        return Column("text", f"cells of up to {longest:,} characters", dtype=dtype)
    left_out = len(levels) > MAX_LEVELS
    last_share = counts[levels[MAX_LEVELS - 1]] / counts.total() if left_out else 0.0
    return Column(CATEGORY, reason, tuple(levels[:MAX_LEVELS]), dtype, last_share=last_share)


def _column_of_numbers(values: Array, dtype: str) -> Column:
    """Decide between numbers and what only names rows or times; values are in their order."""
    values = values[~np.isnan(values)]
    if not len(values):
        return Column("empty", "no cell has a value", dtype=dtype)
    if not (values == np.floor(values)).all():
        return Column(NUMBER, "numbers", dtype=dtype)
    if (
        len(values) >= MIN_IDENTIFIER_ROWS
        and np.ptp(values) < len(values) / DISTINCT_SHARE
        and len(np.unique(values)) >= DISTINCT_SHARE * len(values)
    ):
        return Column("identifier", "whole numbers without gaps, hardly any twice", dtype=dtype)
    if len(values) >= MIN_COUNTER_ROWS and (values[1:] > values[:-1]).all():
        return Column("counter", "counts up from row to row", dtype=dtype)
    # pandas has floats where a cell is missing; floats hold no larger whole numbers exactly.
    is_whole = bool(np.abs(values).max() < MAX_WHOLE)
    return Column(NUMBER, "numbers", dtype="integer" if is_whole else dtype)


def _column_of_texts(cells: pd.Series, dtype: str) -> Column:
    """Decide what texts are."""
    counts = _counts(cells)
    if not counts:
        return Column("empty", "no cell has a value", dtype=dtype)
    n, distinct = counts.total(), len(counts)
    known = {text: count for text, count in counts.items() if text not in WEAKLY_MISSING}
    if known and all(map(is_number, known)):
        if any(map(has_leading_zero, known)):
            return _category(counts, "numbers with leading zeros", dtype)
        return _column_of_numbers(Column(NUMBER, "").codes(cells), dtype)
    if distinct <= 2 and not _are_dates(cells):
        return _category(counts, "two values" if distinct == 2 else "one value", dtype)
    formats = best_formats(known) if known else []
    if len(formats) == 1:
        return _date(cells, formats[0], dtype)
    if formats:
        choice = shlex.quote(f"{cells.name}=date:{formats[0]}")
        reason = f"dates as {' and as '.join(formats)} alike; choose one, as in --type {choice}"
        return Column("ambiguous", reason, dtype=dtype)
    hint = _hint_at_amounts(counts) or _hint_at_dates(counts)
    if distinct > MIN_IDENTIFIER_LEVELS and distinct > n / 2:
        reason = f"{distinct:,} different texts in {n:,} cells{hint}"
        return Column("identifier", reason, dtype=dtype)
    words = sum(len(text.split()) * count for text, count in counts.items()) / n
    if distinct > MIN_IDENTIFIER_LEVELS and words >= TEXT_WORDS:
        return Column("text", f"{words:.0f} words in a cell on average", dtype=dtype)
    return _category(counts, f"{distinct:,} different texts{hint}", dtype)


def _hint_at_amounts(counts: Counter[str]) -> str:
    """Return what to do about texts most of which look like numbers or times, or ""."""
    amounts = [text for text in counts if is_amount(text)]
    n_numbers = sum(counts[text] for text in counts if is_number(text))
    n_amounts = sum(counts[text] for text in amounts)
    if not amounts or n_amounts + n_numbers < MIN_AMOUNT_SHARE * counts.total():
        return ""
    return f"; if {shown(amounts[0])} is a number or a time, write such cells as plain numbers"


def _hint_at_dates(counts: Counter[str]) -> str:
    """Return what to do about texts most of which are dates, but in several formats, or ""."""
    common = counts.most_common(N_COMPARED)
    allowed = (1.0 - MIN_AMOUNT_SHARE) * sum(count for _, count in common)
    dates: list[str] = []
    for text, count in common:
        if any(parsed(text, form) is not None for form in FORMATS):
            dates.append(text)
        elif (allowed := allowed - count) < 0:
            return ""
    return f"; if {shown(dates[0])} is a date, write all such cells in one format" if dates else ""


def _date(cells: pd.Series, form: str, dtype: str) -> Column:
    """Return a column of dates, with the cycles and the time that they cover."""
    column = Column(DATE, form, dtype=dtype, format=form)
    seconds = column.codes(cells)
    aware = is_aware(cells)
    if not is_timestamp(cells):
        dates = (parsed(text, form) for text in _counts(cells))
        aware = next((date.tzinfo is not None for date in dates if date is not None), False)
    reason = f"{form}, in UTC" if aware else form
    cycles, span = covered_cycles(seconds), covered_span(seconds)
    return replace(column, reason=reason, cycles=cycles, span=span)

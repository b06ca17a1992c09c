"""One column of a table: its type, and its cells as codes and back."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._text import shown
from vae_anomaly._types import JsonObject
from vae_anomaly.data.cells import (
    MISSING,
    STRAY,
    TRUTH,
    WEAKLY_MISSING,
    are_booleans,
    is_number,
    plain_number,
)
from vae_anomaly.data.date_formats import ISO
from vae_anomaly.data.table.dates import (
    Cycle,
    parsed,
    seconds_of,
    seconds_of_series,
    timestamps_of,
)
from vae_anomaly.exceptions import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "CATEGORY",
    "CELL_TYPES",
    "COLUMN_TYPES",
    "DATE",
    "MAX_LEVELS",
    "MAX_STRAY_SHARE",
    "NUMBER",
    "Column",
    "cells_like",
    "has_numbers_alone",
    "is_numeric",
    "is_timestamp",
    "text_of",
    "without_strays",
]

Array = NDArray[np.float64]

NUMBER, CATEGORY, DATE = "number", "category", "date"
"""Types of the columns that a model uses."""

LEFT_OUT = ("identifier", "counter", "text", "ambiguous", "trend", "empty", "ignored")
"""Types of the columns that a model does not use. A trend is a date without other parts."""

COLUMN_TYPES = (NUMBER, CATEGORY, DATE, *LEFT_OUT)
"""All types."""

CELL_TYPES = ("boolean", "category", "float", "integer", "object", "string")
"""Types of the cells of a column."""

MAX_LEVELS = 100
"""Levels of a category that are told apart: the most frequent ones; the rest count as unseen."""

MAX_STRAY_SHARE = 0.5
"""Share of such cells above which another column was meant."""

MAX_INTEGER = 2.0**63
"""Magnitude from which on numbers do not fit an integer."""

UNSEEN = "(new level)"
"""Stands for a level that has no code of its own."""


@dataclass(frozen=True)
class Column:
    """Type of a column.

    Attributes
    ----------
    type : str
        "number", "category", "date", or a type that is left out, one of `LEFT_OUT`.
    reason : str
        Why it has this type.
    levels : tuple of str
        Levels of a category, the most frequent first.
    dtype : str
        Type of the cells that come back, one of `CELL_TYPES`.
    format : str
        Of the texts of a date, see `dates.parsed`.
    cycles : tuple of Cycle
        Cycles of a date that a model sees.
    span : tuple of float
        First and last date of training without the tails, in seconds since 1970; () without any.
    last_share : float
        Of a category with more than `MAX_LEVELS`: share of the cells with the last of `levels`.
        Needed by `fit` only.
    """

    type: str
    reason: str
    levels: tuple[str, ...] = ()
    dtype: str = "float"
    format: str = ""
    cycles: tuple[Cycle, ...] = ()
    span: tuple[float, ...] = ()
    last_share: float = field(default=0.0, compare=False)

    def to_plain(self) -> JsonObject:
        """Return what a model file holds of the column."""
        plain = asdict(self)
        del plain["last_share"]
        return plain

    @property
    def is_used(self) -> bool:
        """Whether a model uses the column."""
        return self.type not in LEFT_OUT

    def codes(self, cells: pd.Series) -> Array:
        """Return cells as numbers: NaN if missing; levels by position, unseen ones last.

        Dates are seconds since 1970. Other text in a column of numbers or dates is `STRAY`.

        Raises
        ------
        DataError
            If more than half of the cells of a number or a date are other text.
        """
        import pandas as pd

        if not self.is_used:
            return np.full(len(cells), np.nan)
        if self.type == NUMBER and is_numeric(cells):
            return cells.to_numpy(dtype=np.float64, na_value=np.nan)
        if self.type == DATE and is_timestamp(cells):
            return seconds_of_series(cells)
        places, distinct = pd.factorize(cells)
        codes = np.array([*map(self.code_of, distinct), np.nan])[places]
        if np.mean(codes == STRAY) > MAX_STRAY_SHARE:
            text = next(text_of(cell) for cell in distinct if self.code_of(cell) == STRAY)
            wanted = f"dates as {self.format}" if self.type == DATE else "numbers, as in training"
            raise DataError(
                f"Column {shown(str(cells.name))}: expected {wanted}, got {shown(text)} and other "
                f"text in more than half of the cells. Check that it is the column that was meant."
            )
        return codes

    def code_of(self, cell: object) -> float:
        """Return a cell as a number."""
        text = text_of(cell)
        if text is None:
            return np.nan
        if self.type == CATEGORY:
            place = self._places.get(text)
            if place is None:  # a level in another spelling, or none
                place = self._plain_places.get(self._plain(text), float(len(self.levels)))
            return place
        if text in WEAKLY_MISSING:
            return np.nan
        if self.type == DATE:
            # The text of a date of Python is that of the standard.
            return seconds_of(parsed(text, ISO if isinstance(cell, date) else self.format))
        return float(text) if is_number(text) else STRAY

    def are_unknown(self, codes: Array) -> NDArray[np.bool_]:
        """Return which codes are those of unseen levels or stray cells."""
        return codes == (float(len(self.levels)) if self.type == CATEGORY else STRAY)

    @cached_property
    def _places(self) -> dict[str, float]:
        return {level: float(i) for i, level in enumerate(self.levels)}

    @cached_property
    def _plain_places(self) -> dict[str, float]:
        return {self._plain(level): float(i) for i, level in enumerate(self.levels)}

    @cached_property
    def _is_boolean(self) -> bool:
        return len(self.levels) == 2 and are_booleans(self.levels)

    def _plain(self, text: str) -> str:
        """Return the text for all spellings of a whole number, or of a boolean if levels are."""
        plain = plain_number(text)
        return str(TRUTH.get(plain.lower(), plain)) if self._is_boolean else plain

    def cells(self, codes: Array) -> pd.Series:
        """Return the cells that codes stand for, in the type of the training data."""
        import pandas as pd

        if self.type != CATEGORY:
            if self.type == DATE:
                return pd.Series(timestamps_of(codes))
            codes = without_strays(codes)
            codes = np.round(codes) if self.dtype == "integer" else codes
            whole = self.dtype == "integer" and bool((np.abs(codes) < MAX_INTEGER).all())
            return pd.Series(codes.astype(np.int64) if whole else codes)
        levels = np.array([*self.levels, UNSEEN, None], dtype=object)
        cells = levels[np.where(np.isnan(codes), -1, codes).astype(np.intp)]
        if self.dtype == "boolean":
            known = {"True": True, "False": False, None: None}
            booleans = [known.get(cell) for cell in cells]
            return pd.Series(booleans, dtype="boolean" if None in booleans else "bool")
        if self.dtype in ("integer", "float"):
            return pd.to_numeric(pd.Series(cells).where(cells != UNSEEN))
        if self.dtype == "category":
            return pd.Series(pd.Categorical(cells, categories=sorted(self.levels)))
        return pd.Series(cells.tolist(), dtype=None if self.dtype == "string" else object)


def without_strays(codes: Array) -> Array:
    """Return codes with NaN for other text in a column of numbers or dates."""
    return np.where(codes == STRAY, np.nan, codes)


def text_of(cell: object) -> str | None:
    """Return a cell as the text of a level; None if it is missing.

    Examples
    --------
    >>> [text_of(cell) for cell in ("blue ", 3.0, True, "N/A", None, float("nan"))]
    ['blue', '3', 'True', None, None, None]
    """
    if cell is None or cell != cell:
        return None
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    text = str(cell).strip()
    return None if text in MISSING else text


def cells_like(cells: pd.Series, like: pd.Series) -> pd.Series:
    """Return cells with the index of others, and in their type and spellings if it holds them."""
    import pandas as pd

    cells, dtype = cells.set_axis(like.index), like.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        spelling = {text_of(level): level for level in dtype.categories}
        levels = [spelling.get(text_of(cell), cell) for cell in cells]
        further = [level for level in cells.dropna().unique() if text_of(level) not in spelling]
        if further:
            categories = dtype.categories.append(pd.Index(further))
            dtype = pd.CategoricalDtype(categories, dtype.ordered)
        return pd.Series(pd.Categorical(levels, dtype=dtype), like.index)
    types = pd.api.types
    if types.is_bool_dtype(dtype) != types.is_bool_dtype(cells.dtype):  # "False" would be true
        return cells
    if isinstance(dtype, pd.DatetimeTZDtype):
        return cells.dt.tz_localize("UTC").astype(dtype)
    try:
        return (cells.round() if types.is_integer_dtype(dtype) else cells).astype(dtype)
    except (TypeError, ValueError):  # such as a missing cell among integers
        return cells


def is_numeric(cells: pd.Series) -> bool:
    """Return whether cells have a type of numbers of pandas."""
    import pandas as pd

    return bool(pd.api.types.is_numeric_dtype(cells.dtype))


def has_numbers_alone(frame: pd.DataFrame) -> bool:
    """Return whether all columns of a frame are numeric, by their types."""
    return all(is_numeric(frame.iloc[:, i]) for i in range(frame.shape[1]))


def is_timestamp(cells: pd.Series) -> bool:
    """Return whether cells have a type of dates of pandas."""
    import pandas as pd

    return bool(pd.api.types.is_datetime64_any_dtype(cells.dtype))

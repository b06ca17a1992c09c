"""Schema of a table: the type of each column, decided from its cells.

A column is a number, a category, or is left out of the model: identifiers, free text, dates
and empty columns. Booleans are categories of two levels. The types of pandas decide where
they say something; text decides by its cells.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._text import listed, shown
from vae_anomaly._types import Records
from vae_anomaly.data.cells import MISSING, WEAKLY_MISSING, has_leading_zero, is_number
from vae_anomaly.exceptions import DataError, ParameterError
from vae_anomaly.names import COLUMN_TYPES as CHOSEN_TYPES
from vae_anomaly.names import is_column_type

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "CATEGORY",
    "CELL_TYPES",
    "COLUMN_TYPES",
    "MAX_LEVELS",
    "NUMBER",
    "STRAY",
    "Column",
    "TableSchema",
    "is_used_number",
    "text_of",
]

Array = NDArray[np.float64]

NUMBER, CATEGORY = "number", "category"
"""Types of the columns that a model uses."""

COLUMN_TYPES = (NUMBER, CATEGORY, "identifier", "text", "date", "empty", "ignored")
"""All types; those after the first two are left out of a model."""

CELL_TYPES = ("boolean", "category", "float", "integer", "object", "string")
"""Types of the cells of a column."""

MAX_LEVELS = 100
"""Levels of a category that are told apart: the most frequent ones; the rest count as unseen."""

STRAY = float(np.finfo(np.float64).max)
"""Code of text in a column of numbers: as unexpected as a level that no training row had."""

MAX_STRAY_SHARE = 0.5
"""Share of such cells above which another column was meant."""

UNSEEN = "(new level)"
"""Stands for a level that has no code of its own."""

MIN_IDENTIFIER_LEVELS = 50
"""Distinct texts above which a column of mostly distinct ones is an identifier."""

MIN_COUNTER_ROWS = 50
"""Rows from which on whole numbers without gaps are an identifier."""

DISTINCT_SHARE = 0.995
"""Share of distinct values among whole numbers from which on they are an identifier."""

TEXT_WORDS = 4
"""Mean number of words from which on a cell is free text."""


@dataclass(frozen=True)
class Column:
    """Type of a column.

    Attributes
    ----------
    type : str
        "number", "category", or a type that is left out: "identifier", "text", "date", "empty",
        "ignored".
    reason : str
        Why it has this type.
    levels : tuple of str
        Levels of a category, the most frequent first.
    dtype : str
        Type of the cells that come back, one of `CELL_TYPES`.
    """

    type: str
    reason: str
    levels: tuple[str, ...] = ()
    dtype: str = "float"

    @property
    def is_used(self) -> bool:
        """Whether a model uses the column."""
        return self.type in (NUMBER, CATEGORY)

    def codes(self, cells: pd.Series) -> Array:
        """Return cells as numbers: NaN if missing; levels by position, unseen ones last.

        Text in a column of numbers is `STRAY`.

        Raises
        ------
        DataError
            If more than half of the cells of a number are text.
        """
        import pandas as pd

        if not self.is_used:
            return np.full(len(cells), np.nan)
        if self.type == NUMBER and _is_numeric(cells):
            return cells.to_numpy(dtype=np.float64, na_value=np.nan)
        places, distinct = pd.factorize(cells)
        codes = np.array([*map(self.code_of, distinct), np.nan])[places]
        if np.mean(codes == STRAY) > MAX_STRAY_SHARE:
            text = next(text for text in map(text_of, cells) if text and not is_number(text))
            raise DataError(
                f"Column {shown(str(cells.name))}: expected numbers, as in training, got "
                f"{shown(text)} and other text in more than half of the cells. Check that it is "
                f"the column that was meant."
            )
        return codes

    def code_of(self, cell: object) -> float:
        """Return a cell as a number."""
        text = text_of(cell)
        if text is None:
            return np.nan
        if self.type == CATEGORY:
            return self._places.get(text, float(len(self.levels)))
        if is_number(text):
            return float(text)
        return np.nan if text in WEAKLY_MISSING else STRAY

    @cached_property
    def _places(self) -> dict[str, float]:
        return {level: float(i) for i, level in enumerate(self.levels)}

    def cells(self, codes: Array) -> pd.Series:
        """Return the cells that codes stand for, in the type of the training data."""
        import pandas as pd

        if self.type != CATEGORY:
            codes = np.where(codes == STRAY, np.nan, codes)
            whole = self.dtype == "integer" and not np.isnan(codes).any()
            return pd.Series(np.round(codes).astype(np.int64) if whole else codes)
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


@dataclass(frozen=True)
class TableSchema:
    """Types of the columns of a table; see `data.base.Schema`.

    Attributes
    ----------
    columns : tuple of Column
    names : tuple of str, or None
        Names of the columns; None for an array, all of whose columns are numbers.
    """

    columns: tuple[Column, ...] = ()
    names: tuple[str, ...] | None = None

    may_miss: ClassVar[bool] = True

    @classmethod
    def of(cls, X: Records, chosen: Mapping[str, str] = MappingProxyType({})) -> TableSchema:
        """Find the types of the columns of a data frame, but for those that are chosen.

        Arrays, and frames of numbers alone, have no columns here: scikit-learn converts them.

        Raises
        ------
        ParameterError
            If a type is chosen that there is not, or for a column that is not there.
        DataError
            If a column that is to be one of numbers holds text.
        """
        for name, type_ in chosen.items():
            if not is_column_type(type_):
                raise ParameterError(
                    f"column_types: column {shown(name)}: expected one of "
                    f"{', '.join(CHOSEN_TYPES)}, got {shown(type_)}."
                )
        frame = as_frame(X)
        names = () if frame is None else tuple(map(str, frame.columns))
        unknown = [name for name in chosen if name not in names]
        if unknown:
            raise ParameterError(
                f"column_types names columns that the data do not have: {listed(unknown)}. Name "
                f"columns of a data frame."
            )
        if frame is None:
            return cls()
        cells = [frame.iloc[:, i] for i in range(frame.shape[1])]
        columns = tuple(
            _chosen(part, chosen[name]) if name in chosen else column_of(part)
            for name, part in zip(names, cells, strict=True)
        )
        if all(map(_is_numeric, cells)) and all(one.type == NUMBER for one in columns):
            return cls()
        return cls(columns, names)

    @classmethod
    def of_numbers(cls, names: tuple[str, ...] | None, n: int) -> TableSchema:
        """Return the schema of n columns of numbers."""
        return cls((Column(NUMBER, "numbers"),) * n, names)

    @cached_property
    def numbers(self) -> NDArray[np.intp]:
        """Positions of the numbers."""
        return self._positions(NUMBER)

    @cached_property
    def categories(self) -> NDArray[np.intp]:
        """Positions of the categories."""
        return self._positions(CATEGORY)

    def _positions(self, type_: str) -> NDArray[np.intp]:
        return np.array([i for i, one in enumerate(self.columns) if one.type == type_], np.intp)

    def matrix(self, X: Records) -> Records:
        """Return the cells as numbers, see `Column.codes`, with the names of the columns.

        Raises
        ------
        DataError
            If more than half of the cells of a number are text.
        """
        if not self.columns:
            return X
        import pandas as pd

        frame = given = as_frame(X)
        if frame is None:
            frame = pd.DataFrame(np.asarray(X, dtype=object))
        differs = given is not None and self.names != tuple(map(str, given.columns))
        if differs or frame.shape[1] != len(self.columns):
            # scikit-learn says what differs.
            return pd.DataFrame(0.0, index=frame.index, columns=frame.columns)
        columns = [column.codes(frame.iloc[:, i]) for i, column in enumerate(self.columns)]
        codes = np.column_stack(columns)
        if given is None:
            return codes
        return pd.DataFrame(codes, index=frame.index, columns=frame.columns)

    @property
    def is_numeric(self) -> bool:
        """Whether all columns are numbers."""
        return len(self.numbers) == len(self.columns)

    def frame(self, codes: Array, index: Records = None) -> pd.DataFrame:
        """Return the rows that codes (n, n_columns) stand for, in the types of training."""
        import pandas as pd

        names = self.names or tuple(f"x{i}" for i in range(len(self.columns)))
        parts = [column.cells(codes[:, i]) for i, column in enumerate(self.columns)]
        made = pd.concat(parts, axis=1, keys=names)
        return made if index is None else made.set_axis(index)


# ------------------------------------------------------------------------- types of cells


def as_frame(X: Records) -> pd.DataFrame | None:
    """Return a data frame of pandas, Polars or PyArrow as one of pandas; None for all else."""
    if hasattr(X, "iloc") and hasattr(X, "columns"):
        return X
    if hasattr(X, "to_pandas"):
        return X.to_pandas()
    return None


def is_used_number(values: Array) -> bool:
    """Return whether a model uses a column of numbers: it is no identifier."""
    return _column_of_numbers(values, "float").is_used


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


def column_of(cells: pd.Series) -> Column:
    """Decide the type of a column by all of its cells."""
    import pandas as pd

    dtype = cells.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return _category(_counts(cells), "a category in pandas", "category")
    if pd.api.types.is_bool_dtype(dtype) or _are_booleans(cells):
        return _category(_counts(cells), "booleans", "boolean")
    if pd.api.types.is_datetime64_any_dtype(dtype):
        return Column("date", "dates", dtype="object")
    if _is_numeric(cells):
        values = cells.to_numpy(dtype=np.float64, na_value=np.nan)
        is_integer = pd.api.types.is_integer_dtype(dtype)
        return _column_of_numbers(values, "integer" if is_integer else "float")
    is_string = isinstance(dtype, pd.StringDtype)
    return _column_of_texts(_counts(cells), "string" if is_string else "object")


def _chosen(cells: pd.Series, type_: str) -> Column:
    """Return a column whose type is chosen by the user."""
    found = column_of(cells)
    if type_ == CATEGORY:
        return _category(_counts(cells), "as chosen", found.dtype)
    if type_ == NUMBER and not _is_numeric(cells):
        texts = [text for text in _counts(cells) if text not in WEAKLY_MISSING]
        stray = next((text for text in texts if not is_number(text)), None)
        if stray is not None:
            raise DataError(
                f"Column {shown(str(cells.name))}: expected numbers, as column_types says, got "
                f"{shown(stray)}. Correct the cell, or choose another type."
            )
    return Column("ignored" if type_ == "ignore" else NUMBER, "as chosen", dtype=found.dtype)


def _are_booleans(cells: pd.Series) -> bool:
    """Return whether all cells that are not missing are True or False."""
    return all(cell is True or cell is False for cell in cells.dropna().unique())


def _is_numeric(cells: pd.Series) -> bool:
    import pandas as pd

    return bool(pd.api.types.is_numeric_dtype(cells.dtype))


def _counts(cells: pd.Series) -> Counter[str]:
    """Return how often each text occurs, without missing cells."""
    import pandas as pd

    places, distinct = pd.factorize(cells)
    numbers = np.bincount(places[places >= 0], minlength=len(distinct))
    counts: Counter[str] = Counter()
    for cell, number in zip(distinct, numbers, strict=True):
        if (text := text_of(cell)) is not None:
            counts[text] += int(number)
    return counts


def _category(counts: Counter[str], reason: str, dtype: str) -> Column:
    levels = sorted(counts, key=lambda level: (-counts[level], level))
    if not levels:
        return Column("empty", "no cell has a value", dtype=dtype)
    return Column(CATEGORY, reason, tuple(levels[:MAX_LEVELS]), dtype)


def _column_of_numbers(values: Array, dtype: str) -> Column:
    """Decide between numbers and counters, such as row numbers and identifiers."""
    values = values[~np.isnan(values)]
    if not len(values):
        return Column("empty", "no cell has a value", dtype=dtype)
    if (
        len(values) >= MIN_COUNTER_ROWS
        and np.ptp(values) < len(values) / DISTINCT_SHARE
        and (values == np.floor(values)).all()
        and len(np.unique(values)) >= DISTINCT_SHARE * len(values)
    ):
        return Column("identifier", "whole numbers without gaps, hardly any twice", dtype=dtype)
    return Column(NUMBER, "numbers", dtype=dtype)


def _column_of_texts(counts: Counter[str], dtype: str) -> Column:
    """Decide what texts are."""
    if not counts:
        return Column("empty", "no cell has a value", dtype=dtype)
    n, distinct = counts.total(), len(counts)
    if distinct <= 2:
        return _category(counts, "two values" if distinct == 2 else "one value", dtype)
    numbers = [text for text in counts if text not in WEAKLY_MISSING]
    if numbers and all(map(is_number, numbers)):
        if any(map(has_leading_zero, numbers)):
            return _category(counts, "numbers with leading zeros", dtype)
        values = np.repeat([float(text) for text in numbers], [counts[text] for text in numbers])
        return _column_of_numbers(values, dtype)
    if _are_dates(counts):
        return Column("date", "dates", dtype=dtype)
    if distinct > MIN_IDENTIFIER_LEVELS and distinct > n / 2:
        return Column("identifier", f"{distinct:,} different texts in {n:,} cells", dtype=dtype)
    words = sum(len(text.split()) * count for text, count in counts.items()) / n
    if distinct > MIN_IDENTIFIER_LEVELS and words >= TEXT_WORDS:
        return Column("text", f"{words:.0f} words in a cell on average", dtype=dtype)
    return _category(counts, f"{distinct:,} different texts", dtype)


DATE_FORMATS = (
    *("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y/%m/%d"),
    *("%d.%m.%Y", "%d.%m.%Y %H:%M", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%Y%m%d", "%d-%b-%Y"),
)

DATE_SHARE = 0.99
"""Share of cells in one format from which on a column holds dates."""


def _are_dates(counts: Counter[str]) -> bool:
    import pandas as pd

    texts, weights = list(counts), np.array(list(counts.values()))
    for form in DATE_FORMATS:
        parsed = pd.to_datetime(pd.Series(texts), format=form, errors="coerce").notna()
        if weights[parsed.to_numpy()].sum() >= DATE_SHARE * weights.sum():
            return True
    return False

"""Schema of a table: the type of each column.

A column is a number, a category, a date, or is left out of the model: identifiers, counters,
free text and empty columns. Booleans are categories of two levels. The types of pandas decide
where they say something; text decides by its cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._text import listed, shown
from vae_anomaly._types import Records
from vae_anomaly.data.cell_texts import NO_TEXTS, CellTexts, ColumnTexts
from vae_anomaly.data.table.column import (
    CATEGORY,
    DATE,
    NUMBER,
    Column,
    cells_like,
    has_numbers_alone,
    text_of,
)
from vae_anomaly.data.table.column_types import check_column_types, columns_of
from vae_anomaly.data.table.dates import DateParts
from vae_anomaly.data.table.missing import NO_FURTHER, MissingValues
from vae_anomaly.exceptions import ParameterError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TableSchema", "as_frame"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class TableSchema:
    """Types of the columns of a table; see `data.base.Schema`.

    Attributes
    ----------
    columns : tuple of Column
    names : tuple of str, or None
        Names of the columns; None for an array, all of whose columns are numbers.
    missing : MissingValues
        Cells that a user says are missing.
    """

    columns: tuple[Column, ...] = ()
    names: tuple[str, ...] | None = None
    missing: MissingValues = NO_FURTHER

    may_miss: ClassVar[bool] = True

    @classmethod
    def of(
        cls,
        X: Records,
        chosen: Mapping[str, str] = MappingProxyType({}),
        missing: MissingValues = NO_FURTHER,
    ) -> TableSchema:
        """Find the types of the columns of a data frame, but for those that are chosen.

        Arrays, and frames of numbers alone, have no columns here: scikit-learn converts them.

        Raises
        ------
        ParameterError
            If a type is chosen that there is not, or for a column that is not there.
        DataError
            If a column that is to be one of numbers or dates holds other text.
        """
        check_column_types(chosen)
        frame = as_frame(X)
        names = () if frame is None else tuple(map(str, frame.columns))
        unknown = [name for name in chosen if name not in names]
        if unknown:
            raise ParameterError(
                f"column_types names columns that the data do not have: {listed(unknown)}. Name "
                f"columns of a data frame."
            )
        if frame is None:
            return cls(missing=missing)
        frame = missing.without(frame)
        columns = columns_of(frame, chosen)
        if all(one.type == NUMBER for one in columns) and has_numbers_alone(frame):
            return cls(missing=missing)
        return cls(_with_parts(columns, names), names, missing)

    @classmethod
    def of_numbers(
        cls,
        names: tuple[str, ...] | None,
        n: int,
        missing: MissingValues = NO_FURTHER,
    ) -> TableSchema:
        """Return the schema of n columns of numbers."""
        return cls((Column(NUMBER, "numbers"),) * n, names, missing)

    @cached_property
    def numbers(self) -> NDArray[np.intp]:
        """Positions of the numbers."""
        return self._positions(NUMBER)

    @cached_property
    def categories(self) -> NDArray[np.intp]:
        """Positions of the categories."""
        return self._positions(CATEGORY)

    @cached_property
    def dates(self) -> NDArray[np.intp]:
        """Positions of the dates."""
        return self._positions(DATE)

    @cached_property
    def used(self) -> NDArray[np.intp]:
        """Positions of the columns that a model uses."""
        return np.sort(np.concatenate([self.numbers, self.categories, self.dates]))

    @cached_property
    def date_parts(self) -> DateParts:
        """Parts of the dates."""
        dates = [self.columns[i] for i in self.dates.tolist()]
        return DateParts(tuple(one.cycles for one in dates), tuple(one.span for one in dates))

    @cached_property
    def column_of_value(self) -> NDArray[np.intp]:
        """Column that each of the `values` belongs to."""
        return np.concatenate([self.numbers, self.dates[self.date_parts.column_of_part]])

    def values(self, codes: Array) -> Array:
        """Return the numbers, then the parts of the dates, (n, n_values); NaN where missing.

        No code is `STRAY`.
        """
        parts = self.date_parts.encode(codes[:, self.dates])
        return np.concatenate([codes[:, self.numbers], parts], axis=1)

    def notes(
        self, names: Sequence[str], n_missing: Array, n_rows: int, n_levels: Sequence[str]
    ) -> list[str]:
        """Return lines about the columns that are no plain numbers.

        Parameters
        ----------
        names : sequence of str
            Of all columns.
        n_missing : ndarray of shape (n_columns,)
            Training rows in which each is missing.
        n_rows : int
            Training rows.
        n_levels : sequence of str
            Of the categories: how many levels they have, in words.
        """
        lines, sizes = [], iter(n_levels)
        for name, column, missing in zip(map(shown, names), self.columns, n_missing, strict=False):
            if not column.is_used:
                lines.append(f"{name}: left out, {column.type}: {column.reason}")
                continue
            facts = []
            if column.type == CATEGORY:
                facts.append(f"category of {next(sizes)}: {column.reason}")
            if column.type == DATE:
                facts.append(f"date, {column.reason}")
            if missing:
                facts.append(f"missing in {missing:,.0f} of {n_rows:,} training rows")
            if facts:
                lines.append(f"{name}: {', '.join(facts)}")
        return lines

    def _positions(self, type_: str) -> NDArray[np.intp]:
        return np.array([i for i, one in enumerate(self.columns) if one.type == type_], np.intp)

    def matrix(self, X: Records) -> Records:
        """Return the cells as numbers, see `Column.codes`, with the names of the columns.

        Raises
        ------
        DataError
            If more than half of the cells of a number or a date are other text.
        """
        given = as_frame(X)
        if not self.columns:
            return self.missing.without(X if given is None else given) if self.missing.texts else X
        import pandas as pd

        frame = pd.DataFrame(np.asarray(X, dtype=object)) if given is None else given
        frame = self.missing.without(frame)
        differs = given is not None and self.names != tuple(map(str, given.columns))
        if differs or frame.shape[1] != len(self.columns):
            # scikit-learn says what differs.
            return pd.DataFrame(0.0, index=frame.index, columns=frame.columns)
        columns = [column.codes(frame.iloc[:, i]) for i, column in enumerate(self.columns)]
        codes = np.column_stack(columns)
        if given is None:
            return codes
        return pd.DataFrame(codes, index=frame.index, columns=frame.columns)

    def texts(self, X: Records, codes: Array) -> CellTexts:
        """Return the texts of unseen levels and stray cells of a data frame."""
        import pyarrow as pa

        frame, found = as_frame(X), {}
        if frame is None:
            return NO_TEXTS
        for i, column in enumerate(self.columns):
            rows = np.flatnonzero(column.are_unknown(codes[:, i]))
            if len(rows):
                texts = [text_of(cell) for cell in frame.iloc[rows, i]]
                found[i] = ColumnTexts(rows, pa.array(texts, pa.string()))
        return CellTexts(found)

    @property
    def is_numeric(self) -> bool:
        """Whether all columns are numbers."""
        return len(self.numbers) == len(self.columns)

    def frame(self, codes: Array, like: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return the rows that codes (n, n_columns) stand for, in the types of training.

        With `like` with its index, and in its types and spellings where they can hold the cells.
        """
        import pandas as pd

        names = self.names or tuple(f"x{i}" for i in range(len(self.columns)))
        parts = [column.cells(codes[:, i]) for i, column in enumerate(self.columns)]
        if like is not None:
            parts = [cells_like(part, like.iloc[:, i]) for i, part in enumerate(parts)]
        return pd.concat(parts, axis=1, keys=names)


def as_frame(X: Records) -> pd.DataFrame | None:
    """Return a data frame of pandas, Polars or PyArrow as one of pandas; None for all else."""
    if hasattr(X, "iloc") and hasattr(X, "columns"):
        return X
    if hasattr(X, "to_pandas"):
        return X.to_pandas()
    return None


def _with_parts(columns: Sequence[Column], names: Sequence[str]) -> tuple[Column, ...]:
    """Return columns whose dates say what is used of them; one without any part is left out."""
    dates = [i for i, column in enumerate(columns) if column.type == DATE]
    found = list(columns)
    for i in dates:
        column = columns[i]
        since = [] if i == dates[0] else [f"days since {shown(names[dates[0]])}"]
        parts = ", ".join([*(cycle.name for cycle in column.cycles), *since])
        if not parts and len(dates) == 1:
            reason = f"{column.reason}, over less than two periods of any cycle"
            found[i] = Column("trend", f"{reason}: later rows would all be new", dtype=column.dtype)
        else:
            use = f"{parts}, without the trend" if parts else "other dates are compared with it"
            found[i] = replace(column, reason=f"{column.reason}: {use}")
    return tuple(found)

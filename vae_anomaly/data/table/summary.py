"""Summaries of tables in parts: types, moments and levels of columns, and a sample of rows.

The summary of a whole is that of its parts, merged in their order, to the last bit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._text import shown
from vae_anomaly.data.table.column import (
    CATEGORY,
    DATE,
    NUMBER,
    is_numeric,
    is_timestamp,
    text_of,
)
from vae_anomaly.data.table.dates import seconds_of_series
from vae_anomaly.data.table.exact import ExactMoments
from vae_anomaly.exceptions import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ColumnSummary", "SampleWarning", "TableSummary"]

Array = NDArray[np.float64]

EMPTY = "empty"

MAX_KEPT_LEVELS = 10_000
"""Different texts of a column that are counted; of more, only their number is too large."""

MAX_LISTED = 5
"""Columns that a warning lists."""

GOLDEN = 0x9E3779B97F4A7C15
"""Odd number near 2**64 divided by the golden ratio: seeds are that far apart."""


class SampleWarning(UserWarning):
    """A sample of rows lacks what other rows have."""


@dataclass(frozen=True)
class ColumnSummary:
    """Facts about the cells of a column.

    Attributes
    ----------
    type : str
        ``number``, ``date``, ``category`` or ``empty``, by the type of its cells.
    n_missing : int
    low, high : float or None
        Range of numbers, or of dates in seconds since 1970; None without any.
    moments : ExactMoments
        Of the same.
    levels : mapping of str to int, or None
        Texts and how often they occur; None for more than 10,000 different ones.
    """

    type: str = EMPTY
    n_missing: int = 0
    low: float | None = None
    high: float | None = None
    moments: ExactMoments = field(default_factory=ExactMoments)
    levels: Mapping[str, int] | None = None

    @classmethod
    def of(cls, cells: pd.Series) -> ColumnSummary:
        """Summarise cells without infinite numbers."""
        if not cells.notna().any():
            return cls(n_missing=len(cells), levels={})
        if not _are_numbers(cells) and not is_timestamp(cells):
            counts = _counts(cells)
            levels = None if len(counts) > MAX_KEPT_LEVELS else counts
            return cls(CATEGORY, len(cells) - counts.total(), levels=levels)
        type_ = DATE if is_timestamp(cells) else NUMBER
        numbers = seconds_of_series(cells) if type_ == DATE else numbers_of(cells)
        known = numbers[~np.isnan(numbers)]
        moments = ExactMoments.of(known)
        return cls(
            type_, len(cells) - len(known), float(known.min()), float(known.max()), moments, {}
        )

    def merged(self, other: ColumnSummary) -> ColumnSummary:
        """Return the summary of the cells of both.

        Raises
        ------
        ValueError
            If they have different types.
        """
        if EMPTY not in (self.type, other.type) and self.type != other.type:
            raise ValueError(f"is one of type {self.type} here, and {other.type} there")
        levels = None
        if self.levels is not None and other.levels is not None:
            levels = Counter(self.levels) + Counter(other.levels)
            levels = None if len(levels) > MAX_KEPT_LEVELS else levels
        return ColumnSummary(
            other.type if self.type == EMPTY else self.type,
            self.n_missing + other.n_missing,
            min((one for one in (self.low, other.low) if one is not None), default=None),
            max((one for one in (self.high, other.high) if one is not None), default=None),
            self.moments + other.moments,
            levels,
        )

    @property
    def varies(self) -> bool:
        """Whether two cells that are not missing differ."""
        if self.type == CATEGORY:
            return self.levels is None or len(self.levels) > 1
        return self.low != self.high


@dataclass(frozen=True, eq=False)
class TableSummary:
    """Facts about the rows of a table, and a uniform sample of them.

    Each row draws a number, a hash of its cells, its index and a seed, and those with the smallest
    numbers are the sample: a bottom-k sample, as in `data.sampling`. It does not depend on the
    parts that the table comes in.

    Attributes
    ----------
    n_rows : int
    columns : mapping of str to ColumnSummary
    sample : DataFrame
        In the order of the table.
    draws : ndarray of uint64 of shape (n_sample,) or (0,)
        Numbers that the sampled rows drew; none if all rows are kept.
    max_rows : int or None
        Size of the sample, at most; None keeps all rows.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"flow": [1.0, 2.0, 6.0], "site": ["north", "south", "north"]})
    >>> parts = [TableSummary.of(part, 2, 0) for part in (rows[:1], rows[1:])]
    >>> summary = TableSummary.merged(parts)
    >>> summary.columns["flow"].moments.mean, dict(summary.columns["site"].levels)
    (3.0, {'north': 2, 'south': 1})
    >>> summary.sample.equals(TableSummary.of(rows, 2, 0).sample), len(summary.sample)
    (True, 2)
    """

    n_rows: int
    columns: Mapping[str, ColumnSummary]
    sample: pd.DataFrame
    draws: NDArray[np.uint64]
    max_rows: int | None

    @classmethod
    def of(cls, rows: pd.DataFrame, max_rows: int | None = None, seed: int = 0) -> TableSummary:
        """Summarise rows.

        Raises
        ------
        DataError
            If a number is infinite, or a cell is a list or the like.
        """
        columns = {}
        for i, name in enumerate(map(str, rows.columns)):
            cells = rows.iloc[:, i]
            if _are_numbers(cells):
                _refuse_infinite(cells, name)
            try:
                columns[name] = ColumnSummary.of(cells)
            except TypeError as cause:
                raise DataError(
                    f"Column {shown(name)} holds neither numbers nor texts: {cause}. Convert it, "
                    f"or leave it out."
                ) from cause
        draws = np.empty(0, np.uint64) if max_rows is None else draws_of(rows, seed)
        return cls(len(rows), columns, rows, draws, max_rows)._smallest()

    @classmethod
    def merged(cls, parts: Sequence[TableSummary]) -> TableSummary:
        """Return the summary of tables one after another, of samples of one size.

        Raises
        ------
        DataError
            If a column has different types.
        """
        import pandas as pd

        columns = dict(parts[0].columns)
        for part in parts[1:]:
            for name, column in part.columns.items():
                try:
                    columns[name] = columns[name].merged(column)
                except ValueError as cause:
                    raise DataError(
                        f"Column {shown(name)} {cause}. Convert it in all partitions alike, "
                        f"with astype."
                    ) from cause
        return cls(
            sum(part.n_rows for part in parts),
            columns,
            pd.concat([part.sample for part in parts]),
            np.concatenate([part.draws for part in parts]),
            parts[0].max_rows,
        )._smallest()

    def _smallest(self) -> TableSummary:
        """Keep the rows that drew the smallest numbers; of equal ones the first."""
        if self.max_rows is None or len(self.draws) <= self.max_rows:
            return self
        kept = np.sort(np.argsort(self.draws, kind="stable")[: self.max_rows])
        sample = self.sample.iloc[kept]
        return TableSummary(self.n_rows, self.columns, sample, self.draws[kept], self.max_rows)

    def lacks(self) -> str | None:
        """Return a warning of what the sample does not tell of columns, if there is anything."""
        if len(self.sample) == self.n_rows:
            return None
        facts = []
        for i, (name, whole) in enumerate(self.columns.items()):
            part = ColumnSummary.of(self.sample.iloc[:, i])
            if whole.varies and not part.varies:
                facts.append(f"{shown(name)} is constant in it, but not in all rows")
            elif whole.levels and part.levels is not None:
                known = len(part.levels)
                if known < len(whole.levels):
                    facts.append(f"{shown(name)} has {known:,} of {len(whole.levels):,} levels")
        if not facts:
            return None
        return (
            f"The sample of {len(self.sample):,} of {self.n_rows:,} rows does not tell all: "
            f"{'; '.join(facts[:MAX_LISTED])}. What it lacks will count as anomalous. Learn from "
            f"more rows."
        )


def draws_of(rows: pd.DataFrame, seed: int) -> NDArray[np.uint64]:
    """Return a number for each row, uniform over those of 64 bits: (n,).

    The hash of cells and index is mixed with the seed by the finaliser of SplitMix64 (Steele, Lea
    and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014,
    :doi:`10.1145/2660193.2660195`).
    """
    from pandas.util import hash_pandas_object

    hashes = hash_pandas_object(rows, index=True)
    mixed = np.array(hashes, dtype=np.uint64)
    mixed += np.uint64(seed * GOLDEN % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        mixed ^= mixed >> np.uint64(shift)
        mixed *= np.uint64(factor)
    return mixed


def _are_numbers(cells: pd.Series) -> bool:
    """Return whether cells have a type of numbers, which booleans are not."""
    import pandas as pd

    return is_numeric(cells) and not pd.api.types.is_bool_dtype(cells.dtype)


def _counts(cells: pd.Series) -> Counter[str]:
    """Return how often each text occurs, without missing cells."""
    import pandas as pd

    places, distinct = pd.factorize(cells)
    numbers = np.bincount(places[places >= 0], minlength=len(distinct))
    counts: Counter[str] = Counter()
    for cell, number in zip(distinct, numbers.tolist(), strict=True):
        if (text := text_of(cell)) is not None:
            counts[text] += number
    return counts


def numbers_of(cells: pd.Series) -> Array:
    """Return numbers, NaN where missing."""
    return cells.to_numpy(dtype=np.float64, na_value=np.nan)


def _refuse_infinite(cells: pd.Series, name: str) -> None:
    """Raise if a number is infinite."""
    found = np.flatnonzero(np.isinf(numbers_of(cells)))
    if len(found):
        index, value = cells.index[found[0]], cells.iloc[found[0]]
        raise DataError(
            f"The frame, index {index}, column {shown(name)}: expected a finite number, got "
            f"{value}. Correct the cell or remove the row."
        )

"""What a detector sees of tables and images, and what a label means.

Columns are matched by name: their order in the file does not matter. A
detector that was fitted on an array without names has only their order.
Images are all brought to one size.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.data.table.reader import floats_of
from vae_anomaly.exceptions import DataError

if TYPE_CHECKING:
    import pandas as pd
from vae_anomaly._text import listed, shown

__all__ = ["TableSchema"]


@dataclass(frozen=True)
class TableSchema:
    """The columns of a table that make up the matrix of a detector.

    Attributes
    ----------
    names : tuple of str
        Columns of the table, in the detector's order.
    extra : tuple of str
        Columns of the table that are not used.
    named : bool
        False for a detector that knows its columns by position alone.

    Examples
    --------
    >>> schema = TableSchema.for_scoring("new.csv", ["flow", "site", "pressure"],
    ...                                  features=["pressure", "flow"], count=2)
    >>> schema.names, schema.extra
    (('pressure', 'flow'), ('site',))
    """

    names: tuple[str, ...]
    extra: tuple[str, ...] = ()
    named: bool = True

    @classmethod
    def for_fitting(
        cls, table: str, header: Sequence[str], *, without: Iterable[str]
    ) -> TableSchema:
        """Use all columns but some.

        Parameters
        ----------
        table : str
            What messages call the table.
        header : sequence of str
            Its columns.
        without : iterable of str
            Columns to leave out; each must be there.

        Returns
        -------
        TableSchema

        Raises
        ------
        DataError
            If no column is left, one that is used has no name, or one to leave out is not there.
        """
        without = tuple(dict.fromkeys(without))
        require_columns(table, header, without)
        names = tuple(name for name in header if name not in without)
        if not names:
            raise DataError(
                f"{table}: no column is left to learn from. Leave out fewer of its {len(header)}."
            )
        for name in names:
            if not name.strip():
                raise DataError(
                    f"{table}: column {header.index(name) + 1} has no name. "
                    f"Name it, or leave it out with --ignore {name!r}."
                )
        return cls(names, extra=without)

    @classmethod
    def for_scoring(
        cls,
        table: str,
        header: Sequence[str],
        *,
        features: Sequence[str] | None,
        count: int,
        without: Iterable[str] = (),
    ) -> TableSchema:
        """Find the columns that a fitted detector wants.

        Parameters
        ----------
        table : str
            What messages call the table.
        header : sequence of str
            Its columns.
        features : sequence of str or None
            The detector's columns; None if it was fitted without names.
        count : int
            How many they are.
        without : iterable of str
            Columns that have another role: identifiers, labels.

        Returns
        -------
        TableSchema

        Raises
        ------
        DataError
            If a column is missing, or, without names, their number is another.
        """
        without = tuple(dict.fromkeys(without))
        require_columns(table, header, without)
        if features is not None:
            require_columns(table, header, features, owner="the model")
            used = set(features) | set(without)
            return cls(tuple(features), tuple(name for name in header if name not in used))
        names = tuple(name for name in header if name not in without)
        if len(names) != count:
            raise DataError(
                f"{table} has {len(names)} columns for the model, which was fitted on {count} "
                f"without names and so takes them by position. Bring exactly these {count}, in "
                f"the order of training."
            )
        return cls(names, named=False)

    def matrix(self, batch: Any) -> NDArray[np.float64]:
        """Turn a batch of a source into rows of numbers: (n, n_columns)."""
        rows = np.empty((batch.num_rows, len(self.names)))
        for i, name in enumerate(self.names):
            rows[:, i] = floats_of(batch.column(name))
        return rows

    def frame(self, rows: NDArray[np.float64]) -> pd.DataFrame:
        """Give rows their column names back, as a detector with names expects them: no copy."""
        import pandas as pd

        return pd.DataFrame(rows, columns=list(self.names), copy=False)


def require_columns(
    table: str, header: Sequence[str], wanted: Sequence[str], owner: str = "the command line"
) -> None:
    """Refuse a table that lacks some of the columns that `owner` names.

    Raises
    ------
    DataError
        Listing all of them, each with the likeliest column that was meant.
    """
    there = set(header)
    missing = [name for name in wanted if name not in there]
    if not missing:
        return
    spare = [name for name in header if name not in set(wanted)]
    guesses = {name: guess for name in missing if (guess := _meant(name, spare)) is not None}
    number = "a column" if len(missing) == 1 else f"{len(missing)} columns"
    hint = ", ".join(f"{shown(g)} for {shown(n)}" for n, g in list(guesses.items())[:10])
    advice = (
        f"Did you mean {hint}? Names must agree exactly."
        if hint
        else (f"Its columns are {listed(list(header))}.")
    )
    raise DataError(f"{table} lacks {number} that {owner} names: {listed(missing)}. {advice}")


def _meant(name: str, candidates: Sequence[str]) -> str | None:
    """Find the candidate that differs by case or punctuation only, or a close match."""
    plain = {_plain(candidate): candidate for candidate in candidates}
    if _plain(name) in plain:
        return plain[_plain(name)]
    close = difflib.get_close_matches(name, candidates, n=1, cutoff=0.8)
    return close[0] if close else None


def _plain(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())

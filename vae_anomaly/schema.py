"""Which columns of a table a detector uses, by name, and what a label means.

Columns are matched by name: their order in the file does not matter. A
detector that was fitted on an array without names has only their order.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vae_anomaly.exceptions import DataError
from vae_anomaly.sources.base import MISSING, is_number, listed, shown

__all__ = ["NORMAL_LABELS", "TableSchema", "anomalous"]

NORMAL_LABELS = ("0", "false", "no", "normal", "good", "ok", "negative", "benign")
"""What a label of a normal row may say, in any case; everything else is an anomaly."""


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
            rows[:, i] = batch.column(name).to_numpy(zero_copy_only=False)
        return rows

    def frame(self, rows: NDArray[np.float64]) -> pd.DataFrame:
        """Give rows their column names back, as a detector with names expects them."""
        return pd.DataFrame(rows, columns=list(self.names))


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


def anomalous(
    values: Sequence[object], *, table: str, column: str, normal: Sequence[str] = ()
) -> NDArray[np.bool_]:
    """Tell from its label whether a row is an anomaly.

    Parameters
    ----------
    values : sequence
        Labels: text, numbers or booleans.
    table, column : str
        Where they are from, for messages.
    normal : sequence of str
        Labels of normal rows, in this case; by default `NORMAL_LABELS` in
        any case, and numbers that equal 0.

    Returns
    -------
    ndarray of bool

    Raises
    ------
    DataError
        For a missing label; for labels -1 and 1, which mean opposite things to
        different people; if `normal` matches no row; and if there are several
        labels and none is known to mean normal.

    Examples
    --------
    >>> anomalous(["OK", "crack", 0.0], table="t.csv", column="state").tolist()
    [False, True, False]
    """
    texts = [_label_text(value) for value in values]
    if "" in texts:
        raise DataError(
            f"{table}, row {texts.index('') + 1}, column {shown(column)}: expected a label, got an "
            f"empty or missing cell. Fill it in or remove the row."
        )
    if normal:
        wanted = {_label_text(label) for label in normal}
        is_normal = np.array([text in wanted for text in texts], dtype=bool)
        if texts and not is_normal.any():
            kinds = listed(sorted(set(texts)))
            raise DataError(
                f"{table}, column {shown(column)}: no row has the normal label "
                f"{listed(list(normal))}. Its labels are {kinds}."
            )
        return ~is_normal
    if "-1" in texts and set(texts) <= {"-1", "1"}:
        raise DataError(
            f"{table}, column {shown(column)}: labels -1 and 1 are ambiguous: scikit-learn's "
            f"anomalies are -1, others' are 1. Say which rows are normal with --normal-label."
        )
    is_normal = np.array([text.casefold() in NORMAL_LABELS for text in texts], dtype=bool)
    if len(set(texts)) > 1 and not is_normal.any():
        raise DataError(
            f"{table}, column {shown(column)}: none of the labels {listed(sorted(set(texts)))} is "
            f"known to mean normal. Say which does with --normal-label."
        )
    return ~is_normal


def _label_text(value: object) -> str:
    """Spell a label: whole numbers without a point, so that 0, 0.0 and "0" are one label."""
    text = "" if value is None else str(value).strip()
    if text in MISSING:
        return ""
    if is_number(text) and float(text).is_integer():
        return str(int(float(text)))
    return text

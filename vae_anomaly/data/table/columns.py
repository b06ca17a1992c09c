"""Selection of the columns of a table that are features.

Columns are matched by name: their order in a file does not matter. A model that was
fitted to an array without names has only their order.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from vae_anomaly._text import listed, shown
from vae_anomaly.exceptions import DataError

__all__ = [
    "ColumnSelection",
    "columns_to_keep",
    "require_columns",
    "select_for_fitting",
    "select_for_scoring",
]


EVERY = "all"
"""Name for all columns, unless one is called so."""


class ColumnSelection(NamedTuple):
    """Columns of a table that are features.

    Attributes
    ----------
    features : tuple of str
        Columns of the table, in the order of the model.
    unused : tuple of str
        Columns of the table that were left out of a fit, or that a model does not know.
    """

    features: tuple[str, ...]
    unused: tuple[str, ...] = ()


def select_for_fitting(
    table: str, header: Sequence[str], *, ignored: Iterable[str] = ()
) -> ColumnSelection:
    """Select all columns but those that are ignored.

    Parameters
    ----------
    table : str
        Name of the table in messages.
    header : sequence of str
        Its columns.
    ignored : iterable of str
        Columns to leave out, also several in a text, between commas; each must be there.

    Returns
    -------
    ColumnSelection

    Raises
    ------
    DataError
        If no column is left, a feature has no name, or a column to leave out is not there.
    """
    left_out = tuple(dict.fromkeys(one for name in ignored for one in _names(name, header)))
    require_columns(table, header, left_out)
    features = tuple(name for name in header if name not in left_out)
    if not features:
        raise DataError(
            f"{table}: no column is left to learn from. Leave out fewer of its {len(header)}."
        )
    for name in features:
        if not name.strip():
            raise DataError(
                f"{table}: column {header.index(name) + 1} has no name. "
                f"Name it, or leave it out with --ignore {name!r}."
            )
    return ColumnSelection(features, left_out)


def _names(text: str, header: Sequence[str]) -> list[str]:
    """Return the names that a text holds, between commas, unless it is itself a name."""
    return [text] if text in header else [name.strip() for name in text.split(",")]


def columns_to_keep(
    table: str, header: Sequence[str], keep: Iterable[str], roles: Iterable[str] = ()
) -> tuple[str, ...]:
    """Return the columns that a result has as they are, but for those with a role.

    Raises
    ------
    DataError
        If a column is not there.

    Examples
    --------
    >>> columns_to_keep("new.csv", ["pump", "flow", "site"], ["site,flow"])
    ('site', 'flow')
    >>> columns_to_keep("new.csv", ["pump", "flow", "site"], ["all"], roles=["pump"])
    ('flow', 'site')
    """
    named = [one for text in keep for one in _names(text, header)]
    if EVERY in named and EVERY not in header:
        named = list(header)
    require_columns(table, header, named)
    return tuple(name for name in dict.fromkeys(named) if name not in set(roles))


def select_for_scoring(
    table: str,
    header: Sequence[str],
    *,
    names: Sequence[str] | None,
    n_features: int,
    roles: Iterable[str] = (),
    known: Iterable[str] = (),
) -> ColumnSelection:
    """Select the columns that a fitted model needs.

    Parameters
    ----------
    table : str
        Name of the table in messages.
    header : sequence of str
        Its columns.
    names : sequence of str or None
        Features of the model; None if it was fitted without names.
    n_features : int
    roles : iterable of str
        Columns that have another role: identifiers, labels.
    known : iterable of str
        Columns that the model knows and does not use.

    Returns
    -------
    ColumnSelection

    Raises
    ------
    DataError
        If a column is missing, or, without names, their number differs.

    Examples
    --------
    >>> select_for_scoring("new.csv", ["flow", "site", "pressure"],
    ...                    names=["pressure", "flow"], n_features=2)
    ColumnSelection(features=('pressure', 'flow'), unused=('site',))
    """
    roles = tuple(dict.fromkeys(roles))
    require_columns(table, header, roles)
    if names is not None:
        require_columns(table, header, names, owner="the model")
        used = {*names, *roles, *known}
        return ColumnSelection(tuple(names), tuple(name for name in header if name not in used))
    features = tuple(name for name in header if name not in {*roles, *known})
    if len(features) != n_features:
        raise DataError(
            f"{table} has {len(features)} columns for the model, which was fitted on {n_features} "
            f"without names and so takes them by position. Bring exactly these {n_features}, in "
            f"the order of training."
        )
    return ColumnSelection(features)


def require_columns(
    table: str, header: Sequence[str], wanted: Sequence[str], owner: str = "the command line"
) -> None:
    """Raise if a table lacks columns that `owner` names.

    Raises
    ------
    DataError
        With all of them, and for each the most similar column of the table.
    """
    there = set(header)
    missing = [name for name in wanted if name not in there]
    if not missing:
        return
    spare = [name for name in header if name not in set(wanted)]
    guesses = {name: guess for name in missing if (guess := _similar(name, spare)) is not None}
    number = "a column" if len(missing) == 1 else f"{len(missing)} columns"
    hint = ", ".join(_apart(guess, name) for name, guess in list(guesses.items())[:10])
    advice = (
        f"Did you mean {hint}? Names must agree exactly."
        if hint
        else (f"Its columns are {listed(list(header))}.")
    )
    raise DataError(f"{table} lacks {number} that {owner} names: {listed(missing)}. {advice}")


def _apart(guess: str, name: str) -> str:
    """Return "'Flow' for 'flow'", with escapes where two names may look the same."""
    spell = shown if guess.isascii() and name.isascii() else ascii
    return f"{spell(guess)} for {spell(name)}"


def _similar(name: str, candidates: Sequence[str]) -> str | None:
    """Return the candidate that differs only by case or punctuation, or a close match."""
    normalized = {_normalized(candidate): candidate for candidate in candidates}
    if _normalized(name) in normalized:
        return normalized[_normalized(name)]
    close = difflib.get_close_matches(name, candidates, n=1, cutoff=0.8)
    return close[0] if close else None


def _normalized(name: str) -> str:
    name = unicodedata.normalize("NFKC", name).casefold()
    return "".join(character for character in name if character.isalnum())

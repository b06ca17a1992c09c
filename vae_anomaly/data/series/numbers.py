"""Cells of a column as numbers."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vae_anomaly.data.cells import MISSING, WEAKLY_MISSING, is_number
from vae_anomaly.data.parsing import parse_numbers

__all__ = ["Numbers", "is_text", "numbers_of"]

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

NUMBERS_SHARE = 0.5
"""Share of numbers from which on a column is one of numbers, of which other text is a fault."""

SWITCHES = {"on": 1.0, "off": 0.0, "true": 1.0, "false": 0.0}
"""States of what has two -> their numbers."""


class Numbers(NamedTuple):
    """Numbers of cells, which belong to groups.

    Attributes
    ----------
    values : ndarray of shape (n,)
        NaN where a cell is missing or text; infinite beyond the range of float64.
    is_text : ndarray of bool, of shape (n,)
        Cells that are neither numbers nor missing.
    holds_numbers : ndarray of bool, of shape (n_groups,)
    """

    values: Array
    is_text: Booleans
    holds_numbers: Booleans


def is_text(cells: pa.Array) -> bool:
    """Return whether cells are of a type of text."""
    return bool(pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type))


def numbers_of(
    cells: pa.Array, missing: Collection[str], groups: Integers, n_groups: int
) -> Numbers:
    """Return the numbers of cells.

    A group with at least as many numbers as text holds numbers. On and off, or true and false,
    are numbers where a group has nothing else.

    Parameters
    ----------
    cells : Arrow array of shape (n,)
    missing : collection of str
        Texts that stand for missing values besides the usual ones. A number among them stands
        for all that are equal.
    groups : ndarray of int, of shape (n,)
        Group of each cell: of metrics in one column; 0 otherwise.
    n_groups : int

    Returns
    -------
    Numbers

    Examples
    --------
    >>> cells = pa.array(["1.5", "n/a", "on", "off", "eco"])
    >>> found = numbers_of(cells, (), np.array([0, 0, 1, 1, 2]), 3)
    >>> found.values.tolist(), found.holds_numbers.tolist()
    ([1.5, nan, 1.0, 0.0, nan], [True, True, False])
    """
    if pa.types.is_dictionary(cells.type):
        cells = cells.dictionary_decode()
    if is_text(cells):
        values, other = _parsed(cells, missing, groups, n_groups)
    else:
        values, other = _cast(cells), None
    for text in filter(is_number, missing):
        values[values == float(text)] = np.nan
    known = ~np.isnan(values)
    n_known = np.bincount(groups[known], minlength=n_groups)
    if other is None:
        return Numbers(values, np.zeros(len(cells), dtype=bool), n_known > 0)
    n_other = np.bincount(groups[other], minlength=n_groups)
    holds_numbers = n_known > 0
    holds_numbers &= n_known >= NUMBERS_SHARE * (n_known + n_other)
    values[~holds_numbers[groups]] = np.nan
    return Numbers(values, other, holds_numbers)


def _cast(cells: pa.Array) -> Array:
    """Return the numbers of cells that are not text: NaN if their type is none of numbers."""
    types = pa.types
    if types.is_boolean(cells.type):
        cells = cells.cast(pa.uint8())
    elif not (
        types.is_integer(cells.type)
        or types.is_floating(cells.type)
        or types.is_decimal(cells.type)
    ):
        return np.full(len(cells), np.nan)
    return np.array(pc.fill_null(cells.cast(pa.float64(), safe=False), np.nan))


def _parsed(
    cells: pa.Array, missing: Collection[str], groups: Integers, n_groups: int
) -> tuple[Array, Booleans | None]:
    """Return the numbers of text, and which cells are other text; None if none is."""
    text = cells.cast(pa.string())
    try:
        bare = pc.if_else(pc.equal(text, ""), None, text).cast(pa.float64())
        return np.array(pc.fill_null(bare, np.nan)), None
    except pa.ArrowInvalid:
        pass  # with blanks, or other texts
    absent = [*MISSING, *WEAKLY_MISSING, *missing]
    found = parse_numbers(text, absent)
    values = np.where(found.is_infinite, np.inf, found.values)
    if not found.is_text.any():
        return values, found.is_text
    states, is_state = _switches(text)
    other = ~(is_state | np.isnan(values)) | (found.is_text & ~is_state)
    is_switch = is_state & (np.bincount(groups[other], minlength=n_groups)[groups] == 0)
    return np.where(is_switch, states, values), found.is_text & ~is_switch


def _switches(text: pa.Array) -> tuple[Array, Booleans]:
    """Return the numbers of states, and which cells are states."""
    states = pc.utf8_lower(pc.utf8_trim_whitespace(text))
    at = pc.index_in(states, value_set=pa.array(list(SWITCHES)))
    numbers = pa.array(list(SWITCHES.values())).take(at)
    return np.array(pc.fill_null(numbers, np.nan)), np.array(pc.is_valid(at))

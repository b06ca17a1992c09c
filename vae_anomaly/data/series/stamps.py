"""Time stamps of rows, and errors for cells that are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vae_anomaly._text import shown
from vae_anomaly.exceptions import DataError

__all__ = [
    "DIGITS",
    "EPOCH_UNITS",
    "MAX_NS",
    "Place",
    "Refusal",
    "Stamps",
    "bools_of",
    "integers_of",
    "scaled",
]

Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

Place = Callable[[int], str]
"""Function of a row, counted from 0, that says where it is: "pump.csv, line 7"."""

EPOCH_UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
"""Unit of numbers -> its nanoseconds."""

MAX_NS = 2**63 - 2
"""The last nanosecond of 2262-04-11, as far from 1970 as the first one of 1677-09-21."""

DIGITS = 9
"""Digits of a fraction that count: nanoseconds."""


class Stamps(NamedTuple):
    """Time stamps of rows.

    Attributes
    ----------
    ns : ndarray of int64, of shape (n,)
        Nanoseconds since 1970: in UTC, or by the local clock if they are naive.
    known : ndarray of bool, of shape (n,)
        False where a cell is missing.
    is_naive : bool
        Whether they lack an offset from UTC.
    text : Arrow array of str, of shape (n,)
        The cells as they are.
    note : str
        What was recognised and is to be said; mostly empty.
    """

    ns: Integers
    known: Booleans
    is_naive: bool
    text: pa.Array
    note: str = ""


class Refusal(NamedTuple):
    """Column and place of the cell that an error is about."""

    column: str
    place: Place

    def error(self, row: int, text: object, wanted: str, advice: str) -> DataError:
        """Return the error for a cell."""
        return DataError(
            f"{self.place(row)}, column {shown(self.column)}: expected {wanted}, got "
            f"{shown(text)}. {advice}"
        )


def scaled(
    counts: Integers, factor: int, known: Booleans, text: Callable[[int], str], refusal: Refusal
) -> Integers:
    """Return counts of a unit as nanoseconds, checked for their range."""
    beyond = known & (np.abs(counts) > MAX_NS // factor)
    if beyond.any():
        row = int(np.argmax(beyond))
        raise refusal.error(row, text(row), "a time from 1678 to 2261", "Correct the cell.")
    return np.where(known, counts, 0) * factor


def integers_of(array: pa.Array) -> Integers:
    """Return an Arrow array as whole numbers, 0 where it is null."""
    return np.array(pc.fill_null(array, 0), dtype=np.int64)


def bools_of(array: pa.Array) -> Booleans:
    """Return where an Arrow array is true."""
    return np.array(pc.fill_null(array, False), dtype=bool)

"""Rows of series as they are in the input, and rows of equal times."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._types import AnyArray
from vae_anomaly.data.series.notes import Tally
from vae_anomaly.data.series.series import USABLE
from vae_anomaly.data.series.stamps import Place, Stamps
from vae_anomaly.exceptions import DataError, ParameterError
from vae_anomaly.names import DUPLICATES

__all__ = ["NO_TIME", "NO_VALUE", "Rows", "without_duplicates"]

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

NO_TIME = "no time"
NO_VALUE = "all values missing"


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of series before they are on a grid.

    Attributes
    ----------
    place : callable
        Says where a row is.
    names : tuple of str
        Of the series.
    channels : tuple of str
    stamps : Stamps or None
        None where rows are in order and evenly spaced.
    series : ndarray of int64, of shape (n,)
        Position in `names`.
    channel : ndarray of int64, of shape (n,), or None
        Long format: position in `channels` of each row, -1 for those that are left out.
    sources : ndarray of int64, of shape (n,), or None
        What reports each row, if rows of one time from several sources are no duplicates.
    values : ndarray of shape (n, channels), or (n, 1) in long format
        NaN where they are missing.
    status : ndarray of object, of shape (n,)
        `USABLE`, or why a row is not.
    notes : tuple of str
    holds : bool
        Whether only changes are recorded: a value holds until the next row of its channel.
    n_before : int
        Rows of the input before these.
    timezone : str, optional
        Zone of naive times.
    """

    place: Place
    names: tuple[str, ...]
    channels: tuple[str, ...]
    stamps: Stamps | None
    series: Integers
    channel: Integers | None
    sources: Integers | None
    values: Array
    status: AnyArray
    notes: tuple[str, ...] = ()
    holds: bool = False
    n_before: int = 0
    timezone: str | None = None

    @property
    def zone(self) -> str | None:
        """Zone in which times are shown: "UTC" of those with an offset; None if not known."""
        if self.stamps is None:
            return None
        return self.timezone if self.stamps.is_naive else "UTC"

    @property
    def groups(self) -> Integers:
        """Series, and channel or source if there are any, as a number."""
        part = self.sources if self.channel is None else self.channel + 1
        return self.series if part is None else self.series * (part.max(initial=0) + 1) + part

    def usable(self) -> Integers:
        """Return the positions of usable rows."""
        return np.flatnonzero(self.status == USABLE)

    def refusing(self, where: Booleans, reason: str) -> Rows:
        """Return rows of which some more are not usable."""
        status = self.status.copy()
        status[where & (status == USABLE)] = reason
        return replace(self, status=status)

    def noting(self, *notes: str) -> Rows:
        """Return rows with further notes."""
        return replace(self, notes=(*self.notes, *notes))


def without_duplicates(rows: Rows, ns: Integers, choice: str | None) -> Rows:
    """Return rows of which no two are of one series and time, in long format of one channel.

    Rows of one time that differ in nothing but what they lack complete each other.

    Parameters
    ----------
    rows : Rows
    ns : ndarray of int64, of shape (n,)
        Times.
    choice : {"mean", "first", "last"}, optional
        What stands for rows that differ.

    Returns
    -------
    Rows
        Others than the first (last) row of a time have a status that names it.

    Raises
    ------
    DataError
        If rows of one time differ and there is no choice.
    """
    if choice is not None and choice not in DUPLICATES:
        names = ", ".join(map(repr, DUPLICATES))
        raise ParameterError(f"duplicates must be None or one of {names}. Got {choice!r} instead.")
    usable = rows.usable()
    groups = rows.groups
    order = usable[np.lexsort((ns[usable], groups[usable]))]
    again = (np.diff(ns[order]) == 0) & (np.diff(groups[order]) == 0)
    if not again.any():
        return rows
    starts = np.flatnonzero(np.r_[True, ~again])
    run = np.cumsum(np.r_[True, ~again]) - 1
    firsts = order[starts][run]
    differs = ~_equal(rows.values[order], rows.values[firsts]).all(axis=1)
    all_known = np.fmax.reduceat(rows.values[order], starts, axis=0)
    smallest = np.fmin.reduceat(rows.values[order], starts, axis=0)
    clash: Booleans = np.any(smallest < all_known, axis=1)
    completes = (np.bincount(run, differs, len(starts)) > 0) & ~clash
    later = np.r_[False, again]
    equal_rows, other_rows = later & ~(clash | completes)[run], later & clash[run]
    status, values = rows.status.copy(), rows.values
    notes: list[str] = []
    if completes.any():
        values = values.copy()
        values[order[starts[completes]]] = all_known[completes]
        parts = later & completes[run]
        _mark(status, order[parts], firsts[parts] + rows.n_before, "same time as row {}")
        notes.append(Tally(_complete_words, int(completes.sum())))
    if equal_rows.any():
        others = firsts[equal_rows] + rows.n_before
        _mark(status, order[equal_rows], others, "duplicate of row {}")
        notes.append(Tally(_repeat_words, int(np.count_nonzero(equal_rows))))
    if other_rows.any():
        if choice is None:
            opposed = _opposed(rows.values[order], rows.values[firsts])
            i = int(np.argmax(2 * (other_rows & opposed) + (other_rows & differs)))
            raise _conflict(rows, int(order[i]), int(firsts[i]), other_rows)
        kept = firsts
        if choice == "last":
            lasts = np.r_[starts[1:], len(order)] - 1
            kept = order[lasts][run]
        conflicting = clash[run]
        if choice == "mean":
            values = values.copy()
            at = conflicting.nonzero()[0]
            values[order[starts[clash]]] = _means(values[order[at]], run[at])
        dropped = conflicting & (order != kept)
        _mark(status, order[dropped], kept[dropped] + rows.n_before, "same time as row {}")
        notes.append(Tally(CONFLICT_WORDS[choice], int(clash.sum())))
    return replace(rows, status=status, values=values).noting(*notes)


def _repeat_words(count: int) -> str:
    return f"{count:,} {'row repeats' if count == 1 else 'rows repeat'} an earlier one."


def _complete_words(count: int) -> str:
    times = "1 time" if count == 1 else f"{count:,} times"
    return f"Rows that complete each other have {times} in common: they count as one."


def _conflict_words(which: str, count: int) -> str:
    times = "1 time" if count == 1 else f"{count:,} times"
    return f"Different rows have {times} in common; {which}."


CONFLICT_WORDS = {
    "mean": partial(_conflict_words, "their mean counts"),
    "first": partial(_conflict_words, "the first one counts"),
    "last": partial(_conflict_words, "the last one counts"),
}
"""Choice of one of several rows -> note on it."""


def _equal(a: Array, b: Array) -> Booleans:
    return (a == b) | (np.isnan(a) & np.isnan(b))


def _opposed(a: Array, b: Array) -> Booleans:
    """Return which rows have other known values: (n,)."""
    return np.asarray(((a < b) | (a > b)).any(axis=1))


def _means(values: Array, run: Integers) -> Array:
    """Return the means of what is known in runs of rows."""
    starts = np.flatnonzero(np.r_[True, np.diff(run) != 0])
    known = ~np.isnan(values)
    sums = np.add.reduceat(np.where(known, values, 0.0), starts, axis=0)
    counts = np.add.reduceat(known.astype(np.int64), starts, axis=0)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _mark(status: AnyArray, rows: Integers, others: Integers, words: str) -> None:
    status[rows] = [words.format(other + 1) for other in others.tolist()]


def _count(which: Booleans, one: str, more: str) -> str:
    count = int(np.count_nonzero(which))
    return f"{count:,} {one if count == 1 else more}"


def _conflict(rows: Rows, row: int, other: int, which: Booleans) -> DataError:
    advice = "Give duplicates: 'mean', 'first' or 'last'"
    if len(rows.names) == 1:
        advice += "; or series_column, if the rows are of several series"
    first = other + rows.n_before + 1
    return DataError(
        f"{rows.place(row)}: expected the values of row {first:,}, which has the same time, "
        f"got others; {_count(which, 'row is', 'rows are')} like that. {advice}."
    )

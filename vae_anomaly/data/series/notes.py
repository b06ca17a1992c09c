"""Notes on the input of series, of which those of parts are added."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Self

__all__ = ["Tally", "merged"]


class Tally(str):
    """A note with numbers.

    Parameters
    ----------
    words : callable
        Returns the note for its numbers.
    *counts : int
    about : hashable, optional
        Notes about the same are added; by default those of the same words.
    """

    words: Callable[..., str]
    counts: tuple[int, ...]
    about: Hashable

    def __new__(cls, words: Callable[..., str], *counts: int, about: Hashable = None) -> Self:
        """Write the note."""
        note = super().__new__(cls, words(*counts))
        note.words, note.counts, note.about = words, counts, about
        return note


def merged(notes: Iterable[str]) -> tuple[str, ...]:
    """Return each note once, in the order in which they first occur; tallies are added.

    Examples
    --------
    >>> def rows(count):
    ...     return f"{count} rows are empty."
    >>> merged(["Sorted.", Tally(rows, 1), "Sorted.", Tally(rows, 2)])
    ('Sorted.', '3 rows are empty.')
    """
    found: dict[Hashable, str] = {}
    for note in notes:
        if not isinstance(note, Tally):
            found[note] = note
            continue
        key = note.words if note.about is None else note.about
        before = found.get(key)
        counts = note.counts
        if isinstance(before, Tally):
            counts = tuple(map(sum, zip(before.counts, counts, strict=True)))
        found[key] = Tally(note.words, *counts, about=note.about)
    return tuple(found.values())

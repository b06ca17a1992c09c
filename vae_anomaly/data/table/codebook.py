"""Codes of the texts of a column, before its type is known, in bounded memory."""

from __future__ import annotations

from datetime import UTC, timedelta, tzinfo

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_anomaly._types import AnyArray
from vae_anomaly.data.cells import STRAY, WEAKLY_MISSING, has_leading_zero, is_number
from vae_anomaly.data.date_formats import ISO
from vae_anomaly.data.table.column import MAX_LEVELS, text_of
from vae_anomaly.data.table.dates import EPOCH, MAX_PARTS, best_formats, parsed, seconds_of
from vae_anomaly.data.table.missing import NO_FURTHER, MissingValues
from vae_anomaly.data.table.reader import coded, factorized, is_infinite

__all__ = ["MAX_TEXTS", "Codebook", "DateTexts"]

MAX_TEXTS = 100_000
"""Distinct texts of a column that are kept while it is read: the most frequent ones."""

NUMBER_STARTS = frozenset("0123456789+-.iI")
"""First characters of numbers, infinity among them."""

CODE_BITS = 53
"""Bits of a code, all of which a float64 holds."""


class Codebook:
    """Codes of the texts of a column, and what they are.

    A code is a hash of its text, so that distinct texts keep distinct codes though only
    the most frequent texts are kept.

    Parameters
    ----------
    missing : MissingValues
        Cells that a user says are missing.

    Attributes
    ----------
    n_numbers, n_others : int
        Cells that are numbers, and those that are neither finite numbers nor missing, as dashes
        and the like are among numbers.
    first_other : tuple of (int, str), or None
        Row and text of the first of these.
    has_codes : bool
        Whether a number has leading zeros.
    date_format : str
        In which texts are dates that are too many to keep, the first of those that fit; mostly
        empty. `DateTexts` keeps such texts in less memory.

    Examples
    --------
    >>> book = Codebook()
    >>> codes = book.codes(pa.array(["3", "x", None, "-", "x"]), 0)
    >>> book.cells(codes).tolist(), book.n_numbers, book.n_others, book.first_other
    (['3', 'x', None, '-', 'x'], 1, 2, (1, 'x'))
    """

    def __init__(
        self,
        missing: MissingValues = NO_FURTHER,
    ) -> None:
        self._missing = missing
        self.n_numbers = self.n_others = 0
        self.first_other: tuple[int, str] | None = None
        self.has_codes = False
        self.date_format = ""
        self._is_complete = True
        self._texts: dict[float, str] = {}
        self._counts: dict[float, int] = {}

    @property
    def is_of_numbers(self) -> bool:
        """Whether at least half of the cells that are not missing are numbers, but not all."""
        return 0 < self.n_others <= self.n_numbers and not self.has_codes

    @property
    def max_numbers(self) -> int:
        """Indicators of the levels so far, at most as many as a category has, and a mask."""
        known = min(len(self._texts), MAX_LEVELS) if self._is_complete else MAX_LEVELS
        return known + 2

    def codes(self, column: pa.Array, start: int) -> NDArray[np.float64]:
        """Return the codes of the next cells, the first of which is in the row `start`."""
        distinct, places = factorized(column)
        texts = [text_of(cell) for cell in distinct]
        if self._missing.texts:
            texts = [None if text is None or text in self._missing else text for text in texts]
        counts = np.bincount(places, minlength=len(texts) + 1).tolist()
        codes = np.append(_hashes(texts), np.nan)
        others = set()
        for i, (text, count, code) in enumerate(zip(texts, counts, codes.tolist(), strict=False)):
            if text is None or not count:
                continue
            self._counts[code] = self._counts.get(code, 0) + count
            self._texts[code] = text
            may_be_number = text[0] in NUMBER_STARTS
            if may_be_number and is_number(text):
                self.n_numbers += count
                self.has_codes = self.has_codes or has_leading_zero(text)
            elif text not in WEAKLY_MISSING:
                others.add(i)
                self.n_others += count
                if may_be_number and is_infinite(text):
                    self.n_numbers += count
        if others and self.first_other is None:
            row = int(np.isin(places, list(others)).argmax())
            self.first_other = start + row, texts[places[row]] or ""
        if len(self._texts) > 2 * MAX_TEXTS:
            if self._is_complete:
                known = {text: self._counts[code] for code, text in self._texts.items()}
                self.date_format = next(iter(best_formats(known)), "")
            self._forget_rare_texts()
            self._is_complete = False
        return codes[places]

    def _forget_rare_texts(self) -> None:
        """Forget texts that occurred once and, if these are too few, the rarer ones."""
        counts = {code: count for code, count in self._counts.items() if count > 1}
        if len(counts) > MAX_TEXTS:
            order = sorted(counts, key=counts.__getitem__, reverse=True)
            counts = {code: counts[code] for code in order[:MAX_TEXTS]}
        self._counts = counts
        self._texts = {code: self._texts[code] for code in counts}

    def cells(self, codes: NDArray[np.float64]) -> AnyArray:
        """Return the texts that codes stand for, None for NaN.

        A text that was too rare to be kept has a stand-in of its own.
        """
        distinct, places = np.unique(codes, return_inverse=True)
        texts = [
            None if code != code else self._texts.get(code, f"(rare text {int(code):x})")
            for code in distinct.tolist()
        ]
        return np.array(texts, dtype=object)[places]


class DateTexts:
    """Codes of texts that are dates in one format: seconds since 1970.

    Parameters
    ----------
    form : str
        See `dates.parsed`.
    missing : MissingValues
        Cells that a user says are missing.

    Examples
    --------
    >>> book = DateTexts("%d.%m.%Y")
    >>> codes = book.codes(pa.array(["24.12.2023", None, "soon"]), 0)
    >>> book.cells(codes).tolist()
    ['24.12.2023', None, '(no date)']
    """

    max_numbers = MAX_PARTS

    def __init__(self, form: str, missing: MissingValues = NO_FURTHER) -> None:
        self._format, self._missing = form, missing
        self._zone: tzinfo | None = None

    def codes(self, column: pa.Array, start: int) -> NDArray[np.float64]:
        """Return the codes of the next cells."""
        return coded(column, self._code_of)

    def _code_of(self, cell: object) -> float:
        text = text_of(cell)
        if text is None or text in WEAKLY_MISSING or text in self._missing:
            return np.nan
        date = parsed(text, self._format)
        if date is not None and date.tzinfo is not None:
            self._zone = UTC
        return seconds_of(date)

    def cells(self, codes: NDArray[np.float64]) -> AnyArray:
        """Return texts that codes stand for, None for NaN; those with a zone in UTC."""
        distinct, places = np.unique(codes, return_inverse=True)
        return np.array([self._text_of(code) for code in distinct.tolist()], dtype=object)[places]

    def _text_of(self, code: float) -> str | None:
        if code != code:
            return None
        if code == STRAY:
            return "(no date)"
        date = (EPOCH + timedelta(seconds=code)).replace(tzinfo=self._zone)
        return date.isoformat() if self._format == ISO else date.strftime(self._format)


def _hashes(texts: list[str | None]) -> NDArray[np.float64]:
    """Return a number for each text, the same in every process; NaN for None."""
    from pandas.util import hash_array

    hashes = hash_array(np.array([*texts, ""], dtype=object)[:-1], categorize=False)
    numbers = (hashes >> np.uint64(64 - CODE_BITS)).astype(np.float64)
    numbers[[text is None for text in texts]] = np.nan
    return numbers

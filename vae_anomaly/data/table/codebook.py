"""Codes of the texts of a column, before its type is known, in bounded memory."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vae_anomaly._types import AnyArray
from vae_anomaly.data.cells import WEAKLY_MISSING, has_leading_zero, is_number
from vae_anomaly.data.table.column import text_of
from vae_anomaly.data.table.missing import NO_FURTHER, MissingValues
from vae_anomaly.data.table.reader import is_infinite

__all__ = ["MAX_TEXTS", "Codebook"]

MAX_TEXTS = 100_000
"""Distinct texts of a column that are kept while it is read: the most frequent ones."""

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

    Examples
    --------
    >>> book = Codebook()
    >>> codes = book.add(pa.array(["3", "x", None, "-", "x"]), 0)
    >>> book.cells_of(codes).tolist(), book.n_numbers, book.n_others, book.first_other
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
        self._texts: dict[float, str] = {}
        self._counts: Counter[float] = Counter()

    @property
    def is_of_numbers(self) -> bool:
        """Whether at least half of the cells that are not missing are numbers, but not all."""
        return 0 < self.n_others <= self.n_numbers and not self.has_codes

    def add(self, column: pa.Array, start: int) -> NDArray[np.float64]:
        """Return the codes of the next cells, the first of which is in the row `start`."""
        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        texts = [self._text_of(cell) for cell in column.dictionary.to_pylist()]
        places = pc.fill_null(column.indices.cast(pa.int64()), len(texts))
        data = np.frombuffer(places.buffers()[1] or b"", np.int64)
        indices = data[places.offset :][: len(places)]
        counts = np.bincount(indices, minlength=len(texts) + 1)
        codes = np.append(_hashes(texts), np.nan)
        self._count(texts, counts.tolist(), codes.tolist())
        if self.first_other is None:
            others = [i for i, text in enumerate(texts) if _is_other(text)]
            found = np.flatnonzero(np.isin(indices, others))
            if len(found):
                self.first_other = start + int(found[0]), texts[indices[found[0]]] or ""
        return codes[indices]

    def _text_of(self, cell: object) -> str | None:
        text = text_of(cell)
        return None if text is None or text in self._missing else text

    def _count(self, texts: list[str | None], counts: list[int], codes: list[float]) -> None:
        for text, count, code in zip(texts, counts, codes, strict=False):
            if text is None or not count:
                continue
            self._texts[code] = text
            self._counts[code] += count
            if is_number(text):
                self.n_numbers += count
                self.has_codes |= has_leading_zero(text)
            elif _is_other(text):
                self.n_others += count
                self.n_numbers += count * is_infinite(text)
        if len(self._texts) > 2 * MAX_TEXTS:
            self._counts = Counter(dict(self._counts.most_common(MAX_TEXTS)))
            self._texts = {code: self._texts[code] for code in self._counts}

    def cells_of(self, codes: NDArray[np.float64]) -> AnyArray:
        """Return the texts that codes stand for, None for NaN.

        A text that was too rare to be kept has a stand-in of its own.
        """
        distinct, places = np.unique(codes, return_inverse=True)
        texts = [
            None if code != code else self._texts.get(code, f"(rare text {int(code):x})")
            for code in distinct.tolist()
        ]
        return np.array(texts, dtype=object)[places]


def _is_other(text: str | None) -> bool:
    """Return whether a text is no finite number, and does not stand for a missing one."""
    return text is not None and text not in WEAKLY_MISSING and not is_number(text)


def _hashes(texts: list[str | None]) -> NDArray[np.float64]:
    """Return a number for each text, the same in every process; NaN for None."""
    from pandas.util import hash_array

    hashes = hash_array(np.array([*texts, ""], dtype=object)[:-1], categorize=False)
    numbers = (hashes >> np.uint64(64 - CODE_BITS)).astype(np.float64)
    numbers[[text is None for text in texts]] = np.nan
    return numbers

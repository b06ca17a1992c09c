"""Uniform random sample of rows that are read in batches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["RowSample"]

Array = NDArray[np.float64]


class RowSample:
    """Uniform random sample of a stream of rows, without replacement, in their order.

    Each row gets a random key, and the rows with the smallest keys are kept: a bottom-k
    sample (Cohen and Kaplan, "Summarizing data using bottom-k sketches", PODC 2007,
    :doi:`10.1145/1281100.1281133`). The sample depends on the seed and the number of
    rows, not on the batches.

    Parameters
    ----------
    columns : int
    max_rows : int or None
        Size of the sample; None keeps all rows. Memory holds up to four times as many.
    seed : int

    Attributes
    ----------
    seen : int
        Number of rows added.

    Examples
    --------
    >>> sample = RowSample(1, max_rows=3, seed=0)
    >>> for batch in np.arange(10.0).reshape(5, 2, 1):
    ...     sample.add(batch)
    >>> sample.seen, sample.rows().ravel().tolist()
    (10, [1.0, 2.0, 3.0])
    """

    def __init__(self, columns: int, max_rows: int | None, seed: int) -> None:
        self.seen = 0
        self._max_rows = max_rows
        # Not RandomState, which training uses: the same seed results in other numbers.
        self._rng = np.random.default_rng(seed)
        self._max_key = 1.0
        self._kept = 0
        self._keys: list[Array] = []
        self._rows: list[Array] = [np.empty((0, columns))]

    def add(self, rows: Array) -> None:
        """Add the next rows, (n, columns)."""
        keys = self._rng.random(len(rows))
        self.seen += len(rows)
        chosen = keys < self._max_key
        self._keys.append(keys[chosen])
        self._rows.append(rows[chosen])
        self._kept += int(chosen.sum())
        # Not after every batch, since it copies the rows.
        if self._max_rows is not None and self._kept > 2 * self._max_rows:
            self._prune()

    def rows(self) -> Array:
        """Return the rows of the sample, (n, columns), in the order in which they were added."""
        self._prune()
        return self._rows[0]

    def _prune(self) -> None:
        """Discard all rows but those with the smallest keys."""
        keys, rows = np.concatenate([*self._keys, []]), np.concatenate(self._rows)
        self._keys, self._rows = [], []
        if self._max_rows is not None and len(keys) > self._max_rows:
            smallest = np.sort(np.argpartition(keys, self._max_rows - 1)[: self._max_rows])
            keys, rows = keys[smallest], rows[smallest]
            self._max_key = keys.max()
        self._keys, self._rows, self._kept = [keys], [rows], len(keys)

"""Some rows of a table that is read in batches, each as likely as any other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["RowSample"]

Array = NDArray[np.float64]


class RowSample:
    """A uniform sample of the rows that go by, in their order.

    Every row draws a number, and the rows of the least numbers are kept: a bottom-k
    sample (Cohen and Kaplan, "Summarizing data using bottom-k sketches", PODC 2007,
    :doi:`10.1145/1281100.1281133`). Which they are depends on the seed and on how many
    rows there are, not on the batches that they come in.

    Parameters
    ----------
    columns : int
    most : int or None
        How many rows to keep; None keeps all. Four times as many are in memory at times.
    seed : int

    Attributes
    ----------
    seen : int
        Rows that went by.

    Examples
    --------
    >>> sample = RowSample(1, most=3, seed=0)
    >>> for batch in np.arange(10.0).reshape(5, 2, 1):
    ...     sample.add(batch)
    >>> sample.seen, sample.rows().ravel().tolist()
    (10, [1.0, 2.0, 3.0])
    """

    def __init__(self, columns: int, most: int | None, seed: int) -> None:
        self.seen = 0
        self._most = most
        # Of another kind than what training draws from: the same seed makes other numbers.
        self._rng = np.random.default_rng(seed)
        self._bound = 1.0
        self._kept = 0
        self._keys: list[Array] = []
        self._rows: list[Array] = [np.empty((0, columns))]

    def add(self, rows: Array) -> None:
        """Look at the next rows, (n, columns)."""
        keys = self._rng.random(len(rows))
        self.seen += len(rows)
        chosen = keys < self._bound
        self._keys.append(keys[chosen])
        self._rows.append(rows[chosen])
        self._kept += int(chosen.sum())
        # Not at every batch: the kept rows are copied.
        if self._most is not None and self._kept > 2 * self._most:
            self._settle()

    def rows(self) -> Array:
        """Give the rows that are kept, (n, columns), in the order in which they came."""
        self._settle()
        return self._rows[0]

    def _settle(self) -> None:
        """Keep the rows of the least numbers."""
        keys, rows = np.concatenate([*self._keys, []]), np.concatenate(self._rows)
        self._keys, self._rows = [], []
        if self._most is not None and len(keys) > self._most:
            least = np.sort(np.argpartition(keys, self._most - 1)[: self._most])
            keys, rows = keys[least], rows[least]
            self._bound = keys.max()
        self._keys, self._rows, self._kept = [keys], [rows], len(keys)

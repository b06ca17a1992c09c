"""Uniform sample of the records of a source that is read in batches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.data.base import Array, Records

__all__ = ["RowSample"]


class RowSample:
    """A uniform sample of rows, in their order.

    Every row draws a number, and the rows with the smallest numbers are kept: a bottom-k
    sample (Cohen and Kaplan, "Summarizing data using bottom-k sketches", PODC 2007,
    :doi:`10.1145/1281100.1281133`). The sample depends on the seed and on the number of
    rows, not on the batches that they come in.

    Parameters
    ----------
    shape : tuple of int
        Shape of one row.
    max_rows : int or None
        Size of the sample; None keeps all rows. Memory holds up to four times as many.
    seed : int

    Attributes
    ----------
    seen : int
        Number of rows so far.

    Examples
    --------
    >>> sample = RowSample((1,), max_rows=3, seed=0)
    >>> for batch in np.arange(10.0).reshape(5, 2, 1):
    ...     sample.add(batch)
    >>> sample.seen, sample.rows().ravel().tolist()
    (10, [1.0, 2.0, 3.0])
    """

    def __init__(self, shape: tuple[int, ...], max_rows: int | None, seed: int) -> None:
        self.seen = 0
        self._shape, self._max_rows = shape, max_rows
        # Another generator than that of training: the same seed draws other numbers.
        self._rng = np.random.default_rng(seed)
        self._bound = 1.0
        self._kept = 0
        self._draws: list[Array] = []
        self._rows: list[NDArray[np.generic]] = []

    def add(self, rows: Records) -> None:
        """Add the next rows, (n, *shape), to those that are sampled from."""
        draws = self._rng.random(len(rows))
        self.seen += len(rows)
        chosen = draws < self._bound
        self._draws.append(draws[chosen])
        self._rows.append(rows[chosen])
        self._kept += int(chosen.sum())
        # Not at every batch: the kept rows are copied.
        if self._max_rows is not None and self._kept > 2 * self._max_rows:
            self._shrink()

    def limit(self, max_rows: int | None) -> None:
        """Make the sample smaller; it is the one that would have been drawn with this size."""
        if max_rows is not None and (self._max_rows is None or max_rows < self._max_rows):
            self._max_rows = max_rows

    def rows(self) -> Records:
        """Return the sample, (n, *shape), in the order in which the rows came."""
        self._shrink()
        return self._rows[0]

    def _shrink(self) -> None:
        """Keep the rows with the smallest numbers."""
        if not self._rows:
            self._rows = [np.empty((0, *self._shape))]
        draws, rows = np.concatenate([*self._draws, []]), np.concatenate(self._rows)
        self._draws, self._rows = [], []
        if self._max_rows is not None and len(draws) > self._max_rows:
            smallest = np.sort(np.argpartition(draws, self._max_rows - 1)[: self._max_rows])
            draws, rows = draws[smallest], rows[smallest]
            self._bound = draws.max()
        self._draws, self._rows, self._kept = [draws], [rows], len(draws)

"""Where training rows come from: for each network in an order of its own, some steps at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice, repeat
from typing import NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.data.scaling import ColumnScaler
from vae_anomaly.stats.likelihoods import LIKELIHOODS

__all__ = [
    "Block",
    "BatchStream",
    "TrainingData",
    "InMemoryData",
    "shuffled_batches",
    "validation_size",
]

Rows = NDArray[np.intp]
Values = NDArray[np.float32]

VALIDATION_SHARE = 0.1
MAX_VALIDATION_ROWS = 2000
"""Rows that a member is stopped by instead of learning from them; others learn from them."""


def validation_size(n: int) -> int:
    """Tell how many of n rows a member watches."""
    return min(MAX_VALIDATION_ROWS, int(VALIDATION_SHARE * n))


class Block(NamedTuple):
    """Some rows for each member: what the encoder sees, and what the likelihood explains."""

    x: Values  # (..., members, rows, columns)
    target: Values  # of this shape as well; the same array where the two are alike


class BatchStream(NamedTuple):
    """What a training gets to see."""

    held_out: Block  # (members, k, columns)
    watches: bool  # whether nobody learns from what is held out for it
    blocks: Iterator[Block]  # (steps, members, batch, columns) each, without end
    unseen: Iterator[object] | None = None  # each takes the next block away without making it

    def skip(self, count: int) -> None:
        """Pass over so many blocks."""
        deque(islice(self.unseen or self.blocks, count), maxlen=0)


class TrainingData(Protocol):
    """Rows to learn from, in memory or not."""

    @property
    def given(self) -> Mapping[str, NDArray[np.float64]]:
        """What `Likelihood.estimate` found in them."""

    def feed(
        self, members: int, batch_size: int, steps: int, rng: np.random.RandomState
    ) -> BatchStream:
        """Deal the rows out, batches for so many steps at a time."""


class InMemoryData(NamedTuple):
    """Rows to learn from, in memory."""

    x: Values  # (versions n, columns), what the encoder sees
    target: Values  # (versions n, columns), what the likelihood explains
    versions: int = 1  # of each row: i, i + n, i + 2 n and so on are one
    given: Mapping[str, NDArray[np.float64]] = {}  # what `Likelihood.estimate` found

    @classmethod
    def of(
        cls, versions: Iterable[NDArray[np.float64]], columns: ColumnScaler, likelihood: str
    ) -> Self:
        """Prepare versions of the same rows, (n, all columns) each."""
        seen: list[Values] = []
        explained: list[Values] = []
        given: Mapping[str, NDArray[np.float64]] | None = None
        for rows in versions:
            inputs, target = columns.input_and_target(rows, likelihood)
            if given is None:
                given = LIKELIHOODS[likelihood]().estimate(target)
            seen.append(inputs.astype(np.float32))
            explained.append(seen[-1] if target is inputs else target.astype(np.float32))
        x = np.concatenate(seen)
        same = explained[0] is seen[0]
        return cls(x, x if same else np.concatenate(explained), len(seen), given or {})

    def divide(self, members: int, rng: np.random.RandomState) -> tuple[Rows, Rows]:
        """Rows that each member learns from, and k that it watches: (members, ...) both.

        Of the rows that it watches it learns from no version, and watches the first.
        """
        n = len(self.x) // self.versions
        k = validation_size(n)
        orders = np.stack([rng.permutation(n) for _ in range(members)])
        learned = [orders[:, k:] + n * version for version in range(self.versions)]
        return np.concatenate(learned, axis=1), orders[:, :k]

    def feed(
        self, members: int, batch_size: int, steps: int, rng: np.random.RandomState
    ) -> BatchStream:
        """See `TrainingData`."""
        learned, watched = self.divide(members, rng)
        batches = shuffled_batches(learned, batch_size, rng)
        # With fewer than ten rows there are none to spare, but weights must be looked at.
        held_out = self._taken(watched if watched.size else learned)
        blocks = (self._taken(np.stack([*islice(batches, steps)])) for _ in repeat(None))
        unseen = (deque(islice(batches, steps), maxlen=0) for _ in repeat(None))
        return BatchStream(held_out, watched.size > 0, blocks, unseen)

    def _taken(self, rows: NDArray[np.integer]) -> Block:
        x = self.x[rows]
        return Block(x, x if self.target is self.x else self.target[rows])


def shuffled_batches(
    learned: Rows, batch_size: int, rng: np.random.RandomState
) -> Iterator[NDArray[np.int32]]:
    """Yield row numbers for ever, (members, batch): each member's rows in a new order each epoch.

    Batches run across the ends of epochs, so that none is short.
    """
    batch_size = min(batch_size, learned.shape[1])
    queue = np.empty((len(learned), 0), dtype=np.int32)
    while True:
        if queue.shape[1] < batch_size:
            epoch = np.stack([rng.permutation(rows) for rows in learned]).astype(np.int32)
            queue = np.concatenate([queue, epoch], axis=1)
        yield queue[:, :batch_size]
        queue = queue[:, batch_size:]

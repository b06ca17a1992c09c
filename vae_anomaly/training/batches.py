"""Batches of training data: for each member in an order of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice, repeat
from typing import NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.data.base import Encoded
from vae_anomaly.stats.likelihoods import JointLikelihood

__all__ = [
    "Batch",
    "BatchStream",
    "InMemoryData",
    "TrainingData",
    "shuffled_batches",
    "validation_size",
]

Rows = NDArray[np.intp]
Values = NDArray[np.float32]

VALIDATION_SHARE = 0.1
MAX_VALIDATION_ROWS = 2000
"""Validation rows of a member, for early stopping; the other members train on them."""


COMPLETE_SHARE = 0.25
"""Share of training rows that the encoder network sees completely, where features are hidden."""

MAX_HIDDEN_SHARE = 0.5
"""Greatest expected share of hidden features in the other rows."""


def validation_size(n: int) -> int:
    """Return the number of validation rows of a member, of n rows."""
    return min(MAX_VALIDATION_ROWS, int(VALIDATION_SHARE * n))


class Batch(NamedTuple):
    """Rows for each member."""

    x: Values  # (..., members, rows, inputs)
    target: Values  # (..., members, rows, targets); the same array where both are equal
    observed: Values | None = None  # (..., members, rows, features), 1 or 0; None where all are


class BatchStream(NamedTuple):
    """Validation rows and an endless stream of training batches."""

    held_out: Batch  # (members, k, ...)
    validates: bool  # False where the held-out rows are training rows as well
    batches: Iterator[Batch]  # (steps, members, batch, ...) each
    skipped: Iterator[object] | None = None  # consumes the next batch without building it

    def skip(self, count: int) -> None:
        """Consume some batches."""
        deque(islice(self.skipped or self.batches, count), maxlen=0)


class TrainingData(Protocol):
    """Rows for training, in memory or not."""

    @property
    def observed(self) -> Values | None:
        """Which features of the rows are observed; None where all are."""

    @property
    def fixed_parameters(self) -> Mapping[str, NDArray[np.float64]]:
        """Parameters that `JointLikelihood.estimate` found in the rows."""

    @property
    def starting_outputs(self) -> NDArray[np.float64] | None:
        """Outputs that `JointLikelihood.starting_outputs` found in the rows."""

    def stream(
        self, members: int, batch_size: int, steps: int, rng: np.random.RandomState
    ) -> BatchStream:
        """Return a stream of batches for `steps` gradient steps each."""


class InMemoryData(NamedTuple):
    """Rows for training, in memory."""

    x: Values  # (versions n, inputs)
    target: Values  # (versions n, targets)
    versions: int = 1  # of each row: i, i + n, i + 2 n and so on are versions of one row
    fixed_parameters: Mapping[str, NDArray[np.float64]] = {}
    observed: Values | None = None  # (versions n, features), 1 or 0; None where all are
    starting_outputs: NDArray[np.float64] | None = None
    feature_of_input: Rows | None = None  # features are hidden at random if it is given

    @classmethod
    def of(
        cls,
        versions: Iterable[Encoded],
        joint: JointLikelihood,
        explained: Rows | None = None,
        feature_of_input: Rows | None = None,
    ) -> Self:
        """Take versions of the same encoded records.

        Parameters
        ----------
        versions : iterable of Encoded
        joint : JointLikelihood
        explained : ndarray of int, optional
            Features of the targets, where records have features that are not observed.
        feature_of_input : ndarray of int, optional
            Among the explained ones. Features are then hidden at random from the encoder
            network, which learns to predict them from the others: targets stay.
        """
        inputs: list[Values] = []
        targets: list[Values] = []
        observed: list[Values] = []
        fixed: Mapping[str, NDArray[np.float64]] | None = None
        outputs = None
        for encoded in versions:
            if fixed is None:
                fixed = joint.estimate(encoded.targets)
                outputs = joint.starting_outputs(encoded.targets)
            inputs.append(encoded.inputs.astype(np.float32))
            if encoded.observed is not None:
                seen = encoded.observed if explained is None else encoded.observed[:, explained]
                observed.append(seen.astype(np.float32))
            same = encoded.targets is encoded.inputs
            targets.append(inputs[-1] if same else encoded.targets.astype(np.float32))
        x = np.concatenate(inputs)
        same = targets[0] is inputs[0]
        target = x if same else np.concatenate(targets)
        mask = np.concatenate(observed) if observed else None
        return cls(x, target, len(inputs), fixed or {}, mask, outputs, feature_of_input)

    def divide(self, members: int, rng: np.random.RandomState) -> tuple[Rows, Rows]:
        """Return the training and the k validation rows of each member: (members, ...) both.

        A member trains on no version of its validation rows, and validates on the first.
        """
        n = len(self.x) // self.versions
        k = validation_size(n)
        orders = np.stack([rng.permutation(n) for _ in range(members)])
        learned = [orders[:, k:] + n * version for version in range(self.versions)]
        return np.concatenate(learned, axis=1), orders[:, :k]

    def stream(
        self, members: int, batch_size: int, steps: int, rng: np.random.RandomState
    ) -> BatchStream:
        """See `TrainingData`."""
        learned, validation = self.divide(members, rng)
        numbers = shuffled_batches(learned, batch_size, rng)
        # Fewer than ten rows leave none for validation, but a loss is needed.
        seed = 0 if self.feature_of_input is None else int(rng.randint(2**31 - 1))
        held_out = self._taken(validation if validation.size else learned, [seed, 0])
        # Skipped batches count, so that those that follow hide the same features.
        rows = (np.stack([*islice(numbers, steps)]) for _ in repeat(None))
        numbered = enumerate(rows, start=1)
        batches = (self._taken(part, [seed, i]) for i, part in numbered)
        skipped = (None for _ in numbered)
        return BatchStream(held_out, validation.size > 0, batches, skipped)

    def _taken(self, rows: NDArray[np.integer], seed: list[int]) -> Batch:
        x = self.x[rows]
        if self.feature_of_input is not None:
            shown = shown_features(rows.shape, int(self.feature_of_input.max()) + 1, seed)
            x = x * shown[..., self.feature_of_input]
        observed = None if self.observed is None else self.observed[rows]
        return Batch(x, x if self.target is self.x else self.target[rows], observed)


def shown_features(shape: tuple[int, ...], n_features: int, seed: list[int]) -> NDArray[np.bool_]:
    """Draw which features of rows the encoder network sees: (*shape, n_features).

    A quarter of the rows is complete; of each other one the share of hidden features is
    expected to be a number from U(0, `MAX_HIDDEN_SHARE`).
    """
    rng = np.random.default_rng(seed)
    share = rng.uniform(0.0, MAX_HIDDEN_SHARE, size=shape) * (rng.random(shape) >= COMPLETE_SHARE)
    return rng.random((*shape, n_features), dtype=np.float32) >= share[..., None]


def shuffled_batches(
    learned: Rows, batch_size: int, rng: np.random.RandomState
) -> Iterator[NDArray[np.int32]]:
    """Yield row numbers without end, (members, batch), reshuffled for each member and epoch.

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

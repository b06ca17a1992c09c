"""Indicators of the levels of categories: codes to one-hot targets and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._text import counted
from vae_anomaly._types import Symbol
from vae_anomaly.stats.categorical import unseen_probability

__all__ = ["LevelIndicators"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LevelIndicators:
    """Categories as indicators: one for each level in training rows, and one for all others.

    Attributes
    ----------
    counts : tuple of ndarray
        For each category how often each of its levels occurs in training rows, and last how
        often all others do, which share a code.

    Examples
    --------
    >>> levels = LevelIndicators((np.array([2.0, 1.0, 0.0]),))
    >>> indicators, unseen = levels.encode(np.array([[0.0], [1.0], [2.0], [np.nan]]))
    >>> indicators.tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    >>> unseen.round(2).tolist()
    [[0.0], [0.0], [1.1], [0.0]]
    """

    counts: tuple[Array, ...] = ()

    @classmethod
    def fit(
        cls, codes: Array, n_levels: Sequence[int], last_shares: Sequence[float]
    ) -> LevelIndicators:
        """Count the levels in training rows, (n, n_categories).

        Where levels were left out, the last ones are there only because all rows, calibration
        rows as well, chose them: new rows have them less often. So levels that are not more
        frequent, by a standard deviation, than the last one, of share `last_shares`, count as
        others, but for the most frequent one.
        """
        counts = []
        for column, size, last_share in zip(codes.T, n_levels, last_shares, strict=True):
            codes_seen = np.minimum(column[~np.isnan(column)], size).astype(np.intp)
            found = np.bincount(codes_seen, minlength=size + 1).astype(np.float64)
            last = last_share * len(codes_seen)
            if last > 0:
                is_other = found <= last + np.sqrt(last)
                is_other[-1], is_other[found[:-1].argmax()] = True, False
                found = np.append(np.where(is_other, 0.0, found)[:-1], found[is_other].sum())
            counts.append(found)
        return cls(tuple(counts))

    @property
    def words(self) -> list[str]:
        """How many levels each category has, in words.

        Examples
        --------
        >>> LevelIndicators((np.array([4.0, 2.0, 0.0]), np.array([4.0, 0.0, 2.0]))).words
        ['2 levels', '1 level and all others']
        """
        return [
            f"{counted(int(np.count_nonzero(counts[:-1])), 'level')} and all others"
            if counts[-1]
            else counted(len(counts) - 1, "level")
            for counts in self.counts
        ]

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """Indicators of each category that varies; 0 for one with fewer than two levels."""
        seen = [(int((counts[:-1] > 0).sum()), int(counts[-1] > 0)) for counts in self.counts]
        return tuple(n + 1 if n and n + others > 1 else 0 for n, others in seen)

    @cached_property
    def _slots(self) -> tuple[NDArray[np.intp], ...]:
        """Indicator of each code, for each category; of levels without training rows the last."""
        slots = []
        for counts in self.counts:
            seen = counts[:-1] > 0
            order = np.where(seen, np.cumsum(seen) - 1, seen.sum())
            slots.append(np.append(order, seen.sum()))
        return tuple(slots)

    def encode(self, codes: Array) -> tuple[Array, Array]:
        """Return indicators (n, sum of widths), and the nats of unseen levels: (n, n_categories).

        All indicators of a missing cell are 0, and of one with a level that no training row
        has: it costs minus the log of the probability of an unseen level.
        """
        indicators = np.zeros((len(codes), sum(self.widths)))
        nats, start = np.zeros(codes.shape), 0
        columns = zip(codes.T, self.widths, self._slots, self.counts, strict=True)
        for j, (column, width, slots, counts) in enumerate(columns):
            rows = np.flatnonzero(~np.isnan(column))
            place = slots[np.minimum(column[rows], len(slots) - 1).astype(np.intp)]
            unseen = (place == slots[-1]) & (counts[-1] == 0)
            nats[rows[unseen], j] = -np.log(unseen_probability(counts))
            if width:
                indicators[rows[~unseen], start + place[~unseen]] = 1.0
                start += width
        return indicators, nats

    def in_graph(self, codes: Symbol) -> tuple[Symbol, Symbol]:
        """Add `encode` to an ONNX graph; a code of no level is that of an unseen one."""
        seen = [np.flatnonzero(counts[:-1] > 0) for counts in self.counts]
        n = len(seen)
        owner = np.repeat(np.arange(n), [len(one) for one in seen])
        hits = codes.columns(owner).test("Equal", np.concatenate([*seen, np.empty(0)]))
        others = codes.is_number() - hits.apply("MatMul", np.eye(n)[owner])
        known = np.array([counts[-1] > 0 for counts in self.counts], dtype=bool)
        cost = np.array([-np.log(unseen_probability(counts)) for counts in self.counts])

        # The indicators of each category that varies, that of all other levels last.
        owner = np.concatenate([owner, np.arange(n)])
        order = owner.argsort(kind="stable")
        chosen = order[np.array(self.widths, dtype=int)[owner[order]] > 0]
        indicators = hits.apply("Concat", others * known, axis=1).columns(chosen)
        return indicators, others * np.where(known, 0.0, cost)

    def decode(self, indicators: Array) -> Array:
        """Return the codes of the most probable levels: (n, n_categories)."""
        codes, start = np.zeros((len(indicators), len(self.counts))), 0
        for j, (width, counts) in enumerate(zip(self.widths, self.counts, strict=True)):
            seen = np.flatnonzero(counts[:-1] > 0)
            if width:
                best = indicators[:, start : start + width - 1].argmax(axis=1)
                codes[:, j] = seen[best]
                start += width
            elif len(seen):
                codes[:, j] = seen[0]
            else:
                codes[:, j] = np.nan
        return codes

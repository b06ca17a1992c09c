"""Digests of the records of a fit, by which they are recognised in other data."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._text import are, counted
from vae_anomaly.data.base import Encoder, Records

__all__ = ["MAX_DIGESTS", "Repeats", "SeenRecords", "SeenRowsWarning", "digests_of"]

Digests = NDArray[np.uint64]

MAX_DIGESTS = 2**18
"""Digests that are kept of the learned records, and of those that calibrate: 2 MiB each."""

CHUNK_NUMBERS = 2**20
"""Numbers of the encoded records that are in memory at a time."""

MAX_DEVIATIONS = 4.0
"""Standard deviations above the expected repeats from which on records count as seen."""


class SeenRowsWarning(UserWarning):
    """Rows were left out, for the model had seen them in training; or they were kept."""


def digests_of(encoder: Encoder, records: Records) -> Digests:
    """Return a digest of each record, (n,): 64 bits of BLAKE2b.

    Two records have the same digest if they are the same to the networks, in single precision;
    two others have it with a probability of 2**-64.
    """
    outline, chunks = encoder.outline, []
    size = max(1, CHUNK_NUMBERS // (outline.n_inputs + outline.n_features))
    for start in range(0, len(records), size):
        encoded = encoder.encode(records[start : start + size])
        numbers = np.concatenate([encoded.inputs, encoded.penalty], axis=1)
        rows = np.ascontiguousarray(numbers, dtype="<f4") + np.float32(0)  # no negative zeros
        chunks.append(b"".join(blake2b(row, digest_size=8).digest() for row in rows))
    return np.frombuffer(b"".join(chunks), dtype="<u8").astype(np.uint64)


class Repeats(NamedTuple):
    """Records that equal those of a fit.

    Attributes
    ----------
    left_out : ndarray of bool of shape (n,)
        Records to leave out: as many of equal ones as the fit had, or none.
    unknown : ndarray of bool of shape (n,)
        Records that cannot be judged, for their digests were not kept, where others are left out.
    n_equal : int
        Repeats of records of the fit; among normal ones, where these are known.
    n_by_chance : float
        As many are expected if the fit had seen none of them.
    """

    left_out: NDArray[np.bool_]
    unknown: NDArray[np.bool_]
    n_equal: int
    n_by_chance: float

    @property
    def used(self) -> NDArray[np.bool_]:
        """Records that are not left out: (n,)."""
        return ~(self.left_out | self.unknown)

    @property
    def n_left_out(self) -> int:
        """Number of records that the fit has seen."""
        return int(self.left_out.sum())

    def notes(self, unit: str, verb: str, *, keep: bool) -> list[str]:
        """Return lines about the records that the fit has seen.

        Parameters
        ----------
        unit : str
            Name of a record.
        verb : str
            What the model did with them, such as "learned".
        keep : bool
            Whether they are used nevertheless.
        """
        all_of, equal = counted(len(self.used), unit), counted(self.n_equal, unit)
        if not self.n_left_out:
            kept = f"about {self.n_by_chance:,.0f} would be by chance, so that all are kept"
            note = f"note: {equal} {are(self.n_equal)} equal to some that the model {verb}; {kept}"
            return [note] if self.n_equal else []
        if keep:
            return [
                f"warning: the model {verb} {self.n_left_out:,} of these {all_of}, which are kept: "
                f"others have higher scores"
            ]
        notes = [f"note: left out {self.n_left_out:,} of {all_of}, which the model {verb}"]
        n_unknown = int(self.unknown.sum())
        if n_unknown:
            notes.append(
                f"note: left out {counted(n_unknown, unit)} that it may have seen: of so many, a "
                f"model knows a sample"
            )
        return notes


NO_DIGESTS = np.empty(0, dtype=np.uint64)


@dataclass(frozen=True, eq=False)
class SeenRecords:
    """Digests of the records that a model was fitted and calibrated with.

    Of more than `MAX_DIGESTS` records the smallest digests are kept, a uniform sample of the
    distinct records.

    Attributes
    ----------
    learned : ndarray of uint64
        Digests of the records that the networks learned from, ascending, one for each.
    calibration : ndarray of uint64
        Digests of the calibration records, ascending.

    Examples
    --------
    >>> seen = SeenRecords().with_learned(np.array([3, 5, 9], dtype=np.uint64))
    >>> seen.repeats(np.array([5, 5, 7], dtype=np.uint64)).used.tolist()
    [False, True, True]
    """

    learned: Digests = field(default_factory=NO_DIGESTS.copy)
    calibration: Digests = field(default_factory=NO_DIGESTS.copy)

    @classmethod
    def of(cls, encoder: Encoder, learned: Records, calibration: Records) -> Self:
        """Return the digests of the records of a fit."""
        seen = cls().with_learned(digests_of(encoder, learned))
        return seen.with_calibration(digests_of(encoder, calibration))

    def with_learned(self, digests: Digests) -> Self:
        """Return the value with other learned records."""
        return replace(self, learned=np.sort(digests)[:MAX_DIGESTS])

    def with_calibration(self, digests: Digests) -> Self:
        """Return the value with other calibration records."""
        return replace(self, calibration=np.sort(digests)[:MAX_DIGESTS])

    def repeats(
        self,
        digests: Digests,
        *,
        calibration: bool = True,
        normal: NDArray[np.bool_] | None = None,
    ) -> Repeats:
        """Find the records that the fit has seen, among others that equal them by chance.

        Of equal records as many are left out as the fit had. If some of these were equal to each
        other, and no more repeats are found than `expected_repeats` of fresh records, none is
        left out: where few records are distinct, chance repeats them, and without the frequent
        ones the rest would not be like fresh ones.

        Parameters
        ----------
        digests : ndarray of uint64 of shape (n,)
        calibration : bool, default=True
            Whether calibration records count as seen, beside the learned ones.
        normal : ndarray of bool of shape (n,), optional
            Records that chance is judged by, where others are known to be anomalies.

        Returns
        -------
        Repeats
        """
        both = (self.learned, self.calibration)
        limits = [part[-1] for part in both if len(part) == MAX_DIGESTS]
        judged = np.ones(len(digests), dtype=bool)
        if limits:
            judged = digests < min(limits)
            both = tuple(part[part < min(limits)] for part in both)
        everything = np.concatenate(both)
        known = everything if calibration else both[0]
        counted = judged if normal is None or not normal.any() else judged & normal
        found = _Repeated.of(known, digests, counted)
        seen = found.are_seen
        if not calibration and found.n_equal == len(known):  # all data of the fit?
            seen |= _Repeated.of(everything, digests, counted).are_seen
        if not seen:
            judged = np.ones_like(judged)
        return Repeats(found.mask & seen, ~judged, found.n_equal, found.expected)


class _Repeated(NamedTuple):
    """Repeats of known records, and whether these were seen.

    Attributes
    ----------
    mask : ndarray of bool of shape (n,)
    n_equal : int
        Those that are counted.
    expected : float
    are_seen : bool
        Whether there are more than by chance.
    """

    mask: NDArray[np.bool_]
    n_equal: int
    expected: float
    are_seen: bool

    @classmethod
    def of(cls, known: Digests, digests: Digests, counted: NDArray[np.bool_]) -> Self:
        """Compare digests, some of which are counted, with known ones."""
        distinct, counts = np.unique(known, return_counts=True)
        place = np.searchsorted(distinct, digests)
        present = np.append(distinct, 0)[place] == digests
        times = np.where((place < len(distinct)) & present, np.append(counts, 0)[place], 0)
        n_equal = int(np.count_nonzero(_occurrences(digests[counted]) < times[counted]))
        expected, deviation = expected_repeats(known, digests[counted])
        beyond_chance = n_equal > expected + MAX_DEVIATIONS * deviation
        are_seen = n_equal > 0 and (beyond_chance or bool((counts == 1).all()))
        return cls(_occurrences(digests) < times, n_equal, expected, are_seen)


def expected_repeats(known: Digests, fresh: Digests) -> tuple[float, float]:
    """Return mean and standard deviation of the number of repeats among fresh records.

    Fresh records are exchangeable with known ones. So of k equal records among n known and m
    fresh ones, X are known, with X hypergeometric: binomial, with probability n / (n + m), given
    the sum n of all X. min(X, k - X) are repeats. The variance of their sum given that of X is
    the one that the regression on it leaves.

    Examples
    --------
    >>> expected_repeats(np.array([7, 8], dtype=np.uint64), np.array([8, 9], dtype=np.uint64))
    (0.5, 0.5)
    """
    from scipy.special import gammaln, xlogy

    n, m = len(known), len(fresh)
    if not n or not m:
        return 0.0, 0.0
    share = n / (n + m)
    _, equal = np.unique(np.concatenate([known, fresh]), return_counts=True)
    mean = variance = covariance = 0.0
    for k, number in zip(*np.unique(equal[equal > 1], return_counts=True), strict=True):
        x = np.arange(k + 1)
        log_ways = gammaln(k + 1) - gammaln(x + 1) - gammaln(k - x + 1)
        p = np.exp(log_ways + xlogy(x, share) + xlogy(k - x, 1 - share))
        repeats = np.minimum(x, k - x)
        average = p @ repeats
        mean += number * average
        variance += number * (p @ (repeats - average) ** 2)
        covariance += number * (p @ (repeats * (x - k * share)))
    left = variance - covariance**2 / ((n + m) * share * (1 - share))
    return float(mean), float(np.sqrt(max(0.0, left)))


def _occurrences(digests: Digests) -> NDArray[np.int_]:
    """Return how many equal digests come before each one."""
    order = np.argsort(digests, kind="stable")
    ascending, places = digests[order], np.arange(len(digests))
    starts = np.searchsorted(ascending, ascending, side="left")
    before = np.empty(len(digests), dtype=np.int_)
    before[order] = places - starts
    return before

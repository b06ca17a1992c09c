"""Thresholds that hold a number of false episodes in a span of time.

Scores of neighbouring time steps depend on each other, so their ranks among single
calibration scores promise nothing. Blocks of time that are longer than the memory of the
scores are nearly exchangeable: the largest score of a normal block exceeds the r-th largest
of m calibration blocks with a probability of r / (m + 1), as in conformal prediction (Vovk,
Gammerman and Shafer, "Algorithmic learning in a random world", 2005), and given the
calibration blocks this probability has a Beta(r, m + 1 - r) distribution (Vovk, "Conditional
validity of inductive conformal predictors", :doi:`10.1007/s10994-013-5355-6`).
"""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._text import counted
from vae_anomaly.exceptions import ParameterError
from vae_anomaly.names import SPANS

__all__ = [
    "AlarmBudget",
    "BlockMaxima",
    "Promise",
    "alarm_rank",
    "blocks_needed",
    "span",
]

Array = NDArray[np.float64]

UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))
"""Units of time in seconds."""

EXCESS = 2.0
CONFIDENCE = 0.95
"""With this confidence, the true rate is at most `EXCESS` times the one that is asked for."""


class AlarmBudget(NamedTuple):
    """False episodes that are accepted.

    Attributes
    ----------
    episodes : float
        Number of them in `steps` time steps, on average.
    steps : float
    """

    episodes: float
    steps: float

    @classmethod
    def per(cls, episodes: float, span: str | int, step: int | None) -> Self:
        """Return a number in a span of time, one of `names.SPANS`, or in time steps.

        Raises
        ------
        ParameterError
            If the length of a time step, in nanoseconds, is not known.
        """
        if not isinstance(span, str):
            return cls(episodes, span)
        if step is None:
            raise ParameterError(
                f"per={span!r} needs time stamps, and the series has none. Give per as a "
                f"number of time steps, or a data frame with a DatetimeIndex."
            )
        return cls(episodes, SPANS[span] * 1e9 / step)

    def rate(self, length: int) -> float:
        """Return the accepted number in a block of so many time steps."""
        return self.episodes * length / self.steps

    def words(self, step: int | None = None) -> str:
        """Return the number in words; `step` is the length of a time step in nanoseconds.

        Examples
        --------
        >>> AlarmBudget(1, 2016).words(300 * 10**9)
        'At most 1 false episode in 7 days'
        """
        plural = "" if self.episodes == 1 else "s"
        return f"At most {self.episodes:g} false episode{plural} in {span(self.steps, step)}"


class Promise(NamedTuple):
    """False episodes to expect, if the coming time is like that of the calibration.

    Attributes
    ----------
    budget : AlarmBudget
    n_blocks : int
        Separate blocks of calibration steps on which it rests.
    block : int
        Time steps in a block.
    """

    budget: AlarmBudget
    n_blocks: int
    block: int

    def words(self, step: int | None = None) -> str:
        """Return a sentence; `step` is the length of a time step in nanoseconds.

        Examples
        --------
        >>> Promise(AlarmBudget(1, 2016), n_blocks=40, block=128).words(300 * 10**9)[-70:]
        'the coming time is like the calibration part: 40 blocks of 10.7 hours.'
        """
        return (
            f"{self.budget.words(step)}, on average, if the coming time is like the calibration "
            f"part: {counted(self.n_blocks, 'block')} of {span(self.block, step)}."
        )


def span(steps: float, step: int | None) -> str:
    """Return a number of time steps as a span of time, where their length is known.

    Examples
    --------
    >>> span(36, step=300 * 10**9), span(36, step=None)
    ('3 hours', '36 time steps')
    """
    if step is None:
        return f"{steps:,.0f} time steps"
    seconds = steps * step / 1e9
    unit, length = next((one for one in UNITS if seconds >= 2 * one[1] or one[1] == 1), UNITS[-1])
    count = f"{seconds / length:.3g}"
    return f"{count} {unit}" + ("" if count == "1" else "s")


class BlockMaxima:
    """Largest scores of the complete blocks of segments that come part by part.

    A segment that is shorter than a block is one.

    Parameters
    ----------
    length : int
        Time steps in a block.

    Examples
    --------
    >>> maxima = BlockMaxima(length=2)
    >>> for part in ([1.0], [4.0, 2.0], [9.0, 5.0]):
    ...     maxima.add(np.array(part)[:, None])
    >>> maxima.found.ravel().tolist()
    [4.0, 9.0]
    """

    def __init__(self, length: int) -> None:
        self._length = length
        self._rest: Array | None = None  # of a block that is not complete
        self._has_block = False  # of this segment
        self._found: list[Array] = []

    def add(self, scores: Array) -> None:
        """Add scores of consecutive time steps, (n_steps, k); NaN are left out."""
        known = np.where(np.isnan(scores), -np.inf, scores)
        joined = known if self._rest is None else np.concatenate([self._rest, known])
        count = len(joined) // self._length
        blocks = joined[: count * self._length].reshape(count, self._length, joined.shape[1])
        self._has_block |= count > 0
        self._found.append(blocks.max(axis=1, initial=-np.inf))
        self._rest = joined[count * self._length :]

    def finish(self) -> None:
        """End a segment."""
        if not self._has_block and self._rest is not None and len(self._rest):
            self._found.append(self._rest.max(axis=0, keepdims=True))
        self._rest, self._has_block = None, False

    @property
    def found(self) -> Array:
        """The largest scores: (n_blocks, k)."""
        maxima = np.concatenate(self._found) if self._found else np.empty((0, 0))
        return np.asarray(maxima[np.isfinite(maxima).all(axis=1)])


def alarm_rank(n_blocks: int, rate: float) -> int:
    """Return the largest rank whose threshold keeps a rate of blocks with an alarm.

    The probability that a normal block exceeds the score at this rank, from above, is at most
    `rate`, and given the calibration blocks at most twice `rate` with a confidence of 95 %.
    0 if the blocks are too few.

    Examples
    --------
    >>> [alarm_rank(m, 0.01) for m in (100, 150, 500)]
    [0, 1, 5]
    """
    from scipy.stats import binom

    ranks = np.arange(1, int(rate * (n_blocks + 1) + 1e-9) + 1)
    surely = binom.cdf(ranks - 1, n_blocks, min(1.0, EXCESS * rate)) <= 1 - CONFIDENCE
    return int(ranks[surely].max(initial=0))


def blocks_needed(rate: float) -> int:
    """Return the least number of blocks for which `alarm_rank` is not 0.

    Examples
    --------
    >>> blocks_needed(0.01)
    149
    """
    surely = np.log(1 - CONFIDENCE) / np.log1p(-min(EXCESS * rate, 1 - 1e-12))
    return int(np.ceil(max(1 / rate - 1, surely) - 1e-9))

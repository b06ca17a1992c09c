"""Exact moments of numbers, which do not depend on their order, and can be added."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

__all__ = ["ExactMoments"]

Array = NDArray[np.float64]

DIGITS = 53
"""Bits of the significand of a float64."""

HALF = 27
"""Bits of the lower half of a significand: products of halves, and sums of 256 of them, fit."""

PRODUCTS = 256


@dataclass(frozen=True)
class ExactMoments:
    """Number, sum and sum of squares of finite numbers, without any rounding.

    Floats are whole numbers times powers of two, and so are their sums and squares: sums of parts,
    in any order, are those of the whole to the last bit.

    Attributes
    ----------
    n : int
    total, squares : Fraction

    Examples
    --------
    >>> rows = np.array([1e16, 1.0, -1e16, 2.0])
    >>> whole, parts = ExactMoments.of(rows), ExactMoments.of(rows[2:]) + ExactMoments.of(rows[:2])
    >>> whole == parts, float(whole.total), np.add.reduce(rows)
    (True, 3.0, np.float64(2.0))
    """

    n: int = 0
    total: Fraction = Fraction(0)
    squares: Fraction = Fraction(0)

    @classmethod
    def of(cls, values: Array) -> ExactMoments:
        """Add up finite numbers, (n,)."""
        significands, exponents = np.frexp(values)
        whole = np.ldexp(significands, DIGITS).astype(np.int64)
        order = np.argsort(exponents.astype(np.int16), kind="stable")  # a radix sort
        powers, starts = np.unique(exponents[order], return_index=True)
        total = squares = Fraction(0)
        for power, part in zip(powers.tolist(), np.split(whole[order], starts[1:]), strict=False):
            unit = Fraction(2) ** (power - DIGITS)
            high, low = part >> HALF, part & (2**HALF - 1)
            total += unit * ((_sum(high) << HALF) + _sum(low))
            squares += unit**2 * (
                (_sum_of_products(high, high) << 2 * HALF)
                + (_sum_of_products(high, low) << HALF + 1)
                + _sum_of_products(low, low)
            )
        return cls(len(values), total, squares)

    def __add__(self, other: ExactMoments) -> ExactMoments:
        return ExactMoments(
            self.n + other.n, self.total + other.total, self.squares + other.squares
        )

    @property
    def mean(self) -> float:
        """Mean, rounded once; NaN of no numbers."""
        return float(self.total / self.n) if self.n else math.nan

    @property
    def deviation(self) -> float:
        """Standard deviation of all, divided by n; NaN of no numbers."""
        if not self.n:
            return math.nan
        mean = self.total / self.n
        variance = self.squares / self.n - mean**2
        # A power of four is taken out, so that squares of 1e300 do not overflow.
        shift = (variance.numerator.bit_length() - variance.denominator.bit_length()) // 2
        return math.ldexp(math.sqrt(variance / Fraction(4) ** shift), shift)


def _sum(values: NDArray[np.int64]) -> int:
    """Return the sum of up to 2**36 numbers of 27 bits."""
    return int(values.sum())


def _sum_of_products(one: NDArray[np.int64], other: NDArray[np.int64]) -> int:
    """Return the sum of products of numbers of 27 bits."""
    products = one * other
    sums = np.add.reduceat(products, np.arange(0, len(products), PRODUCTS))
    return (int((sums >> 32).sum()) << 32) + int((sums & (2**32 - 1)).sum())

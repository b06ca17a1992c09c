"""Units of pixels: the numbers that are black and white to a model, whatever file holds them."""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._text import counted, counted_among
from vae_anomaly.data.base import Array, Records
from vae_anomaly.stats.soft_clip import MAX_MAGNITUDE

__all__ = [
    "BYTES",
    "PixelRange",
    "PixelRangeWarning",
    "PixelValues",
    "RangeCheck",
    "chosen_range",
    "warn_beyond",
]

WHOLE_TOPS = (16, 255, 1023, 4095, 16383, 65535)
"""White of whole numbers from 0 on: 4, 8, 10, 12, 14 and 16 bits."""

MIDDLE = 128 / 255
"""Place of mid grey between black and white, that of 8 bits."""

CHUNK_NUMBERS = 2**20

MIN_COVERED = 1 / 50
"""Share of the range below which fractions from 0 to 1 seem to be in another unit."""


class PixelRangeWarning(UserWarning):
    """Images hold numbers outside of the range of the training images."""


class PixelValues(NamedTuple):
    """Numbers that images hold.

    Attributes
    ----------
    low, high : float
        The smallest and the largest.
    whole : bool
        Whether all are whole numbers.
    """

    low: float
    high: float
    whole: bool

    @classmethod
    def of(cls, images: NDArray[np.generic]) -> Self:
        """Return the numbers of an array; those that are not finite do not count.

        Examples
        --------
        >>> PixelValues.of(np.array([[0.0, 900.0], [30.0, np.nan]]))
        PixelValues(low=0.0, high=900.0, whole=True)
        """
        if images.dtype.kind in "bui":
            ends = (images.min(), images.max()) if images.size else (0, 0)
            return cls(float(ends[0]), float(ends[1]), True)
        flat, low, high, whole = images.reshape(-1), math.inf, -math.inf, True
        for start in range(0, flat.size, CHUNK_NUMBERS):
            chunk = flat[start : start + CHUNK_NUMBERS].astype(np.float64)
            chunk = chunk[np.isfinite(chunk)]
            low, high = min(low, chunk.min(initial=low)), max(high, chunk.max(initial=high))
            whole = whole and bool((chunk == np.floor(chunk)).all())
        return cls(float(low), float(high), whole) if low <= high else cls(0.0, 0.0, True)

    def union(self, other: PixelValues | None) -> PixelValues:
        """Return the numbers of both."""
        if other is None:
            return self
        low, high = min(self.low, other.low), max(self.high, other.high)
        return PixelValues(low, high, self.whole and other.whole)

    @property
    def fit_bytes(self) -> bool:
        """Whether 8 bits hold all of them."""
        return self.whole and self.low >= 0 and self.high <= 255


BYTE_VALUES = PixelValues(0.0, 255.0, True)


class PixelRange(NamedTuple):
    """Numbers of black and white, which networks see as 0 and 1.

    Examples
    --------
    >>> PixelRange(0.0, 255.0).scaled(np.array([0, 51, 255])).tolist()
    [0.0, 0.2, 1.0]
    >>> print(PixelRange(0.0, 1023.0))
    0 to 1023
    """

    low: float
    high: float

    def __str__(self) -> str:
        return f"{_number(self.low)} to {_number(self.high)}"

    @property
    def middle(self) -> float:
        """Number of mid grey."""
        return self.low + (self.high - self.low) * MIDDLE

    def scaled(self, numbers: Records) -> Array:
        """Return numbers with black at 0 and white at 1."""
        # No needless step: unscaled numbers and bytes stay what they are, to the last bit.
        values = np.asarray(numbers, dtype=np.float64)
        values = values - self.low if self.low else values
        span = self.high - self.low
        return values if span == 1.0 else values / span

    def unscaled(self, values: Array) -> Array:
        """Return the numbers that `scaled` values stand for."""
        span = self.high - self.low
        return values * span + self.low if self.low else values * span

    def holds(self, low: float, high: float) -> bool:
        """Return whether numbers lie in the range."""
        return self.low <= low and high <= self.high


BYTES = PixelRange(0.0, 255.0)
"""Range of images of 8 bits."""


def chosen_range(values: PixelValues) -> PixelRange:
    """Choose the range of training images by the numbers that they hold.

    It is 0 to 1 if that holds all; for whole numbers from 0 on, that of as many bits as they
    need; else from the smallest to the largest, rounded outwards to hundredths or more of the
    difference.

    Examples
    --------
    >>> for values in ((0, 0.9, False), (3, 900, True), (288.31, 311.72, False)):
    ...     print(chosen_range(PixelValues(*values)))
    0 to 1
    0 to 1023
    288 to 312
    """
    low, high, whole = values
    if low >= 0 and high <= 1:
        return PixelRange(0.0, 1.0)
    if whole and low >= 0:
        for top in WHOLE_TOPS:
            if high <= top:
                return PixelRange(0.0, float(top))
    low, high = max(low, -MAX_MAGNITUDE), min(high, MAX_MAGNITUDE)
    if not low < high:
        return PixelRange(low, low + (abs(low) or 1.0))
    exponent = math.floor(math.log10(high - low)) - 1
    # A power of ten below 1 is not exact, one above is.
    if exponent < 0:
        steps = 10.0**-exponent
        rounded = (math.floor(low * steps) / steps, math.ceil(high * steps) / steps)
    else:
        step = 10.0**exponent
        rounded = (math.floor(low / step) * step, math.ceil(high / step) * step)
    return PixelRange(*rounded)


class RangeCheck:
    """Count of images whose numbers leave the range of a model.

    Parameters
    ----------
    expected : PixelRange

    Attributes
    ----------
    n_beyond : int
        Images with numbers outside of the range.
    """

    def __init__(self, expected: PixelRange) -> None:
        self.expected, self.n_beyond = expected, 0
        self._n, self._first = 0, ""
        self._values: PixelValues | None = None

    def add(self, values: PixelValues, name: str = "") -> None:
        """Add an image."""
        self._n += 1
        self._values = values.union(self._values)
        if not self.expected.holds(values.low, values.high):
            self._first = self._first or name
            self.n_beyond += 1

    def add_array(self, images: NDArray[np.generic]) -> None:
        """Add images, (n, ...)."""
        values = PixelValues.of(images)
        if self.expected.holds(values.low, values.high):
            self._n += len(images)
            self._values = values.union(self._values)
            return
        for image in images:
            self.add(PixelValues.of(image))

    def notes(self) -> list[str]:
        """Return a sentence if images leave the range, or seem to be in another unit."""
        values, expected = self._values, self.expected
        if values is None:
            return []
        found = f"{_number(values.low)} to {_number(values.high)}"
        first = f", first {self._first}" if self._first else ""
        advice = "Bring them into the unit of the training images, or fit a model on such images."
        if self.n_beyond:
            return [
                f"{counted_among(self.n_beyond, self._n, 'image')} beyond the "
                f"range of the training images, {expected}{first}: the numbers are {found}. "
                f"{advice}"
            ]
        fractions = values.low >= 0 and values.high <= 1 and not values.whole
        if fractions and MIN_COVERED * (expected.high - expected.low) > 1:
            return [
                f"the numbers of {counted(self._n, 'image')} are {found}, those of the training "
                f"images {expected}: another unit? {advice}"
            ]
        return []


def warn_beyond(expected: PixelRange, images: NDArray[np.generic], stacklevel: int) -> None:
    """Warn if images of a user leave the range of a model.

    Warns
    -----
    PixelRangeWarning
    """
    check = RangeCheck(expected)
    check.add_array(images)
    for note in check.notes():
        warnings.warn(note, PixelRangeWarning, stacklevel=stacklevel + 1)


def _number(value: float) -> str:
    return f"{value:.0f}" if value == int(value) and abs(value) < 1e15 else f"{value:.6g}"

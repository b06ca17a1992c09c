"""Conversion of images to rows of pixels and back; smoothing and shifts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.data.base import Records
from vae_anomaly.data.image.units import PixelRange, PixelValues, chosen_range, warn_beyond
from vae_anomaly.exceptions import DataError
from vae_anomaly.stats.soft_clip import MAX_MAGNITUDE

__all__ = [
    "ImageSchema",
    "ImageShape",
    "Rows",
    "as_images",
    "as_numbers",
    "as_rows",
    "check_channels",
    "check_shape",
    "shift_augmented",
    "smooth",
]

ImageShape = tuple[int, int, int]
"""Height, width, channels."""


class Rows(NamedTuple):
    """Rows of a matrix, and the images that they were flattened from."""

    values: Records  # (n, columns); unchanged if it was not images
    shape: ImageShape | None  # None if it was not images


def as_rows(X: Records) -> Rows:
    """Flatten images, and keep their numbers; return everything else unchanged.

    Parameters
    ----------
    X : array-like
        Images are arrays (n, height, width) or (n, height, width, channels).

    Returns
    -------
    Rows

    Raises
    ------
    DataError
        If images have their channels first, or hold no numbers.

    Examples
    --------
    >>> rows = as_rows(np.full((5, 28, 28), 255, dtype=np.uint8))
    >>> rows.values.shape, rows.shape
    ((5, 784), (28, 28, 1))
    """
    if len(getattr(X, "shape", ())) not in (3, 4):
        return Rows(X, None)
    images = np.asarray(X)
    check_channels(images.shape, "Expected images, (n, height, width[, channels]), got")
    try:
        images = as_numbers(images)
    except ValueError as cause:
        raise DataError(f"Expected images of numbers, got {images.dtype}: {cause}.") from cause
    height, width, channels = (*images.shape[1:], 1)[:3]
    return Rows(images.reshape(len(images), height * width * channels), (height, width, channels))


def as_numbers(array: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return an array as one of numbers.

    Raises
    ------
    ValueError
        If it holds others than real numbers.
    """
    if array.dtype.kind in "biuf":
        return array
    if array.dtype.kind == "c":
        raise ValueError("complex numbers have no order")
    try:
        return array.astype(np.float64)
    except TypeError as cause:
        raise ValueError(str(cause)) from cause


def check_channels(shape: tuple[int, ...], sentence: str) -> None:
    """Raise if the shape of images has the channels before height and width.

    `sentence` begins the message.

    Raises
    ------
    DataError
    """
    if len(shape) != 4 or shape[1] not in (1, 3, 4) or shape[3] <= 4:
        return
    if shape[1] < min(shape[2:]):
        raise DataError(
            f"{sentence} an array of shape {shape}, whose channels come first. Move them to the "
            f"end: numpy.moveaxis(X, 1, -1)."
        )


class ImageSchema(NamedTuple):
    """Shape and range of images; see `data.base.Schema`."""

    shape: ImageShape
    pixel_range: PixelRange
    may_miss: bool = False

    @classmethod
    def of(cls, X: Records, given: tuple[float, float] | None = None) -> ImageSchema:
        """Return the schema of an array of images, whose range may be given.

        Raises
        ------
        DataError
            If the array has not three or four axes.

        Warns
        -----
        PixelRangeWarning
            If images leave the range that is given.
        """
        rows = as_rows(X)
        if rows.shape is None:
            raise DataError(f"Expected images, (n, height, width[, channels]), got {X.shape}.")
        if given is None:
            return cls(rows.shape, chosen_range(PixelValues.of(rows.values)))
        pixel_range = PixelRange(float(given[0]), float(given[1]))
        warn_beyond(pixel_range, rows.values, stacklevel=5)
        return cls(rows.shape, pixel_range)

    def matrix(self, X: Records) -> Records:
        """Return images as rows of numbers, black at 0 and white at 1."""
        return self.pixel_range.scaled(as_rows(X).values)


def as_images(rows: NDArray[np.float64], shape: ImageShape, pixel_range: PixelRange) -> Records:
    """Return rows as images: (n, height, width), or (n, height, width, channels) for colour."""
    height, width, channels = shape
    full = (len(rows), height, width) + ((channels,) if channels > 1 else ())
    return pixel_range.unscaled(rows.reshape(full))


def smooth(rows: NDArray[np.float64], shape: ImageShape, deviation: float) -> NDArray[np.float64]:
    """Convolve each channel of images with a Gaussian.

    An anomaly is seldom a single pixel: without the finest grain, neighbouring pixels
    support each other.

    Parameters
    ----------
    rows : ndarray of shape (n, columns)
        Flattened images.
    shape : tuple of (height, width, channels)
    deviation : float
        Standard deviation of the Gaussian, in pixels; 0 leaves the images unchanged.
        Images are mirrored at their border.

    Returns
    -------
    ndarray of shape (n, columns)
    """
    if not deviation:
        return rows
    from scipy.ndimage import gaussian_filter

    images = np.clip(rows, -MAX_MAGNITUDE, MAX_MAGNITUDE).reshape(len(rows), *shape)
    smoothed = gaussian_filter(images, (0, deviation, deviation, 0))
    # Means stay in the range, but rounding may leave it: white would be more than 1.
    low, high = images.min(axis=(1, 2), keepdims=True), images.max(axis=(1, 2), keepdims=True)
    return np.clip(smoothed, low, high).reshape(rows.shape)


def shift_augmented(
    rows: NDArray[np.float64], shape: ImageShape, pixels: float
) -> Iterator[NDArray[np.float64]]:
    """Yield images, and then copies of them shifted down, up, right and left.

    The camera is never twice in the same position. Few images teach this only by their
    shifted copies.

    Parameters
    ----------
    rows : ndarray of shape (n, columns)
        Flattened images.
    shape : tuple of (height, width, channels)
    pixels : float
        Length of the shift; 0 yields no copies. Pixels at a border are repeated.

    Yields
    ------
    ndarray of shape (n, columns)
    """
    yield rows
    if not pixels:
        return
    from scipy.ndimage import shift

    images = rows.reshape(len(rows), *shape)
    for down, right in ((pixels, 0), (-pixels, 0), (0, pixels), (0, -pixels)):
        yield shift(images, (0, down, right, 0), order=1, mode="nearest").reshape(rows.shape)


def check_shape(shape: ImageShape | None, expected: ImageShape | None) -> None:
    """Raise if images are not of the shape that a model was fitted on.

    Raises
    ------
    DataError
    """
    if shape is None or shape == expected:
        return
    wanted = "rows of numbers" if expected is None else f"images of {_words_for(expected)}"
    raise DataError(
        f"Expected {wanted}, as in training, got images of {_words_for(shape)}. "
        f"{_advice(shape, expected)}"
    )


def _advice(shape: ImageShape, expected: ImageShape | None) -> str:
    """Return what to do with images of another shape."""
    if expected is None:
        return "Fit a model on images."
    if shape == (*expected[1:], 1):
        return "X[np.newaxis] is a single one."
    return "Convert their channels." if shape[:2] == expected[:2] else "Resize them."


def _words_for(shape: ImageShape) -> str:
    return " x ".join(str(side) for side in shape)

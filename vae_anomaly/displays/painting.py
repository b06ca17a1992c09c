"""Images as they are shown: eight bits, three colours, small, side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["THUMBNAIL", "as_rgb", "heat", "overlay", "shrink", "shrunk_size", "tile", "value_range"]

Array = NDArray[np.float64]
Rgb = NDArray[np.uint8]

THUMBNAIL = 96
"""Pixels of the longer side of an image as it is shown, at most."""

GAP = 0.06
"""Space between images, as a share of their shorter side."""

HEAT = np.array([[0.30, 0.05, 0.40], [0.73, 0.17, 0.33], [0.97, 0.50, 0.10], [0.99, 0.99, 0.65]])
"""From little to much. Lightness rises all the way, so that it reads in grey print too."""

GREY_WEIGHTS = np.array([0.299, 0.587, 0.114])
"""What red, green and blue add to brightness (ITU-R BT.601)."""


def value_range(images: NDArray[Any]) -> tuple[float, float]:
    """Tell which values of images are black and white.

    Bytes reach from 0 to 255, and fractions from 0 to 1, whether or not the
    images at hand do; of other numbers the least and the greatest are taken.

    Examples
    --------
    >>> value_range(np.array([0.2, 0.7])), value_range(np.array([0.0, 16.0]))
    ((0.0, 1.0), (0.0, 16.0))
    """
    if images.dtype == np.uint8:
        return 0.0, 255.0
    low, high = float(images.min()), float(images.max())
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    return low, high if high > low else low + 1.0


def as_rgb(images: ArrayLike, low: float, high: float) -> Rgb:
    """Turn images with or without channels into bytes: (n, h, w[, c]) to (n, h, w, 3).

    Of channels that are neither grey nor red, green and blue the mean is shown.
    """
    values = np.asarray(images)
    if values.ndim == 3:
        values = values[..., None]
    values = (np.asarray(values, dtype=np.float64) - low) / (high - low)
    if values.shape[3] != 3:
        values = np.repeat(values.mean(axis=3, keepdims=True), 3, axis=3)
    return (255 * np.clip(values, 0, 1)).round().astype(np.uint8)


def shrunk_size(height: int, width: int, most: int = THUMBNAIL) -> tuple[int, int]:
    """Keep proportions, and let no side be longer than `most`.

    Examples
    --------
    >>> shrunk_size(28, 28), shrunk_size(400, 200), shrunk_size(5000, 2)
    ((28, 28), (96, 48), (96, 1))
    """
    factor = min(1.0, most / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def shrink(images: NDArray[Any], most: int = THUMBNAIL) -> NDArray[Any]:
    """Average neighbouring pixels until no side is longer than `most`; small images stay.

    Parameters
    ----------
    images : ndarray of uint8 of shape (n, h, w, 3), or of float of shape (n, h, w)
    most : int, default=96

    Returns
    -------
    ndarray of the dtype of `images`, of shape (n, h', w'[, 3])
    """
    from PIL import Image

    before = images.shape[1:3]
    height, width = shrunk_size(before[0], before[1], most)
    if (height, width) == before:
        return images
    out = np.empty((len(images), height, width, *images.shape[3:]), images.dtype)
    for i, image in enumerate(images):
        known = image if images.dtype == np.uint8 else image.astype(np.float32)
        out[i] = Image.fromarray(known).resize((width, height), Image.Resampling.BOX)
    return out


def heat(share: ArrayLike) -> Array:
    """Colour of a share of the scale: (...) to (..., 3), in [0, 1]."""
    share = np.clip(np.asarray(share, dtype=np.float64), 0, 1)
    at = np.linspace(0, 1, len(HEAT))
    return np.stack([np.interp(share, at, channel) for channel in HEAT.T], axis=-1)


def overlay(images: Rgb, maps: ArrayLike, top: float) -> Rgb:
    """Lay maps over their images in dim grey: nothing at zero nats, bright at `top`.

    Parameters
    ----------
    images : ndarray of uint8 of shape (n, h, w, 3)
    maps : array-like of shape (n, h, w)
        In nats. Negative values, pixels that match better than most, show nothing.
    top : float
        Where the scale ends.

    Returns
    -------
    ndarray of uint8 of shape (n, h, w, 3)
    """
    share = np.clip(np.asarray(maps, dtype=np.float64) / top, 0, 1)
    grey = 0.06 + 0.44 * (images @ GREY_WEIGHTS) / 255
    opacity = np.minimum(1.0, 1.5 * share)[..., None]
    mixed = (1 - opacity) * grey[..., None] + opacity * heat(share)
    return (255 * mixed).round().astype(np.uint8)


def tile(images: Rgb, columns: int, background: int = 255) -> tuple[Rgb, Array, Array]:
    """Lay images out row by row, a little apart.

    Parameters
    ----------
    images : ndarray of uint8 of shape (n, h, w, 3)
    columns : int
        Images in a row.
    background : int, default=255

    Returns
    -------
    tiled : ndarray of uint8 of shape (height, width, 3)
    x, y : ndarray
        Where the centres of columns and rows lie, in pixels.
    """
    n, height, width, _ = images.shape
    rows, gap = -(-n // columns), max(1, round(GAP * min(height, width)))
    down, across = height + gap, width + gap
    tiled = np.full((rows * down - gap, columns * across - gap, 3), background, dtype=np.uint8)
    for i, image in enumerate(images):
        top, left = i // columns * down, i % columns * across
        tiled[top : top + height, left : left + width] = image
    x = np.arange(columns) * across + (width - 1) / 2
    return tiled, x, np.arange(rows) * down + (height - 1) / 2

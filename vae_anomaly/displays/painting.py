"""Display images: 8-bit RGB thumbnails, heat maps, tilings."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vae_anomaly._types import AnyArray

__all__ = ["THUMBNAIL", "as_rgb", "heat", "overlay", "shrink", "shrunk_size", "tile", "value_range"]

Array = NDArray[np.float64]
Rgb = NDArray[np.uint8]

THUMBNAIL = 96
"""Maximum length of the longer side of a displayed image, in pixels."""

GAP = 0.06
"""Space between images, as a share of their shorter side."""

HEAT = np.array([[0.30, 0.05, 0.40], [0.73, 0.17, 0.33], [0.97, 0.50, 0.10], [0.99, 0.99, 0.65]])
"""Colour map, lowest value first. Lightness increases throughout, so it works in grey print."""

GREY_WEIGHTS = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue in the luma (ITU-R BT.601)."""


def value_range(images: AnyArray) -> tuple[float, float]:
    """Return the values of images that are shown as black and white.

    These are 0 and 255 for bytes, 0 and 1 for values between them, and otherwise the
    smallest and the largest value.

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
    """Convert images, (n, h, w[, c]), to 8-bit RGB, (n, h, w, 3).

    Channels other than one or three are averaged to grey.
    """
    values = np.asarray(images)
    if values.ndim == 3:
        values = values[..., None]
    values = (np.asarray(values, dtype=np.float64) - low) / (high - low)
    if values.shape[3] != 3:
        values = np.repeat(values.mean(axis=3, keepdims=True), 3, axis=3)
    return (255 * np.clip(values, 0, 1)).round().astype(np.uint8)


def shrunk_size(height: int, width: int, max_side: int = THUMBNAIL) -> tuple[int, int]:
    """Return the size with the same aspect ratio and no side longer than `max_side`.

    Examples
    --------
    >>> shrunk_size(28, 28), shrunk_size(400, 200), shrunk_size(5000, 2)
    ((28, 28), (96, 48), (96, 1))
    """
    factor = min(1.0, max_side / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def shrink(images: AnyArray, max_side: int = THUMBNAIL) -> AnyArray:
    """Average neighbouring pixels so that no side is longer than `max_side`.

    Parameters
    ----------
    images : ndarray of uint8 of shape (n, h, w, 3), or of float of shape (n, h, w)
    max_side : int, default=96
        Smaller images are returned unchanged.

    Returns
    -------
    ndarray of the dtype of `images`, of shape (n, h', w'[, 3])
    """
    from PIL import Image

    before = images.shape[1:3]
    height, width = shrunk_size(before[0], before[1], max_side)
    if (height, width) == before:
        return images
    out = np.empty((len(images), height, width, *images.shape[3:]), images.dtype)
    for i, image in enumerate(images):
        pixels = image if images.dtype == np.uint8 else image.astype(np.float32)
        out[i] = Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX)
    return out


def heat(share: ArrayLike) -> Array:
    """Return the colours of positions on the scale: (...) to (..., 3), all in [0, 1]."""
    share = np.clip(np.asarray(share, dtype=np.float64), 0, 1)
    at = np.linspace(0, 1, len(HEAT))
    return np.stack([np.interp(share, at, channel) for channel in HEAT.T], axis=-1)


def overlay(images: Rgb, maps: ArrayLike, top: float) -> Rgb:
    """Overlay maps on dimmed grey images: transparent at zero nats, opaque towards `top`.

    Parameters
    ----------
    images : ndarray of uint8 of shape (n, h, w, 3)
    maps : array-like of shape (n, h, w)
        In nats. Negative values are transparent.
    top : float
        Upper end of the scale, in nats.

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
    """Arrange images in a grid with gaps, row by row.

    Parameters
    ----------
    images : ndarray of uint8 of shape (n, h, w, 3)
    columns : int
        Images per row.
    background : int, default=255

    Returns
    -------
    tiled : ndarray of uint8 of shape (height, width, 3)
    x, y : ndarray
        Centres of columns and rows, in pixels.
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

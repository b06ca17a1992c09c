"""Pixel AUROC: contribution maps against masks of anomalous pixels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

__all__ = ["MAX_PIXELS", "PixelArea", "pixel_area"]

MAX_PIXELS = 2_000_000


@dataclass(frozen=True)
class PixelArea:
    """AUROC of the contributions of masked pixels against those of the others.

    Attributes
    ----------
    value : float
        AUROC over pixels.
    n_used, n_pixels : int
        Number of pixels in the AUROC, and of all pixels.
    n_maps : int
        Number of maps that the pixels belong to.
    """

    value: float
    n_used: int
    n_pixels: int
    n_maps: int


def pixel_area(
    maps: Iterable[NDArray[np.float64]], masks: Sequence[NDArray[np.bool_]]
) -> PixelArea | None:
    """Compute the pixel AUROC of maps.

    If all maps together have more than two million pixels, the same number of
    pixels is drawn from each, with a fixed seed.

    Parameters
    ----------
    maps : iterable of n ndarrays of shape (height, width)
        Contributions; one map at a time is held.
    masks : sequence of n ndarrays of bool of shape (height, width)
        True where a pixel is anomalous.

    Returns
    -------
    PixelArea or None
        None if masks hold no pixel, or all.

    Examples
    --------
    >>> maps = np.array([[[0.0, 2.0], [1.0, 3.0]]])
    >>> pixel_area(maps, maps > 0.5)
    PixelArea(value=1.0, n_used=4, n_pixels=4, n_maps=1)
    """
    n = len(masks)
    if not n:
        return None
    size = prod(masks[0].shape)
    taken = min(size, max(1, MAX_PIXELS // n))
    rng = np.random.RandomState(0)
    truth, scores = [], []
    for values, mask in zip(maps, masks, strict=True):
        at = np.arange(size) if taken == size else rng.choice(size, taken, replace=False)
        truth.append(mask.reshape(-1)[at])
        scores.append(values.reshape(-1)[at])
    marked = np.concatenate(truth)
    if marked.all() or not marked.any():
        return None
    value = float(roc_auc_score(marked, np.concatenate(scores)))
    return PixelArea(value, len(marked), size * n, n)

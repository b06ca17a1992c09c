"""Pixel AUROC and region overlap: maps against masks of anomalous pixels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

__all__ = ["MAX_PIXELS", "PixelArea", "RegionOverlap", "pixel_area", "region_overlap"]

Floats = NDArray[np.floating]

MAX_PIXELS = 2_000_000

MAX_FALSE_RATE = 0.3
"""Share of normal pixels up to which the overlap of regions is integrated."""

N_LEVELS = 512
"""Thresholds at which the overlap is measured."""


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


def pixel_area(maps: Iterable[Floats], masks: Sequence[NDArray[np.bool_]]) -> PixelArea | None:
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


@dataclass(frozen=True)
class RegionOverlap:
    """Mean overlap of regions over false-positive rates, PRO.

    Attributes
    ----------
    value : float
        Area below the curve, divided by `max_rate`: 1 if all regions are found without a false
        pixel, `max_rate` / 2 for maps that say nothing.
    max_rate : float
        False-positive rate up to which the curve is integrated.
    n_regions : int
        Connected regions of masked pixels.
    """

    value: float
    max_rate: float
    n_regions: int


def region_overlap(
    maps: Iterable[Floats],
    masks: Sequence[NDArray[np.bool_]],
    max_rate: float = MAX_FALSE_RATE,
) -> RegionOverlap | None:
    """Compute the per-region overlap of maps, PRO.

    At a threshold each region has the share of its pixels that are above it, a small region
    as much weight as a large one. The mean over regions is integrated over the share of normal
    pixels above the threshold, up to `max_rate`. P. Bergmann et al., "The MVTec anomaly
    detection dataset", IJCV 2021, :doi:`10.1007/s11263-020-01400-4`, section 5. Thresholds are
    `N_LEVELS` quantiles of the normal pixels, between which the curve is linear.

    Parameters
    ----------
    maps : iterable of n ndarrays of shape (height, width)
        Contributions; one map at a time is held, besides a sample of normal pixels.
    masks : sequence of n ndarrays of bool of shape (height, width)
        True where a pixel is anomalous. Pixels that touch, also at a corner, form a region.
    max_rate : float in (0, 1], default=0.3

    Returns
    -------
    RegionOverlap or None
        None if masks hold no pixel, or all.

    Examples
    --------
    >>> maps = np.array([[[0.0, 2.0], [1.0, 3.0]]])
    >>> region_overlap(maps, maps > 0.5)
    RegionOverlap(value=1.0, max_rate=0.3, n_regions=1)
    """
    from scipy.ndimage import label

    normal, regions = [], []
    rng, taken = np.random.RandomState(0), max(1, MAX_PIXELS // max(1, len(masks)))
    for values, mask in zip(maps, masks, strict=True):
        found, count = label(mask, structure=np.ones((3, 3)))
        regions += [np.sort(values[found == i + 1]) for i in range(count)]
        outside = values[~mask]
        few = len(outside) <= taken
        normal.append(outside if few else rng.choice(outside, taken, replace=False))
    pixels = np.sort(np.concatenate(normal)) if normal else np.empty(0)
    if not regions or not len(pixels):
        return None
    rates, overlaps = [0.0], [_overlap(regions, pixels[-1])]
    for rate in np.linspace(0.0, max_rate, N_LEVELS + 1)[1:]:
        # The highest threshold above which there is at least this share of normal pixels.
        above = min(len(pixels), math.ceil(rate * len(pixels)))
        level = pixels[-above]
        count = len(pixels) - np.searchsorted(pixels, level, "left")
        rates.append(count / len(pixels))
        overlaps.append(_overlap(regions, level, side="left"))
    return RegionOverlap(_area_up_to(rates, overlaps, max_rate), max_rate, len(regions))


def _overlap(
    regions: Sequence[Floats], level: float, side: Literal["left", "right"] = "right"
) -> float:
    """Return the mean share of pixels above a level, with `side` "left" also of those at it."""
    shares = [1 - np.searchsorted(one, level, side) / len(one) for one in regions]
    return float(np.mean(shares))


def _area_up_to(rates: Sequence[float], overlaps: Sequence[float], end: float) -> float:
    """Return the mean height of a curve of straight lines from 0 to `end`."""
    x, y = np.array(rates), np.array(overlaps)
    last = np.interp(end, x, y)
    inside = x < end
    x, y = np.append(x[inside], end), np.append(y[inside], last)
    return float(np.trapezoid(y, x) / end)

"""Features of images without a network: gradients and brightness around each patch.

An image is stretched to three sizes, so that the same patch is seen with a little of what lies
around it, more, and much. In each the gradients are counted by their direction, weighted with
their length, and averaged with Gaussian weights at the centre of the patch and at eight places
around it, and so is each channel. Histograms of gradients change little with the brightness of an
image: N. Dalal and B. Triggs, "Histograms of oriented gradients for human detection", CVPR 2005,
:doi:`10.1109/CVPR.2005.177`; dense ones with Gaussian weights are those of E. Tola, V. Lepetit and
P. Fua, "DAISY", IEEE TPAMI 2010, :doi:`10.1109/TPAMI.2009.77`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.data.image.resizing import stretched
from vae_anomaly.names import GRADIENTS

__all__ = ["GradientFeatures"]

Weights = NDArray[np.float32]
Bytes = NDArray[np.uint8]

GRID = 32
"""Patches of an image in each direction."""

SIDES = (256, 128, 64)
"""Sizes to which an image is stretched, in pixels."""

N_DIRECTIONS = 8
"""Directions by which gradients are counted."""

SHARPNESS = 3
"""Power of the cosine by which a gradient counts for a direction near its own."""

CELL = 8
"""Pixels of a stretched image that a patch and each of its neighbours stand for."""

DEVIATION = CELL / 3
"""Standard deviation of the Gaussian weights, in pixels of the stretched image."""

OFFSETS = (-0.75 * CELL, 0.0, 0.75 * CELL)
"""Places around the centre of a patch, in pixels of the stretched image."""

MAX_THREADS = 8
"""Images at a time."""

VERSION = b"gradients 1"
"""Changes with the features, so that no model is given others than those of its fit."""


@dataclass(frozen=True)
class GradientFeatures:
    """Gradients and brightness around patches; see `features.Features`.

    Examples
    --------
    >>> image = np.zeros((40, 60, 1), np.uint8)
    >>> GradientFeatures().grid(image).shape
    (32, 32, 243)
    """

    source: ClassVar[str] = GRADIENTS
    digest: ClassVar[str] = sha256(VERSION).hexdigest()

    @property
    def threads(self) -> int:
        """Images at a time: as many as there are cores, up to `MAX_THREADS`."""
        return min(os.cpu_count() or 1, MAX_THREADS)

    def grid(self, image: Bytes) -> Weights:
        """Return the features of an image: (`GRID`, `GRID`, d)."""
        parts = [_averages(_channels(image, side), side) for side in SIDES]
        return np.concatenate(parts, axis=2)


def _channels(image: Bytes, side: int) -> Weights:
    """Return strengths of gradients by direction, and brightness by channel: (c, side, side)."""
    pixels = stretched(image, side, side, image.shape[2]).astype(np.float32) / 255
    down, right = np.gradient(pixels.mean(axis=2))
    length, angle = np.hypot(down, right), np.arctan2(down, right)
    turns = 2 * np.pi * np.arange(N_DIRECTIONS, dtype=np.float32) / N_DIRECTIONS
    agreement = np.maximum(np.cos(angle - turns[:, None, None]), 0) ** SHARPNESS
    return np.concatenate([length * agreement, pixels.transpose(2, 0, 1)], dtype=np.float32)


def _averages(channels: Weights, side: int) -> Weights:
    """Average channels around the places of each patch: (c, side, side) to (h, w, 9 c)."""
    weights = _places(side)  # (3 GRID, side)
    found = (weights @ channels @ weights.T).reshape(len(channels), 3, GRID, 3, GRID)
    by_patch = found.transpose(2, 4, 1, 3, 0).reshape(GRID, GRID, -1)
    return np.asarray(by_patch, dtype=np.float32)


@lru_cache
def _places(side: int) -> Weights:
    """Return the weights of the pixels of a line for each offset and patch: (3 GRID, side)."""
    centers = (np.arange(GRID) + 0.5) * side / GRID - 0.5
    places = np.clip(np.add.outer(OFFSETS, centers).reshape(-1, 1), 0, side - 1)
    weights = np.exp(-0.5 * ((np.arange(side) - places) / DEVIATION) ** 2)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)

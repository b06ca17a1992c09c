"""What encoders of images share: pixels are numbers by themselves, and none is ever missing."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._types import Json, Records
from vae_anomaly.data.cell_texts import NO_TEXTS, CellTexts

__all__ = ["PixelEncoder"]

Array = NDArray[np.float64]


class PixelEncoder:
    """Part of an encoder of images; see `data.base.Encoder` for its methods.

    Attributes
    ----------
    shape : tuple of int
        Height, width and channels of an image.
    """

    shape: tuple[int, int, int]

    @property
    def are_numbers(self) -> NDArray[np.bool_]:
        """Return that all pixels are numbers."""
        return np.ones(prod(self.shape), dtype=bool)

    @property
    def named_targets(self) -> Mapping[int, tuple[str, ...]]:
        """Return that pixels have one target each."""
        return {}

    @property
    def undetermined(self) -> NDArray[np.intp]:
        """Return that targets tell all pixels."""
        return np.empty(0, dtype=np.intp)

    @property
    def missing_shares(self) -> Array:
        """Return zeros."""
        return np.zeros(prod(self.shape))

    def moved(self, values: Array, records: Array, changed: NDArray[np.bool_]) -> Array:
        """Return values as they are."""
        return values

    def cells(self, values: Array, feature: NDArray[np.intp]) -> list[Json]:
        """Return values of pixels."""
        return list(values.tolist())

    def texts(self, X: Records, codes: Records) -> CellTexts:
        """Return no texts."""
        return NO_TEXTS

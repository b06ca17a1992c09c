"""What a model file holds of an encoder: its sizes, settings and arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._types import JsonObject
from vae_anomaly.stats.likelihoods import Block

__all__ = ["ArrayTypes", "EncoderState", "Outline"]

Array = NDArray[np.float64]

ArrayTypes = dict[str, tuple[str, tuple[int, ...]]]
"""Name -> (dtype, shape) of arrays in a file; "F64" is float64."""


class Outline(NamedTuple):
    """Sizes of an encoder that determine the networks and the arrays of a model file."""

    n_features: int
    n_inputs: int
    blocks: tuple[Block, ...]
    arrays: ArrayTypes  # in `EncoderState`
    grid: tuple[int, int, int] | None = None
    has_masks: bool = False  # the last inputs say which explained features are observed
    n_undetermined: int = 0  # see `Encoder.undetermined`

    @property
    def n_targets(self) -> int:
        """Number of targets."""
        return sum(block.n_targets for block in self.blocks)


class EncoderState(NamedTuple):
    """Contents of an encoder for a model file: plain settings and arrays."""

    settings: JsonObject
    arrays: dict[str, Array]

"""Encoded records in an ONNX graph."""

from __future__ import annotations

from typing import NamedTuple

from vae_anomaly._types import Symbol

__all__ = ["EncodedSymbols"]


class EncodedSymbols(NamedTuple):
    """Records as the networks take them, see `data.base.Encoded`; all float64."""

    inputs: Symbol  # (n, n_inputs)
    targets: Symbol  # (n, n_targets)
    penalty: Symbol  # (n, ...), nats that no likelihood sees, in any order
    observed: Symbol | None = None  # (n, n_explained), 1 or 0; None where all are

"""Latent codes of the records of a report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.displays import LatentDisplay
from vae_anomaly.model.model import Model
from vae_anomaly.report.data import ScoredRecords

__all__ = ["latent_codes"]


def latent_codes(
    model: Model, scored: ScoredRecords, categories: Sequence[str] | None
) -> LatentDisplay:
    """Encode a sample of the records with a model, and return its latent codes."""

    def encode(rows: NDArray[np.intp]) -> NDArray[np.float64]:
        codes = model.codes(scored.records[rows])  # (n, members, latent)
        return codes.reshape(len(codes), -1)

    return LatentDisplay.measure(
        encode, len(scored.scores), scored.labels, categories=categories, unit=model.unit
    )

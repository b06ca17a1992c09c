"""Most anomalous records of a report."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_TOP", "most_anomalous"]

MAX_TOP = 100
"""Records that a page shows by themselves, at most."""


def most_anomalous(scores: NDArray[np.float64], top: int) -> NDArray[np.intp]:
    """Return the positions of the most anomalous records, at most `MAX_TOP`."""
    return np.argsort(-scores, kind="stable")[: np.clip(top, 0, MAX_TOP)]

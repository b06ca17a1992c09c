"""Soft clipping of standardised values: the identity up to a threshold, logarithmic beyond.

It maps every finite float64 to a range that suits float32 networks. It is a change of
variables: with its log-Jacobian a score in nats remains the negative log-density of the
standardised column, and increases up to 1e300.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CLIP_THRESHOLD",
    "MAX_MAGNITUDE",
    "soft_clip",
    "soft_clip_log_jacobian",
    "inverse_soft_clip",
]

Array = NDArray[np.float64]

CLIP_THRESHOLD = 8.0
"""Magnitude, in standard deviations, up to which soft clipping is the identity."""

MAX_MAGNITUDE = 1e300
"""Magnitude to which values are clipped first."""


def soft_clip(z: Array) -> Array:
    """Return soft-clipped values: the identity up to `CLIP_THRESHOLD`, logarithmic beyond.

    Parameters
    ----------
    z : ndarray
        Standardised values.

    Returns
    -------
    ndarray of the shape of `z`
        ``z`` where ``|z| <= t``, else ``sign(z) (t + log(1 + |z| - t))``, with t =
        `CLIP_THRESHOLD`. Strictly increasing and continuously differentiable.

    Examples
    --------
    >>> soft_clip(np.array([-3.0, 8.0, 1e300])).round(1).tolist()
    [-3.0, 8.0, 698.8]
    """
    clipped, beyond = z.copy(), np.abs(z) > CLIP_THRESHOLD
    excess = np.abs(z[beyond]) - CLIP_THRESHOLD
    clipped[beyond] = np.sign(z[beyond]) * (CLIP_THRESHOLD + np.log1p(excess))
    return clipped


def inverse_soft_clip(clipped: Array) -> Array:
    """Return the values whose soft clip is `clipped`."""
    excess = np.maximum(np.abs(clipped) - CLIP_THRESHOLD, 0.0)
    magnitude = CLIP_THRESHOLD + np.expm1(np.minimum(excess, 690))
    return np.where(excess > 0, np.sign(clipped) * magnitude, clipped)


def soft_clip_log_jacobian(z: Array) -> Array:
    """Return minus the log-derivative of `soft_clip`, which is added to a score in nats."""
    nats, beyond = np.zeros_like(z), np.abs(z) > CLIP_THRESHOLD
    nats[beyond] = np.log1p(np.abs(z[beyond]) - CLIP_THRESHOLD)
    return nats

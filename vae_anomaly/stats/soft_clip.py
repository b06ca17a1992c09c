"""Soft clipping of standardised values: the identity up to a threshold, a logarithm beyond.

Every finite double becomes a number that a float32 network can digest. Soft clipping is a
change of variables. Densities pay its log-Jacobian, so a score in nats stays minus the log
of a density of the standardised column, and keeps rising up to 1e300.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


__all__ = ["CLIP_THRESHOLD", "LARGEST", "soft_clip", "soft_clip_log_jacobian", "inverse_soft_clip"]

CLIP_THRESHOLD = 8.0
"""Standard deviations up to which a standardised value is left alone."""


LARGEST = 1e300
"""Larger magnitudes are taken for this one: squares of it are never formed."""


def soft_clip(z: Array) -> Array:
    """Map the real line onto itself: the identity up to `CLIP_THRESHOLD`, a logarithm beyond.

    Parameters
    ----------
    z : ndarray
        Standardised values.

    Returns
    -------
    ndarray of the shape of `z`
        ``z`` where ``|z| <= CLIP_THRESHOLD``, else ``sign(z) (t + log(1 + |z| - t))`` with t =
        `CLIP_THRESHOLD`:
        continuous with a continuous slope, and strictly increasing.

    Examples
    --------
    >>> soft_clip(np.array([-3.0, 8.0, 1e300])).round(1).tolist()
    [-3.0, 8.0, 698.8]
    """
    bent, far = z.copy(), np.abs(z) > CLIP_THRESHOLD
    bent[far] = np.sign(z[far]) * (CLIP_THRESHOLD + np.log1p(np.abs(z[far]) - CLIP_THRESHOLD))
    return bent


def inverse_soft_clip(bent: Array) -> Array:
    """Invert `soft_clip`."""
    excess = np.maximum(np.abs(bent) - CLIP_THRESHOLD, 0.0)
    return np.where(
        excess > 0, np.sign(bent) * (CLIP_THRESHOLD + np.expm1(np.minimum(excess, 690))), bent
    )


def soft_clip_log_jacobian(z: Array) -> Array:
    """Minus the log-derivative of `soft_clip`: what a density of ``z`` pays, in nats."""
    nats, far = np.zeros_like(z), np.abs(z) > CLIP_THRESHOLD
    nats[far] = np.log1p(np.abs(z[far]) - CLIP_THRESHOLD)
    return nats

"""Floating-point errors as NumPy treats them by default, whatever the caller has set."""

from __future__ import annotations

import numpy as np

__all__ = ["default_floats"]


def default_floats() -> np.errstate:
    """Return a context, or decorator, with NumPy's default treatment of floating-point errors.

    Terms of likelihoods and kernels underflow by design: `numpy.seterr(all="raise")` in a
    program that scores must not end the scoring.

    Examples
    --------
    >>> with np.errstate(all="raise"), default_floats():
    ...     float(np.exp(np.float64(-1e4)))
    0.0
    """
    return np.errstate(divide="warn", over="warn", under="ignore", invalid="warn")

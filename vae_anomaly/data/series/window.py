"""Length of windows, from the period of a series."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._types import Records
from vae_anomaly.data.series.series import interpolated

__all__ = ["window_length"]

Array = NDArray[np.float64]

MIN_WINDOW, DEFAULT_WINDOW, MAX_WINDOW = 32, 64, 128

MAX_LAG = 400
"""Longest period that is looked for. Windows of longer ones than `MAX_WINDOW` are cut."""

MIN_CORRELATION = 0.1
"""Height of the autocorrelation from which on a peak is a period."""

ROUNDING = 1e-9
"""Deviation from a line, as a share of that from the mean, that is rounding."""

MIN_OF_SHORT = 4
"""Shortest window, also of series that are too short for it: a fit refuses these."""

MAX_SHARE = 4
"""A window is at most this part of a series: a quarter."""


def ready_window(data: Records) -> int | None:
    """Return the time steps of windows that are cut already, (n, time, channels); else None.

    Examples
    --------
    >>> ready_window(np.zeros((10, 64, 3))), ready_window(np.zeros((640, 3)))
    (64, None)
    """
    shape: tuple[int, ...] = getattr(data, "shape", ())
    return int(shape[1]) if len(shape) == 3 else None


def window_length(values: Array) -> int:
    """Return the length of windows of a series: its period, from 32 to 128 time steps.

    The period is the lag of the highest peak of the autocorrelation, among peaks of at least
    0.1 at lags from 32 to 400 and to half the series. The autocorrelation is the mean over the
    channels that vary, each without its linear trend; missing values lie on lines between
    others. Longer periods are cut to 128; without a peak the length is 64. It is at most a
    quarter of the series, and at least 4.

    Parameters
    ----------
    values : ndarray of shape (n,) or (n, channels)
        NaN where they are missing.

    Returns
    -------
    int

    Examples
    --------
    >>> steps = np.arange(1000)
    >>> window_length(np.sin(2 * np.pi * steps / 50) + 0.01 * steps)
    50
    >>> window_length(np.zeros(1000))
    64
    """
    correlation = _autocorrelation(np.asarray(values, np.float64).reshape(len(values), -1))
    before, at, after = correlation[:-2], correlation[1:-1], correlation[2:]
    peaks = 1 + np.flatnonzero((at > before) & (at > after) & (at >= MIN_CORRELATION))
    peaks = peaks[peaks >= MIN_WINDOW]
    length = DEFAULT_WINDOW
    if len(peaks):
        length = min(int(peaks[np.argmax(correlation[peaks])]), MAX_WINDOW)
    return max(MIN_OF_SHORT, min(length, len(values) // MAX_SHARE))


def _autocorrelation(values: Array) -> Array:
    """Return the mean autocorrelation of channels that vary, at lags from 0 on.

    By the theorem of Wiener and Khinchin: the inverse transform of the power spectrum, padded
    with zeros, so that the ends of the series do not meet.
    """
    from scipy.signal import detrend

    n_steps = len(values)
    n_lags = min(MAX_LAG, n_steps // 2) + 2
    total, n_varying = np.zeros(n_lags), 0
    for channel in interpolated(values, n_steps).T:
        known = ~np.isnan(channel)  # missing at the ends, or throughout
        if not known.any() or np.ptp(channel[known]) == 0.0:
            continue
        rest = np.zeros(n_steps)
        rest[known] = detrend(channel[known])
        if np.std(rest) <= ROUNDING * np.std(channel[known]):
            continue  # a line
        power = np.abs(np.fft.rfft(rest, 2 * n_steps)) ** 2
        covariance = np.fft.irfft(power)[:n_lags]
        total += covariance / covariance[0]
        n_varying += 1
    return total / max(n_varying, 1)

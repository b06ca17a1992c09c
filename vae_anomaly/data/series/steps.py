"""Steps of time: the commonest one of a series, and durations in words."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.exceptions import ParameterError

__all__ = [
    "REGULAR_SHARE",
    "JITTER",
    "MIN_SHARE",
    "Step",
    "commonest_step",
    "duration",
    "resolution",
    "share_of",
    "step_text",
]

Integers = NDArray[np.int64]

JITTER = 0.1
"""Steps count as equal up to this share."""

REGULAR_SHARE = 0.5
"""Share of equal steps from which on they say what the step of a series is."""

MIN_SHARE = 0.2
"""Share of equal steps below which a series has no step."""

UNITS = {
    "day": 86400 * 10**9,
    "hour": 3600 * 10**9,
    "minute": 60 * 10**9,
    "second": 10**9,
    "millisecond": 10**6,
    "microsecond": 1000,
    "nanosecond": 1,
}


class Step(NamedTuple):
    """The commonest step between rows.

    Attributes
    ----------
    ns : int
        In nanoseconds.
    share : float
        Share of steps that equal it up to `JITTER`.
    n_steps : int
        Steps of which it is a share.
    """

    ns: int
    share: float
    n_steps: int = 1


def duration(value: int | str, name: str) -> int:
    """Return a duration in nanoseconds: a number of them, or text such as "5min".

    Raises
    ------
    ParameterError

    Examples
    --------
    >>> duration("5min", "step")
    300000000000
    """
    import pandas as pd

    try:
        ns = int(
            pd.Timedelta(value, unit=None if isinstance(value, str) else "ns").as_unit("ns").value
        )
    except (ValueError, TypeError, OverflowError) as cause:
        raise _no_duration(value, name) from cause
    if ns <= 0:
        raise _no_duration(value, name)
    return ns


def _no_duration(value: object, name: str) -> ParameterError:
    return ParameterError(
        f"{name} must be a positive duration, such as '5min' or '10s'. Got {value!r} instead."
    )


def step_text(ns: float) -> str:
    """Return a duration in words.

    Examples
    --------
    >>> [step_text(ns) for ns in (300 * 10**9, 10**9, 1.5e6)]
    ['5 minutes', '1 second', '1.5 milliseconds']
    """
    name, size = next((unit for unit in UNITS.items() if ns >= unit[1]), ("nanosecond", 1))
    number = f"{ns / size:.4g}"
    return f"{number} {name}" if number == "1" else f"{number} {name}s"


def resolution(ns: Integers, step: int) -> int:
    """Return the largest unit of time, at most half a step, of which times are multiples.

    Examples
    --------
    >>> resolution(np.array([59, 361]) * 10**9, 300 * 10**9)
    1000000000
    """
    divisor = int(np.gcd.reduce(ns))
    units = (size for size in UNITS.values() if 2 * size <= step and divisor % size == 0)
    return next(units, 1)


def commonest_step(steps: Integers) -> Step:
    """Return the commonest of positive steps.

    Time stamps of real sensors jitter, so that no step may occur twice. Among all intervals
    [s, (1 + `JITTER`) s] the one with the most steps is chosen: of these, the value that at
    least half of them have. Or else the mean of all steps within half a step of them, so that
    a grid follows the stamps for long.

    Examples
    --------
    >>> commonest_step(np.array([60, 60, 60, 61, 120])).ns
    60
    >>> commonest_step(np.array([58, 60, 61, 62, 120])).ns
    60
    """
    ordered = np.sort(steps)
    ends = np.searchsorted(ordered, (ordered * (1 + JITTER)).astype(np.int64), side="right")
    counts = ends - np.arange(len(ordered))
    start = int(np.argmax(counts))
    equal = ordered[start : ends[start]]
    values, times = np.unique(equal, return_counts=True)
    top = int(np.argmax(times))
    ns = int(values[top])
    if times[top] < REGULAR_SHARE * len(equal):
        center = np.median(equal)
        near = steps[np.abs(steps - center) < center / 2]
        ns = round(float(center + (near - center).mean()))
    return Step(ns, share_of(steps, ns), len(steps))


def share_of(steps: Integers, step: int) -> float:
    """Return the share of steps that equal one up to `JITTER`."""
    return float((np.abs(steps - step) <= JITTER * step).mean())

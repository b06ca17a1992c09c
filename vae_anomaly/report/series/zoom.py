"""Time steps of a figure of a series that the page can zoom into, without a server."""

from __future__ import annotations

import base64
import json

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._types import JsonObject
from vae_anomaly.displays.series import SeriesPlot

__all__ = ["zoom_data"]

Array = NDArray[np.float64]

MAX_COLUMNS = 4000
"""Spans of time of which the least and the greatest value of each channel are kept."""

MISSING = 65_535
LEVELS = 65_534
"""Values are stored as whole numbers from 0 to this, from the least to the greatest one."""

DAY = 86_400_000
"""Milliseconds."""


def zoom_data(plot: SeriesPlot) -> str:
    """Return the data of a figure as JSON for ``zoom.js``.

    Long series are reduced to `MAX_COLUMNS` spans, so that no spike is lost.

    Parameters
    ----------
    plot : SeriesPlot

    Returns
    -------
    str
        Times are milliseconds since 1970, or numbers of time steps. Scores are linear up to the
        threshold, 1, and logarithmic beyond.
    """
    x = plot.x * DAY if plot.is_time else plot.x
    width = x[-1] - x[0] if len(x) > 1 else 1.0
    apart = float(np.median(np.diff(x))) if len(x) > 1 else 1.0
    n_columns = int(min(MAX_COLUMNS, round(width / apart) + 1))
    column = np.minimum((x - x[0]) / width * (n_columns - 1) + 0.5, n_columns - 1).astype(np.intp)
    scores = np.where(plot.scores > 1.0, 1.0 + np.log(np.maximum(plot.scores, 1.0)), plot.scores)
    channels = zip(plot.names, plot.values.T, strict=True)
    rows = [_row(name, values, column, n_columns) for name, values in channels]
    score = _row("anomaly score", scores, column, n_columns)
    found: JsonObject = {
        "start": float(x[0]),
        "end": float(x[0] + width),
        "time": plot.is_time,
        "columns": n_columns,
        "rows": [*rows, score],
        "events": _spans(plot.events, x),
        "gaps": [[float(x[i - 1]), float(x[i])] for i in plot.breaks],
        "labels": _spans(plot.labelled, x),
    }
    return json.dumps(found, separators=(",", ":"))


def _row(name: str, values: Array, column: NDArray[np.intp], n_columns: int) -> JsonObject:
    """Return the least and the greatest values of a channel in columns."""
    known = np.isfinite(values)
    low = high = 0.0
    if known.any():
        low, high = float(values[known].min()), float(values[known].max())
    least, most = np.full(n_columns, np.inf), np.full(n_columns, -np.inf)
    np.minimum.at(least, column[known], values[known])
    np.maximum.at(most, column[known], values[known])
    unit = (high - low) / LEVELS or 1.0
    coded = []
    for ends in (least, most):
        levels = np.full(n_columns, MISSING, dtype="<u2")
        there = np.isfinite(ends)
        levels[there] = np.rint((ends[there] - low) / unit)
        coded.append(base64.b64encode(levels.tobytes()).decode("ascii"))
    same = {} if coded[0] == coded[1] else {"most": coded[1]}
    return {"name": name, "low": low, "high": high, "least": coded[0], **same}


def _spans(steps: tuple[tuple[int, int], ...], x: Array) -> list[list[float]]:
    """Return the times of the first and the last of time steps."""
    return [[float(x[start]), float(x[stop - 1])] for start, stop in steps]

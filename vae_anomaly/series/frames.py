"""Scores and events of series as arrays and frames, in the order of the input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._types import AnyArray
from vae_anomaly.data.series.series import Series, SeriesSet
from vae_anomaly.series.events import events_of
from vae_anomaly.series.model import SeriesModel, StepScores

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EventRules", "ScoredSeries", "events_frame", "row_values", "score_series", "time_of"]

Array = NDArray[np.float64]

EVENT_COLUMNS = ("event_id", "series", "start", "end", "peak", "n_flagged", "score", "kind")


class ScoredSeries(NamedTuple):
    """A series without breaks and the scores of its time steps; None if it is too short."""

    series: Series
    scores: StepScores | None


class EventRules(NamedTuple):
    """What makes flagged time steps an event.

    Attributes
    ----------
    min_steps : int
        Flagged time steps that an event has at least.
    cool_down : int
        Time steps without a flag after which a new event begins.
    """

    min_steps: int
    cool_down: int


def score_series(model: SeriesModel, data: SeriesSet) -> list[ScoredSeries]:
    """Score series; those that are shorter than a window have no scores."""
    return [
        ScoredSeries(one, model.score(one.values) if len(one.values) >= model.window else None)
        for one in data.series
    ]


def row_values(
    data: SeriesSet,
    scored: Sequence[ScoredSeries],
    part: Callable[[StepScores], AnyArray],
    *shape: int,
) -> Array:
    """Return a part of the scores for each row of the input, NaN where there is none.

    Parameters
    ----------
    data : SeriesSet
    scored : sequence of ScoredSeries
    part : callable
        Returns an array of shape (n_steps, *shape).
    *shape : int

    Returns
    -------
    ndarray of shape (n_rows, *shape)
    """
    values = np.full((data.n_rows, *shape), np.nan)
    for i, (_, scores) in enumerate(scored):
        if scores is not None:
            here = np.flatnonzero(data.positions[:, 0] == i)
            values[here] = part(scores)[data.positions[here, 1]]
    return values


def events_frame(
    scored: Sequence[ScoredSeries], channels: tuple[str, ...], rules: EventRules
) -> pd.DataFrame:
    """Return the events of series; see `SeriesDetector.events`."""
    import pandas as pd

    rows = []
    for series, scores in scored:
        for event in [] if scores is None else events_of(scores, channels, *rules):
            times = [time_of(series, at) for at in (event.start, event.stop - 1, event.peak)]
            found = event.n_flagged, event.score, event.kind, ", ".join(event.channels)
            rows.append((len(rows) + 1, series.name, *times, *found))
    return pd.DataFrame(rows, columns=[*EVENT_COLUMNS, "channels"])


def time_of(series: Series, step: int) -> pd.Timestamp | int:
    """Return the time of a time step, or the number of its row where there are no times."""
    import pandas as pd

    if series.times is None:
        return int(series.rows[step])
    return pd.Timestamp(int(series.times[step]), tz="UTC")

"""Scores and events of series as arrays and frames, in the order of the input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._types import AnyArray
from vae_anomaly.data.series.series import Series, SeriesSet
from vae_anomaly.series.events import Event, PlacedEvent, events_of
from vae_anomaly.series.model import SeriesModel, StepScores
from vae_anomaly.series.stream import scored_steps

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "EventRules",
    "NamedEvent",
    "ScoredPart",
    "events_frame",
    "events_in",
    "placed",
    "row_values",
    "score_parts",
]

Array = NDArray[np.float64]

EVENT_COLUMNS = ("event_id", "series", "start", "end", "peak", "n_flagged", "score", "cause")


class ScoredPart(NamedTuple):
    """A part of a series without breaks; no scores if it is shorter than a window."""

    series: int  # position in the set
    part: slice  # of its time steps
    scores: StepScores | None


class NamedEvent(NamedTuple):
    """An event of a series by its name."""

    series: str
    placed: PlacedEvent


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


def score_parts(model: SeriesModel, data: SeriesSet) -> list[ScoredPart]:
    """Score series from break to break."""
    parts = []
    for i, series in enumerate(data.series):
        for part in series.segments():
            values = series.values[part]
            parts.append(ScoredPart(i, part, _scored(model, values)))
    return parts


def _scored(model: SeriesModel, values: Array) -> StepScores | None:
    """Score a segment part by part, which takes less memory; None if it is too short."""
    found = [one.scores for one in scored_steps(model, [values]) if one.scores]
    if len(found) <= 1:
        return found[0] if found else None
    return StepScores(*(np.concatenate(arrays) for arrays in zip(*found, strict=True)))


def row_values(
    data: SeriesSet,
    scored: Sequence[ScoredPart],
    of: Callable[[StepScores], AnyArray],
    *shape: int,
) -> Array:
    """Return a part of the scores for each row of the input, NaN where there is none.

    Parameters
    ----------
    data : SeriesSet
    scored : sequence of ScoredPart
    of : callable
        Returns an array of shape (n_steps, *shape).
    *shape : int

    Returns
    -------
    ndarray of shape (n_rows, *shape)
    """
    values = [np.full((len(one.values), *shape), np.nan) for one in data.series]
    for i, part, scores in scored:
        if scores is not None:
            values[i][part] = of(scores)
    return data.by_row(values)


def events_in(
    data: SeriesSet, scored: Sequence[ScoredPart], channels: tuple[str, ...], rules: EventRules
) -> list[tuple[Series, Event]]:
    """Return the events of all series, in order, with time steps counted from their start."""
    return [
        (data.series[i], event.shifted(part.start))
        for i, part, scores in scored
        if scores is not None
        for event in events_of(scores, channels, *rules)
    ]


def placed(series: Series, event: Event) -> NamedEvent:
    """Return an event of a series with its times, or the numbers of its rows."""
    moments = series.moments([event.start, event.stop - 1, event.peak])
    return NamedEvent(series.name, PlacedEvent(event, *moments.tolist()))


def events_frame(events: Sequence[NamedEvent], *, have_times: bool) -> pd.DataFrame:
    """Return events as a frame; see `SeriesDetector.events`."""
    import pandas as pd

    rows = []
    for number, (name, (event, *moments)) in enumerate(events, start=1):
        times = [pd.Timestamp(one, tz="UTC") for one in moments] if have_times else moments
        found = event.n_flagged, event.score, event.cause, ", ".join(event.channels)
        rows.append((number, name, *times, *found))
    return pd.DataFrame(rows, columns=[*EVENT_COLUMNS, "channels"])

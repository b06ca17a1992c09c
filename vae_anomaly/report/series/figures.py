"""Figures of time series: whole series, and each event with the time around it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.displays.series import SeriesPlot
from vae_anomaly.metrics.events import runs
from vae_anomaly.pipeline.series.evaluation import FoundEvent, SeriesEvaluation
from vae_anomaly.report.data import Figure
from vae_anomaly.report.figures import Drawing, drawn
from vae_anomaly.report.series.words import step_time
from vae_anomaly.report.series.zoom import zoom_data

__all__ = ["Plot", "plots"]

Array = NDArray[np.float64]

DAY = 86_400e9
"""Nanoseconds."""

MAX_CHANNELS = 8
MAX_SERIES = 3

MAX_FIGURES_SIZE = 850_000
"""Bytes of all figures, so that the page stays below a megabyte."""

WIDTH = 9.8  # inches
MIN_CONTEXT = 1.0
"""Windows before and after an event in its figure."""


class Plot(NamedTuple):
    """A figure with its words.

    Attributes
    ----------
    figure : Drawing
    name, caption, alt : str
    zoom : str
        Data that the page zooms into, see `zoom_data`; empty without.
    events : sequence of int
        Numbers of the events in the data.
    """

    figure: Drawing
    name: str
    caption: str
    alt: str
    zoom: str = ""
    events: Sequence[int] = ()


def plots(found: SeriesEvaluation, top: int) -> tuple[list[Plot], list[Plot]]:
    """Draw series and events, most anomalous first, until the page has enough."""
    best: Counter[int] = Counter()
    for one in found.events:
        best[one.series] = max(best[one.series], int(1000 * one.event.score))
    order = sorted(range(len(found.data.series)), key=lambda i: -best[i])[:MAX_SERIES]
    room = MAX_FIGURES_SIZE
    overviews: list[Plot] = []
    details: list[Plot] = []
    for i in order:
        drawing = _series_plot(found, i)
        content, zoom = _drawn(drawing, f"series {i}"), zoom_data(drawing)
        room -= len(content.svg) + len(zoom)
        if room < 0 and overviews:
            break
        numbers = [k for k, one in enumerate(found.events, start=1) if one.series == i]
        overview = _overview(found, i, content, len(order))
        overviews.append(overview._replace(zoom=zoom, events=numbers))
    numbered = sorted(enumerate(found.events, start=1), key=lambda pair: -pair[1].event.score)
    for event_id, one in numbered[:top]:
        content = _drawn(_event_plot(found, one), f"event {event_id}")
        room -= len(content.svg)
        if room < 0:
            break
        details.append(_detail(found, event_id, one, content))
    return overviews, details


def _overview(found: SeriesEvaluation, series: int, content: Drawing, shown: int) -> Plot:
    total, channels = len(found.data.series), len(found.data.channels)
    caption = "Channels, and below them the anomaly score. Events are orange, gaps grey."
    if found.labels is not None:
        caption += " Bars at the bottom show labels beside events."
    if channels > MAX_CHANNELS:
        caption += f" The {MAX_CHANNELS} channels that the events name most of {channels:,}."
    if total > shown:
        caption += f" The {shown} most anomalous of {total:,} series are shown."
    name = found.data.series[series].name
    return Plot(content, name, caption, "Channels of the series, score and events.")


def _detail(found: SeriesEvaluation, event_id: int, one: FoundEvent, content: Drawing) -> Plot:
    event, name = one.event, found.data.series[one.series].name
    start, end = (step_time(found, one.series, at) for at in (event.start, event.stop - 1))
    where = f" in {name}" if name else ""
    caption = f"{start} to {end}, score {event.score:,.2f}. The dashed line is what was expected."
    return Plot(content, f"Event {event_id}{where}", caption, f"Event {event_id}.")


def _drawn(plot: SeriesPlot, name: str) -> Drawing:
    return drawn(Figure(plot.draw, (WIDTH, plot.height)), name, as_file=False)


def _series_plot(found: SeriesEvaluation, series: int) -> SeriesPlot:
    """Return the plot of a whole series."""
    named = Counter(
        name for one in found.events if one.series == series for name in one.event.channels
    )
    channels = found.data.channels
    chosen = sorted(range(len(channels)), key=lambda i: -named[channels[i]])[:MAX_CHANNELS]
    return _plot(found, series, slice(0, len(found.totals[series])), sorted(chosen))


def _event_plot(found: SeriesEvaluation, one: FoundEvent) -> SeriesPlot:
    """Return the plot of an event with what was expected, and the time before and after."""
    start, stop = one.event.start, one.event.stop
    context = max(int(MIN_CONTEXT * found.detector.model_.window), (stop - start) // 2)
    part = slice(max(0, start - context), min(len(found.totals[one.series]), stop + context))
    chosen = [found.data.channels.index(name) for name in one.event.channels]
    expected = found.expected(one.series, part)[:, chosen]
    return _plot(found, one.series, part, chosen, expected)


def _plot(
    found: SeriesEvaluation,
    series: int,
    part: slice,
    channels: Sequence[int],
    expected: Array | None = None,
) -> SeriesPlot:
    """Return the plot of a part of a series."""
    one = found.data.series[series]
    days = None if one.times is None else one.times[part] / DAY
    flags = np.zeros(0, dtype=bool) if found.labels is None else found.labels[series][part]
    events = [other.event for other in found.events if other.series == series]
    return SeriesPlot(
        x=np.arange(part.start, part.stop, dtype=np.float64) if days is None else days,
        is_time=days is not None,
        values=one.values[part][:, channels],
        names=tuple(found.data.channels[i] for i in channels),
        scores=found.totals[series][part],
        breaks=tuple(at - part.start for at in one.starts if part.start < at < part.stop),
        events=tuple(
            (max(event.start, part.start) - part.start, min(event.stop, part.stop) - part.start)
            for event in events
            if event.start < part.stop and event.stop > part.start
        ),
        labelled=tuple((int(a), int(b)) for a, b in zip(*runs(flags), strict=True)),
        has_labels=found.labels is not None,
        expected=expected,
        in_utc=found.data.zone is not None,
    )

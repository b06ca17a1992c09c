"""Scores of series as rows of a result: parts of an input in, rows in its order out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vae_anomaly.data.series.parts import Part
from vae_anomaly.data.series.series import USABLE, SeriesSet
from vae_anomaly.pipeline.results import READABLE
from vae_anomaly.series.calibration import SeriesDriftWatch
from vae_anomaly.series.detector import SeriesDetector
from vae_anomaly.series.events import EventStream
from vae_anomaly.series.frames import NamedEvent
from vae_anomaly.series.stream import ScoredSteps, SegmentScorer

__all__ = ["TOO_SHORT", "RowLayout", "RowStream"]

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

TOO_SHORT = "no window without a break"
"""Status of rows without a score whose values are sound."""

TOTAL, EVENT, REASONS = 0, 1, 2
"""Columns of time steps: score, number of the event, and then four for each reason."""

REASON_COLUMNS = ("reason", "value", "expected", "contribution")


class RowLayout(NamedTuple):
    """Columns of the result.

    Attributes
    ----------
    channels : tuple of str
    explain : int
        Channels that are named, of those that contribute most.
    has_times, has_names : bool
        Whether rows have times, and names of series.
    """

    channels: tuple[str, ...]
    explain: int
    has_times: bool
    has_names: bool

    @classmethod
    def of(cls, channels: tuple[str, ...], data: SeriesSet | None, explain: int) -> RowLayout:
        """Return the layout for the rows of some data, or of none."""
        has_names = data is not None and any(one.name for one in data.series)
        has_times = data is not None and data.times_text is not None
        return cls(channels, min(explain, len(channels)), has_times, has_names)

    @property
    def width(self) -> int:
        """Numbers of a time step."""
        return REASONS + len(REASON_COLUMNS) * self.explain

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the columns."""
        fields: list[tuple[str, pa.DataType]] = [("row", pa.int64())]
        if self.has_times:
            fields.append(("time", pa.string()))
        if self.has_names:
            fields.append(("series", pa.string()))
        fields += [("anomaly_score", pa.float64()), ("is_anomaly", pa.int64())]
        fields.append(("event_id", pa.int64()))
        for k in range(1, self.explain + 1):
            fields.append((f"reason_{k}", pa.string()))
            fields += [(f"{name}_{k}", pa.float64()) for name in REASON_COLUMNS[1:]]
        return pa.schema([*fields, ("status", pa.string())])

    def steps(self, scored: ScoredSteps) -> Array:
        """Return the numbers of time steps, without those of events: (n, width)."""
        steps = np.full((len(scored.values), self.width), np.nan)
        if scored.scores is None:
            return steps
        steps[:, TOTAL] = scored.scores.total
        if self.explain:
            shares = scored.scores.contributions
            order = np.argsort(-np.nan_to_num(shares), axis=1, kind="stable")[:, : self.explain]
            has_none = np.isnan(shares).any(axis=1, keepdims=True)
            named = (scored.values, scored.scores.expected, shares)
            columns = [order, *(np.take_along_axis(values, order, axis=1) for values in named)]
            found = np.stack(columns, axis=2).reshape(len(steps), -1)
            steps[:, REASONS:] = np.where(has_none, np.nan, found)
        return steps

    def rows(self, part: Part, steps: Array) -> pa.RecordBatch:
        """Return the rows of a part, of which each grid point has numbers: (n_points, width)."""
        data = part.data
        of_rows = data.by_row([steps])
        total, without = of_rows[:, TOTAL], np.isnan(of_rows[:, TOTAL])
        columns: dict[str, pa.Array] = {
            "row": pa.array(np.arange(part.n_before, part.n_before + data.n_rows))
        }
        if self.has_times:
            columns["time"] = pa.array(data.times_text, pa.string())
        if self.has_names:
            columns["series"] = _names(data)
        columns["anomaly_score"] = pa.array(total, mask=without)
        columns["is_anomaly"] = pa.array((total > 1.0).astype(np.int64), mask=without)
        columns["event_id"] = _integers(of_rows[:, EVENT])
        names = pa.array(self.channels, pa.string())
        for k in range(1, self.explain + 1):
            at = REASONS + len(REASON_COLUMNS) * (k - 1)
            columns[f"reason_{k}"] = names.take(_integers(of_rows[:, at]))
            for j, name in enumerate(REASON_COLUMNS[1:], start=at + 1):
                columns[f"{name}_{k}"] = pa.array(of_rows[:, j], from_pandas=True)
        status = np.array(data.status, dtype=object)
        columns["status"] = pa.array(
            np.where(status != USABLE, status, np.where(without, TOO_SHORT, READABLE)), pa.string()
        )
        return pa.record_batch([columns[name] for name in self.schema.names], schema=self.schema)


def _names(data: SeriesSet) -> pa.Array:
    """Return the name of the series of each row."""
    of_steps = [np.full(len(one.values), i, np.float64) for i, one in enumerate(data.series)]
    names = pa.array([one.name for one in data.series], pa.string())
    return names.take(_integers(data.by_row(of_steps)))


def _integers(numbers: Array) -> pa.Array:
    return pa.array(numbers, from_pandas=True).cast(pa.int64())


class _Segment:
    """A segment that is scored: time steps of which scores or events are not known yet."""

    def __init__(
        self, detector: SeriesDetector, layout: RowLayout, name: str, watch: SeriesDriftWatch
    ) -> None:
        self._layout, self._name, self._watch = layout, name, watch
        self._scorer = SegmentScorer(detector.model_)
        self._events = EventStream(layout.channels, *detector.event_rules)
        self._moments = np.empty(0, np.int64)  # of time steps without scores
        self._steps = np.empty((0, layout.width))  # of those whose events are not known
        self._first = 0

    def add(self, values: Array, moments: Integers, found: list[NamedEvent]) -> Iterator[Array]:
        """Add time steps, yield those of which all is known, and add their events to a list."""
        self._moments = np.concatenate([self._moments, moments])
        for scored in self._scorer.add(values):
            yield self._settled(scored, found)

    def finish(self, found: list[NamedEvent]) -> Iterator[Array]:
        """Yield the remaining time steps."""
        for scored in self._scorer.finish():
            yield self._settled(scored, found)
        found.extend(NamedEvent(self._name, placed) for placed in self._events.finish())
        self._watch.finish()
        yield self._steps

    def _settled(self, scored: ScoredSteps, found: list[NamedEvent]) -> Array:
        n = len(scored.values)
        moments, self._moments = self._moments[:n], self._moments[n:]
        steps = np.concatenate([self._steps, self._layout.steps(scored)])
        stop = self._first + len(steps)
        if scored.scores is not None:
            self._watch.add(scored.values, scored.scores)
            for placed in self._events.add(scored.scores, moments):
                found.append(NamedEvent(self._name, placed))
                self._number(steps, placed.event.start, placed.event.stop, len(found))
            if self._events.open_span is not None:
                start, end = self._events.open_span
                stop = start
                if self._events.is_open_long_enough:  # its number is known
                    self._number(steps, start, end, len(found) + 1)
                    stop = end
        at = stop - self._first
        self._steps, self._first = steps[at:], stop
        return steps[:at]

    def _number(self, steps: Array, start: int, stop: int, number: int) -> None:
        """Set the number of an event in the time steps that wait."""
        part = slice(max(start - self._first, 0), max(stop - self._first, 0))
        steps[part, EVENT] = number


class RowStream:
    """Rows of a result, as soon as all is known of their time steps.

    Parameters
    ----------
    detector : SeriesDetector
    layout : RowLayout

    Attributes
    ----------
    events : list of NamedEvent
        Those that have ended.
    n_scored, n_flagged : int
        Rows with a score, and those that are flagged.
    watch : SeriesDriftWatch
        Compares blocks of time steps with those of calibration.
    """

    def __init__(self, detector: SeriesDetector, layout: RowLayout) -> None:
        self.events: list[NamedEvent] = []
        self.n_scored = self.n_flagged = 0
        self.watch = SeriesDriftWatch(detector.model_)
        self._detector, self._layout = detector, layout
        self._segment: _Segment | None = None
        self._parts: deque[Part] = deque()
        self._steps = np.empty((0, layout.width))  # of the parts that wait

    def add(self, part: Part) -> Iterator[pa.RecordBatch]:
        """Add a part, and yield the rows of which all is known."""
        self._parts.append(part)
        goes_on = part.data.goes_on
        for series in part.data.series:
            for segment in series.segments():
                if not goes_on:
                    self._end_segment()
                if self._segment is None:
                    self._segment = _Segment(self._detector, self._layout, series.name, self.watch)
                goes_on = False
                values, moments = series.values[segment], series.moments(segment)
                for steps in self._segment.add(values, moments, self.events):
                    self._append(steps)
        yield from self._ready()

    def finish(self) -> Iterator[pa.RecordBatch]:
        """Yield the remaining rows."""
        self._end_segment()
        yield from self._ready()

    def _end_segment(self) -> None:
        if self._segment is not None:
            for steps in self._segment.finish(self.events):
                self._append(steps)
        self._segment = None

    def _append(self, steps: Array) -> None:
        self._steps = np.concatenate([self._steps, steps])

    def _ready(self) -> Iterator[pa.RecordBatch]:
        while self._parts:
            n_points = sum(len(one.values) for one in self._parts[0].data.series)
            if len(self._steps) < n_points:
                break
            rows = self._layout.rows(self._parts.popleft(), self._steps[:n_points])
            self._steps = self._steps[n_points:]
            flags = rows["is_anomaly"]
            self.n_scored += len(flags) - flags.null_count
            self.n_flagged += pc.sum(flags, min_count=0).as_py()
            yield rows

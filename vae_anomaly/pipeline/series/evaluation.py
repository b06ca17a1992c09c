"""Evaluation of a detector of time series: scores, events and, with labels, metrics."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from vae_anomaly._types import Json, Parameter
from vae_anomaly.data.series.blocks import BLOCK_BYTES
from vae_anomaly.data.series.parts import joined
from vae_anomaly.data.series.segments import Segment
from vae_anomaly.data.series.series import USABLE, Series, SeriesSet
from vae_anomaly.exceptions import ParameterError
from vae_anomaly.metrics.events import EventMetrics, event_metrics, runs
from vae_anomaly.metrics.vus import RangeArea, vus_pr
from vae_anomaly.pipeline.options import check_labels
from vae_anomaly.pipeline.series.labels import StepLabels, labels_of_column, labels_of_windows
from vae_anomaly.pipeline.series.reading import SeriesFile, reading_of
from vae_anomaly.pipeline.series.rows import TOO_SHORT
from vae_anomaly.pipeline.series.score import series_warnings
from vae_anomaly.series.calibration import SeriesDriftWatch
from vae_anomaly.series.detector import SeriesDetector
from vae_anomaly.series.events import Event, EventStream, PlacedEvent
from vae_anomaly.series.file import load_series
from vae_anomaly.series.model import StepScores
from vae_anomaly.series.stream import expected_steps, scored_steps
from vae_anomaly.storage.container import UnopenedFile

__all__ = [
    "FoundEvent",
    "LabelledEvent",
    "SeriesEvaluation",
    "SeriesMetrics",
    "evaluate_series",
    "evaluate_series_file",
    "series_metrics",
]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

SECOND = timedelta(seconds=1)

MAX_MISSING = 100_000
"""Time steps that a longer gap counts as: metrics need no more to keep its sides apart."""


class FoundEvent(NamedTuple):
    """An event of the detector.

    Attributes
    ----------
    series : int
        Position in the set.
    event : Event
        Its time steps are those of the series.
    value, expected : float
        Of its main channel at the peak; the value is NaN if it is missing.
    is_labelled : bool or None
        Whether it overlaps a labelled event; None without labels.
    """

    series: int
    event: Event
    value: float
    expected: float
    is_labelled: bool | None


class LabelledEvent(NamedTuple):
    """A run of labelled time steps, and the number of the first event that overlaps it."""

    series: int
    start: int
    stop: int
    event_id: int | None


@dataclass(frozen=True, eq=False)
class SeriesMetrics:
    """Metrics of labelled time steps.

    Time steps are never counted as found because a neighbour is (no point adjustment), and no
    threshold is chosen by labels.

    Attributes
    ----------
    vus_pr : RangeArea or None
        With buffers up to the window; None if no labelled time step has a score.
    average_precision : float or None
        Of time steps with a score; None unless some are labelled.
    labelled_share : float or None
        Share of these that are labelled: the average precision of random scores.
    alarms : EventMetrics
        Of the detector's events as alarms, each from its start to its end. Its delays count a
        time step as a second.
    delay : float or None
        Median delay of detected events, in time steps.
    false_per_week : float or None
        None without times, or without normal time steps.
    """

    vus_pr: RangeArea | None
    average_precision: float | None
    labelled_share: float | None
    alarms: EventMetrics
    delay: float | None
    false_per_week: float | None


@dataclass(frozen=True, eq=False)
class SeriesEvaluation:
    """What a detector finds in series.

    Attributes
    ----------
    detector : SeriesDetector
    data : SeriesSet
    totals : list of ndarray
        Anomaly scores of each series, NaN where a time step has none: (n_steps,).
    events : list of FoundEvent
    n_scored, n_flagged : int
        Measured time steps with a score, and those that are flagged.
    unscored : dict of str to int
        Reason -> input rows without a score.
    labels : list of ndarray or None
        True at anomalous time steps.
    labelled : list of LabelledEvent
    metrics : SeriesMetrics or None
        None without labels.
    notes : tuple of str
        What is to be reported about the input.
    warnings : tuple of str
        Sentences about the result.
    """

    detector: SeriesDetector
    data: SeriesSet
    totals: list[Array]
    events: list[FoundEvent]
    n_scored: int
    n_flagged: int
    unscored: dict[str, int]
    labels: list[Flags] | None
    labelled: list[LabelledEvent]
    metrics: SeriesMetrics | None
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    def expected(self, series: int, part: slice) -> Array:
        """Return the mean of similar training windows at some steps of a series: (n, channels)."""
        one, model = self.data.series[series], self.detector.model_
        found = np.full((part.stop - part.start, len(self.data.channels)), np.nan)
        for own in one.segments():
            first, last = max(part.start, own.start), min(part.stop, own.stop)
            if first < last:
                segment = Segment(one.values, own.start, own.stop)
                found[first - part.start : last - part.start] = expected_steps(
                    model, segment, first - own.start, last - own.start
                )
        return found


def evaluate_series_file(
    file: UnopenedFile,
    path: str,
    *,
    label_column: str | None = None,
    normal_label: Sequence[str] = (),
    labels: str | None = None,
    block_bytes: int = BLOCK_BYTES,
    **given: Parameter,
) -> SeriesEvaluation:
    """Score the series in a file, and compare them with labels where there are some.

    Parameters
    ----------
    file : UnopenedFile
        Model file.
    path : str
    label_column : str, optional
    normal_label : sequence of str
        Labels of normal rows.
    labels : str, optional
        File of labelled windows.
    block_bytes : int, optional
        Bytes of the file that are read at a time, about.
    **given
        Those of `DATA_OPTIONS` that are other ones than in the fit.

    Returns
    -------
    SeriesEvaluation

    Raises
    ------
    ModelFileError
        If the model file is not sound.
    DataError
        If the data or the labels are not sound, or not those of the model.
    ParameterError
        If labels are given twice, or normal labels without a column.
    """
    if label_column is not None and labels is not None:
        raise ParameterError("--label-column and --labels are both labels. Give one of them.")
    check_labels(label_column, normal_label)
    detector, fitted = load_series(file)
    reading = reading_of(fitted, given)
    options = {**reading, "channels": detector.channels_, "step": detector.step_}
    data, reason = SeriesFile(path, options, block_bytes).read(joined)
    data = replace(data, notes=(*reason, *data.notes))
    found = None
    if label_column is not None:
        found = labels_of_column(path, label_column, data, normal_label)
    elif labels is not None:
        found = labels_of_windows(
            labels, data, data_name=_name(path), timezone=_text(reading.get("timezone"))
        )
    return evaluate_series(detector, data, found)


def evaluate_series(
    detector: SeriesDetector, data: SeriesSet, labels: StepLabels | None = None
) -> SeriesEvaluation:
    """Score series, and compare them with labels where there are some.

    Parameters
    ----------
    detector : SeriesDetector
        Fitted.
    data : SeriesSet
        With its channels and its time step.
    labels : StepLabels, optional

    Returns
    -------
    SeriesEvaluation
    """
    of_series = None if labels is None else labels.of_series
    totals, events, watch = _scored(detector, data, of_series)
    measured = [
        np.where(one.measured, total, np.nan)
        for one, total in zip(data.series, totals, strict=True)
    ]
    metrics = None
    if of_series is not None:
        alarms = [np.zeros(len(total), dtype=bool) for total in totals]
        for one in events:
            alarms[one.series][one.event.start : one.event.stop] = True
        metrics = series_metrics(data, totals, of_series, alarms, detector.model_.window)
    n_scored = sum(int(np.isfinite(one).sum()) for one in measured)
    return SeriesEvaluation(
        detector=detector,
        data=data,
        totals=totals,
        events=events,
        n_scored=n_scored,
        n_flagged=sum(int((one > 1.0).sum()) for one in measured),
        unscored=_unscored(data, totals),
        labels=of_series,
        labelled=[] if of_series is None else _labelled(of_series, events),
        metrics=metrics,
        notes=(*data.notes, *([] if labels is None else [labels.note])),
        warnings=tuple(series_warnings(detector, watch, n_scored)),
    )


class _Scored(NamedTuple):
    """Scores of all series, their events, and what was watched on the way."""

    totals: list[Array]
    events: list[FoundEvent]
    watch: SeriesDriftWatch


def _scored(detector: SeriesDetector, data: SeriesSet, labels: list[Flags] | None) -> _Scored:
    """Score series part by part; of each step only the total is kept."""
    watch = SeriesDriftWatch(detector.model_)
    totals = [np.full(len(one.values), np.nan) for one in data.series]
    events: list[FoundEvent] = []
    for i, series in enumerate(data.series):
        own = None if labels is None else labels[i]
        for part in series.segments():
            segment = _Segment(detector, i, part.start, own)
            for values, scores in scored_steps(
                detector.model_, Segment(series.values, part.start, part.stop).chunks()
            ):
                if scores is not None:
                    at = segment.stop
                    totals[i][at : at + len(values)] = scores.total
                    watch.add(values, scores)
                    events += segment.add(values, scores)
            events += segment.finish()
            watch.finish()
    return _Scored(totals, events, watch)


class _Segment:
    """A segment whose scores come part by part: its events, and what was expected at their peaks.

    Parameters
    ----------
    detector : SeriesDetector
    series : int
        Position in the set.
    start : int
        Time step of the series that it begins with.
    labels : ndarray of bool or None
        Of the series.
    """

    def __init__(
        self, detector: SeriesDetector, series: int, start: int, labels: Flags | None
    ) -> None:
        self.stop = start
        self._series, self._start, self._labels = series, start, labels
        self._channels = detector.channels_
        self._stream = EventStream(detector.channels_, *detector.event_rules)
        self._flagged: dict[int, tuple[Array, Array]] = {}  # values and expected ones

    def add(self, values: Array, scores: StepScores) -> list[FoundEvent]:
        """Add consecutive time steps, and return the events that have ended."""
        steps = np.arange(self.stop, self.stop + len(values))
        self.stop += len(values)
        chosen = np.flatnonzero(scores.flags)
        pairs = zip(values[chosen], scores.expected[chosen], strict=True)
        self._flagged.update(zip(steps[chosen].tolist(), pairs, strict=True))
        found = [self._found(one) for one in self._stream.add(scores, steps)]
        if self._stream.open_span is None:
            self._flagged.clear()
        return found

    def finish(self) -> list[FoundEvent]:
        """Return the event that has not ended."""
        return [self._found(one) for one in self._stream.finish()]

    def _found(self, placed: PlacedEvent) -> FoundEvent:
        event = placed.event.shifted(self._start)
        channel = self._channels.index(event.channels[0])
        value, expected = (float(one[channel]) for one in self._flagged[event.peak])
        labels = self._labels
        is_labelled = None if labels is None else bool(labels[event.start : event.stop].any())
        return FoundEvent(self._series, event, value, expected, is_labelled)


def _labelled(labels: list[Flags], events: Sequence[FoundEvent]) -> list[LabelledEvent]:
    """Return the labelled events, with the first event that overlaps each."""
    found = []
    for i, flags in enumerate(labels):
        here = [(k, one.event) for k, one in enumerate(events, start=1) if one.series == i]
        stops = [event.stop for _, event in here]
        for start, stop in zip(*runs(flags), strict=True):
            at = bisect_right(stops, start)  # the first event that ends after the label starts
            overlaps = at < len(here) and here[at][1].start < stop
            found.append(LabelledEvent(i, int(start), int(stop), here[at][0] if overlaps else None))
    return found


def _unscored(data: SeriesSet, totals: list[Array]) -> dict[str, int]:
    """Count the input rows without a score by reason."""
    without = np.isnan(data.by_row(totals))
    reasons: Counter[str] = Counter()
    for row in np.flatnonzero(without).tolist():
        status = data.status[row]
        reasons[TOO_SHORT if status == USABLE else status.partition(" of row ")[0]] += 1
    return dict(reasons.most_common())


def series_metrics(
    data: SeriesSet,
    totals: list[Array],
    labels: list[Flags],
    alarms: list[Flags],
    window: int,
) -> SeriesMetrics:
    """Compute metrics of series on one time axis, on which they are apart.

    Parameters
    ----------
    data : SeriesSet
    totals : list of ndarray of shape (n_steps,)
        Anomaly scores of each series.
    labels, alarms : list of ndarray of bool, of shape (n_steps,)
        Anomalous time steps, and those from the starts of events to their ends.
    window : int
        Largest buffer of VUS-PR.

    Returns
    -------
    SeriesMetrics
        Time steps that are bridged count for alarms, but not for VUS-PR and average precision.
    """
    gaps = [[gap.n_missing for gap in data.gaps if gap.series == one.name] for one in data.series]
    parts = zip(data.series, totals, labels, alarms, gaps, strict=True)
    apart = [_apart(*one, window) for one in parts]
    total, label, alarm, measured = (np.concatenate(one) for one in zip(*apart, strict=True))
    score = np.where(measured, total, np.nan)
    has_score = np.isfinite(score)
    n_labelled = int(label[has_score].sum())
    found = event_metrics(label, alarm, SECOND, np.isfinite(total))
    per_week = found.false_per_week
    delay = found.median_delay
    return SeriesMetrics(
        vus_pr(label, score, window),
        float(average_precision_score(label[has_score], score[has_score])) if n_labelled else None,
        n_labelled / has_score.sum() if has_score.any() else None,
        found,
        None if delay is None else delay / SECOND,
        None if data.step is None or per_week is None else per_week * 1e9 / data.step,
    )


def _apart(
    series: Series, total: Array, label: Flags, alarm: Flags, gaps: Sequence[int], window: int
) -> tuple[Array, Flags, Flags, Flags]:
    """Return a series with the missing steps of its gaps, and a window of them at its end.

    Missing steps have no score. They are labelled where the steps on both sides of the gap
    are: an event goes on in a gap.
    """
    at = list(series.starts[1:])
    counts = [min(missing, MAX_MISSING) for missing in gaps]
    inserted = np.repeat(at, counts).astype(np.intp)
    both = np.repeat([label[i - 1] & label[i] for i in at], counts).astype(bool)

    def joined(values: Flags, of_gaps: Flags | bool) -> Flags:
        return np.append(np.insert(values, inserted, of_gaps), np.zeros(window, dtype=bool))

    scores = np.append(np.insert(total, inserted, np.nan), np.full(window, np.nan))
    return scores, joined(label, both), joined(alarm, False), joined(series.measured, False)


def _name(path: str) -> str:
    """Return the name of a file, without the suffix of gzip."""
    return Path(path).name.removesuffix(".gz")


def _text(value: Json) -> str | None:
    return None if value is None else str(value)

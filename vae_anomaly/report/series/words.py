"""Sentences and facts about an evaluation of time series."""

from __future__ import annotations

import numpy as np

from vae_anomaly._text import are, counted, counted_among
from vae_anomaly.data.series.times import time_text
from vae_anomaly.names import SPANS
from vae_anomaly.pipeline.series.evaluation import SeriesEvaluation, SeriesMetrics
from vae_anomaly.report.data import Summary, Tile
from vae_anomaly.report.formatting import legible, multiple, number, percent, within
from vae_anomaly.report.formatting import span as interval
from vae_anomaly.series.alarms import span

__all__ = [
    "Fact",
    "calibration_facts",
    "first_event",
    "metric_facts",
    "model_facts",
    "series_summary",
    "series_tiles",
    "step_time",
]

Fact = tuple[str, str]
"""A name and a value."""

CAUSES = {
    "window": "a stretch unlike all training windows",
    "point": "single steps that are unusual",
    "run": "a value that is repeated for too long",
}
"""Cause of an event -> the same in words."""

CHANGED = "another value than the only one in training"
"""The same of runs in channels that were constant."""

WEEK = SPANS["week"] * 10**9
"""Nanoseconds."""


def series_summary(found: SeriesEvaluation) -> Summary:
    """Return what was found, in sentences."""
    flagged, scored, n_events = found.n_flagged, found.n_scored, len(found.events)
    share = f" ({percent(flagged / scored)})" if scored else ""
    verdict = [
        f"{counted_among(flagged, scored, 'time step')} flagged{share}, in "
        f"{counted(n_events, 'event')}."
    ]
    if n_events:
        false = _expected_false(found)
        verdict.append(
            f"At most {false} of these events {'is' if false == 'one' else 'are'} expected to be "
            f"false."
            if false != f"{n_events:,}"
            else "All of these events may be false: as many are accepted in so much time."
        )
        verdict.append(_about_first(found))
    verdict.extend(f"Warning: {text}" for text in found.warnings)
    threshold = [f"Promised: {found.detector.promise_.words(found.data.step)}"]
    without = sum(found.unscored.values())
    if without:
        reasons = ", ".join(f"{n:,} ({reason})" for reason, n in found.unscored.items())
        rows = counted(found.data.n_rows, "row")
        threshold.append(
            f"{without:,} of {rows} {'has' if without == 1 else 'have'} no score: {reasons}."
        )
    if found.metrics is None:
        quality = ["Without labels, recall, precision and VUS-PR are not known."]
    else:
        quality = _label_sentences(found, found.metrics)
    return Summary(tuple(verdict), (), tuple(threshold), tuple(quality))


def first_event(found: SeriesEvaluation) -> int:
    """Return the position of the event with the highest score."""
    return max(range(len(found.events)), key=lambda i: found.events[i].event.score)


def _expected_false(found: SeriesEvaluation) -> str:
    """Return how many of the events are expected to be false, at most."""
    accepted = found.detector.promise_.budget.rate(found.n_scored)
    count = min(round(accepted), len(found.events))
    return f"{count:,}" if count > 1 else "one"


def _about_first(found: SeriesEvaluation) -> str:
    """Return which event is the most anomalous, and why."""
    at = first_event(found)
    one = found.events[at]
    event, name = one.event, found.data.series[one.series].name
    times = [step_time(found, one.series, step) for step in (event.start, event.stop - 1)]
    when = f"from {times[0]} to {times[1]}" if times[0] != times[1] else f"at {times[0]}"
    where = f" in {legible(name, 40)}" if name else ""
    cause = CAUSES.get(event.cause, event.cause)
    if event.cause == "run" and _was_constant(found, event.channels[0]):
        cause = CHANGED
    text = (
        f"The most anomalous is event {at + 1}{where}, {when}, {multiple(event.score)} times the "
        f"threshold: {cause}"
    )
    if not event.channels:
        return f"{text}."
    channel = legible(event.channels[0], 40)
    if np.isnan(one.value):
        return f"{text}, above all in {channel}, which is missing at the peak."
    return (
        f"{text}, above all in {channel}, {number(one.value, 4)} at the peak where "
        f"{number(one.expected, 4)} was expected."
    )


def _was_constant(found: SeriesEvaluation, channel: str) -> bool:
    """Return whether a channel had one value in training."""
    model = found.detector.model_
    return model.channels.index(channel) not in model.scaler.varying


def _label_sentences(found: SeriesEvaluation, metrics: SeriesMetrics) -> list[str]:
    alarms, step = metrics.alarms, found.data.step
    sentences = []
    if alarms.recall is None:
        sentences.append("No time step is labelled as anomalous.")
    else:
        delay = "" if metrics.delay is None else f", median delay {span(metrics.delay, step)}"
        sentences.append(
            f"{counted_among(alarms.n_detected, alarms.n_events, 'labelled event')} "
            f"detected: recall {percent(alarms.recall.value)} "
            f"({within(alarms.recall)}){delay}."
        )
    if alarms.precision is not None:
        sentences.append(
            f"{counted_among(alarms.n_false, alarms.n_alarms, 'event')} "
            f"false: precision {percent(alarms.precision.value)} ({within(alarms.precision)})."
        )
    lasts = "" if alarms.share_in_alarm is None else f"{percent(alarms.share_in_alarm)} of the time"
    weekly = metrics.false_per_week
    if weekly is not None:
        sentences.append(
            f"False episodes: {number(weekly, 3)} a week; promised are at most "
            f"{number(_promised_weekly(found), 3)}. Alarms last {lasts}."
        )
    elif lasts:
        sentences.append(f"Alarms last {lasts}.")
    volume = metrics.vus_pr
    if volume is not None and metrics.average_precision is not None:
        sentences.append(
            f"VUS-PR is {volume.value:.3f}, with buffers up to {span(volume.buffer, step)}; "
            f"average precision is {metrics.average_precision:.3f}. Random scores would reach "
            f"an average precision of {metrics.labelled_share:.3f}."
        )
        if volume.n_unscored_events:
            sentences.append(
                f"{counted(volume.n_unscored_events, 'labelled event')} without a scored time "
                f"step {are(volume.n_unscored_events)} left out of these two."
            )
    return sentences


def _promised_weekly(found: SeriesEvaluation) -> float:
    """Return the promised number of false episodes a week; the time step is known."""
    return found.detector.promise_.budget.rate(int(WEEK / (found.data.step or 1)))


def series_tiles(found: SeriesEvaluation) -> list[Tile]:
    """Return the numbers for the top of the page."""
    share = percent(found.n_flagged / found.n_scored) if found.n_scored else "none"
    highest = max((one.event.score for one in found.events), default=None)
    tiles = [
        Tile(f"{len(found.events):,}", "events"),
        Tile(share, "flagged", f"of {counted(found.n_scored, 'time step')}"),
    ]
    if found.events:
        note = f"of {counted(len(found.events), 'event')}"
        tiles.insert(1, Tile(_expected_false(found), "false at most, expected", note))
    if found.metrics is None:
        if highest is not None:
            tiles.append(Tile(number(highest, 3), "highest score", "times the threshold"))
        return tiles
    alarms, volume = found.metrics.alarms, found.metrics.vus_pr
    if alarms.recall is not None:
        note = f"{alarms.n_detected:,} of {alarms.n_events:,}"
        tiles.append(Tile(percent(alarms.recall.value), "labelled events detected", note))
    if alarms.precision is not None:
        note = f"{alarms.n_false:,} false"
        tiles.append(Tile(percent(alarms.precision.value), "event precision", note))
    if found.metrics.false_per_week is not None:
        tiles.append(Tile(number(found.metrics.false_per_week, 3), "false episodes", "a week"))
    if volume is not None:
        tiles.append(Tile(f"{volume.value:.3f}", "VUS-PR", f"buffers up to {volume.buffer} steps"))
    return tiles


def step_time(found: SeriesEvaluation, series: int, step: int) -> str:
    """Return the time of a time step, or the number of its row."""
    one = found.data.series[series]
    moment = one.moments([step])[0]
    return f"row {moment}" if one.times is None else time_text(moment, found.data.zone)


def metric_facts(found: SeriesEvaluation, metrics: SeriesMetrics) -> list[Fact]:
    """Return the metrics of labelled series."""
    alarms, volume, step = metrics.alarms, metrics.vus_pr, found.data.step
    facts: list[Fact] = []
    rates = (("recall of events", alarms.recall), ("precision of events", alarms.precision))
    for name, rate in rates:
        text = "not defined" if rate is None else f"{percent(rate.value)} ({interval(rate)})"
        facts.append((name, text))
    facts.append(("median delay", "none" if metrics.delay is None else span(metrics.delay, step)))
    facts.append(("false episodes", f"{alarms.n_false:,}"))
    if metrics.false_per_week is not None:
        facts.append(("false episodes a week", number(metrics.false_per_week, 3)))
    facts.append(("further events in a labelled event", f"{alarms.n_repeated:,}"))
    if alarms.share_in_alarm is not None:
        facts.append(("share of time in alarm", percent(alarms.share_in_alarm)))
    if volume is not None:
        facts.append((f"VUS-PR, buffers up to {volume.buffer} steps", f"{volume.value:.3f}"))
    if metrics.average_precision is not None:
        facts.append(("average precision of time steps", f"{metrics.average_precision:.3f}"))
        facts.append(("the same of random scores", f"{metrics.labelled_share:.3f}"))
    return facts


def calibration_facts(found: SeriesEvaluation) -> list[Fact]:
    """Return thresholds, and what they rest on."""
    detector, step = found.detector, found.data.step
    promise, thresholds = detector.promise_, detector.model_.thresholds
    facts = [
        (f"threshold of {name}s", "not used" if np.isinf(value) else number(value, 4))
        for name, value in thresholds._asdict().items()
    ]
    return [
        *facts,
        ("calibration blocks", f"{promise.n_blocks:,} of {span(promise.block, step)}"),
        ("accepted false episodes", promise.budget.words(step).removeprefix("At most ")),
    ]


def model_facts(found: SeriesEvaluation) -> list[Fact]:
    """Return the main settings of the model."""
    detector = found.detector
    model = detector.model_
    network = model.comparison.network
    step = "none" if found.data.step is None else span(1, found.data.step)
    history = network.history
    return [
        ("window", f"{model.window:,} time steps"),
        ("time step", step),
        ("score of a time step", "by the past alone" if model.causal else "by past and future"),
        ("networks", detector.architecture),
        ("weights", f"{network.network.weights.size:,}"),
        ("training windows compared with", f"{len(model.comparison.training.points):,}"),
        ("gradient steps", f"{history.step[-1]:,}" if history.step else "none"),
        ("constant channels", f"{int((model.scaler.scale == 0).sum()):,}"),
    ]

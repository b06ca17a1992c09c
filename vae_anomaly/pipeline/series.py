"""Fit, score and evaluate of time series in files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from vae_anomaly._text import counted, listed
from vae_anomaly._types import Json, JsonObject, Parameter
from vae_anomaly.data.registry import MODALITIES, modality
from vae_anomaly.data.series.forms import read_series
from vae_anomaly.data.series.series import USABLE, Series, SeriesSet
from vae_anomaly.data.series.times import time_text
from vae_anomaly.exceptions import ParameterError
from vae_anomaly.pipeline.options import Options, check_labels, flag, given_options
from vae_anomaly.pipeline.results import READABLE
from vae_anomaly.pipeline.series_labels import labels_of_column
from vae_anomaly.pipeline.writers import result_writer
from vae_anomaly.series.alarms import span
from vae_anomaly.series.detector import SeriesDetector
from vae_anomaly.series.events import Event
from vae_anomaly.series.file import load_series, save_series
from vae_anomaly.series.frames import ScoredPart, events_frame, events_in, row_values, score_parts
from vae_anomaly.storage.container import UnopenedFile

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "LABELS",
    "READING",
    "SERIES_OUTPUTS",
    "SeriesSummary",
    "fit_series_file",
    "score_series_file",
    "series_notes",
    "series_parameters",
]

READING = (
    *("time_column", "series_column", "metric_column", "value_column", "time_format"),
    *("timezone", "max_gap", "duplicates", "ignore"),
)
"""Options of `read_series` that a model file keeps."""

LABELS = ("label_column", "normal_label")
"""Options of `fit_series_file` that say which time steps are normal."""

NOT_FOR_SERIES = ("contamination", "latent_dim", "checkpoint", "holdout")
"""Options of `fit` that time series refuse, besides those that one modality alone has."""

SERIES_OUTPUTS = ("explain", "events")
"""Options of `score_series_file`."""

TOO_SHORT = "no window without a break"
"""Status of rows without a score whose values are sound."""

Say = Callable[[str], object]


class SeriesSummary(NamedTuple):
    """Facts about the scores of series.

    Attributes
    ----------
    n_rows, n_scored, n_flagged : int
        Input rows, those with a score, and those that are flagged.
    n_events : int
    notes : sequence of str
        Lines to report.
    """

    n_rows: int
    n_scored: int
    n_flagged: int
    n_events: int
    notes: Sequence[str]


def fit_series_file(
    path: str,
    output: str,
    parameters: Mapping[str, Parameter],
    reading: Mapping[str, Json],
    say: Say,
    *,
    label_column: str | None = None,
    normal_label: Sequence[str] = (),
) -> SeriesDetector:
    """Fit a detector to the series in a file, and write the model file.

    Parameters
    ----------
    path : str
    output : str
        Model file.
    parameters : mapping
        Those of `SeriesDetector`.
    reading : mapping
        Options of `read_series`, kept for scoring.
    say : callable
        Receives lines to report.
    label_column : str, optional
        Column of labels, which is no channel: only normal time steps are learned.
    normal_label : sequence of str
        See `vae_anomaly.data.labels.anomalous`.

    Returns
    -------
    SeriesDetector

    Raises
    ------
    ParameterError, DataError
        As `read_series`, `labels_of_column` and `SeriesDetector.fit`.
    OutputError
        If the file cannot be written.
    """
    check_labels(label_column, normal_label)
    reading = {name: reading[name] for name in READING if name in reading}
    if "ignore" in reading:
        several = ",".join(reading["ignore"])
        reading["ignore"] = [name.strip() for name in several.split(",")]
    if label_column is not None:
        reading["ignore"] = [*reading.get("ignore", ()), label_column]
    data = read_series(path, **reading)
    for note in data.notes:
        say(note)
    if label_column is not None:
        labels = labels_of_column(path, label_column, data, normal_label)
        data = data.only([~flags for flags in labels.of_series], "labelled as an anomaly")
        say(labels.note)
    n_steps = sum(len(one.values) for one in data.series)
    say(
        f"fitting on {n_steps:,} time steps of {counted(len(data.channels), 'channel')}: "
        f"{listed(data.channels)}"
    )
    detector = SeriesDetector(**parameters).fit(data)
    save_series(detector, output, reading)
    say(f"window: {span(detector.model_.window, data.step)}")
    say(detector.promise_.words(data.step))
    return detector


def series_parameters(given: Options) -> dict[str, Parameter]:
    """Return the parameters of `SeriesDetector` for options of the command `fit`.

    Raises
    ------
    ParameterError
        If an option is given that is not for time series.
    """
    asked = [name for name in given_options(given) if name not in READING + LABELS]
    for owner in map(modality, MODALITIES):
        for name in filter(owner.options.__contains__, asked):
            raise ParameterError(f"{owner.options[name]} is for {owner.name}s, not for series.")
    for name in filter(NOT_FOR_SERIES.__contains__, asked):
        raise ParameterError(f"{flag(name)} is not for time series. Leave it out.")
    parameters = given_options(given, ("window", "causal", "max_steps", "random_state"))
    if given["false_alarms_per"] is not None:
        parameters["false_alarms"], parameters["per"] = given["false_alarms_per"]
    if given["architecture"] != "auto":
        parameters["architecture"] = given["architecture"]
    return parameters


def score_series_file(
    file: UnopenedFile,
    path: str,
    output: str,
    *,
    explain: int = 0,
    events: str | None = None,
) -> SeriesSummary:
    """Score the series in a file, and write a row for each input row.

    Parameters
    ----------
    file : UnopenedFile
        Model file.
    path : str
    output : str
        ``.parquet`` or ``.pq`` for Parquet, else CSV; "-" for standard output.
    explain : int, default=0
        Channels to name that contribute most.
    events : str, optional
        File of events to write, likewise.

    Returns
    -------
    SeriesSummary

    Raises
    ------
    ModelFileError
        If the model file is not sound.
    DataError
        If the file is not sound, or its channels or time step are not those of training.
    OutputError
        If a result cannot be written.
    """
    detector, reading = load_series(file)
    data = read_series(path, channels=detector.channels_, step=detector.step_, **reading)
    scored = score_parts(detector.model_, data)
    found = events_in(data, scored, detector.channels_, detector.event_rules)
    result = _result(detector, data, scored, found, explain)
    _write(output, result)
    if events is not None:
        _write(events, pa.record_batch(_event_columns(data, events_frame(found))))
    flags = result["is_anomaly"]
    return SeriesSummary(
        data.n_rows,
        len(flags) - flags.null_count,
        int(np.nansum(flags.to_numpy(zero_copy_only=False).astype(float))),
        len(found),
        [*data.notes, *_gap_notes(data)],
    )


def series_notes(summary: SeriesSummary, output: str, events: str | None) -> list[str]:
    """Return lines to report after scoring: what was scored and flagged, and where it is."""
    n_rows, n_scored, n_flagged, n_events, notes = summary
    without = f", {n_rows - n_scored:,} have no score" if n_scored < n_rows else ""
    verdict = (
        f"{n_flagged:,} of {n_scored:,} time steps are flagged, in "
        f"{counted(n_events, 'event')}{without}"
    )
    written = [("scores", output), ("events", events)]
    return [*notes, verdict, *(f"{what}: {path}" for what, path in written if path and path != "-")]


def _write(path: str, rows: pa.RecordBatch) -> None:
    with result_writer(path, rows.schema) as write:
        write(rows)


def _result(
    detector: SeriesDetector,
    data: SeriesSet,
    scored: Sequence[ScoredPart],
    events: Sequence[tuple[Series, Event]],
    explain: int,
) -> pa.RecordBatch:
    """Return the result: a row for each input row, in its order."""
    total = row_values(data, scored, lambda scores: scores.total)
    without = np.isnan(total)
    columns: dict[str, pa.Array] = {"row": pa.array(np.arange(data.n_rows))}
    if data.times_text is not None:
        columns["time"] = data.times_text
    names = [one.name for one in data.series]
    if any(names):
        of_steps = [np.full(len(one.values), i, np.float64) for i, one in enumerate(data.series)]
        index = pa.array(data.by_row(of_steps), from_pandas=True).cast(pa.int64())
        columns["series"] = pa.array(names, pa.string()).take(index)
    columns["anomaly_score"] = pa.array(total, mask=without)
    columns["is_anomaly"] = pa.array((total > 1.0).astype(np.int64), mask=without)
    columns["event_id"] = _event_numbers(data, events)
    if explain:
        columns |= _reasons(detector, data, scored, min(explain, len(detector.channels_)))
    status = np.array(data.status, dtype=object)
    columns["status"] = pa.array(
        np.where(status != USABLE, status, np.where(without, TOO_SHORT, READABLE)), pa.string()
    )
    return pa.record_batch(columns)


def _event_numbers(data: SeriesSet, events: Sequence[tuple[Series, Event]]) -> pa.Array:
    """Return the number of the event that each row belongs to, null for others."""
    numbers = {id(one): np.full(len(one.values), np.nan) for one in data.series}
    for number, (series, event) in enumerate(events, start=1):
        numbers[id(series)][event.start : event.stop] = number
    return pa.array(data.by_row(list(numbers.values())), from_pandas=True).cast(pa.int64())


def _reasons(
    detector: SeriesDetector, data: SeriesSet, scored: Sequence[ScoredPart], count: int
) -> dict[str, pa.Array]:
    """Return columns that name the channels with the largest contributions."""
    n = len(detector.channels_)
    shares = row_values(data, scored, lambda scores: scores.contributions, n)
    expected = row_values(data, scored, lambda scores: scores.expected, n)
    given = data.by_row([one.values for one in data.series])
    order = np.argsort(-np.nan_to_num(shares), axis=1, kind="stable")
    without = np.isnan(shares).any(axis=1)
    names = np.array(detector.channels_, dtype=object)
    columns: dict[str, pa.Array] = {}
    for k in range(count):
        chosen = order[:, k : k + 1]
        columns[f"reason_{k + 1}"] = pa.array(names[chosen[:, 0]], pa.string(), mask=without)
        for name, values in (("value", given), ("expected", expected), ("contribution", shares)):
            taken = np.take_along_axis(values, chosen, axis=1)[:, 0]
            columns[f"{name}_{k + 1}"] = pa.array(taken, mask=without | np.isnan(taken))
    return columns


def _event_columns(data: SeriesSet, events: pd.DataFrame) -> dict[str, pa.Array]:
    """Return events as columns, and after them the gaps in the data."""
    texts = events.assign(
        **{name: events[name].map(_time_text) for name in ("start", "end", "peak")}
    )
    gaps: list[JsonObject] = [
        {
            "series": gap.series,
            "start": str(gap.start) if data.step is None else time_text(gap.start),
            "end": str(gap.end) if data.step is None else time_text(gap.end),
            "cause": "gap",
        }
        for gap in data.gaps
    ]
    types = {"event_id": pa.int64(), "n_flagged": pa.int64(), "score": pa.float64()}
    rows: list[JsonObject] = [
        dict(zip(texts.columns, row, strict=True)) for row in texts.to_numpy().tolist()
    ]
    rows += gaps
    return {
        name: pa.array([row.get(name) for row in rows], types.get(name, pa.string()))
        for name in events.columns
    }


def _time_text(time: pd.Timestamp | int) -> str:
    """Return a time, or the number of a row, as text."""
    return str(time) if isinstance(time, int) else time_text(time.value)


def _gap_notes(data: SeriesSet) -> Sequence[str]:
    if not data.gaps:
        return ()
    missing = sum(gap.n_missing for gap in data.gaps)
    return (f"{counted(len(data.gaps), 'gap')}, {missing:,} time steps in all, without a score",)

"""Scores of time series in files: in bounded memory, if the rows are in order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from vae_anomaly._text import counted, listed
from vae_anomaly._types import JsonObject, Parameter
from vae_anomaly.data.series.blocks import BLOCK_BYTES
from vae_anomaly.data.series.notes import merged
from vae_anomaly.data.series.parts import Part
from vae_anomaly.data.series.series import Gap
from vae_anomaly.data.series.times import time_text
from vae_anomaly.exceptions import ParameterError
from vae_anomaly.model.drift import Drift
from vae_anomaly.pipeline.conditions import failures
from vae_anomaly.pipeline.messages import movement_words, p_value_words
from vae_anomaly.pipeline.options import Options, given_options, refuse_foreign
from vae_anomaly.pipeline.paths import check_result
from vae_anomaly.pipeline.series.reading import DATA_OPTIONS, SeriesFile, reading_of
from vae_anomaly.pipeline.series.rows import RowLayout, RowStream
from vae_anomaly.pipeline.sorting import most_anomalous_first
from vae_anomaly.pipeline.work import Done, Work
from vae_anomaly.pipeline.writers import result_writer
from vae_anomaly.series.alarms import span
from vae_anomaly.series.calibration import SeriesDriftWatch
from vae_anomaly.series.detector import SeriesDetector
from vae_anomaly.series.file import load_series, needs_tensorflow, save
from vae_anomaly.series.frames import NamedEvent, events_frame
from vae_anomaly.storage.container import UnopenedFile

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "SeriesSummary",
    "recalibrate",
    "score",
    "score_series_file",
    "series_warnings",
]

T = TypeVar("T")

SERIES_OUTPUTS = ("explain", "events", "only_flagged", "sort")
"""Options of `score_series_file`."""

ASKED = (*SERIES_OUTPUTS, *DATA_OPTIONS)


class SeriesSummary(NamedTuple):
    """Facts about the scores of series.

    Attributes
    ----------
    n_rows, n_scored, n_flagged : int
        Input rows, those with a score, and those that are flagged.
    n_events : int
    drift : Drift or None
        That of blocks of time as a whole, if there is any.
    notes : sequence of str
        Lines to report.
    warnings : sequence of str
        Sentences.
    """

    n_rows: int
    n_scored: int
    n_flagged: int
    n_events: int
    drift: Drift | None
    notes: Sequence[str]
    warnings: Sequence[str]

    def facts(self) -> JsonObject:
        """Return the same in plain values."""
        facts = self._asdict()
        movements = () if self.drift is None else self.drift.movements
        facts["drift_p_value"] = None if self.drift is None else self.drift.p_value
        return facts | {"drift": self.drift is not None, "moved": [m.column for m in movements]}


def score_series_file(
    file: UnopenedFile,
    path: str,
    output: str,
    *,
    explain: int = 0,
    events: str | None = None,
    only_flagged: bool = False,
    sort: bool = False,
    block_bytes: int = BLOCK_BYTES,
    **given: Parameter,
) -> SeriesSummary:
    """Score the series in a file, and write a row for each input row.

    A large file whose rows are in order of time is scored part by part, see
    `vae_anomaly.data.series.parts`; others are read as a whole. The result is the same.

    Parameters
    ----------
    file : UnopenedFile
        Model file.
    path : str
    output : str
        ``.parquet`` or ``.pq`` for Parquet, ``.jsonl`` or ``.ndjson`` for JSON Lines, else CSV;
        "-" for standard output.
    explain : int, default=0
        Channels to name that contribute most.
    events : str, optional
        File of events to write, likewise.
    only_flagged : bool, default=False
        Leave out rows that are not flagged.
    sort : bool, default=False
        Write the most anomalous rows first; they wait in a temporary file.
    block_bytes : int, optional
        Bytes of a part, about.
    **given
        Those of `DATA_OPTIONS` that are other ones than in the fit.

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
    reading = reading_of(reading, given)
    series = SeriesFile(path, {**reading, **_of_training(detector)}, block_bytes)
    # What is written to a pipe cannot be taken back: all is read before.
    scored, reason = series.read(
        lambda parts: _write_scores(
            detector, parts, output, explain, only_flagged=only_flagged, sort=sort
        ),
        check=output == "-",
    )
    if events is not None:
        _write_events(events, scored)
    return SeriesSummary(
        scored.n_rows,
        scored.n_scored,
        scored.n_flagged,
        len(scored.events),
        scored.drift,
        [*reason, *scored.notes, *_gap_notes(scored.gaps)],
        scored.warnings,
    )


def score(file: UnopenedFile, path: str, output: str, options: Options, work: Work) -> Done:
    """Score the series in a file as the options of the command `score` ask for.

    Raises
    ------
    ParameterError
        If an option is given that is not for time series.
    ModelFileError, DataError, OutputError
        As `score_series_file`.
    """
    refuse_foreign(options, (*ASKED, "fail_if"), f"is not for time series, as in {file.name}")
    events = options["events"]
    if events is not None:
        check_result(events, path, file.name, output)
    if needs_tensorflow(file):
        work.start()
    summary = score_series_file(file, path, output, **given_options(options, ASKED))
    drift = summary.drift is not None
    failed = failures(
        options["fail_if"], summary.n_flagged, summary.n_scored, "time step", drift=drift
    )
    facts = summary.facts() | {"scores": output, "failed": failed}
    notes = series_notes(summary, output, events)
    return Done(notes, facts, is_complete=summary.n_scored > 0, failed=failed)


def recalibrate(
    file: UnopenedFile, path: str | None, output: str, options: Options, work: Work
) -> Done:
    """Write a model file with thresholds from the normal series in a file.

    Parameters
    ----------
    file : UnopenedFile
        Model file.
    path : str or None
    output : str
        Model file to write.
    options : mapping
        Those of the command `recalibrate`.
    work : Work

    Returns
    -------
    Done

    Raises
    ------
    ParameterError
        If an option is given that is not for time series, or no file.
    ModelFileError, DataError, OutputError
        As `score_series_file`; and if the series are too short for what is promised.
    """
    refuse_foreign(
        options, ("false_alarms_per", *DATA_OPTIONS), f"is not for time series, as in {file.name}"
    )
    if path is None:
        raise ParameterError("Expected DATA, normal time series to calibrate by.")
    if needs_tensorflow(file):
        work.start()
    detector, fitted = load_series(file)
    reading = reading_of(fitted, options)
    series = SeriesFile(path, {**reading, **_of_training(detector)})

    def watched(parts: Iterable[Part]) -> tuple[RowStream, tuple[str, ...]]:
        stream = RowStream(detector, RowLayout.of(detector.channels_, None, 0))
        notes: tuple[str, ...] = ()
        for part in parts:
            notes = merged((*notes, *part.data.notes))
            for _ in stream.add(part):
                pass
        for _ in stream.finish():
            pass
        return stream, notes

    (stream, notes), reason = series.read(watched)
    episodes, per = options["false_alarms_per"] or (None, None)
    other = detector.recalibrated(stream.watch.blocks, episodes, per)
    save(other, output, reading)
    before = f"the old thresholds flag {stream.n_flagged:,} of {stream.n_scored:,} time steps"
    counted_events = f"{before}, in {counted(len(stream.events), 'event')}"
    promise = other.promise_.words(detector.step_)
    silent = [f"warning: {text}" for text in silence_warnings(stream.watch, detector.step_)]
    lines = [*reason, *notes, *silent, counted_events, promise, f"model: {output}"]
    return Done(lines, {"model": output})


def series_notes(summary: SeriesSummary, output: str, events: str | None) -> list[str]:
    """Return lines to report after scoring: what was scored and flagged, and where it is."""
    n_rows, n_scored, n_flagged, n_events, _, notes, warnings = summary
    without = f", {n_rows - n_scored:,} have no score" if n_scored < n_rows else ""
    verdict = (
        f"{n_flagged:,} of {n_scored:,} time steps are flagged, in "
        f"{counted(n_events, 'event')}{without}"
    )
    written = [("scores", output), ("events", events)]
    return [
        *notes,
        verdict,
        *(f"warning: {text}" for text in warnings),
        *(f"{what}: {path}" for what, path in written if path and path != "-"),
    ]


def series_drift_warning(drift: Drift) -> str:
    """Return a warning for the drift of blocks of time."""
    return (
        f"as a whole, these {drift.n_rows:,} blocks of time have higher scores than those of "
        f"calibration (one-sided Kolmogorov-Smirnov, p {p_value_words(drift.p_value)}): more false "
        f"episodes come than were promised{movement_words(drift)}. Either anomalies are many, or "
        f"normal has moved: then `vae-anomaly recalibrate` or fit anew."
    )


def silence_warnings(watch: SeriesDriftWatch, step: int | None) -> list[str]:
    """Return a warning for channels without values, if there are any."""
    silent = watch.silent
    if not silent:
        return []
    have, whose = ("has", "its") if len(silent) == 1 else ("have", "their")
    return [
        f"{listed(list(silent))} {have} no value for up to "
        f"{span(max(silent.values()), step)}: {whose} anomalies cannot be found there."
    ]


def series_warnings(detector: SeriesDetector, watch: SeriesDriftWatch, n_scored: int) -> list[str]:
    """Return warnings for a result without scores, for channels without values, and for drift."""
    step, window = detector.step_, detector.model_.window
    if not n_scored:
        steps = counted(window, "time step")
        length = steps if step is None else f"{steps}, {span(window, step)}"
        return [f"no row has a score: that needs {length}, without a long gap."]
    drift = watch.result()
    return silence_warnings(watch, step) + ([] if drift is None else [series_drift_warning(drift)])


class _Scored(NamedTuple):
    """What was written."""

    n_rows: int
    n_scored: int
    n_flagged: int
    events: Sequence[NamedEvent]
    drift: Drift | None
    gaps: Sequence[Gap]
    notes: Sequence[str]
    warnings: Sequence[str]
    has_times: bool
    zone: str | None


def _of_training(detector: SeriesDetector) -> JsonObject:
    """Return the options of `read_series` that come from a model."""
    return {"channels": detector.channels_, "step": detector.step_}


def _write_scores(
    detector: SeriesDetector,
    parts: Iterable[Part],
    output: str,
    explain: int,
    *,
    only_flagged: bool,
    sort: bool,
) -> _Scored:
    """Score parts, and write the rows; nothing is left if a part cannot be used."""
    n_rows = 0
    gaps: list[Gap] = []
    notes: tuple[str, ...] = ()
    parts = iter(parts)
    first = next(parts)
    layout = RowLayout.of(detector.channels_, first.data, explain)
    stream, schema = RowStream(detector, layout), layout.schema
    score = schema.get_field_index("anomaly_score")
    with (
        result_writer(output, schema) as put,
        most_anomalous_first(put, schema, score) if sort else nullcontext(put) as write,
    ):
        for part in chain([first], parts, [None]):
            if part is not None:
                gaps.extend(part.data.gaps)
                notes = merged((*notes, *part.data.notes))
                n_rows += part.data.n_rows
            for batch in stream.finish() if part is None else stream.add(part):
                is_kept = pc.equal(batch["is_anomaly"], 1)
                write(batch.filter(pc.fill_null(is_kept, False)) if only_flagged else batch)
    counts = stream.n_scored, stream.n_flagged
    drift = stream.watch.result()
    warnings = series_warnings(detector, stream.watch, stream.n_scored)
    times = layout.has_times, first.data.zone
    return _Scored(n_rows, *counts, stream.events, drift, gaps, notes, warnings, *times)


def _write_events(path: str, scored: _Scored) -> None:
    """Write events, and after them the gaps in the data."""

    def text(moment: pd.Timestamp | int) -> str:
        if not scored.has_times:
            return str(moment)
        return time_text(moment if isinstance(moment, int) else moment.value, scored.zone)

    events = events_frame(scored.events, have_times=scored.has_times)
    texts = events.assign(**{name: events[name].map(text) for name in ("start", "end", "peak")})
    gaps: list[JsonObject] = [
        {
            "series": gap.series,
            "start": text(gap.start),
            "end": text(gap.end),
            "cause": "gap",
        }
        for gap in scored.gaps
    ]
    types = {"event_id": pa.int64(), "n_flagged": pa.int64(), "score": pa.float64()}
    rows: list[JsonObject] = [
        dict(zip(texts.columns, row, strict=True)) for row in texts.to_numpy().tolist()
    ]
    rows += gaps
    columns = {
        name: pa.array([row.get(name) for row in rows], types.get(name, pa.string()))
        for name in events.columns
    }
    batch = pa.record_batch(columns)
    with result_writer(path, batch.schema) as write:
        write(batch)


def _gap_notes(gaps: Sequence[Gap]) -> Sequence[str]:
    if not gaps:
        return ()
    missing = sum(gap.n_missing for gap in gaps)
    return (f"{counted(len(gaps), 'gap')}, {missing:,} time steps in all, without a score",)

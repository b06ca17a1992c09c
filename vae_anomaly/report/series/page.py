"""Report of an evaluation of time series: sentences, rows and figures, rendered as one page."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vae_anomaly._text import counted, listed
from vae_anomaly.data.series.times import time_text
from vae_anomaly.pipeline.options import Options, divide, refuse_foreign
from vae_anomaly.pipeline.paths import check_report_folder
from vae_anomaly.pipeline.series.evaluation import SeriesEvaluation, evaluate_series_file
from vae_anomaly.pipeline.series.reading import DATA_OPTIONS
from vae_anomaly.pipeline.work import Done, Work
from vae_anomaly.report.command import command_line
from vae_anomaly.report.data import UNKNOWN, Provenance, Summary, Tile
from vae_anomaly.report.formatting import number
from vae_anomaly.report.render import rendered, write_page
from vae_anomaly.report.series.figures import Plot, plots
from vae_anomaly.report.series.words import (
    Fact,
    calibration_facts,
    metric_facts,
    model_facts,
    series_summary,
    series_tiles,
    step_time,
)
from vae_anomaly.series.file import needs_tensorflow
from vae_anomaly.stats.floats import default_floats
from vae_anomaly.storage.container import UnopenedFile

__all__ = [
    "SeriesReport",
    "build_series_report",
    "evaluate",
    "write_series_report",
]

OPTIONS = ("title", "top", "label_column", "normal_label", "labels", *DATA_OPTIONS)
"""Options of `evaluate`."""

MAX_ROWS = 200
"""Rows that a page lists of events, of labelled ones, and of gaps."""


class EventRow(NamedTuple):
    """An event in words."""

    event_id: int
    series: str
    start: str
    end: str
    peak: str
    score: str
    cause: str
    channels: str
    value: str
    expected: str
    label: str


class LabelledRow(NamedTuple):
    """A labelled event in words."""

    series: str
    start: str
    end: str
    event: str


class GapRow(NamedTuple):
    """A gap in words."""

    series: str
    start: str
    end: str
    n_missing: str


@dataclass(frozen=True)
class SeriesReport:
    """All that a page on time series shows, in words.

    Attributes
    ----------
    title, model_name, data_name, size : str
    tiles : list of Tile
    parts : Summary
        Sentences, by part of the page.
    overviews, details : list of Plot
        Figures of whole series and of events.
    events, labelled, gaps : list
        Rows, at most `MAX_ROWS`; their captions say so.
    metrics, unscored, calibration, model : list of pairs of str
    has_names : bool
        Whether the series have names.
    provenance : Provenance
    """

    title: str
    model_name: str
    data_name: str
    size: str
    tiles: list[Tile]
    parts: Summary
    overviews: list[Plot]
    details: list[Plot]
    events: list[EventRow]
    events_caption: str
    labelled: list[LabelledRow]
    labelled_caption: str
    gaps: list[GapRow]
    gaps_caption: str
    metrics: list[Fact]
    unscored: list[Fact]
    calibration: list[Fact]
    model: list[Fact]
    has_names: bool
    provenance: Provenance = UNKNOWN

    @property
    def summary(self) -> tuple[str, ...]:
        """Sentences, the verdict first."""
        return self.parts.sentences


def evaluate(file: UnopenedFile, path: str, folder: str, options: Options, work: Work) -> Done:
    """Evaluate a model of time series on a file, and write the page.

    Parameters
    ----------
    file : UnopenedFile
        Model file.
    path : str
    folder : str
        Directory.
    options : mapping
        Those of the command `evaluate`.
    work : Work

    Returns
    -------
    Done

    Raises
    ------
    ModelFileError, DataError, ParameterError
        As `evaluate_series_file`; and if an option is given that is not for time series.
    OutputError
        If the page cannot be written.
    """
    refuse_foreign(options, OPTIONS, f"is not for time series, as in {file.name}")
    check_report_folder(folder, "row", file.name, path, options["labels"])
    if needs_tensorflow(file):
        work.start()
    shown, labels = divide(options, ("title", "top"))
    found = evaluate_series_file(file, path, **labels)
    command = command_line("evaluate", [file.name, path], folder, {**shown, **labels})
    report = build_series_report(
        found,
        model_name=Path(file.name).name,
        data_name=Path(path).name,
        provenance=Provenance(file.sha256, command),
        **shown,
    )
    page = write_series_report(report, folder)
    notes = [*found.notes, *report.summary, f"report: {page}"]
    return Done(notes, {"report": str(page)})


@default_floats()
def build_series_report(
    found: SeriesEvaluation,
    *,
    model_name: str,
    data_name: str,
    title: str = "Anomaly report",
    top: int = 10,
    provenance: Provenance | None = None,
) -> SeriesReport:
    """Collect what a page on time series shows.

    Parameters
    ----------
    found : SeriesEvaluation
    model_name, data_name : str
    title : str
    top : int, default=10
        Events with the highest scores that have a figure too, if the page stays
        small.
    provenance : Provenance, optional

    Returns
    -------
    SeriesReport
    """
    data = found.data
    overviews, details = plots(found, top)
    n_steps = sum(len(one.values) for one in data.series)
    names = listed([one.name for one in data.series if one.name])
    size = f"{counted(n_steps, 'time step')} of {counted(len(data.channels), 'channel')}"
    return SeriesReport(
        title=title,
        model_name=model_name,
        data_name=data_name,
        size=f"{size}, series {names}" if names else size,
        tiles=series_tiles(found),
        parts=series_summary(found),
        overviews=overviews,
        details=details,
        events=[_event_row(found, i) for i in range(min(len(found.events), MAX_ROWS))],
        events_caption=_caption("event", len(found.events)),
        labelled=_labelled_rows(found),
        labelled_caption=_caption("labelled event", len(found.labelled)),
        gaps=[
            GapRow(gap.series, *_gap_times(found, gap.start, gap.end), f"{gap.n_missing:,}")
            for gap in data.gaps[:MAX_ROWS]
        ],
        gaps_caption=_caption("gap", len(data.gaps)),
        metrics=[] if found.metrics is None else metric_facts(found, found.metrics),
        unscored=[(reason, f"{n:,}") for reason, n in found.unscored.items()],
        calibration=calibration_facts(found),
        model=model_facts(found),
        has_names=bool(names),
        provenance=provenance or UNKNOWN,
    )


def write_series_report(report: SeriesReport, directory: str | os.PathLike[str]) -> Path:
    """Write ``report.html`` into a directory, whole or not at all.

    Parameters
    ----------
    report : SeriesReport
    directory : str or path-like
        Created if it does not exist.

    Returns
    -------
    Path
        Path of the page.

    Raises
    ------
    OutputError
        If the page cannot be written.
    """
    page = rendered("series.html.j2", ("listing.js", "zoom.js"), report=report, tiles=report.tiles)
    return write_page(page, {}, directory)


def _caption(what: str, count: int) -> str:
    words = counted(count, what)
    return f"{words}, of which the first {MAX_ROWS} are shown" if count > MAX_ROWS else words


def _gap_times(found: SeriesEvaluation, start: int, end: int) -> tuple[str, str]:
    if found.data.step is None:
        return f"row {start}", f"row {end}"
    return time_text(start, found.data.zone), time_text(end, found.data.zone)


def _event_row(found: SeriesEvaluation, at: int) -> EventRow:
    one = found.events[at]
    event = one.event
    return EventRow(
        at + 1,
        found.data.series[one.series].name,
        step_time(found, one.series, event.start),
        step_time(found, one.series, event.stop - 1),
        step_time(found, one.series, event.peak),
        f"{event.score:,.2f}",
        event.cause,
        ", ".join(event.channels),
        "missing" if np.isnan(one.value) else number(one.value, 4),
        number(one.expected, 4),
        {True: "yes", False: "no", None: ""}[one.is_labelled],
    )


def _labelled_rows(found: SeriesEvaluation) -> list[LabelledRow]:
    return [
        LabelledRow(
            found.data.series[one.series].name,
            step_time(found, one.series, one.start),
            step_time(found, one.series, one.stop - 1),
            "missed" if one.event_id is None else str(one.event_id),
        )
        for one in found.labelled[:MAX_ROWS]
    ]

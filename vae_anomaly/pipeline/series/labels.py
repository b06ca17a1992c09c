"""Labels of time series: a column of the data, or windows of time in a file."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vae_anomaly._text import are, counted, display_name, listed, shown
from vae_anomaly._types import Json
from vae_anomaly.data.labels import anomalous, label_summary
from vae_anomaly.data.series.clock import to_utc
from vae_anomaly.data.series.csv_text import columns_of_csv
from vae_anomaly.data.series.files import GZIP, PARQUET, UTF16
from vae_anomaly.data.series.series import Series, SeriesSet
from vae_anomaly.data.series.times import read_times
from vae_anomaly.exceptions import DataError
from vae_anomaly.metrics.events import nab_windows, window_labels

__all__ = ["StepLabels", "labels_of_column", "labels_of_windows"]

Flags = NDArray[np.bool_]

WANTED = (
    "Expected a CSV file with the columns start and end, and perhaps series; a JSON list of "
    "[start, end] or of objects with these names; or a JSON object: name of a file or series -> "
    "list of [start, end], as of NAB."
)


class StepLabels(NamedTuple):
    """Labels of time steps.

    Attributes
    ----------
    of_series : list of ndarray of bool
        For each series, True at anomalous time steps: (n_steps,).
    note : str
        What the labels say.
    """

    of_series: list[Flags]
    note: str


class _Window(NamedTuple):
    series: str | None  # None for all
    start: object
    end: object


def labels_of_column(
    path: str, column: str, data: SeriesSet, normal: Sequence[str] = ()
) -> StepLabels:
    """Read the labels of rows in a column of a CSV or Parquet file.

    A time step is anomalous if any of its rows is, and one without a row if the nearest
    time steps with rows on both sides are.

    Parameters
    ----------
    path : str
    column : str
    data : SeriesSet
        Read from the same file.
    normal : sequence of str
        See `vae_anomaly.data.labels.anomalous`.

    Raises
    ------
    DataError
        If there is no such column, it is a channel of the model, or a label is not clear.
    """
    name = display_name(path)
    if column in data.channels:
        raise DataError(
            f"The label column {shown(column)} is a channel that the model was fitted on. Fit a "
            f"model to data without labels."
        )
    values = _column(path, name, column)
    if len(values) != data.n_rows:
        raise DataError(
            f"{name}: expected {data.n_rows:,} labels, one a row, got {len(values):,}. Give the "
            f"labels as windows with --labels."
        )
    flags = anomalous(values, source=name, column=column, normal=normal)
    flat = np.zeros(sum(len(one.values) for one in data.series), dtype=bool)
    flat[data.points[(data.points >= 0) & flags]] = True
    bounds = np.cumsum([len(one.values) for one in data.series])[:-1]
    parts = np.split(flat, bounds)
    return StepLabels(
        [_filled(one, labels) for one, labels in zip(data.series, parts, strict=True)],
        f"labels: {label_summary(values, flags, 'row')}",
    )


def _column(path: str, name: str, column: str) -> list[object]:
    """Read the cells of one column."""
    content = Path(path).read_bytes()
    if content.startswith(GZIP):
        content = gzip.decompress(content)
    if content.startswith(PARQUET):
        cells = pq.ParquetFile(pa.BufferReader(content)).read()
        columns = {str(key): cells.column(i) for i, key in enumerate(cells.column_names)}
    else:
        columns = dict(columns_of_csv(_text(content, name), name).cells)
    if column not in columns:
        raise DataError(
            f"{name} has no column {shown(column)} of labels. Its columns are "
            f"{listed(list(columns))}. Labels may also be windows, with --labels."
        )
    return list(columns[column].to_pylist())


def _filled(series: Series, labels: Flags) -> Flags:
    """Label time steps without a row whose neighbours with rows are labelled on both sides."""
    places = np.arange(len(labels))
    has_row = series.rows >= 0
    before = np.maximum.accumulate(np.where(has_row, places, 0))
    after = np.minimum.accumulate(np.where(has_row, places, len(labels) - 1)[::-1])[::-1]
    return np.where(has_row, labels, labels[before] & labels[after])


def labels_of_windows(
    path: str, data: SeriesSet, *, data_name: str, timezone: str | None = None
) -> StepLabels:
    """Read labelled windows, whose starts and ends are both anomalous.

    Times without an offset count like those of the data: in UTC, or in `timezone`. In series
    without times, starts and ends are numbers of rows, counted from 0.

    Parameters
    ----------
    path : str
        CSV, or JSON, such as `combined_windows.json` of NAB.
    data : SeriesSet
    data_name : str
        Name of the file of the data, by which NAB names its series.
    timezone : str, optional

    Raises
    ------
    DataError
        If the file is in another form, or a window is not sound.
    """
    name = display_name(path)
    windows = _windows(path, name, data, data_name)
    known = {one.name for one in data.series}
    unknown = sorted({str(one.series) for one in windows if one.series not in (None, *known)})
    if unknown:
        raise DataError(
            f"{name} labels the series {listed(unknown)}, which the data "
            f"does not have. Its series are {listed(sorted(known))}."
        )
    bounds = _bounds(windows, name, timezone, has_times=data.step is not None)
    labels = []
    used = np.zeros(len(windows), dtype=bool)
    for one in data.series:
        here = np.array([window.series in (None, one.name) for window in windows], dtype=bool)
        times = one.rows if one.times is None else one.times
        flags = window_labels(times, bounds[here])
        labels.append(_filled(one, flags) if one.times is None else flags)
        held = times[one.rows >= 0]
        first, last = (np.searchsorted(held, ends) for ends in (bounds[:, 0], bounds[:, 1] + 1))
        used |= here & (first < last)
    note = f"labels: {counted(len(windows), 'window')}"
    without = int((~used).sum())
    if without:
        note += f", of which {without:,} {are(without)} outside of the data"
    return StepLabels(labels, note)


def _windows(path: str, name: str, data: SeriesSet, data_name: str) -> list[_Window]:
    """Read windows in any of the forms."""
    text = _text(Path(path).read_bytes(), name)
    if text.lstrip()[:1] not in ("{", "["):
        return _windows_of_csv(text, name)
    try:
        document = json.loads(text)
    except json.JSONDecodeError as cause:
        raise DataError(f"{name} is not sound JSON: {cause}. Correct the file.") from cause
    if isinstance(document, dict):
        return [
            _Window(one.name or None, *map(str, pair))
            for one in data.series
            for pair in nab_windows(document, one.name or data_name)
        ]
    return [_window_of_json(one, name) for one in document]


def _windows_of_csv(text: str, name: str) -> list[_Window]:
    columns = columns_of_csv(text, name).cells
    cells = {key.strip().lower(): column.to_pylist() for key, column in columns.items()}
    if not {"start", "end"} <= set(cells):
        raise DataError(f"{name} has the columns {listed(list(columns))}. {WANTED}")
    series = cells.get("series", [None] * len(cells["start"]))
    rows = zip(series, cells["start"], cells["end"], strict=True)
    return [_Window(one or None, start, end) for one, start, end in rows]


def _window_of_json(entry: Json, name: str) -> _Window:
    if isinstance(entry, Mapping) and {"start", "end"} <= set(entry):
        return _Window(entry.get("series"), entry["start"], entry["end"])
    if isinstance(entry, list) and len(entry) == 2:
        return _Window(None, *entry)
    raise DataError(f"{name} has the entry {shown(entry)}. {WANTED}")


def _bounds(
    windows: Sequence[_Window], name: str, timezone: str | None, *, has_times: bool
) -> NDArray[np.int64]:
    """Return starts and ends as nanoseconds in UTC, or as row numbers: (n_windows, 2)."""
    texts = [str(end) for window in windows for end in window[1:]]
    if not texts:
        return np.empty((0, 2), np.int64)

    def place(row: int) -> str:
        return f"{name}, window {row // 2 + 1}"

    if not has_times:
        try:
            return np.array([int(text) for text in texts], np.int64).reshape(-1, 2)
        except ValueError as cause:
            raise DataError(
                f"{name}: the data has no times, so windows must be row numbers. Got {cause}."
            ) from cause
    stamps = read_times(pa.array(texts, pa.string()), "start, end", place)
    if not stamps.known.all():
        row = int(np.argmin(stamps.known))
        raise DataError(f"{place(row)}: expected a start and an end, got {shown(texts[row])}.")
    if not stamps.is_naive or timezone is None:
        return stamps.ns.reshape(-1, 2)
    return to_utc(stamps, np.arange(len(texts)), timezone, place).reshape(-1, 2)


def _text(content: bytes, name: str) -> str:
    """Decode the text of a file."""
    try:
        text = content.decode("utf-16" if content.startswith(UTF16) else "utf-8-sig")
    except UnicodeDecodeError as cause:
        raise DataError(f"{name} is not text in UTF-8. Save it as UTF-8.") from cause
    if not text.strip():
        raise DataError(f"{name} is empty. Expected labels.")
    return text

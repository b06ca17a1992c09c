"""Names of channels of metrics with labels, as of Prometheus, InfluxDB and Telegraf."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_anomaly._text import listed, shown
from vae_anomaly.data.series.columns import Columns, Roles, free_name
from vae_anomaly.data.series.stamps import Place
from vae_anomaly.exceptions import DataError

__all__ = [
    "Fields",
    "Form",
    "Metric",
    "channel_names",
    "fields_form",
    "labelled_form",
    "series_names",
]

TIME, METRIC, VALUE = "time", "metric", "value"
"""Columns of rows with labels."""

Codes = NDArray[np.int64]


class Metric(NamedTuple):
    """A metric with its labels."""

    name: str
    labels: Mapping[str, str]
    measurement: str = ""


class Fields(NamedTuple):
    """Values of a metric in rows that may hold several.

    Attributes
    ----------
    metric : Metric
    source : int
        What reports the rows, as a number.
    rows : ndarray of int, of shape (n,)
    values : ndarray of shape (n,)
        NaN where they are no numbers.
    """

    metric: Metric
    source: int
    rows: Codes
    values: NDArray[np.float64]


class Form(NamedTuple):
    """Columns of a file, and the roles that they have unless the user gives others."""

    columns: Columns
    roles: Roles


def channel_names(metrics: Sequence[Metric], roles: Roles) -> list[str]:
    """Return the channels of metrics.

    A name has the measurement, if there are several, and those labels that differ among
    metrics. Channels of training keep their names, whatever differs now.

    Parameters
    ----------
    metrics : sequence of Metric
    roles : Roles
        The label that names the series is no part of a channel.

    Raises
    ------
    DataError
        If a channel of training may be any of several metrics.

    Examples
    --------
    >>> cpu = [Metric("cpu", {"host": "a", "cpu": str(i)}) for i in range(2)]
    >>> channel_names(cpu, Roles())
    ['cpu{cpu=0}', 'cpu{cpu=1}']
    >>> channel_names(cpu[:1], Roles(channels=["cpu{cpu=0}"]))
    ['cpu{cpu=0}']
    """
    labels = {label for metric in metrics for label in metric.labels} - {roles.series_column}
    differing = [
        label for label in sorted(labels) if len({one.labels.get(label) for one in metrics}) > 1
    ]
    several = len({metric.measurement for metric in metrics}) > 1
    names = [_name(metric, differing, with_measurement=several) for metric in metrics]
    if roles.channels is None:
        return names
    found = [_of_training(roles.channels, metric) for metric in metrics]
    _check_clear(found, names, metrics, roles.series_column)
    return [one or name for one, name in zip(found, names, strict=True)]


def _name(metric: Metric, labels: Sequence[str], *, with_measurement: bool) -> str:
    pairs = [f"{label}={metric.labels[label]}" for label in labels if label in metric.labels]
    prefix = f"{metric.measurement}." if with_measurement and metric.measurement else ""
    return f"{prefix}{metric.name}" + (f"{{{','.join(pairs)}}}" if pairs else "")


def _of_training(channels: Sequence[str], metric: Metric) -> str | None:
    """Return the channel with most labels that may be a metric."""
    fitting = [channel for channel in channels if _may_be(channel, metric)]
    return max(fitting, key=len, default=None)


def _may_be(channel: str, metric: Metric) -> bool:
    """Return whether a channel has the name of a metric, and labels of it."""
    for name in (metric.name, f"{metric.measurement}.{metric.name}"):
        if channel == name:
            return True
        if channel.startswith(f"{name}{{") and channel.endswith("}"):
            rest = f"{channel[len(name) + 1 : -1]},"
            for label in sorted(metric.labels):
                rest = rest.removeprefix(f"{label}={metric.labels[label]},")
            if not rest:
                return True
    return False


def _check_clear(
    found: Sequence[str | None], names: Sequence[str], metrics: Sequence[Metric], label: str | None
) -> None:
    """Raise if two metrics of one series are the same channel of training."""
    name_of: dict[tuple[str, str], str] = {}
    for channel, name, metric in zip(found, names, metrics, strict=True):
        if channel is None:
            continue
        other = name_of.setdefault((channel, metric.labels.get(label or "", "")), name)
        if other != name:
            raise DataError(
                f"Channel {shown(channel)} of training may be {shown(other)} or {shown(name)}. "
                f"Expected one of them: leave the other out with a query, or give as series_column "
                f"the label that tells series apart."
            )


def series_names(metrics: Sequence[Metric], label: str, name: str) -> list[str]:
    """Return the series of metrics: the values of a label.

    Raises
    ------
    DataError
        If no metric has the label.
    """
    known = sorted({one for metric in metrics for one in metric.labels})
    if label not in known:
        raise DataError(f"{name} has no label {label!r}. Its labels are {listed(known)}.")
    return [metric.labels.get(label, "") for metric in metrics]


def labelled_form(
    metrics: Sequence[Metric],
    codes: Codes,
    times: pa.Array,
    values: pa.Array,
    place: Place,
    name: str,
    roles: Roles,
) -> Form:
    """Return rows with one value each as columns in long format.

    Parameters
    ----------
    metrics : sequence of Metric
    codes : ndarray of int, of shape (n,)
        Metric of each row.
    times, values : Arrow arrays of shape (n,)
    place : callable
    name : str
        Of the file.
    roles : Roles
        `series_column` is a label.
    """
    series_column = roles.series_column
    time, metric, value = (free_name(one, {series_column}) for one in (TIME, METRIC, VALUE))
    cells = {time: times, metric: _by_code(codes, channel_names(metrics, roles)), value: values}
    if series_column is not None:
        cells[series_column] = _by_code(codes, series_names(metrics, series_column, name))
    of_form = Roles(
        time_column=time, series_column=series_column, metric_column=metric, value_column=value
    )
    return Form(Columns(cells, place, name), of_form)


def fields_form(
    found: Sequence[Fields], times: pa.Array, place: Place, name: str, roles: Roles
) -> Form:
    """Return rows that may hold several metrics as columns in wide format.

    Parameters
    ----------
    found : sequence of Fields
    times : Arrow array of shape (n,)
    place : callable
    name : str
        Of the file.
    roles : Roles
        `series_column` is a label.
    """
    metrics = [one.metric for one in found]
    channels = channel_names(metrics, roles)
    n_rows = len(times)
    values = {channel: np.full(n_rows, np.nan) for channel in channels}
    sources = np.zeros(n_rows, np.int64)
    for channel, one in zip(channels, found, strict=True):
        values[channel][one.rows] = one.values
        sources[one.rows] = one.source
    series_column = roles.series_column
    time = free_name(TIME, {*channels, series_column})
    cells = {time: times} | {channel: pa.array(one) for channel, one in values.items()}
    if series_column is not None:
        of_row = np.empty(n_rows, dtype=object)
        for label, one in zip(series_names(metrics, series_column, name), found, strict=True):
            of_row[one.rows] = label
        cells[series_column] = pa.array(of_row, pa.string())
    of_form = Roles(time_column=time, series_column=series_column)
    return Form(Columns(cells, place, name, sources=sources), of_form)


def _by_code(codes: Codes, names: Sequence[str]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(names, pa.string()))

"""Names of channels of metrics with labels, as of Prometheus, InfluxDB and Telegraf."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_anomaly._text import listed
from vae_anomaly.data.series.columns import Columns, Roles, free_name
from vae_anomaly.data.series.stamps import Place
from vae_anomaly.exceptions import DataError

__all__ = ["TIME", "Form", "Metric", "channel_names", "labelled_form", "measured", "series_names"]

TIME, METRIC, VALUE = "time", "metric", "value"
"""Columns of rows with labels."""

Codes = NDArray[np.int64]


class Metric(NamedTuple):
    """A metric with its labels."""

    name: str
    labels: Mapping[str, str]


class Form(NamedTuple):
    """Columns of a file, and the roles that they have unless the user gives others."""

    columns: Columns
    roles: Roles


def channel_names(metrics: Sequence[Metric], other: Collection[str] = ()) -> list[str]:
    """Return names of channels: of metrics, with those labels that differ among them.

    Parameters
    ----------
    metrics : sequence of Metric
    other : collection of str
        Labels that do not count: that of the series.

    Examples
    --------
    >>> cpu = [Metric("cpu", {"host": "a", "cpu": str(i)}) for i in range(2)]
    >>> channel_names(cpu)
    ['cpu{cpu=0}', 'cpu{cpu=1}']
    """
    labels = {label for metric in metrics for label in metric.labels} - set(other)
    differing = sorted(
        label for label in labels if len({one.labels.get(label) for one in metrics}) > 1
    )
    names = []
    for metric in metrics:
        shown = [f"{label}={metric.labels[label]}" for label in differing if label in metric.labels]
        names.append(f"{metric.name}{{{','.join(shown)}}}" if shown else metric.name)
    return names


def measured(fields: Sequence[tuple[str, str, Mapping[str, str]]]) -> list[Metric]:
    """Return metrics of measurements, fields and tags: fields, of several measurements with these.

    Examples
    --------
    >>> measured([("mem", "used", {}), ("swap", "used", {})])[0]
    Metric(name='mem.used', labels={})
    """
    several = len({measurement for measurement, _, _ in fields}) > 1
    return [
        Metric(f"{measurement}.{field}" if several else field, tags)
        for measurement, field, tags in fields
    ]


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
    series_column: str | None,
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
    series_column : str, optional
        Label whose values are series.
    """
    other = () if series_column is None else (series_column,)
    time, metric, value = (free_name(one, other) for one in (TIME, METRIC, VALUE))
    cells = {time: times, metric: _by_code(codes, channel_names(metrics, other)), value: values}
    if series_column is not None:
        cells[series_column] = _by_code(codes, series_names(metrics, series_column, name))
    roles = Roles(
        time_column=time, series_column=series_column, metric_column=metric, value_column=value
    )
    return Form(Columns(cells, place, name), roles)


def _by_code(codes: Codes, names: Sequence[str]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(names, pa.string()))

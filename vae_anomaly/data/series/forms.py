"""Series from arrays, data frames and files, on regular grids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vae_anomaly._types import Records
from vae_anomaly.data.series.columns import Roles
from vae_anomaly.data.series.files import rows_of_file
from vae_anomaly.data.series.frames import rows_of_data
from vae_anomaly.data.series.grid import DEFAULT_MAX_GAP, on_grid
from vae_anomaly.data.series.series import SeriesSet

__all__ = ["read_series"]


def read_series(
    data: Records,
    *,
    time_column: str | None = None,
    series_column: str | None = None,
    metric_column: str | None = None,
    value_column: str | None = None,
    ignore: Sequence[str] = (),
    channels: Sequence[str] | None = None,
    step: int | str | None = None,
    max_gap: int | str = DEFAULT_MAX_GAP,
    duplicates: str | None = None,
    time_format: str | None = None,
    timezone: str | None = None,
    missing: Sequence[str] = (),
) -> SeriesSet:
    """Read time series.

    Parameters
    ----------
    data : path, array-like of shape (n, channels), data frame, or list or mapping of the latter
        Or windows that are cut already, of shape (windows, n, channels): each is a series. A path
        is that of a file, see `vae_anomaly.data.series.files.rows_of_file`. Keys of a
        mapping are names of series.
    time_column : str, optional
        By default an index of times, or the only column that holds times. Without times rows
        are evenly spaced, in their order.
    series_column : str, optional
        Names of series, where there are several.
    metric_column, value_column : str, optional
        Long format: names of channels, and their values, one a row.
    ignore : sequence of str
        Columns or metrics to leave out.
    channels : sequence of str, optional
        Those of training, in this order; others are not used.
    step : int or str, optional
        Nanoseconds, or text such as "5min": that of training, or a grid for irregular rows. By
        default the commonest step.
    max_gap : int or str, default=5
        Time steps, or a duration such as "10min", up to which a gap is bridged. Longer gaps
        break a series.
    duplicates : {"mean", "first", "last"}, optional
        What counts of rows that differ and have one time. By default they are refused.
    time_format : str, optional
        Format of `datetime.strptime`, or "s", "ms", "us", "ns" for numbers since 1970.
    timezone : str, optional
        Zone of times without an offset, such as "Europe/Berlin".
    missing : sequence of str
        Texts that stand for missing values besides the usual ones.

    Returns
    -------
    SeriesSet
        Each row of the input has a grid point or a status that says why it has none.

    Raises
    ------
    DataError
        If the input cannot be used.
    ParameterError
        If a parameter is out of its range.

    Examples
    --------
    >>> import pandas as pd
    >>> times = ["2024-03-01 10:00", "2024-03-01 10:01", "2024-03-01 10:03", "2024-03-01 10:04"]
    >>> data = read_series(pd.DataFrame({"time": times, "flow": [1.0, 2.0, 4.0, 5.0]}))
    >>> data.series[0].values.ravel()
    array([ 1.,  2., nan,  4.,  5.])
    >>> data.series[0].bridged().ravel()
    array([1., 2., 3., 4., 5.])
    >>> data.notes[2]
    '1 time step is missing in short gaps, which are bridged.'
    """
    roles = Roles(
        time_column=time_column,
        series_column=series_column,
        metric_column=metric_column,
        value_column=value_column,
        ignore=tuple(ignore),
        channels=None if channels is None else tuple(channels),
        time_format=time_format,
        missing=tuple(missing),
    )
    is_file = isinstance(data, str | Path)
    rows = rows_of_file(data, roles) if is_file else rows_of_data(data, roles)
    return on_grid(rows, step=step, max_gap=max_gap, duplicates=duplicates, timezone=timezone)

"""Series from arrays and data frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_anomaly._text import counted, listed
from vae_anomaly._types import Records
from vae_anomaly.data.arrays import as_records
from vae_anomaly.data.series.columns import Columns, Roles, free_name, rows_of
from vae_anomaly.data.series.rows import Rows
from vae_anomaly.data.series.series import USABLE
from vae_anomaly.data.series.window import ready_window
from vae_anomaly.exceptions import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["rows_of_data"]

Array = NDArray[np.float64]

INDEX_TIME = "time"
"""Name of an index of times that has none."""

SERIES = "series"
"""Column of the names of series, where each is an object of its own."""


def rows_of_data(data: Records, roles: Roles) -> Rows:
    """Return the rows of an array, a data frame, or several of them.

    Parameters
    ----------
    data : array-like of shape (n, channels) or (n,), data frame, list of these, or mapping
        Keys of a mapping are names of series; those of a list are "0", "1" and so on. An array of
        shape (series, n, channels) is like a list.
    roles : Roles

    Returns
    -------
    Rows

    Raises
    ------
    DataError
        If shapes, names or types do not suit each other.
    """
    if isinstance(data, Mapping):
        return _rows_of_parts(list(data.values()), [str(name) for name in data], roles)
    if ready_window(data):
        data = list(data)
    if isinstance(data, list | tuple) and all(_is_part(one) for one in data):
        return _rows_of_parts(data, [str(i) for i in range(len(data))], roles)
    return _rows_of_parts([data], [""], roles)


def _is_part(one: object) -> bool:
    """Return whether an element of a list is a series of its own."""
    return len(getattr(one, "shape", ())) > 0


def _rows_of_parts(parts: Sequence[Records], names: list[str], roles: Roles) -> Rows:
    if not parts:
        raise DataError("The list of series is empty. Expected at least one series.")
    records = [_frame_of(as_records(part)) for part in parts]
    are_frames = [hasattr(part, "iloc") for part in records]
    if all(are_frames):
        return _rows_of_frames(records, names, roles)
    if any(are_frames):
        raise DataError("Expected arrays or data frames, got both in one list.")
    return _rows_of_arrays([_matrix(part) for part in records], names, roles)


def _frame_of(data: Records) -> Records:
    """Return a series of pandas as a data frame, and other data as they are."""
    is_column = hasattr(data, "iloc") and len(data.shape) == 1
    return data.to_frame("value" if data.name is None else data.name) if is_column else data


# --------------------------------------------------------------------------------- arrays


def _matrix(data: Records) -> Array:
    """Return an array-like as a matrix: (n, channels)."""
    try:
        matrix = np.asarray(data, dtype=np.float64)
    except (TypeError, ValueError) as cause:
        raise DataError(
            f"Expected a series of numbers of shape (time steps, channels), got a "
            f"{type(data).__name__} that is none ({cause}). Give a data frame, if its columns are "
            f"of different types."
        ) from cause
    if matrix.ndim == 1:
        matrix = matrix[:, np.newaxis]
    if matrix.ndim != 2:
        raise DataError(
            f"Expected series of shape (time steps, channels), got an array of shape "
            f"{matrix.shape}. Windows that are cut already have the shape (windows, time steps, "
            f"channels)."
        )
    return matrix


def _rows_of_arrays(parts: list[Array], names: list[str], roles: Roles) -> Rows:
    widths = sorted({part.shape[1] for part in parts})
    if len(widths) > 1:
        raise DataError(
            f"Expected series with the same number of channels, got {widths[0]} and {widths[1]}."
        )
    channels = tuple(f"channel_{i + 1}" for i in range(widths[0]))
    if roles.channels is not None:
        if len(roles.channels) != len(channels):
            raise DataError(
                f"Expected {counted(len(roles.channels), 'channel')}, as in training, got "
                f"{len(channels)}. Give those of training: {listed(roles.channels)}."
            )
        channels = tuple(roles.channels)
    sizes = [len(part) for part in parts]
    starts = np.cumsum([0, *sizes[:-1]])
    values = np.concatenate(parts)

    def place(row: int) -> str:
        if len(parts) == 1:
            return f"row {row + 1}"
        part = int(np.searchsorted(starts, row, side="right")) - 1
        return f"series {names[part]}, row {row - int(starts[part]) + 1}"

    n_infinite = int(np.isinf(values).sum())
    notes = (f"Infinite values count as missing: {n_infinite:,}.",) if n_infinite else ()
    return Rows(
        place=place,
        names=tuple(names),
        channels=channels,
        stamps=None,
        series=np.repeat(np.arange(len(parts)), sizes),
        channel=None,
        sources=None,
        values=np.where(np.isinf(values), np.nan, values) if n_infinite else values,
        status=np.full(len(values), USABLE, dtype=object),
        notes=notes,
    )


# ---------------------------------------------------------------------------- data frames


def _rows_of_frames(frames: list[pd.DataFrame], names: list[str], roles: Roles) -> Rows:
    import pandas as pd

    time_column = roles.time_column
    if time_column is None:
        time_column = _index_name(frames[0])
    frames = [_with_index(frame, time_column) for frame in frames]
    columns = [list(map(str, frame.columns)) for frame in frames]
    for one in columns:
        if set(one) != set(columns[0]):
            differing = sorted(set(one) ^ set(columns[0]))
            raise DataError(
                f"Expected data frames with the same columns, {listed(differing)} differ."
            )
    whole = frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
    cells = {}
    for i, name in enumerate(map(str, whole.columns)):
        if name in cells:
            raise DataError(f"The data frame has two columns {name!r}. Rename one of them.")
        cells[name] = _cells(whole.iloc[:, i])
    series_column = roles.series_column
    if len(frames) > 1:
        if series_column is not None:
            raise DataError("Give one data frame with a series_column, or a list without.")
        series_column = free_name(SERIES, cells)
        sizes = [len(frame) for frame in frames]
        cells[series_column] = pa.array(
            np.repeat(np.array(names, dtype=object), sizes), pa.string()
        )
    roles = replace(roles, time_column=time_column, series_column=series_column)
    return rows_of(Columns(cells, lambda row: f"row {row + 1}", "The data frame"), roles)


def _index_name(frame: pd.DataFrame) -> str | None:
    """Return the name of an index of times; None if the index is of other things."""
    import pandas as pd

    if not isinstance(frame.index, pd.DatetimeIndex):
        return None
    name = frame.index.name
    return free_name(INDEX_TIME, frame.columns) if name is None else str(name)


def _with_index(frame: pd.DataFrame, time_column: str | None) -> pd.DataFrame:
    """Return a data frame whose index of times is a column."""
    name = _index_name(frame)
    if name is None or (time_column in frame.columns):
        return frame
    return frame.rename_axis(time_column if time_column is not None else name).reset_index()


def _cells(column: pd.Series) -> pa.Array:
    """Return a column of a data frame as an Arrow array; cells of mixed types as text."""
    try:
        cells = pa.array(column, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        texts = [
            None if missing else str(cell)
            for cell, missing in zip(column, column.isna(), strict=True)
        ]
        cells = pa.array(texts, pa.string())
    return cells.combine_chunks() if isinstance(cells, pa.ChunkedArray) else cells

"""Dates of Arrow types, in Parquet files: columns to seconds since 1970, and back to pandas."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vae_anomaly.data.table.dates import MAX_PARTS, seconds_of_timestamps, timestamps_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DateBook", "is_date", "seconds_of_array"]

Array = NDArray[np.float64]

NAT = np.iinfo(np.int64).min


def is_date(dtype: pa.DataType) -> bool:
    """Return whether a type is that of dates, with a time of day or without.

    Examples
    --------
    >>> [is_date(one) for one in (pa.timestamp("ns"), pa.date32(), pa.string(), pa.time32("s"))]
    [True, True, False, False]
    """
    return bool(pa.types.is_timestamp(dtype) or pa.types.is_date(dtype))


def seconds_of_array(column: pa.Array) -> Array:
    """Return the seconds of dates, see `dates.seconds_of_timestamps`."""
    days = pa.types.is_date32(column.type)
    counts = column.view(pa.int32()).cast(pa.int64()) if days else column.view(pa.int64())
    unit = "D" if days else getattr(column.type, "unit", "ms")
    filled = pc.fill_null(counts, NAT)
    # As `pyarrow.Array.to_numpy`, which imports pandas.
    data = np.frombuffer(filled.buffers()[1] or b"", np.int64)[filled.offset :][: len(filled)]
    return seconds_of_timestamps(data.view(f"datetime64[{unit}]"))


class DateBook(NamedTuple):
    """Codes of a column of dates before an encoder is fitted: seconds since 1970.

    Attributes
    ----------
    dtype : DataType
    """

    dtype: pa.DataType

    @property
    def max_numbers(self) -> int:
        """See `MAX_PARTS`."""
        return MAX_PARTS

    def codes(self, column: pa.Array, start: int = 0) -> Array:
        """Return the codes of cells."""
        return seconds_of_array(column)

    def cells(self, codes: Array) -> pd.Series:
        """Return the dates that codes stand for; those with a zone in UTC."""
        import pandas as pd

        dates = pd.Series(timestamps_of(codes))
        return dates if getattr(self.dtype, "tz", None) is None else dates.dt.tz_localize("UTC")

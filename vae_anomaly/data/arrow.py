"""Arrays of NumPy as columns of Arrow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_anomaly._types import AnyArray

__all__ = ["ColumnValues", "array_of", "arrays_of"]

Flags = NDArray[np.bool_]


class ColumnValues(NamedTuple):
    """Values of n rows in a column."""

    values: AnyArray  # numbers, flags, or positions in `texts`, (n,)
    hidden: Flags | None = None  # where the column is empty, (n,)
    texts: pa.Array | None = None


def arrays_of(columns: Iterable[ColumnValues], absent: Flags | None = None) -> list[pa.Array]:
    """Return columns; with `absent`, (m,), of m rows, of which the n others have the values.

    Examples
    --------
    >>> [scores] = arrays_of([ColumnValues(np.array([1.5]))], np.array([True, False]))
    >>> scores.to_pylist()
    [None, 1.5]
    """
    found = []
    for values, hidden, texts in columns:
        if absent is not None:
            whole, missing = np.zeros(len(absent), values.dtype), absent.copy()
            whole[~absent] = values
            missing[~absent] = False if hidden is None else hidden
            column = array_of(whole, missing)
        else:
            column = array_of(values, hidden)
        found.append(column if texts is None else texts.take(column))
    return found


def array_of(values: AnyArray, missing: Flags | None = None) -> pa.Array:
    """Return numbers or flags as a column.

    `pyarrow.array` does the same, but imports pandas, which takes longer than scoring a few
    rows.
    """
    dtype, data = pa.from_numpy_dtype(values.dtype), np.ascontiguousarray(values)
    if pa.types.is_boolean(dtype):
        data = np.packbits(data, bitorder="little")
    present = None
    if missing is not None and missing.any():
        present = pa.py_buffer(np.packbits(~missing, bitorder="little"))
    return pa.Array.from_buffers(dtype, len(values), [present, pa.py_buffer(data)])

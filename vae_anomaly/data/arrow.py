"""Arrays of NumPy as columns of Arrow."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_anomaly._types import AnyArray

__all__ = ["array_of"]


def array_of(values: AnyArray, missing: NDArray[np.bool_] | None = None) -> pa.Array:
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

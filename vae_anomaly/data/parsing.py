"""Columns of Arrow text as numbers, and types of columns."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vae_anomaly.data.cells import NUMBER
from vae_anomaly.data.dialect import DECIMAL_COMMA

__all__ = [
    "BLANKS",
    "Parsed",
    "are_true",
    "has_codes",
    "parse_numbers",
    "plain_type",
    "with_points",
]

BLANKS = " \t"
"""Characters around a cell that do not count."""

INFINITY = "^[+-]?inf(inity)?$"

LEADING_ZERO = "^[ \t]*0[0-9]"
"""See `vae_anomaly.data.cells.has_leading_zero`."""


class Parsed(NamedTuple):
    """Numbers of a column of text.

    Attributes
    ----------
    values : ndarray of shape (n,)
        NaN where a cell is missing or text.
    is_text, is_infinite : ndarray of bool, of shape (n,)
        Numbers beyond the range of float64 count as infinite.
    """

    values: NDArray[np.float64]
    is_text: NDArray[np.bool_]
    is_infinite: NDArray[np.bool_]


def parse_numbers(column: pa.Array, missing: Collection[str]) -> Parsed:
    """Return the numbers of a column of text, in which some texts stand for missing values.

    Examples
    --------
    >>> parse_numbers(pa.array(["1", " -2e1 ", "off", "NA", None]), ["NA"]).values.tolist()
    [1.0, -20.0, nan, nan, nan]
    """
    text = pc.utf8_trim(column.cast(pa.string()), characters=BLANKS)
    text = pc.if_else(pc.is_in(text, value_set=pa.array(missing, pa.string())), None, text)
    is_number = pc.match_substring_regex(text, f"^({NUMBER.pattern})$")
    values = _floats(pc.cast(pc.if_else(is_number, text, None), pa.float64()))
    names_infinity = are_true(pc.match_substring_regex(text, INFINITY, ignore_case=True))
    is_text = are_true(pc.invert(is_number)) & ~names_infinity
    return Parsed(values, is_text, names_infinity | np.isinf(values))


def with_points(column: pa.Array) -> pa.Array:
    """Return a column of text with points in numbers that have a decimal comma.

    Examples
    --------
    >>> with_points(pa.array(["1,5", "a, b", None])).to_pylist()
    ['1.5', 'a, b', None]
    """
    is_number = pc.match_substring_regex(column, f"^({DECIMAL_COMMA.pattern})$")
    return pc.if_else(is_number, pc.replace_substring(column, ",", ".", max_replacements=1), column)


def has_codes(column: pa.Array) -> bool:
    """Return whether a cell of a column of text has a leading zero."""
    found: bool = pc.any(pc.match_substring_regex(column, LEADING_ZERO), min_count=0).as_py()
    return found


def _floats(array: pa.Array) -> NDArray[np.float64]:
    data = pc.fill_null(array, np.nan)
    return np.frombuffer(data.buffers()[1] or b"", np.float64)[data.offset :][: len(data)]


def are_true(array: pa.Array) -> NDArray[np.bool_]:
    """Return where an array of booleans is true. `to_numpy` would import pandas."""
    data = pc.fill_null(array, False).cast(pa.uint8())
    return np.frombuffer(data.buffers()[1] or b"", np.uint8)[data.offset :][: len(data)] == 1


def plain_type(dtype: pa.DataType) -> pa.DataType:
    """Return the type of the values of a column, without a dictionary."""
    return dtype.value_type if pa.types.is_dictionary(dtype) else dtype

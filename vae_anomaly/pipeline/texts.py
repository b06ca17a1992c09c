"""Text of the values of a column, of whatever type."""

from __future__ import annotations

import pyarrow as pa

__all__ = ["texts_of"]


def texts_of(column: pa.Array) -> pa.Array:
    r"""Return the values of a column as text, each type in one spelling.

    Numbers are as short as they can be without loss, flags are 1 and 0, times are in ISO 8601.
    Bytes are UTF-8, and escaped where they are not. Missing values stay missing.

    Parameters
    ----------
    column : pyarrow.Array
        Of any type.

    Returns
    -------
    pyarrow.Array of large strings

    Examples
    --------
    >>> texts_of(pa.array([65529.0, 0.1, None])).to_pylist()
    ['65529', '0.1', None]
    >>> texts_of(pa.array([b"pump", b"\xff"])).to_pylist()
    ['pump', '\\xff']
    """
    text = pa.large_string()
    if pa.types.is_dictionary(column.type):
        return texts_of(column.dictionary_decode())
    if pa.types.is_boolean(column.type):
        return column.cast(pa.uint8()).cast(text)
    is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    if is_text or pa.types.is_primitive(column.type) or pa.types.is_decimal(column.type):
        return column.cast(text)
    return pa.array(map(_text, column.to_pylist()), text)


def _text(value: object) -> str | None:
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return None if value is None else str(value)

"""Text of the values of a column, of whatever type."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

__all__ = ["texts_of"]


def texts_of(columns: Iterable[pa.Array]) -> list[pa.Array]:
    r"""Return the values of columns as text, each type in one spelling.

    Numbers are as short as they can be without loss, flags are 1 and 0, times are in ISO 8601.
    Bytes are UTF-8, and escaped where they are not. Missing values stay missing.

    Parameters
    ----------
    columns : iterable of pyarrow.Array
        Of any types.

    Returns
    -------
    list of pyarrow.Array
        Large strings.

    Examples
    --------
    >>> columns = pa.array([65529.0, 0.1, None]), pa.array([b"pump", b"\xff"])
    >>> [texts.to_pylist() for texts in texts_of(columns)]
    [['65529', '0.1', None], ['pump', '\\xff']]
    """
    return [_texts(column) for column in columns]


def _texts(column: pa.Array) -> pa.Array:
    text = pa.large_string()
    if pa.types.is_dictionary(column.type):
        return _texts(column.dictionary_decode())
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

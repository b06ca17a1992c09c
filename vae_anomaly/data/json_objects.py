"""JSON objects without nested values, as rows: cells as they are spelled."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa

from vae_anomaly._text import shown
from vae_anomaly._types import Json, JsonObject

__all__ = [
    "ARROW_TYPES",
    "Row",
    "array_of",
    "cell_of",
    "is_json_object",
    "nesting_fault",
    "parsed",
    "type_of",
]

START = re.compile(rb'(\xef\xbb\xbf)?\s*\{\s*["}]')

NOT_TEXT = re.compile("[\0\ud800-\udfff]")
"""NUL, and halves of characters, which only escapes bring."""

MAX_INTEGER_LENGTH = 18
"""Characters of whole numbers that are in the range of int64 for certain."""

ARROW_TYPES = {
    frozenset(["integer"]): pa.int64(),
    frozenset(["number"]): pa.float64(),
    frozenset(["integer", "number"]): pa.float64(),
    frozenset(["boolean"]): pa.bool_(),
}
"""Types of the values of a column -> type in which it is kept; else it is text."""


class Number(str):
    """A number as it is spelled."""

    __slots__ = ()


DECODER = json.JSONDecoder(parse_float=Number, parse_int=Number, parse_constant=Number)

ADVICE = 'Write one on each line, such as {"flow": 1.5, "site": "a"}.'


class Row(NamedTuple):
    """A line of the file; `cells` is None where it is blank or has a fault."""

    line: int
    cells: JsonObject | None
    fault: str | None = None
    advice: str = ""


def is_json_object(start: bytes) -> bool:
    """Return whether bytes begin a JSON object."""
    return START.match(start) is not None


def parsed(line: bytes, number: int = 1) -> Row:
    """Return a line that is not blank: its cells, or what is wrong with it."""
    try:
        cells = DECODER.decode(line.decode())
    except UnicodeDecodeError as cause:
        fault = f"the byte {line[cause.start]:#04x} is not UTF-8 text"
        return Row(number, None, fault, "Save the file as UTF-8.")
    except (ValueError, RecursionError):
        cells = None
    if not isinstance(cells, dict):
        return Row(number, None, f"expected a JSON object, got {_start(line)}", ADVICE)
    if b"\\u" in line and (fault := _text_fault(cells)):
        return Row(number, None, fault, "Correct the cell.")
    return Row(number, cells)


def _start(line: bytes) -> str:
    return shown(line.decode(errors="replace").strip())


def type_of(value: Json) -> str:
    """Return the type of a value that is not nested."""
    if isinstance(value, bool):
        return "boolean"
    if not isinstance(value, Number):
        return "text"
    is_whole = value.lstrip("-").isdecimal() and len(value) <= MAX_INTEGER_LENGTH
    return "integer" if is_whole else "number"


def nesting_fault(key: str, value: Json) -> str:
    """Return what is wrong with a value that holds others; empty if it does not."""
    if not isinstance(value, list | dict):
        return ""
    got = "a list" if isinstance(value, list) else "an object"
    return f"column {shown(key)}: expected a number, a text, true, false or null, got {got}"


def _text_fault(cells: JsonObject) -> str:
    """Return what is wrong with a text that cannot be in a file of text; empty if none is."""
    texts = ((key, text) for key, value in cells.items() for text in (key, value))
    for key, text in texts:
        if isinstance(text, str) and NOT_TEXT.search(text):
            return f"column {shown(key)}: expected text in UTF-8, got {shown(text)}"
    return ""


def cell_of(value: Json) -> str:
    """Return a value as a cell of CSV."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else value


def array_of(values: Sequence[Json], *, as_text: bool) -> pa.Array:
    """Return the values of a column: as text as they are spelled, or in their type."""
    texts = pa.array([cell_of(value) or None for value in values], pa.string())
    types = frozenset(type_of(value) for value in values if value is not None)
    return texts if as_text else texts.cast(ARROW_TYPES.get(types, pa.string()))

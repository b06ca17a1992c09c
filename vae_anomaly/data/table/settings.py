"""Settings of table encoders in model files: checks, and what they determine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from vae_anomaly._types import Json
from vae_anomaly.data.date_formats import is_date_format
from vae_anomaly.data.scaling import check_keys, check_likelihood, check_names, checked_outline
from vae_anomaly.data.state import ArrayTypes, Outline
from vae_anomaly.data.table.column import (
    CATEGORY,
    CELL_TYPES,
    COLUMN_TYPES,
    DATE,
    MAX_LEVELS,
    Column,
)
from vae_anomaly.data.table.dates import MAX_SECONDS, MIN_SECONDS, PERIODS, Cycle
from vae_anomaly.data.table.schema import TableSchema
from vae_anomaly.stats.likelihoods import Block

__all__ = ["MixedSizes", "mixed_outline", "outline_of_table", "schema_of", "sizes_of"]

KEYS = {"names", "n_rows", "missing", "id_column", "ignored", "mixed"}
COLUMN_KEYS = {"type", "reason", "levels", "dtype", "format", "cycles", "span"}
MAX_TEXT_LENGTH = 100_000
MAX_ROWS = 10**12


class MixedSizes(NamedTuple):
    """Sizes of a table with a schema that are not those of its columns.

    Attributes
    ----------
    n_varying : int
        Numbers that vary.
    date_widths : tuple of int
        Parts of each date that vary.
    level_widths : tuple of int
        Indicators of each category; 0 where it does not vary.
    has_masks : bool
    """

    n_varying: int
    date_widths: tuple[int, ...]
    level_widths: tuple[int, ...]
    has_masks: bool


MIXED_KEYS = {"columns", *MixedSizes._fields}


def outline_of_table(settings: Mapping[str, Json]) -> Outline:
    """Check settings from a file, and return their outline.

    Raises
    ------
    ValueError
        If they are not sound.
    """
    # These check the keys of all.
    plain = checked_outline(settings, KEYS) if settings.get("mixed") is None else None
    if plain is None:
        check_keys(settings, KEYS)
    n_rows, mixed = settings["n_rows"], settings["mixed"]
    if type(n_rows) is not int or not 0 <= n_rows <= MAX_ROWS:
        raise ValueError("n_rows must be a number of rows")
    for key in ("missing", "ignored"):
        if not isinstance(settings[key], list) or not all(map(_is_text, settings[key])):
            raise ValueError(f"{key} must be a list of texts")
    if settings["id_column"] is not None and not _is_text(settings["id_column"]):
        raise ValueError("id_column must be a text")
    if plain is not None:
        return plain
    if not isinstance(mixed, dict) or set(mixed) != MIXED_KEYS:
        raise ValueError("the settings of its columns are not those of a table")
    check_likelihood(settings["likelihood"])
    columns, names = mixed["columns"], settings["names"]
    if not isinstance(columns, list) or not columns or len(columns) != settings["n_features"]:
        raise ValueError("n_features must be the number of its columns")
    for column in columns:
        _check_column(column)
    if names is not None:
        check_names(names, len(columns))
    schema = schema_of(columns, None)
    _check_sizes(mixed, schema)
    outline = mixed_outline(settings["likelihood"], schema, sizes_of(mixed))
    if type(settings["n_inputs"]) is not int or settings["n_inputs"] != outline.n_inputs:
        raise ValueError("n_inputs must be the number of inputs of its columns")
    if not outline.n_inputs:
        raise ValueError("n_inputs must be an int >= 1")
    return outline


def mixed_outline(likelihood: str, schema: TableSchema, sizes: MixedSizes) -> Outline:
    """Return the outline of a table: a block of numbers, one for each date and each category."""
    blocks = [Block(likelihood, sizes.n_varying)] if sizes.n_varying else []
    blocks += [Block(likelihood, 1, width) for width in sizes.date_widths if width]
    blocks += [Block("categorical", 1, width) for width in sizes.level_widths if width]
    n_targets = sizes.n_varying + sum(sizes.date_widths) + sum(sizes.level_widths)
    n_explained = sum(block.n_features for block in blocks)
    n_columns, n_values = len(schema.columns), len(schema.column_of_value)
    arrays: ArrayTypes = dict.fromkeys(("center", "scale", "low", "high"), ("F64", (n_values,)))
    n_counts = sum(len(one.levels) + 1 for one in schema.columns if one.type == CATEGORY)
    arrays["level_counts"] = ("F64", (n_counts,))
    arrays["n_missing"] = ("F64", (n_columns,))
    n_inputs = n_targets + n_explained * sizes.has_masks
    outline = Outline(n_columns, n_inputs, tuple(blocks), arrays, has_masks=sizes.has_masks)
    return outline._replace(n_undetermined=len(schema.dates))


def sizes_of(mixed: Mapping[str, Json]) -> MixedSizes:
    """Return the sizes that checked settings hold."""
    dates, levels = tuple(mixed["date_widths"]), tuple(mixed["level_widths"])
    return MixedSizes(mixed["n_varying"], dates, levels, mixed["has_masks"])


def schema_of(columns: Sequence[Mapping[str, Json]], names: tuple[str, ...] | None) -> TableSchema:
    """Return the schema that checked settings describe."""
    made = []
    for one in columns:
        cycles = tuple(Cycle(*cycle) for cycle in one["cycles"])
        tuples = {"levels": tuple(one["levels"]), "cycles": cycles, "span": tuple(one["span"])}
        made.append(Column(**{**one, **tuples}))
    return TableSchema(tuple(made), names)


def _check_column(column: Json) -> None:
    """Raise if the settings of a column are not sound."""
    if not isinstance(column, dict) or set(column) != COLUMN_KEYS:
        raise ValueError("the settings of a column are not those of a table")
    if not _is_text(column["reason"]):
        raise ValueError("reason of a column must be a text")
    for key, allowed in (("type", COLUMN_TYPES), ("dtype", CELL_TYPES)):
        if not isinstance(column[key], str) or column[key] not in allowed:
            raise ValueError(f"{key} of a column must be one of {', '.join(allowed)}")
    levels = column["levels"]
    if not isinstance(levels, list | tuple) or len(levels) > MAX_LEVELS:
        raise ValueError(f"levels of a column must be at most {MAX_LEVELS} texts")
    if (column["type"] == CATEGORY) != bool(levels):
        raise ValueError("a category has levels, and nothing else has")
    if levels:
        check_names(list(levels), len(levels))
    if not all(map(_is_text, levels)):
        raise ValueError("a level is too long")
    _check_date(column)


def _is_text(value: Json) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT_LENGTH


def _check_date(column: Mapping[str, Json]) -> None:
    """Raise if what a column says of dates is not sound."""
    form, cycles, span = column["format"], column["cycles"], column["span"]
    if not isinstance(form, str) or not all(
        isinstance(one, list | tuple) for one in (cycles, span)
    ):
        raise ValueError("format of a column must be a text, cycles and span lists")
    if column["type"] != DATE:
        if form or cycles or span:
            raise ValueError("only dates have a format, cycles and a span")
        return
    if span and not _is_span(span):
        raise ValueError("span of a date must be two numbers of seconds, in order")
    if not is_date_format(form):
        raise ValueError("format of a date must give a year, a month and a day")
    if not all(isinstance(one, list | tuple) and len(one) == 2 for one in cycles):
        raise ValueError("a cycle of a date must be a name and a number")
    names = [name for name, _ in cycles]
    if names != [name for name in PERIODS if name in names]:
        raise ValueError(f"cycles of a date must be some of {', '.join(PERIODS)}")
    if not all(type(center) is float and 0 <= center <= 1 for _, center in cycles):
        raise ValueError("the center of a cycle must be a number from 0 to 1")


def _is_span(span: Sequence[Json]) -> bool:
    if len(span) != 2 or not all(type(one) is float for one in span):
        return False
    return bool(MIN_SECONDS <= span[0] <= span[1] < MAX_SECONDS)


def _check_sizes(mixed: Mapping[str, Json], schema: TableSchema) -> None:
    """Raise if the numbers of targets are not those of the columns."""
    if type(mixed["has_masks"]) is not bool:
        raise ValueError("has_masks must be true or false")
    n_varying, widths = mixed["n_varying"], mixed["level_widths"]
    if type(n_varying) is not int or not 0 <= n_varying <= len(schema.numbers):
        raise ValueError("more columns vary than there are")
    categories = [one for one in schema.columns if one.type == CATEGORY]
    if not isinstance(widths, list) or len(widths) != len(categories):
        raise ValueError("level_widths must have a number for each category")
    for width, column in zip(widths, categories, strict=True):
        allowed = {0, *range(2, len(column.levels) + 2)}
        if type(width) is not int or width not in allowed:
            raise ValueError("a category has more indicators than levels")
    widths, greatest = mixed["date_widths"], schema.date_parts.widths
    if not isinstance(widths, list) or len(widths) != len(greatest):
        raise ValueError("date_widths must have a number for each date")
    for width, most in zip(widths, greatest, strict=True):
        if type(width) is not int or not 0 <= width <= most:
            raise ValueError("more parts of a date vary than there are")

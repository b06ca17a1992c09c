"""Settings of table encoders in model files: checks, and what they determine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vae_anomaly._types import Json
from vae_anomaly.data.base import ArrayTypes, Outline
from vae_anomaly.data.scaling import check_keys, check_likelihood, check_names, checked_outline
from vae_anomaly.data.table.schema import (
    CATEGORY,
    CELL_TYPES,
    COLUMN_TYPES,
    MAX_LEVELS,
    Column,
    TableSchema,
)
from vae_anomaly.stats.likelihoods import Block

__all__ = ["mixed_outline", "outline_of_table", "schema_of"]

KEYS = {"names", "n_rows", "mixed"}
MIXED_KEYS = {"columns", "has_masks", "n_varying", "widths"}
COLUMN_KEYS = {"type", "reason", "levels", "dtype"}
MAX_TEXT_LENGTH = 100_000
MAX_ROWS = 10**12


def outline_of_table(settings: Mapping[str, Json]) -> Outline:
    """Check settings from a file, and return their outline.

    Raises
    ------
    ValueError
        If they are not sound.
    """
    check_keys(settings, KEYS)
    n_rows, mixed = settings["n_rows"], settings["mixed"]
    if type(n_rows) is not int or not 0 <= n_rows <= MAX_ROWS:
        raise ValueError("n_rows must be a number of rows")
    if mixed is None:
        return checked_outline(settings, KEYS)
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
    outline = mixed_outline(
        settings["likelihood"],
        schema,
        mixed["n_varying"],
        mixed["widths"],
        has_masks=mixed["has_masks"],
    )
    if type(settings["n_inputs"]) is not int or settings["n_inputs"] != outline.n_inputs:
        raise ValueError("n_inputs must be the number of inputs of its columns")
    if not outline.n_inputs:
        raise ValueError("n_inputs must be an int >= 1")
    return outline


def mixed_outline(
    likelihood: str,
    schema: TableSchema,
    n_varying: int,
    widths: Sequence[int],
    *,
    has_masks: bool,
) -> Outline:
    """Return the sizes of an encoder with a schema: a block of numbers, one for each category."""
    blocks = [Block(likelihood, n_varying)] if n_varying else []
    blocks += [Block("categorical", 1, width) for width in widths if width]
    n_targets = sum(block.n_targets for block in blocks)
    n_explained = sum(block.n_features for block in blocks)
    n_columns, n_numbers = len(schema.columns), len(schema.numbers)
    arrays: ArrayTypes = dict.fromkeys(("center", "scale", "low", "high"), ("F64", (n_numbers,)))
    n_counts = sum(len(one.levels) + 1 for one in schema.columns if one.type == CATEGORY)
    arrays["level_counts"] = ("F64", (n_counts,))
    arrays["n_missing"] = ("F64", (n_columns,))
    n_inputs = n_targets + n_explained * has_masks
    return Outline(n_columns, n_inputs, tuple(blocks), arrays, has_masks=has_masks)


def schema_of(columns: Sequence[Mapping[str, Json]], names: tuple[str, ...] | None) -> TableSchema:
    """Return the schema that checked settings describe."""
    made = [Column(**{**one, "levels": tuple(one["levels"])}) for one in columns]
    return TableSchema(tuple(made), names)


def _check_column(column: Json) -> None:
    """Raise if the settings of a column are not sound."""
    if not isinstance(column, dict) or set(column) != COLUMN_KEYS:
        raise ValueError("the settings of a column are not those of a table")
    if not isinstance(column["reason"], str) or len(column["reason"]) > MAX_TEXT_LENGTH:
        raise ValueError("reason of a column must be a text")
    for key, allowed in (("type", COLUMN_TYPES), ("dtype", CELL_TYPES)):
        if not isinstance(column[key], str) or column[key] not in allowed:
            raise ValueError(f"{key} of a column must be one of {', '.join(allowed)}")
    levels = column["levels"]
    if not isinstance(levels, list | tuple) or len(levels) > MAX_LEVELS:
        raise ValueError(f"levels of a column must be at most {MAX_LEVELS} texts")
    if (column["type"] == CATEGORY) != bool(levels):
        raise ValueError("a category has levels, and nothing else has")
    check_names(list(levels), len(levels))
    if any(len(level) > MAX_TEXT_LENGTH for level in levels):
        raise ValueError("a level is too long")


def _check_sizes(mixed: Mapping[str, Json], schema: TableSchema) -> None:
    """Raise if the numbers of targets are not those of the columns."""
    if type(mixed["has_masks"]) is not bool:
        raise ValueError("has_masks must be true or false")
    n_varying, widths = mixed["n_varying"], mixed["widths"]
    if type(n_varying) is not int or not 0 <= n_varying <= len(schema.numbers):
        raise ValueError("more columns vary than there are")
    categories = [one for one in schema.columns if one.type == CATEGORY]
    if not isinstance(widths, list) or len(widths) != len(categories):
        raise ValueError("widths must have a number for each category")
    for width, column in zip(widths, categories, strict=True):
        allowed = {0, *range(3, len(column.levels) + 2)}
        if type(width) is not int or width not in allowed:
            raise ValueError("a category has more indicators than levels")

"""Rows of Arrow in memory as a source, in which rows with infinite numbers are faults."""

from __future__ import annotations

from typing import cast

from vae_anomaly.data.base import Encoder, Source
from vae_anomaly.data.columnar import NUMBERED, Names, Rows
from vae_anomaly.data.table.arrow_reader import MemoryReader
from vae_anomaly.data.table.columns import columns_to_keep
from vae_anomaly.data.table.encoder import TableEncoder
from vae_anomaly.data.table.opening import matched
from vae_anomaly.data.table.source import Coding, TableSource

__all__ = ["open_batch"]

NAME = "the batch"
"""Name of the rows in messages."""


def open_batch(rows: Rows, encoder: Encoder, names: Names = NUMBERED) -> Source:
    """Match the columns of a batch to an encoder.

    What a row holds never stops the others: text in a column of numbers counts as an unexpected
    cell, as in a file, and a row with an infinite number is a fault, as one that was not parsed.

    Raises
    ------
    DataError
        If columns are missing, or have types that nothing can be made of.
    """
    reader, fitted = MemoryReader(rows.batch, NAME), cast("TableEncoder", encoder)
    reader.faults = dict(rows.faults)
    roles = () if names.key is None else (names.key,)
    kept = columns_to_keep(NAME, reader.columns, names.keep, roles) if names.keep else ()
    columns = matched(reader, fitted, roles, kept)
    return TableSource(
        reader,
        columns,
        Coding.of(columns.features, fitted.schema),
        id_column=names.key,
        keep=kept,
        may_skip=True,
        n_before=rows.first,
    )

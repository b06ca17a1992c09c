"""Opening of tables: their columns are matched to an encoder, or selected to fit one to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from types import MappingProxyType

from vae_anomaly._text import listed, shown
from vae_anomaly.data.table.columns import (
    ColumnSelection,
    columns_to_keep,
    select_for_fitting,
    select_for_scoring,
)
from vae_anomaly.data.table.encoder import TableEncoder
from vae_anomaly.data.table.missing import MissingValues
from vae_anomaly.data.table.reader import TableReader
from vae_anomaly.data.table.source import Coding, TableSource
from vae_anomaly.exceptions import DataError, ParameterError

__all__ = ["matched", "open_source"]


def open_source(
    reader: TableReader,
    encoder: TableEncoder | None = None,
    *,
    ignore: Sequence[str] = (),
    column_types: Mapping[str, str] = MappingProxyType({}),
    missing_values: Sequence[str] = (),
    id_column: str | None = None,
    label_column: str | None = None,
    normal_label: Sequence[str] = (),
    keep: Sequence[str] = (),
    strict: bool = False,
) -> TableSource:
    """Match the columns of a table to an encoder, or select those to fit one to.

    Parameters
    ----------
    reader : TableReader
        Closed if the table is refused.
    encoder : TableEncoder, optional
    ignore : sequence of str
        Columns to leave out, without an encoder.
    column_types : mapping of str to str
        Columns whose type is chosen, without an encoder.
    missing_values : sequence of str
        Cells that are missing beside those that always are, without an encoder.
    id_column, label_column : str, optional
        Columns of the keys and of the labels; without an encoder they are left out. With one
        that knows the column of the keys, it is used where the table has it.
    normal_label : sequence of str
        Labels of normal rows.
    keep : sequence of str
        Columns that the result has as they are, also several in a text, between commas; "all"
        for all but that of the keys. With an encoder.
    strict : bool, default=False
        Refuse columns that the encoder does not know, text in columns of numbers, and infinite
        numbers, which otherwise are faults of their rows.

    Returns
    -------
    TableSource

    Raises
    ------
    DataError
        If columns are missing, or unknown and `strict`.
    ParameterError
        If the encoder knows a column that is to be the identifier or the label.
    """
    if encoder is not None and id_column is None and encoder.id_column in reader.columns:
        id_column = encoder.id_column if encoder.id_column != label_column else None
    roles = [name for name in (label_column, id_column) if name is not None]
    with ExitStack() as stack:
        stack.callback(reader.close)
        if encoder is None:
            from vae_anomaly.data.table.training_source import TrainingTable

            chosen = {name: type_ for name, type_ in column_types.items() if type_ != "ignore"}
            not_used = [name for name in column_types if name not in chosen]
            not_features = [name for name in reader.left_out if name not in chosen]
            ignored = [*ignore, *roles, *not_used, *not_features]
            columns = select_for_fitting(reader.name, reader.columns, ignored=ignored)
            source = TrainingTable(
                reader,
                columns,
                chosen,
                MissingValues(tuple(missing_values)),
                id_column=id_column,
                label_column=label_column,
                normal_label=normal_label,
            )
            stack.pop_all()
            return source
        kept = columns_to_keep(reader.name, reader.columns, keep, roles) if keep else ()
        columns = matched(reader, encoder, roles, kept, strict=strict)
        coding = Coding.of(columns.features, encoder.schema)
        stack.pop_all()
    return TableSource(
        reader,
        columns,
        coding,
        id_column=id_column,
        label_column=label_column,
        normal_label=normal_label,
        keep=kept,
        strict=strict,
        may_skip=not strict,
    )


def matched(
    reader: TableReader,
    encoder: TableEncoder,
    roles: Sequence[str] = (),
    kept: Sequence[str] = (),
    *,
    strict: bool = False,
) -> ColumnSelection:
    """Match the columns of a table to an encoder; see `open_source`."""
    names = encoder.used_names
    for name in roles:
        if name in (names or ()):
            raise ParameterError(
                f"The model was fitted on column {shown(name)}: it cannot be the label or the "
                f"identifier as well."
            )
    columns = select_for_scoring(
        reader.name,
        reader.columns,
        names=names,
        n_features=len(encoder.features),
        roles=roles,
        known=(
            *(*reader.index, *encoder.ignored, *(encoder.names or ())),
            *(kept if encoder.names else ()),
        ),
    )
    if columns.unused and strict:
        raise DataError(
            f"{reader.name}: the model does not know {listed(columns.unused)}. Remove what is "
            f"extra, or score without --strict."
        )
    return columns

"""`vae-anomaly score`. Loaded when the command runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import click
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_anomaly._text import listed, shown
from vae_anomaly.cli.checks import check_output
from vae_anomaly.cli.console import Console
from vae_anomaly.cli.overlapping import overlapping
from vae_anomaly.cli.watching import Watch, check_p_values, for_batch, verdict
from vae_anomaly.cli.writing import check_format, column_of, score_writer
from vae_anomaly.data.table.files import open_table
from vae_anomaly.data.table.reader import TableReader
from vae_anomaly.data.table.schema import TableSchema
from vae_anomaly.exceptions import DataError
from vae_anomaly.model.drift import sample_slice
from vae_anomaly.model.model import LATENT
from vae_anomaly.persistence import load
from vae_anomaly.stats.thresholds import conformal_p_values

__all__ = ["choose_score", "further_columns", "further_scores", "score_table", "scoring_schema"]

ROW = "row"

FURTHER = "score_"
WITHOUT_COLUMNS = ("kl", "latent_distance")


class Scored(NamedTuple):
    """What comes of a batch."""

    table: pa.RecordBatch
    scores: NDArray[np.float64]
    strange: int
    subsample: NDArray[np.float64]  # for the watch


def score_table(
    console: Console,
    model: str,
    data: str,
    output: str,
    *,
    id_column: str | None = None,
    explain: int | None = None,
    score: str | None = None,
    also: Sequence[str] = (),
    strict: bool = False,
    fdr: float | None = None,
    p_values: bool = False,
    engine: str = "auto",
) -> None:
    """Score a table.

    Parameters
    ----------
    console : Console
    model, data, output : str
        Model file and table to read, table to write.
    id_column : str, optional
        Copied to the output; by default rows are numbered.
    explain : int, optional
        How many columns to name for each row.
    score : str, optional
        Another score than the detector's own.
    also : sequence of str
        Further scores, each in a column of its own.
    strict : bool, default=False
        Refuse columns that the detector does not know.
    fdr : float, optional
        Share of flagged rows that may be normal, in place of the detector's threshold.
    p_values : bool, default=False
        Add the p-value of each row.
    """
    check_format(output)
    check_output(output, data, model)
    detector, flags = choose_score(load(model), score, engine)
    if explain and detector.model_.score_type in WITHOUT_COLUMNS:
        raise click.UsageError(
            f"--explain needs a score with a part for each column; {detector.model_.score_type} "
            f"has none."
        )
    check_p_values(detector, flags=flags, fdr=fdr, p_values=p_values)
    with open_table(data) as table:
        schema = scoring_schema(console, table, detector, [id_column], strict=strict)
        keep = [] if id_column is None else [id_column]
        # What goes to a pipe cannot be taken back: all of the table is looked at before.
        total = table.check(schema.names, keep) if output == "-" else table.rows
        columns = _output_schema(
            table, id_column, schema, explain, also, flags=flags, p_values=p_values
        )
        if total != 0:
            console.start_engine(detector)
        if fdr is not None:
            batches = table.batches(schema.names)
            detector = for_batch(detector, fdr, (_scores(detector, schema, b) for b in batches))
        watch = Watch(detector, flags=flags, unit="rows")

        def score_batch(part: tuple[int, Any]) -> Scored:
            rows_before, batch = part
            return _scored_batch(detector, schema, batch, columns, rows_before)

        rows = strange = 0
        with (
            score_writer(output, columns) as write,
            console.progress("scoring", total) as update,
        ):
            parts = _numbered(table.batches(schema.names, keep))
            for _, scored in overlapping(score_batch, parts):
                write(scored.table)
                watch.add(scored.subsample, scored.scores)
                rows += len(scored.scores)
                strange += scored.strange
                update(rows)
    if flags:
        console.say(verdict(detector, strange, rows, "rows", fdr))
    else:
        console.say(
            f"scored {rows:,} rows; is_anomaly is left out: the threshold is one of another score"
        )
    watch.say(console)
    if output != "-":
        console.say(f"scores: {output}")


def choose_score(detector: Any, score: str | None, engine: str = "auto") -> tuple[Any, bool]:
    """Return the detector with another score, and whether its threshold is one of it."""
    model = detector.model_.with_engine(engine)
    own = score is None or score == model.score_type
    if score is not None:
        model = replace(model, score_type=score)
    return type(detector).from_model(model), own


def further_columns(also: Sequence[str]) -> list[tuple[str, pa.DataType]]:
    """Name and type the columns of further scores."""
    return [(FURTHER + name, pa.float64()) for name in dict.fromkeys(also)]


def further_scores(detector: Any, rows: Any, columns: pa.Schema) -> list[Any]:
    """Score rows in the further ways that `columns` has columns for."""
    names = [n.removeprefix(FURTHER) for n in columns.names[1:] if n.startswith(FURTHER)]
    if not names or not len(rows):
        return [np.zeros(0)] * len(names)
    return list(detector.scores(rows, names).to_numpy().T)


def scoring_schema(
    console: Console,
    table: TableReader,
    detector: Any,
    roles: Sequence[str | None],
    *,
    strict: bool = False,
) -> TableSchema:
    """Match the columns of a table to a detector's, and say which are not used.

    `roles` are columns with another purpose, which the detector must not know.
    """
    if detector.image_shape_ is not None:
        raise DataError(
            f"{table.name} is a table, but the model was fitted on images. Give it a folder of "
            f"images, or fit a model on a table."
        )
    features = getattr(detector, "feature_names_in_", None)
    features = None if features is None else [str(name) for name in features]
    without = [name for name in roles if name is not None]
    for name in without:
        if features is not None and name in features:
            raise click.UsageError(
                f"The model was fitted on column {shown(name)}: it cannot be the label or the "
                f"identifier as well."
            )
    schema = TableSchema.for_scoring(
        table.name,
        table.columns,
        features=features,
        count=detector.n_features_in_,
        without=without,
    )
    if schema.extra:
        words = f"{table.name}: the model does not know {listed(schema.extra)}"
        if strict:
            raise DataError(f"{words}. Remove what is extra, or score without --strict.")
        console.say(f"note: {words}; ignored")
    return schema


def _output_schema(
    table: TableReader,
    id_column: str | None,
    schema: TableSchema,
    explain: int | None,
    also: Sequence[str],
    *,
    flags: bool,
    p_values: bool,
) -> pa.Schema:
    """Name and type the columns of the scores."""
    fields = [
        (ROW, pa.int64()) if id_column is None else (id_column, table.type_of(id_column)),
        ("anomaly_score", pa.float64()),
    ]
    if p_values:
        fields.append(("p_value", pa.float64()))
    if flags:
        fields.append(("is_anomaly", pa.bool_()))
    fields += further_columns(also)
    if explain:
        fields.append((LATENT, pa.float64()))
    for k in range(1, min(explain or 0, len(schema.names)) + 1):
        fields += [(f"reason_{k}", pa.string()), (f"contribution_{k}", pa.float64())]
    names = [name for name, _ in fields]
    if len(set(names)) < len(names):
        raise click.UsageError(
            f"The identifier {shown(id_column)} has the name of a column of the output. Rename it."
        )
    return pa.schema(fields)


def _scores(detector: Any, schema: TableSchema, batch: Any) -> Any:
    rows = schema.matrix(batch)
    return -detector.score_samples(schema.frame(rows) if schema.named else rows)


def _numbered(batches: Iterable[Any]) -> Iterator[tuple[int, Any]]:
    """Tell with each batch how many rows came before it."""
    rows = 0
    for batch in batches:
        yield rows, batch
        rows += batch.num_rows


def _scored_batch(
    detector: Any, schema: TableSchema, batch: Any, columns: pa.Schema, rows_before: int
) -> Scored:
    """Score some rows and lay out the result as `columns` says."""
    rows = schema.matrix(batch)
    reasons = sum(name.startswith("reason_") for name in columns.names[1:])
    rows = schema.frame(rows) if schema.named else rows
    scores = -detector.score_samples(rows)
    if columns.names[0] in batch.schema.names:
        identifiers = batch.column(columns.names[0])
    else:
        identifiers = column_of(np.arange(rows_before + 1, rows_before + len(rows) + 1))
    strange = -scores - detector.offset_ < 0
    arrays: list[Any] = [scores]
    if "p_value" in columns.names[1:]:
        arrays.append(conformal_p_values(detector.calibration_scores_, scores))
    if "is_anomaly" in columns.names[1:]:
        arrays.append(strange)
    arrays += further_scores(detector, rows, columns)
    if reasons:
        contributions = np.ascontiguousarray(detector.explain(rows).to_numpy())
        names = np.array(schema.names, dtype=object)
        by_column = contributions[:, : len(names)]
        arrays.append(contributions[:, -1])
        order = np.argsort(-by_column, axis=1, kind="stable")[:, :reasons]
        largest = np.take_along_axis(by_column, order, axis=1)
        for k in range(reasons):
            no_reason = largest[:, k] <= 0  # what lowers a score is no reason for it
            arrays.append(pa.array(names[order[:, k]], pa.string(), mask=no_reason))
            arrays.append(pa.array(largest[:, k], mask=no_reason))
    ready = [a if isinstance(a, pa.Array) else column_of(a) for a in arrays]
    return Scored(
        pa.RecordBatch.from_arrays([identifiers, *ready], schema=columns),
        scores,
        int(np.count_nonzero(strange)),
        np.asarray(rows)[sample_slice(len(rows))],
    )

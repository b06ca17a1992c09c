"""`vae-anomaly fit`. Loaded when the command runs."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_anomaly._text import listed, shown
from vae_anomaly.cli.checks import check_output, check_room_for_tensorflow
from vae_anomaly.cli.console import Console
from vae_anomaly.cli.exits import Exit
from vae_anomaly.cli.limiting import LATENT_DIM, rows_within
from vae_anomaly.data.sampling import RowSample
from vae_anomaly.data.table.files import open_table
from vae_anomaly.data.table.reader import CellError, TableReader
from vae_anomaly.data.table.schema import TableSchema
from vae_anomaly.exceptions import DataError
from vae_anomaly.model.parameters import DENSE_MEMBERS
from vae_anomaly.stats.thresholds import false_alarm_interval

__all__ = ["fit_table", "threshold_origin"]

ROWS_TO_TELL_COUNTING = 10


def fit_table(
    console: Console,
    data: str,
    output: str,
    *,
    without: Sequence[str],
    keep_partial: bool = False,
    memory_limit: int | None = None,
    **parameters: Any,
) -> Exit:
    """Fit a detector on a table, or on as many of its rows as memory allows, and save it.

    Parameters
    ----------
    console : Console
    data, output : str
        Table to read, model file to write.
    without : sequence of str
        Columns to leave out.
    keep_partial : bool, default=False
        Keep the best weights so far when interrupted.
    memory_limit : int, optional
        Bytes below which the peak of the process is to stay.
    **parameters
        Of VAEDetector.

    Returns
    -------
    Exit
    """
    check_output(output, data)
    check_room_for_tensorflow()  # before the data: with so little, libraries that read it hang
    with open_table(data) as table:
        schema = TableSchema.for_fitting(table.name, table.columns, without=without)
        _refuse_text(table, schema.names)
        count, most = len(schema.names), None
        if memory_limit is not None:
            most = rows_within(
                memory_limit,
                count,
                parameters["n_members"] or DENSE_MEMBERS,
                parameters["latent_dim"] or LATENT_DIM,
            )
        sample = RowSample(count, most, parameters["random_state"])
        rows = _training_rows(table, schema, sample)
    pa.default_memory_pool().release_unused()
    _note_identifiers(console, schema, rows)
    if len(rows) < sample.seen:
        console.say(
            f"learning from {len(rows):,} of {sample.seen:,} rows, drawn at random: more do not "
            f"fit into the memory allowed"
        )

    from vae_anomaly.cli.training import fit_and_save
    from vae_anomaly.estimator import VAEDetector

    console.start_tensorflow()
    console.say(f"fitting on {len(rows):,} rows of {count} column{'s' * (count > 1)}")
    detector = VAEDetector(**parameters)
    seconds, code = fit_and_save(
        console, detector, schema.frame(rows), output, keep_partial=keep_partial
    )
    for line in _summary(detector, schema, seconds):
        console.say(line)
    console.say(f"model: {output}")
    return code


def _refuse_text(table: TableReader, names: Sequence[str]) -> None:
    """Refuse columns of text, all at once, before anything else is read."""
    texts = {name: text for name, text in table.text_columns().items() if name in names}
    if texts:
        some = list(texts)[:10]
        words = "column holds" if len(texts) == 1 else f"{len(texts)} columns hold"
        examples = ", ".join(f"{shown(name)} ({shown(texts[name])})" for name in some)
        raise DataError(
            f"{table.name}: {words} no numbers: {examples}. Leave "
            f"{'it' if len(texts) == 1 else 'them'} out with {_ignoring(some)}."
        )


def _ignoring(names: Sequence[str]) -> str:
    """Spell the options that leave columns out."""
    return " ".join(f"--ignore {shlex.quote(name)}" for name in names)


def _training_rows(
    table: TableReader, schema: TableSchema, sample: RowSample
) -> NDArray[np.float64]:
    """Read and check all rows of a table, and keep a sample."""
    try:
        for batch in table.batches(schema.names):
            sample.add(schema.matrix(batch))
    except CellError as error:
        raise DataError(
            f"{error.fact} Correct the cell, or leave the column out with "
            f"{_ignoring([error.column])}."
        ) from error
    rows = sample.rows()
    if len(rows) < 2:
        raise DataError(
            f"{table.name} has {len(rows)} row{'' if len(rows) == 1 else 's'} below its column "
            f"names. Expected at least 2 to learn from."
        )
    return rows


def _note_identifiers(console: Console, schema: TableSchema, rows: NDArray[np.float64]) -> None:
    """Point out columns that only count up: they would be learned as if they meant something."""
    if len(rows) < ROWS_TO_TELL_COUNTING:
        return
    counting = (np.diff(rows, axis=0) > 0).all(axis=0) & (rows == np.floor(rows)).all(axis=0)
    names = [name for name, counts in zip(schema.names, counting, strict=True) if counts]
    if names:
        console.say(
            f"warning: {listed(names)} only counts up from row to row. If it is an identifier or "
            f"a time, leave it out with {_ignoring(names)}."
        )


def _summary(detector: Any, schema: TableSchema, seconds: float) -> Iterator[str]:
    """Say in a few lines what was learned."""
    history = detector.history_
    yield (f"trained for {history.step[-1]:,} steps in {seconds:.1f} s, {history.describe()}")
    if schema.extra:
        yield f"left out: {listed(schema.extra)}"
    constant = [
        name for name, v in zip(schema.names, detector.columns_.varies, strict=True) if not v
    ]
    if constant:
        yield f"constant in training, any other value will count as strange: {listed(constant)}"
    yield f"threshold: {-detector.offset_:.4g} nats, {threshold_origin(detector, 'rows')}"


def threshold_origin(detector: Any, unit: str) -> str:
    """Say where the threshold of a detector comes from; `unit` is "rows" or "images"."""
    if detector.threshold is not None:
        return "set by hand"
    if detector.contamination is not None:
        return f"above which {detector.contamination:g} of the training {unit} lie"
    rows = len(detector.calibration_scores_)
    rate = max(detector.false_alarm_rate, 1 / (rows + 1))
    low, high = false_alarm_interval(rows, detector.false_alarm_rate)
    return (
        f"false-alarm rate {rate:.2g} (from {rows:,} {unit} held out of training; so many give "
        f"{low:.2g} to {high:.2g} in 95 of 100 cases)"
    )

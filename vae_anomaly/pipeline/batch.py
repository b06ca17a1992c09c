"""Scoring of batches of Arrow columns: a pure function, for clusters, services and streams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

import pyarrow as pa

from vae_anomaly._text import listed
from vae_anomaly.data.columnar import NUMBERED, Names, Rows
from vae_anomaly.data.registry import columnar
from vae_anomaly.exceptions import DataError, ParameterError
from vae_anomaly.model.model import Model
from vae_anomaly.pipeline import score as scoring
from vae_anomaly.pipeline.models import ModelLike, loaded
from vae_anomaly.pipeline.results import Layout, Outputs, Scored, concatenated

__all__ = [
    "RowOutputs",
    "outputs_of_rows",
    "score_batch",
    "score_kept",
    "score_rows",
    "scored_batch",
]


class RowOutputs(TypedDict, total=False):
    """Arguments of `score_batch` that say what it returns, for functions that pass them on."""

    score: str | None
    explain: int
    p_values: bool
    also: Sequence[str]
    threshold: float | None
    repair: bool
    parts: bool


def outputs_of_rows(given: RowOutputs) -> Outputs:
    """Return what arguments of `score_batch` ask for.

    Raises
    ------
    ParameterError
        If one has another name.

    Examples
    --------
    >>> outputs_of_rows({"explain": 2, "also": ["kl"]}).explain
    2
    """
    known = RowOutputs.__annotations__
    for name in given:
        if name not in known:
            raise ParameterError(
                f"There is no argument {name!r}. Expected one of {', '.join(known)}."
            )
    return Outputs(**given)


def score_batch(
    model: ModelLike,
    batch: pa.RecordBatch,
    *,
    keep: Sequence[str] = (),
    score: str | None = None,
    explain: int = 0,
    p_values: bool = False,
    also: Sequence[str] = (),
    threshold: float | None = None,
    repair: bool = False,
    parts: bool = False,
) -> pa.RecordBatch:
    """Score a batch of Arrow columns.

    A pure function of its arguments: a row has the same score to the last bit in every batch,
    process and cluster, and from the command line. Dense networks need no TensorFlow. A model
    in a file is read once in a process.

    Parameters
    ----------
    model : VAEDetector, str, Path, bytes or ModelFile
        Fitted detector, or a model file: its path, its content, or with
        `vae_anomaly.pipeline.models.ModelFile` its path and digest, which is checked.
    batch : pyarrow.RecordBatch
        Columns of training, in any order; others are ignored.
    keep : sequence of str, optional
        Columns to return as they are, such as an identifier.
    score : str, optional
        Anomaly score; by default the one that the model was fitted with.
    explain : int, default=0
        Number of features to name for each row.
    p_values : bool, default=False
        Whether to return p-values.
    also : sequence of str, optional
        Further scores.
    threshold : float, optional
        In nats, instead of the threshold of the model.
    repair : bool, default=False
        Whether to say what would make a flagged row normal.
    parts : bool, default=False
        Whether to return reconstruction error and KL divergence, whatever the score.

    Returns
    -------
    pyarrow.RecordBatch
        A row for each one of `batch`, in its order: the columns of `keep`, then those that the
        command ``score`` writes, anomaly_score in nats first and status last. The status is
        "ok", or what is wrong with a row that has no score, such as an infinite number. A column
        of `keep` that is called as a later one gets ``id_`` in front.

    Raises
    ------
    DataError
        If columns are missing, or have types that nothing can be made of.
    ParameterError
        If the model cannot return what is asked for.
    ModelFileError
        If the model is not sound, or another one than its digest says.
    OSError
        If a model file cannot be read.

    Examples
    --------
    >>> import pandas as pd
    >>> import pyarrow as pa
    >>> from vae_anomaly import VAEDetector, score_batch
    >>> normal = pd.DataFrame({"flow": [1.0, 2.0, 3.0] * 40, "pressure": [5.0, 7.0] * 60})
    >>> detector = VAEDetector(false_alarm_rate=0.1, max_steps=50, random_state=0).fit(normal)
    >>> columns = {"pump": ["a", "b"], "flow": [2.0, 50.0], "pressure": [7.0, 7.0]}
    >>> scored = score_batch(detector, pa.RecordBatch.from_pydict(columns), keep=["pump"])
    >>> scored.schema.names
    ['pump', 'anomaly_score', 'is_anomaly', 'status']
    >>> scored.column("is_anomaly").to_pylist()
    [False, True]
    """
    outputs = Outputs(score, explain, p_values, also, None, threshold, repair, parts)
    return score_kept(loaded(model), batch, outputs, keep)


def score_kept(
    model: Model, batch: pa.RecordBatch, outputs: Outputs, keep: Sequence[str]
) -> pa.RecordBatch:
    """Score a batch of Arrow columns, and put some of these before the result.

    Raises
    ------
    DataError
        If one of them is missing.
    """
    missing = [name for name in keep if name not in batch.schema.names]
    if missing:
        raise DataError(
            f"The batch lacks {listed(missing)}, which is to be kept. Its columns are "
            f"{listed(batch.schema.names)}."
        )
    return score_rows(model, batch, outputs, {name: batch.column(name) for name in keep})


def score_rows(
    model: Model, batch: pa.RecordBatch, outputs: Outputs, keys: Mapping[str, pa.Array]
) -> pa.RecordBatch:
    """Score a batch of Arrow columns, and put keys before the result; see `score_batch`.

    A threshold for a false-discovery rate would need all rows.
    """
    found, _ = scored_batch(model, Rows(batch), outputs)
    names = found.schema.names[1:]
    columns = {f"id_{name}" if name in names else name: key for name, key in keys.items()}
    columns |= {name: found.column(name) for name in names}
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def scored_batch(
    model: Model, rows: Rows, outputs: Outputs, names: Names = NUMBERED
) -> tuple[pa.RecordBatch, list[Scored]]:
    """Score rows of Arrow columns; return the result, and the parts of it."""
    with columnar(model.encoder).open_batch(rows, model.encoder, names) as source:
        schema = Layout.of(model, source, outputs).schema
        parts = list(scoring.score(model, source, outputs, executor=map))
    if not parts:
        return pa.RecordBatch.from_pylist([], schema=schema), parts
    return concatenated([part.batch for part in parts]), parts

"""Spark: scores of data frames, batch by batch of Arrow.

The extra ``spark`` installs what is needed: ``pip install ".[spark]"`` in a checkout. Spark also
needs a Java runtime.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TypeAlias, Unpack

import pyarrow as pa

from vae_anomaly._extras import of_extra
from vae_anomaly._threads import on_one_thread
from vae_anomaly.pipeline.batch import RowOutputs, outputs_of_rows, score_kept
from vae_anomaly.pipeline.models import ModelBytes, ModelLike, loaded, portable
from vae_anomaly.pipeline.results import Outputs

__all__ = ["score"]

SparkFrame: TypeAlias = Any
"""Data frame of Spark."""


def score(
    frame: SparkFrame,
    model: ModelLike,
    *,
    keep: Sequence[str] = (),
    **wanted: Unpack[RowOutputs],
) -> SparkFrame:
    """Score a data frame of Spark.

    Parameters
    ----------
    frame : pyspark.sql.DataFrame
        Columns of training, in any order; others are ignored.
    model : VAEDetector, str, Path or bytes
        Fitted detector or model file, which travels to the workers. They need this package.
    keep : sequence of str, optional
        Columns to return as they are.
    **wanted
        What to return: score, explain, p_values, also, threshold, repair and parts of
        `vae_anomaly.score_batch`.

    Returns
    -------
    pyspark.sql.DataFrame
        The columns of `keep`, then those of `vae_anomaly.score_batch`; nothing is computed yet.

    Raises
    ------
    ParameterError
        If the model cannot return what is asked for, or Spark is not installed.
    DataError
        If columns are missing.

    Examples
    --------
    ::

        import vae_anomaly.spark

        rows = session.read.parquet("pumps/")
        vae_anomaly.spark.score(rows, "pump.vae", keep=["id"]).write.parquet("scores/")
    """
    types = of_extra("pyspark.sql.pandas.types", "spark", "Scoring on Spark")
    content = portable(model)
    outputs = outputs_of_rows(wanted)
    given = types.to_arrow_schema(frame.schema)
    empty = pa.RecordBatch.from_pylist([], schema=given)
    found = score_kept(loaded(content), empty, outputs, keep).schema
    work = partial(_scored, content=content, outputs=outputs, keep=tuple(keep))
    return frame.mapInArrow(work, types.from_arrow_schema(found))


def _scored(
    batches: Iterable[pa.RecordBatch], content: ModelBytes, outputs: Outputs, keep: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Score the batches of a partition."""
    model = loaded(content)
    for batch in batches:
        with on_one_thread():
            found = score_kept(model, batch, outputs, keep)
        yield found

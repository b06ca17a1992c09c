"""Ray Data: a class that scores batches of a dataset.

The extra ``ray`` installs what is needed: ``pip install ".[ray]"`` in a checkout.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import pyarrow as pa

from vae_anomaly._threads import on_one_thread
from vae_anomaly.pipeline.batch import RowOutputs, outputs_of_rows, score_kept
from vae_anomaly.pipeline.models import ModelLike, loaded, portable

__all__ = ["Scorer"]


class Scorer:
    """Function of batches for `ray.data.Dataset.map_batches`, with ``batch_format="pyarrow"``.

    Parameters
    ----------
    model : VAEDetector, str, Path or bytes
        Fitted detector or model file; a path must exist on each machine.
    keep : sequence of str, optional
        Columns to return as they are.
    **wanted
        What to return: score, explain, p_values, also, threshold, repair and parts of
        `vae_anomaly.score_batch`.

    Examples
    --------
    ::

        from pathlib import Path
        import ray
        from vae_anomaly.ray import Scorer

        rows = ray.data.read_parquet("pumps/")
        scores = rows.map_batches(
            Scorer,
            fn_constructor_args=(Path("pump.vae").read_bytes(),),
            fn_constructor_kwargs={"keep": ["id"]},
            batch_format="pyarrow",
            concurrency=2,
        )
        scores.write_parquet("scores/")
    """

    def __init__(
        self,
        model: ModelLike,
        *,
        keep: Sequence[str] = (),
        **wanted: Unpack[RowOutputs],
    ) -> None:
        self._content = portable(model)
        self._keep = tuple(keep)
        self._outputs = outputs_of_rows(wanted)

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Score a batch."""
        batches = rows.combine_chunks().to_batches()
        batch = batches[0] if batches else pa.RecordBatch.from_pylist([], schema=rows.schema)
        with on_one_thread():
            found = score_kept(loaded(self._content), batch, self._outputs, self._keep)
        return pa.Table.from_batches([found])

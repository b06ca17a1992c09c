"""Dask: scores of data frames, fits to them, and clusters as executors.

The extra ``dask`` installs what is needed: ``pip install ".[dask]"`` in a checkout.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar, Unpack

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_anomaly._extras import of_extra
from vae_anomaly._parameters import integer, number, optional
from vae_anomaly._threads import on_one_thread
from vae_anomaly.data.columnar import Rows
from vae_anomaly.data.registry import columnar
from vae_anomaly.data.table.summary import SampleWarning, TableSummary
from vae_anomaly.estimator import VAEDetector
from vae_anomaly.exceptions import DataError, ParameterError, ResourceError
from vae_anomaly.model.model import Model
from vae_anomaly.model.recalibration import recalibrated
from vae_anomaly.model.seen import digests_of
from vae_anomaly.pipeline.batch import RowOutputs, outputs_of_rows, score_rows
from vae_anomaly.pipeline.executors import Pool
from vae_anomaly.pipeline.models import ModelBytes, ModelLike, loaded, portable
from vae_anomaly.pipeline.partitions import PartitionsSummary, score_partitions
from vae_anomaly.pipeline.progress import Progress, no_progress
from vae_anomaly.pipeline.results import Outputs

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Cluster", "connected", "fit", "recalibrate", "score", "score_folder", "summary"]

DaskFrame: TypeAlias = Any
"""Data frame of Dask."""

Client: TypeAlias = Any
"""Client of a scheduler of Dask."""

Item = TypeVar("Item")
Result = TypeVar("Result")

CONNECT_TIMEOUT = "10s"

PENDING_OF_WORKER = 3
"""Items for each worker thread that are submitted and not yet yielded."""

PURPOSE = "Work on Dask"

RATE = number(0, 1, "()")
MAX_ROWS = optional(integer(2))


def score(
    frame: DaskFrame,
    model: ModelLike,
    *,
    keep: Sequence[str] = (),
    **wanted: Unpack[RowOutputs],
) -> DaskFrame:
    """Score a data frame of Dask, partition by partition.

    Parameters
    ----------
    frame : dask.dataframe.DataFrame
        Columns of training, in any order; others are ignored.
    model : VAEDetector, str, Path or bytes
        Fitted detector or model file, which travels to the workers.
    keep : sequence of str, optional
        Columns to return as they are.
    **wanted
        What to return: score, explain, p_values, also, threshold, repair and parts of
        `vae_anomaly.score_batch`.

    Returns
    -------
    dask.dataframe.DataFrame
        With the index and the partitions of `frame`: the columns of `keep`, then those of
        `vae_anomaly.score_batch`. Nothing is computed yet, and the model is never called with
        made-up rows: the types of the result are known.

    Raises
    ------
    ParameterError
        If the model cannot return what is asked for, or Dask is not installed.
    DataError
        If columns are missing.

    Examples
    --------
    Score a folder of Parquet files on two processes, and write the result::

        import dask.dataframe as dd
        from dask.distributed import Client
        import vae_anomaly.dask

        with Client(n_workers=2, threads_per_worker=1):
            rows = dd.read_parquet("pumps/")
            vae_anomaly.dask.score(rows, "pump.vae", keep=["id"]).to_parquet("scores/")
    """
    dask = of_extra("dask", "dask", PURPOSE)
    content = portable(model)
    outputs = outputs_of_rows(wanted)
    missing = [name for name in keep if name not in frame.columns]
    if missing:
        raise DataError(
            f"The frame lacks {missing[0]!r}, which is to be kept. Its columns are "
            f"{', '.join(map(repr, frame.columns))}."
        )
    meta = _scored_frame(frame._meta, content, outputs, list(keep))
    shared = dask.delayed(content, pure=True)  # once in the graph
    return frame.map_partitions(
        _scored_frame, shared, outputs, list(keep), meta=meta, enforce_metadata=False
    )


def _scored_frame(
    frame: pd.DataFrame, content: ModelBytes, outputs: Outputs, keep: list[str]
) -> pd.DataFrame:
    """Score a partition."""
    import pandas as pd

    model = loaded(content)
    with on_one_thread():
        found = score_rows(model, _batch(frame, model), outputs, {})
    # Flags of rows without a score are missing, which NumPy's booleans cannot be.
    scores = found.to_pandas(types_mapper={pa.bool_(): pd.BooleanDtype()}.get)
    scores.index = frame.index
    names = {name: f"id_{name}" for name in keep if name in scores.columns}
    return pd.concat([frame[keep].rename(columns=names), scores], axis=1)


def _batch(frame: pd.DataFrame, model: Model) -> pa.RecordBatch:
    """Return the columns of a frame that a model takes."""
    names = model.encoder.names
    used = frame if names is None else frame[[name for name in names if name in frame.columns]]
    return pa.RecordBatch.from_pandas(used, preserve_index=False)


# ------------------------------------------------------------------------- fits


def summary(frame: DaskFrame, *, max_rows: int | None = 10_000, seed: int = 0) -> TableSummary:
    """Summarise a data frame of Dask in one pass, and draw a uniform sample of its rows.

    Workers read each partition once; summaries are merged in pairs. The result is the same, to the
    last bit, whatever the partitions are: sums are exact, and a row is drawn by a hash of its cells
    and its index.

    Parameters
    ----------
    frame : dask.dataframe.DataFrame
    max_rows : int, optional
        Size of the sample, at most; None keeps all rows.
    seed : int, default=0

    Returns
    -------
    TableSummary
        ``n_rows``, ``columns`` by name with ``type``, ``n_missing``, ``low``, ``high``, ``moments``
        (``mean``, ``deviation``) and ``levels``, and ``sample``, a DataFrame.

    Raises
    ------
    DataError
        If a number is infinite, or a column has another type in some partitions.
    ParameterError
        If `max_rows` is not a positive whole number.
    """
    dask = of_extra("dask", "dask", PURPOSE)
    if not MAX_ROWS.holds(max_rows):
        raise ParameterError(f"max_rows must be {MAX_ROWS.words}. Got {max_rows!r} instead.")
    parts = [dask.delayed(TableSummary.of)(part, max_rows, seed) for part in frame.to_delayed()]
    while len(parts) > 1:  # pairs, so that no worker holds more than two samples
        parts = [
            dask.delayed(TableSummary.merged)(parts[i : i + 2]) for i in range(0, len(parts), 2)
        ]
    [found] = dask.compute(*parts)
    return found


def fit(frame: DaskFrame, detector: VAEDetector, *, max_rows: int | None = None) -> VAEDetector:
    """Fit a detector to a data frame of Dask, or to a uniform sample of its rows.

    The rows are read once, by the workers, which check them and draw the sample; see `summary`.
    Training is that of `VAEDetector.fit`, in this process: the result is the same as from the
    rows or the sample in memory, whatever the partitions are.

    Parameters
    ----------
    frame : dask.dataframe.DataFrame
        Rows that are (almost) all normal.
    detector : VAEDetector
        It is not changed.
    max_rows : int, optional
        Rows to learn from, at most; by default all.

    Returns
    -------
    VAEDetector
        Fitted.

    Raises
    ------
    DataError
        If a number is infinite, or as of `VAEDetector.fit`.
    ParameterError
        If `max_rows` is not a positive whole number, or as of `VAEDetector.fit`.

    Warns
    -----
    SampleWarning
        If a column is constant in the sample but not in all rows, or the sample lacks levels.
    """
    from sklearn.base import clone

    seed = detector.random_state if isinstance(detector.random_state, int) else 0
    found = summary(frame, max_rows=max_rows, seed=seed)
    if warning := found.lacks():
        warnings.warn(warning, SampleWarning, stacklevel=2)
    return clone(detector).fit(found.sample)


def recalibrate(
    frame: DaskFrame,
    detector: VAEDetector,
    *,
    false_alarm_rate: float | None = None,
    keep_learned: bool = False,
) -> VAEDetector:
    """Take the threshold and p-values of a detector from recent normal rows.

    Workers score the rows; the result is that of `vae_anomaly.recalibrate` with all of them.

    Parameters
    ----------
    frame : dask.dataframe.DataFrame
        Recent normal rows that the detector was not trained on.
    detector : VAEDetector
        Fitted; it is not changed.
    false_alarm_rate : float in (0, 1), optional
        By default that of `detector`.
    keep_learned : bool, default=False
        Calibrate by rows that were learned as well: the threshold is then too low.

    Returns
    -------
    VAEDetector

    Raises
    ------
    DataError
        If a row cannot be used, or those that were not learned are too few for the rate.
    ParameterError
        If the rate is out of its range.

    Warns
    -----
    TooFewCalibrationRowsWarning
        If the rows are too few for the rate.
    """
    dask = of_extra("dask", "dask", PURPOSE)
    content = portable(detector)
    model = loaded(content)
    given = model.parameters["false_alarm_rate"] if false_alarm_rate is None else false_alarm_rate
    if not RATE.holds(given):
        raise ParameterError(f"false_alarm_rate must be {RATE.words}. Got {given!r} instead.")
    shared = dask.delayed(content, pure=True)
    parts = [dask.delayed(_scores_and_digests)(part, shared) for part in frame.to_delayed()]
    scores, digests = zip(*dask.compute(*parts), strict=True)
    result = recalibrated(
        model, np.concatenate(scores), np.concatenate(digests), given, keep_learned=keep_learned
    )
    return VAEDetector.from_model(result.model)


def _scores_and_digests(
    frame: pd.DataFrame, content: ModelBytes
) -> tuple[NDArray[np.float64], NDArray[np.uint64]]:
    """Score a partition, and return digests of its rows."""
    model = loaded(content)
    scores, digests = [np.empty(0)], [np.empty(0, np.uint64)]
    with on_one_thread():
        rows = Rows(_batch(frame, model))
        for batch in columnar(model.encoder).open_batch(rows, model.encoder).batches():
            if batch.faults:
                place, fault = next(iter(batch.faults.items()))
                raise DataError(f"The frame, row {frame.index[batch.start + place]}, {fault}.")
            scores.append(model.anomaly_scores(batch.records))
            digests.append(digests_of(model.encoder, batch.records))
    return np.concatenate(scores), np.concatenate(digests)


# -------------------------------------------------------------------- executors


class Cluster:
    """Executor on the workers of a cluster, in bounded memory; see `pipeline.executors`.

    A call whose worker is lost is repeated elsewhere.

    Parameters
    ----------
    client : dask.distributed.Client
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def __call__(
        self, function: Callable[[Item], Result], items: Iterable[Item], /
    ) -> Iterator[Result]:
        """Yield the results, in the order of the items.

        Raises
        ------
        ResourceError
            If the scheduler is gone, or several workers in turn were lost with the same item.
        """
        errors = of_extra("distributed", "dask", PURPOSE)
        n_threads = max(1, sum(self._client.nthreads().values()))
        # A task holds the function, so that workers that join later get it as well.
        shared = self._client.submit(_same, function, pure=False)
        pool = Pool(_Submitter(self._client, shared), PENDING_OF_WORKER * n_threads)
        try:
            yield from pool(function, items)
        except errors.KilledWorker as cause:
            raise ResourceError(
                f"Several workers were lost with the same part of the work ({cause.task}), most "
                f"likely for lack of memory. Give each worker more memory, or fewer threads."
            ) from cause
        except (errors.client.FutureCancelledError, errors.comm.CommClosedError) as cause:
            raise ResourceError(
                "The scheduler is gone, or has cancelled the work. Start it, and run the same "
                "again: partitions that are done stay done."
            ) from cause


class _Submitter(NamedTuple):
    """Submits calls of a function that the workers hold."""

    client: Client
    shared: Any

    def submit(self, function: Callable[[Item], Result], item: Item, /) -> Any:
        """Start a call."""
        return self.client.submit(_call, self.shared, item, pure=False)


def _same(value: Item) -> Item:
    return value


def _call(function: Callable[[Item], Result], item: Item) -> Result:
    return function(item)


@contextmanager
def connected(scheduler: str) -> Iterator[Cluster]:
    """Connect to a scheduler, or start one with workers on this machine.

    Parameters
    ----------
    scheduler : str
        Address, such as ``tcp://10.0.0.7:8786``, or ``local:4`` for four processes.

    Yields
    ------
    Cluster

    Raises
    ------
    ParameterError
        If Dask is not installed, or there is no scheduler at the address.
    """
    distributed = of_extra("distributed", "dask", "--scheduler")
    place, _, count = scheduler.partition(":")
    if place != "local":
        try:
            client = distributed.Client(scheduler, timeout=CONNECT_TIMEOUT)
        except (OSError, ValueError, TimeoutError) as cause:
            raise ParameterError(
                f"There is no scheduler of Dask at {scheduler!r}. Expected an address such as "
                f"tcp://10.0.0.7:8786, or local:4 for four processes on this machine."
            ) from cause
        with client:
            yield Cluster(client)
        return
    if not count.isdecimal() or int(count) == 0:
        raise ParameterError(f"Expected a number of processes, such as local:4, got {scheduler!r}.")
    cluster = distributed.LocalCluster(
        n_workers=int(count), threads_per_worker=1, dashboard_address=None
    )
    with cluster, distributed.Client(cluster) as client:
        yield Cluster(client)


def score_folder(
    scheduler: str,
    model: ModelLike,
    data: str,
    folder: str,
    outputs: Outputs = Outputs(),  # noqa: B008 - frozen
    *,
    progress: Progress = no_progress,
    **names: Any,
) -> PartitionsSummary:
    """Score files on the workers of a scheduler, and write a folder of Parquet files.

    Parameters
    ----------
    scheduler : str
        See `connected`.
    model, data, folder, outputs, progress, **names
        As of `vae_anomaly.pipeline.partitions.score_partitions`.

    Returns
    -------
    PartitionsSummary

    Raises
    ------
    ParameterError
        If Dask is not installed, there is no scheduler, or the model cannot return what is asked
        for.
    DataError, OutputError, ResourceError
        As `score_partitions` and `Cluster`.
    """
    with connected(scheduler) as cluster:
        return score_partitions(
            model, data, folder, outputs, executor=cluster, progress=progress, **names
        )

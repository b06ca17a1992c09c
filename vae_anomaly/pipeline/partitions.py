"""Scoring of partitions by workers, into a folder that appears whole.

The folder is written beside its place, under a hidden name: a Parquet file and a receipt for each
partition. What a worker does depends on nothing but its partition, so it may do it twice; a
command that was killed goes on with the partitions that have no receipt. Once all have one, the
folder is renamed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import pyarrow as pa

from vae_anomaly._text import are, counted
from vae_anomaly._threads import on_one_thread
from vae_anomaly._types import Json, JsonObject
from vae_anomaly._version import __version__
from vae_anomaly.data.columnar import Names, Partition
from vae_anomaly.data.registry import columnar
from vae_anomaly.exceptions import OutputError, ParameterError
from vae_anomaly.model.drift import Drift, DriftWatch, Watched
from vae_anomaly.model.model import Model
from vae_anomaly.pipeline.batch import scored_batch
from vae_anomaly.pipeline.conditions import Condition, failures
from vae_anomaly.pipeline.executors import Executor
from vae_anomaly.pipeline.messages import drift_warning, unusable_notes
from vae_anomaly.pipeline.models import ModelBytes, ModelLike, loaded, portable
from vae_anomaly.pipeline.progress import Progress, no_progress
from vae_anomaly.pipeline.results import Outputs
from vae_anomaly.pipeline.score import drift_of
from vae_anomaly.pipeline.writers import parquet_writer
from vae_anomaly.storage.atomic import atomic_write, check_writable, make_folder, output_error

__all__ = [
    "PartitionsSummary",
    "Receipt",
    "score_partition",
    "score_partitions",
]

PLAN, RECEIPTS = "_plan.json", "_receipts"
"""Names in the folder. Readers of Parquet folders skip what begins with an underscore."""


class Receipt(NamedTuple):
    """What was done with a partition.

    Attributes
    ----------
    n_rows, n_scored, n_flagged : int
    sha256 : str
        Of the file that was written.
    watched : Watched or None
        What a watch for drift keeps of the rows; None without one.
    """

    n_rows: int
    n_scored: int
    n_flagged: int
    sha256: str
    watched: Watched | None = None

    def to_json(self) -> str:
        """Return the receipt as text, which holds every digit."""
        facts: dict[str, Json] = dict(self._asdict())
        if self.watched is not None:
            facts["watched"] = [np.asarray(one).tolist() for one in self.watched]
        return json.dumps(facts)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a receipt."""
        receipt = cls(**json.loads(text))
        if receipt.watched is None:
            return receipt
        counts, n_sampled, sums, squares = receipt.watched
        arrays = np.array(sums, dtype=np.float64), np.array(squares, dtype=np.float64)
        return receipt._replace(watched=Watched(np.array(counts, np.int64), n_sampled, *arrays))


class PartitionsSummary(NamedTuple):
    """Facts about a folder of scores.

    Attributes
    ----------
    n_partitions, n_resumed : int
        The second ones had been done by an earlier run.
    n_rows, n_scored, n_flagged : int
    folder : str
    drift : Drift or None
        The drift of all rows together, if there is any.
    """

    n_partitions: int
    n_resumed: int
    n_rows: int
    n_scored: int
    n_flagged: int
    folder: str
    drift: Drift | None = None

    @property
    def is_complete(self) -> bool:
        """Whether every row has a score."""
        return self.n_scored == self.n_rows

    def facts(self) -> JsonObject:
        """Return plain values for JSON."""
        return self._asdict() | {"drift": None if self.drift is None else self.drift.facts()}

    def failures(self, conditions: Collection[Condition]) -> list[str]:
        """Return a line for each condition that the result meets."""
        drift = self.drift is not None
        return failures(conditions, self.n_flagged, self.n_scored, "row", drift=drift)

    def notes(self) -> list[str]:
        """Return lines to report after the partitions were scored."""
        resumed = f", {self.n_resumed:,} of them by an earlier run" if self.n_resumed else ""
        verdict = (
            f"scored {counted(self.n_scored, 'row')} in "
            f"{counted(self.n_partitions, 'partition')}{resumed}; {self.n_flagged:,} "
            f"{are(self.n_flagged)} flagged"
        )
        drift = [] if self.drift is None else [f"warning: {drift_warning(self.drift, 'row')}"]
        return [
            verdict,
            *unusable_notes(self.n_rows - self.n_scored),
            *drift,
            f"scores: {self.folder}",
        ]


class _ScoredPartition(NamedTuple):
    """Scores of a partition: a Parquet file, and what is in it."""

    place: int
    content: bytes
    receipt: Receipt


@dataclass(frozen=True)
class _ScorePartition:
    """Function of a partition that an executor runs."""

    model: ModelBytes
    outputs: Outputs
    names: Names

    def __call__(self, item: tuple[int, Partition]) -> _ScoredPartition:
        index, partition = item
        model = loaded(self.model)
        return _ScoredPartition(index, *score_partition(model, partition, self.outputs, self.names))


def score_partition(
    model: Model, partition: Partition, outputs: Outputs, names: Names
) -> tuple[bytes, Receipt]:
    """Score a partition on one thread.

    Returns
    -------
    bytes
        A Parquet file; none if there are no rows.
    Receipt
    """
    columns = columnar(model.encoder)
    watch = DriftWatch(model) if outputs.watches_drift(model) else None
    n_rows = n_scored = n_flagged = 0
    sink, writer = pa.BufferOutputStream(), None
    with on_one_thread():
        for rows in columns.read(partition, model.encoder, names):
            found, parts = scored_batch(model, rows, outputs, names)
            for part in parts:
                if watch is not None and len(part.scores):
                    watch.add_records(part.sample, part.scores)
            if writer is None:
                writer = parquet_writer(sink, found.schema)
            writer.write_batch(found)
            n_rows += rows.batch.num_rows
            n_scored += sum(len(part.scores) for part in parts)
            n_flagged += sum(part.n_flagged for part in parts)
    if writer is not None:
        writer.close()
    content = sink.getvalue().to_pybytes()
    digest = hashlib.sha256(content).hexdigest()
    watched = None if watch is None else watch.watched()
    return content, Receipt(n_rows, n_scored, n_flagged, digest, watched)


def score_partitions(
    model: ModelLike,
    data: str,
    folder: str,
    outputs: Outputs = Outputs(),  # noqa: B008 - frozen
    *,
    key: str | None = None,
    keep: Sequence[str] = (),
    executor: Executor,
    progress: Progress = no_progress,
) -> PartitionsSummary:
    """Score files in partitions, and write a folder of Parquet files.

    Parameters
    ----------
    model : VAEDetector, str, Path or bytes
        See `score_batch`.
    data : str
        File, folder, pattern or URL. Workers read it by themselves.
    folder : str
        Folder to write; there must be none of this name.
    outputs : Outputs, optional
    key : str, optional
        Column of the keys; by default rows are numbered from 1.
    keep : sequence of str, optional
        Columns of the files to add as they are; "all" for all.
    executor : Executor
        How partitions are scored, such as `vae_anomaly.dask.Cluster`.
    progress : Progress, optional

    Returns
    -------
    PartitionsSummary

    Raises
    ------
    ParameterError
        If the model cannot return what is asked for, or that needs all rows at once.
    DataError
        If the files cannot be used.
    OutputError
        If the folder is there already, or cannot be written.
    """
    content = portable(model)
    fitted = loaded(content)
    outputs.check(fitted)
    if outputs.fdr is not None:
        raise ParameterError(
            "fdr needs the scores of all rows before it flags one, which partitions do not have. "
            "Ask for p_values, and choose the rows from these."
        )
    if outputs.sort:
        raise ParameterError(
            "sort needs all rows in one place, which partitions do not have. Leave it out, and "
            "sort what is written; only_flagged makes that small."
        )
    columns = columnar(fitted.encoder)
    names = columns.kept(data, Names(key, tuple(keep)))
    partitions = columns.partitions(data, fitted.encoder, names)
    result_folder = _ResultFolder(Path(folder), _plan(content, partitions, outputs, names))
    receipts = result_folder.begin()
    n_resumed = len(receipts)
    left = [item for item in enumerate(partitions) if item[0] not in receipts]
    done = sum(receipt.n_rows for receipt in receipts.values())
    counts = [partition.n_records for partition in partitions]
    total = None if None in counts else sum(count or 0 for count in counts)
    with progress("scoring", total, unit="rows") as update:
        for result in executor(_ScorePartition(content, outputs, names), left) if left else ():
            result_folder.add(result)
            receipts[result.place] = result.receipt
            done += result.receipt.n_rows
            update(done)
    result_folder.finish()
    # In the order of the partitions, so that sums do not depend on which was first.
    found = [receipts[place] for place in sorted(receipts)]
    return PartitionsSummary(
        len(partitions),
        n_resumed,
        sum(receipt.n_rows for receipt in found),
        sum(receipt.n_scored for receipt in found),
        sum(receipt.n_flagged for receipt in found),
        folder,
        _drift(fitted, [receipt.watched for receipt in found if receipt.watched is not None]),
    )


def _drift(model: Model, parts: Sequence[Watched]) -> Drift | None:
    """Return the drift of partitions together, if there is any."""
    if not any(part.counts.any() for part in parts):
        return None
    watch = DriftWatch(model)
    for part in parts:
        watch.add_watched(part)
    return drift_of(watch)


def _plan(
    model: ModelBytes, partitions: Sequence[Partition], outputs: Outputs, names: Names
) -> str:
    """Return everything that the result depends on, as text."""
    plan = {
        "version": __version__,
        "model": model.digest,
        "outputs": asdict(outputs),
        "names": names,
        "partitions": partitions,
    }
    return json.dumps(plan, indent=1)


@dataclass(frozen=True)
class _ResultFolder:
    """Folder that is being written.

    Attributes
    ----------
    folder : Path
        Its place once it is whole.
    plan : str
        Everything that the result depends on.
    """

    folder: Path
    plan: str

    @property
    def partial(self) -> Path:
        """Its place until then."""
        return self.folder.with_name(f".{self.folder.name}.partial")

    def begin(self) -> dict[int, Receipt]:
        """Return the receipts of an earlier run of the same, and remove what is of another one.

        Raises
        ------
        OutputError
            If the folder is there already, of another run, or cannot be written.
        """
        if _text(self.folder / PLAN) == self.plan:
            return self._receipts(self.folder)
        if self.folder.exists():
            raise OutputError(
                f"Cannot write {self.folder}: it is there already. Remove it, or choose another "
                f"output."
            )
        check_writable(self.folder)
        if _text(self.partial / PLAN) == self.plan:
            return self._receipts(self.partial)
        shutil.rmtree(self.partial, ignore_errors=True)
        make_folder(self.partial / RECEIPTS)
        with atomic_write(self.partial / PLAN, "w", encoding="utf-8") as file:
            file.write(self.plan)
        return {}

    def _receipts(self, folder: Path) -> dict[int, Receipt]:
        """Return the receipts whose files are whole."""
        found = {}
        for path in sorted((folder / RECEIPTS).glob("*.json")):
            index, receipt = int(path.stem), Receipt.from_json(path.read_text("utf-8"))
            file = folder / _name(index)
            content = file.read_bytes() if file.is_file() else b""
            if hashlib.sha256(content).hexdigest() == receipt.sha256:
                found[index] = receipt
        return found

    def add(self, done: _ScoredPartition) -> None:
        """Write the scores of a partition, if it has rows, and then its receipt."""
        if done.content:
            with atomic_write(self.partial / _name(done.place)) as file:
                file.write(done.content)
        path = self.partial / RECEIPTS / f"{done.place:05}.json"
        with atomic_write(path, "w", encoding="utf-8") as file:
            file.write(done.receipt.to_json())

    def finish(self) -> None:
        """Rename the folder, which is whole, unless an earlier run did."""
        if self.folder.exists():
            return
        try:
            self.partial.rename(self.folder)
        except OSError as cause:
            raise output_error(self.folder, cause) from cause


def _name(index: int) -> str:
    return f"part-{index:05}.parquet"


def _text(path: Path) -> str | None:
    return path.read_text("utf-8") if path.is_file() else None

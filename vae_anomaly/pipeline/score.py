"""Scoring of a source in bounded memory, for every modality."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._text import counted, counted_among
from vae_anomaly.data.arrow import array_of
from vae_anomaly.data.base import Batch, Source
from vae_anomaly.model.drift import Drift, DriftWatch, sample_slice
from vae_anomaly.model.model import Model
from vae_anomaly.model.reasons import NormalValues, reasons_of
from vae_anomaly.pipeline.conditions import Condition, failures
from vae_anomaly.pipeline.executors import Executor, overlapped
from vae_anomaly.pipeline.messages import drift_warning, skipped_records
from vae_anomaly.pipeline.progress import Progress, no_progress
from vae_anomaly.pipeline.reasons import repair_texts
from vae_anomaly.pipeline.results import Evaluated, Layout, Outputs, Scored
from vae_anomaly.pipeline.sorting import most_anomalous_first
from vae_anomaly.pipeline.work import Done
from vae_anomaly.pipeline.writers import result_writer

__all__ = ["ScoreSummary", "drift_of", "evaluated", "score", "score_file"]


class ScoreSummary(NamedTuple):
    """Facts about the scores of a source.

    Attributes
    ----------
    n_scored : int
        Records that have a score.
    n_flagged : int or None
        None if the score that was asked for has no threshold.
    threshold : float
    drift : Drift or None
        The drift of the source as a whole, if there is any.
    skipped : sequence of (str, str)
        Records that were not readable, and the reasons.
    """

    n_scored: int
    n_flagged: int | None
    threshold: float
    drift: Drift | None
    skipped: Sequence[tuple[str, str]]

    def done(
        self, source: Source, outputs: Outputs, path: str, conditions: Collection[Condition]
    ) -> Done:
        """Return a report on what was scored, into a file, and on the conditions that it meets."""
        lines, drift = [self._verdict(source.unit, outputs.fdr)], self.drift
        if drift is not None:
            lines.append(f"warning: {drift_warning(drift, source.unit)}")
        if path != "-":
            lines.append(f"scores: {path}")
        failed = failures(
            conditions, self.n_flagged or 0, self.n_scored, source.unit, drift=drift is not None
        )
        facts = {
            "n_scored": self.n_scored,
            "n_flagged": self.n_flagged,
            "n_skipped": len(self.skipped),
            "threshold": self.threshold,
            "drift": None if drift is None else drift.facts(),
            "scores": path,
            "failed": failed,
        }
        lines += skipped_records(source)
        return Done(lines, facts, is_complete=not self.skipped, failed=failed)

    def _verdict(self, unit: str, fdr: float | None) -> str:
        """Return how many records were flagged, and above which threshold."""
        if self.n_flagged is None:
            return (
                f"scored {counted(self.n_scored, unit)}; is_anomaly is left out: the threshold is "
                f"one of another score. Set one with --threshold"
            )
        text = f"{counted_among(self.n_flagged, self.n_scored, unit)} flagged"
        if math.isfinite(self.threshold):
            text += f", above {self.threshold:.6g} nats"
        if fdr is None or not self.n_flagged:
            return text
        return f"{text}; at most {100 * fdr:g} % of them are expected to be false"


def score(
    model: Model,
    source: Source,
    outputs: Outputs = Outputs(),  # noqa: B008 - frozen
    *,
    executor: Executor = overlapped,
) -> Iterator[Scored]:
    """Score the records of a source.

    Parameters
    ----------
    model : Model
    source : Source
    outputs : Outputs, optional
    executor : Executor, optional
        How batches are scored; by default on threads of this process.

    Yields
    ------
    Scored
        In the order of the source. With `Outputs.fdr` the source is read twice.

    Raises
    ------
    ParameterError
        If the model cannot return what is asked for.
    DataError
        If a record cannot be used.
    """
    layout = Layout.of(model, source, outputs)
    model = applied(outputs, model, source, executor)
    yield from _scored(model, source, layout, executor)


def score_file(
    model: Model,
    source: Source,
    path: str,
    outputs: Outputs = Outputs(),  # noqa: B008 - frozen
    *,
    executor: Executor = overlapped,
    progress: Progress = no_progress,
    flagged: list[object] | None = None,
) -> ScoreSummary:
    """Score the records of a source, and write the result to a file.

    Parameters
    ----------
    model : Model
    source : Source
    path : str
        ``.parquet`` or ``.pq`` for Parquet, ``.jsonl`` or ``.ndjson`` for JSON Lines, else CSV;
        "-" for standard output, in JSON Lines if the source is.
    outputs : Outputs, optional
    executor : Executor, optional
        How batches are scored; by default on threads of this process.
    progress : Progress, optional
    flagged : list, optional
        Receives the keys of the flagged records.

    Returns
    -------
    ScoreSummary

    Raises
    ------
    ParameterError
        If the model cannot return what is asked for.
    DataError
        If a record cannot be used; nothing is then written.
    OutputError
        If the result cannot be written.
    """
    layout = Layout.of(model, source, outputs)
    # What is written to a pipe cannot be taken back: all of the source is checked before.
    total = source.check() if path == "-" else source.n_records
    model = applied(outputs, model, source, executor)
    watch = DriftWatch(model) if layout.watches_drift else None
    done = scored = n_flagged = 0
    with (
        result_writer(path, layout.schema, json=source.is_json) as put,
        most_anomalous_first(put, layout.schema, layout.n_keys)
        if outputs.sort
        else nullcontext(put) as write,
        progress("scoring", total, unit=f"{source.unit}s") as update,
    ):
        for rows in _scored(model, source, layout, executor):
            write(rows.batch)
            if watch is not None and len(rows.scores):
                watch.add_records(rows.sample, rows.scores)
            done += rows.n_rows
            scored += len(rows.scores)
            n_flagged += rows.n_flagged
            if flagged is not None and rows.n_flagged:
                flagged += layout.flagged_keys(rows.batch)
            update(done)
    return ScoreSummary(
        scored,
        n_flagged if layout.flagged else None,
        model.calibration.threshold,
        drift_of(watch) if scored else None,
        source.skipped,
    )


def applied(outputs: Outputs, model: Model, source: Source, executor: Executor) -> Model:
    """Return the model with the score that is asked for, and with the threshold.

    A threshold that holds a false-discovery rate needs the scores of the source, which is read
    for that.
    """
    if outputs.score is not None:
        model = replace(model, score_type=outputs.score)
    if outputs.threshold is not None:
        return replace(model, calibration=replace(model.calibration, threshold=outputs.threshold))
    if outputs.fdr is None:
        return model
    calibration = model.calibration
    counts = np.zeros(len(calibration.scores) + 1, dtype=np.int64)
    for rows in evaluated(model, source.batches(), executor):
        counts += calibration.rank_counts(rows.scores)
    return replace(model, calibration=calibration.with_fdr(counts, outputs.fdr))


def drift_of(watch: DriftWatch | None) -> Drift | None:
    """Return the drift that a watch found, if any."""
    if watch is None or not watch.may_differ():
        return None
    found = watch.result()
    return found if found.is_drift else None


# ------------------------------------------------------------------------------ batches


@dataclass(frozen=True)
class _Evaluate:
    """Function of a batch that an executor runs: scores of its records."""

    model: Model
    outputs: Outputs
    further: Sequence[str] = ()  # names of scores
    normal: NormalValues | None = None  # describes reasons

    def __call__(self, batch: Batch) -> Evaluated:
        model, records, outputs, normal = self.model, batch.records, self.outputs, self.normal
        found = model.evaluate(
            records,
            contributions=outputs.explain > 0,
            expected=normal is not None,
            also=self.further,
        )
        described = None
        if normal is not None:
            described = reasons_of(model, normal, records, found, outputs.explain)
        return Evaluated(
            batch.keys,
            found.scores,
            found.contributions if outputs.explain else None,
            [found.also[name] for name in self.further],
            described,
            repair_texts(model, records, batch.texts) if outputs.repair else None,
            batch.positions,
            batch.faults,
            records[sample_slice(len(records))],
            batch.kept,
            batch.texts,
        )


@dataclass(frozen=True)
class _Score:
    """Function of a batch that an executor runs: rows of the result."""

    evaluate: _Evaluate
    layout: Layout

    def __call__(self, batch: Batch) -> Scored:
        model, layout = self.evaluate.model, self.layout
        if not layout.outputs.only_flagged:
            return layout.scored(model, self.evaluate(batch))
        # Of most rows only the score is needed.
        of_all = _Evaluate(model, Outputs())(batch)
        flags = model.calibration.flags(of_all.scores)
        found = layout.scored(model, self.evaluate(_only(batch, flags)))
        return found._replace(scores=of_all.scores, sample=of_all.sample, n_rows=len(batch.keys))


def _only(batch: Batch, chosen: NDArray[np.bool_]) -> Batch:
    """Return some of the readable records of a batch."""
    places = np.arange(len(batch.keys)) if batch.positions is None else batch.positions
    taken = array_of(places[chosen])
    kept = None if batch.kept is None else batch.kept.take(taken)
    keys, texts = batch.keys.take(taken), batch.texts.only(np.flatnonzero(chosen))
    return Batch(batch.start, keys, batch.records[chosen], kept=kept, texts=texts)


def _scored(model: Model, source: Source, layout: Layout, executor: Executor) -> Iterator[Scored]:
    """Return the rows of the result."""
    normal = NormalValues.of(model) if layout.described else None
    evaluate = _Evaluate(model, layout.outputs, layout.further, normal)
    return executor(_Score(evaluate, layout), source.batches())


def evaluated(model: Model, batches: Iterator[Batch], executor: Executor) -> Iterator[Evaluated]:
    """Return the scores of batches."""
    return executor(_Evaluate(model, Outputs()), batches)

"""Recalibration of a model with normal records, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._parameters import number
from vae_anomaly._text import counted
from vae_anomaly._types import JsonObject
from vae_anomaly.data.base import Batch, Source
from vae_anomaly.exceptions import ParameterError
from vae_anomaly.model.model import Model
from vae_anomaly.model.recalibration import recalibrated
from vae_anomaly.model.seen import Repeats, digests_of
from vae_anomaly.pipeline.executors import Executor, overlapped
from vae_anomaly.pipeline.facts import threshold_facts
from vae_anomaly.pipeline.messages import threshold_note
from vae_anomaly.pipeline.progress import Progress, no_progress
from vae_anomaly.pipeline.score import evaluated

__all__ = ["RecalibrationResult", "recalibrate"]

RATE = number(0, 1, "()")


class RecalibrationResult(NamedTuple):
    """Model with a new calibration.

    Attributes
    ----------
    model : Model
    n_records : int
        Records that calibrate.
    n_flagged_before : int
        Records that calibrate and that the old threshold flags.
    repeats : Repeats
        Records that the model learned.
    n_anomalous : int
        Records that are labelled as anomalies, and left out.
    """

    model: Model
    n_records: int
    n_flagged_before: int
    repeats: Repeats
    n_anomalous: int = 0

    def notes(self, old: Model, *, keep_learned: bool = False) -> Sequence[str]:
        """Return lines to report about what changed in a model."""
        anomalous = f"note: left out {counted(self.n_anomalous, old.unit)} labelled as anomalous"
        return [
            *([anomalous] if self.n_anomalous else []),
            *self.repeats.notes(old.unit, "learned", keep=keep_learned),
            f"the old threshold, {old.calibration.threshold:.6g} nats, flags "
            f"{self.n_flagged_before:,} of {counted(self.n_records, old.unit)}",
            threshold_note(self.model),
        ]

    def facts(self, old: Model) -> JsonObject:
        """Return plain values for JSON."""
        return {
            "n_records": self.n_records,
            "n_flagged_before": self.n_flagged_before,
            "threshold_before": old.calibration.threshold,
            **threshold_facts(self.model),
        }


def recalibrate(
    model: Model,
    source: Source,
    *,
    false_alarm_rate: float | None = None,
    keep_learned: bool = False,
    executor: Executor = overlapped,
    progress: Progress = no_progress,
) -> RecalibrationResult:
    """Take the threshold and p-values of a model from other normal records.

    Nothing is trained; scores stay as they are. Of the source only scores and digests are kept in
    memory. Records that the model learned are left out, see `SeenRecords.repeats`, and with labels
    the anomalies.

    Parameters
    ----------
    model : Model
    source : Source
        Recent normal records that the model was not trained on.
    false_alarm_rate : float in (0, 1), optional
        By default that of the model.
    keep_learned : bool, default=False
        Calibrate by records that the model learned as well.
    executor : Executor, optional
        How batches are scored; by default on threads of this process.
    progress : Progress, optional

    Returns
    -------
    RecalibrationResult

    Raises
    ------
    ParameterError
        If the rate is out of its range.
    DataError
        If a record cannot be used, there is none, or those that were not learned are too few.

    Warns
    -----
    TooFewCalibrationRowsWarning
        If the records are too few for the rate.
    """
    rate = model.parameters["false_alarm_rate"] if false_alarm_rate is None else false_alarm_rate
    if not RATE.holds(rate):
        raise ParameterError(f"false_alarm_rate must be {RATE.words}. Got {rate!r} instead.")
    digests: list[NDArray[np.uint64]] = [np.empty(0, np.uint64)]
    parts: list[NDArray[np.float64]] = [np.empty(0)]

    def batches() -> Iterator[Batch]:
        for batch in source.batches():
            digests.append(digests_of(model.encoder, batch.records))
            yield batch

    done = 0
    with progress("scoring", source.n_records, unit=f"{source.unit}s") as update:
        for rows in evaluated(model, batches(), executor):
            parts.append(rows.scores)
            done += len(rows.keys)
            update(done)
    scores, known = np.concatenate(parts), np.concatenate(digests)
    labels, n_anomalous = source.labels, 0
    if labels is not None:
        scores, known, n_anomalous = scores[~labels], known[~labels], int(labels.sum())
    source.require(len(scores), 1, "There is nothing to calibrate by.")
    result = recalibrated(model, scores, known, rate, keep_learned=keep_learned)
    flagged = int(model.calibration.flags(result.model.calibration.scores).sum())
    n_records = len(result.model.calibration.scores)
    return RecalibrationResult(result.model, n_records, flagged, result.repeats, n_anomalous)

"""Recalibration of a model with normal records, in bounded memory."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._parameters import number
from vae_anomaly.data.base import Source
from vae_anomaly.exceptions import ParameterError
from vae_anomaly.model.calibration import Calibration
from vae_anomaly.model.model import Model
from vae_anomaly.pipeline.executors import Executor, overlapped
from vae_anomaly.pipeline.progress import Progress, no_progress
from vae_anomaly.pipeline.results import Outputs
from vae_anomaly.pipeline.score import evaluated

__all__ = ["RecalibrationResult", "recalibrate"]

RATE = number(0, 1, "()")


class RecalibrationResult(NamedTuple):
    """Model with a new calibration.

    Attributes
    ----------
    model : Model
    n_records : int
    n_flagged_before : int
        Records that the old threshold flags.
    """

    model: Model
    n_records: int
    n_flagged_before: int


def recalibrate(
    model: Model,
    source: Source,
    *,
    false_alarm_rate: float | None = None,
    executor: Executor = overlapped,
    progress: Progress = no_progress,
) -> RecalibrationResult:
    """Take the threshold and p-values of a model from other normal records.

    Nothing is trained; scores stay as they are. Only the scores of the source are kept in memory.

    Parameters
    ----------
    model : Model
    source : Source
        Recent normal records that the model was not trained on.
    false_alarm_rate : float in (0, 1), optional
        By default that of the model.
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
        If a record cannot be used, or there is none.

    Warns
    -----
    TooFewCalibrationRowsWarning
        If the records are too few for the rate.
    """
    rate = model.parameters["false_alarm_rate"] if false_alarm_rate is None else false_alarm_rate
    if not RATE.holds(rate):
        raise ParameterError(f"false_alarm_rate must be {RATE.words}. Got {rate!r} instead.")
    parts: list[NDArray[np.float64]] = [np.empty(0)]
    done = 0
    with progress("scoring", source.n_records, unit=f"{source.unit}s") as update:
        for rows in evaluated(model, source, Outputs(), executor):
            parts.append(rows.scores)
            done += len(rows.keys)
            update(done)
    scores = np.concatenate(parts)
    source.require(len(scores), 1, "There is nothing to calibrate by.")
    changed = {"contamination": None, "threshold": None, "false_alarm_rate": rate}
    recalibrated = replace(
        model,
        calibration=Calibration.from_normal(scores, rate),
        parameters={**model.parameters, **changed},
    )
    flagged = int(model.calibration.flags(scores).sum())
    return RecalibrationResult(recalibrated, len(scores), flagged)

"""Facts about the results of commands, in plain values for JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from vae_anomaly._types import Json, JsonObject
from vae_anomaly.model.drift import Drift
from vae_anomaly.model.model import Model
from vae_anomaly.pipeline.score import ScoreSummary

if TYPE_CHECKING:  # scoring needs no module that fits
    from vae_anomaly.pipeline.fit import FitResult, TrainingData
    from vae_anomaly.pipeline.recalibrate import RecalibrationResult

__all__ = [
    "drift_facts",
    "fit_facts",
    "json_text",
    "recalibration_facts",
    "score_facts",
    "threshold_facts",
]


def json_text(facts: Mapping[str, Json]) -> str:
    """Return facts as a JSON object on one line; numbers that are not finite are null.

    Examples
    --------
    >>> json_text({"n_scored": np.int64(3), "threshold": math.inf, "page": "report.html"})
    '{"n_scored": 3, "threshold": null, "page": "report.html"}'
    """
    return json.dumps(_plain(facts), ensure_ascii=False, allow_nan=False)


def _plain(value: Json) -> Json:
    """Return a value in types of JSON."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def threshold_facts(model: Model) -> JsonObject:
    """Return the threshold of a model, and where it comes from."""
    calibration = model.calibration
    return {
        "score": model.score_type,
        "threshold": calibration.threshold,
        "threshold_from": calibration.method,
        "requested": calibration.value,
        "n_calibration": len(calibration.scores),
    }


def fit_facts(result: FitResult, data: TrainingData) -> JsonObject:
    """Return facts about a fit."""
    history = result.model.history
    return {
        "unit": data.source.unit,
        "n_records": len(data.records),
        "n_seen": data.n_seen,
        "n_held_out": data.n_held_out,
        "n_skipped": len(data.source.skipped),
        "n_steps": history.step[-1],
        "loss": history.loss[-1],
        "seconds": result.seconds,
        "interrupted": result.interrupted,
        **threshold_facts(result.model),
    }


def score_facts(summary: ScoreSummary) -> JsonObject:
    """Return facts about scores."""
    return {
        "n_scored": summary.n_scored,
        "n_flagged": summary.n_flagged,
        "n_skipped": len(summary.skipped),
        "threshold": summary.threshold,
        "drift": drift_facts(summary.drift),
    }


def drift_facts(drift: Drift | None) -> JsonObject | None:
    """Return facts about drift, if there is any."""
    if drift is None:
        return None
    return {"p_value": drift.p_value, "movements": [one._asdict() for one in drift.movements]}


def recalibration_facts(old: Model, result: RecalibrationResult) -> JsonObject:
    """Return facts about a recalibration."""
    return {
        "n_records": result.n_records,
        "n_flagged_before": result.n_flagged_before,
        "threshold_before": old.calibration.threshold,
        **threshold_facts(result.model),
    }

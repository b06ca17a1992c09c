"""Facts about models and results, in plain values for JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import numpy as np

from vae_anomaly._types import Json, JsonObject
from vae_anomaly.model.model import Model

__all__ = ["json_text", "threshold_facts"]


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

"""Model and records of a report, from a fitted model or detector."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vae_anomaly._types import Records
from vae_anomaly.data.arrays import as_records
from vae_anomaly.estimator import VAEDetector
from vae_anomaly.model.model import Model

__all__ = ["Subject", "fitted_model", "subject_of"]


class Subject(NamedTuple):
    """A fitted model and records as its encoder takes them."""

    model: Model
    records: Records


def fitted_model(model: Model | VAEDetector) -> Model:
    """Return the fitted model, that of a detector if it is one."""
    return model.model_ if isinstance(model, VAEDetector) else model


def subject_of(model: Model | VAEDetector, X: Records) -> Subject:
    """Return the model and its records; those of a detector are validated."""
    fitted = fitted_model(model)
    if not isinstance(model, VAEDetector):
        given = as_records(X)
        return Subject(fitted, fitted.records(X) if hasattr(given, "iloc") else np.asarray(given))
    rows = model._records(X)
    grid = fitted.encoder.outline.grid
    # Data on a grid are shown in their own units.
    return Subject(fitted, rows if grid is None else np.asarray(X).reshape(len(rows), *grid))

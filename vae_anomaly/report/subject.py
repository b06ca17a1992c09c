"""Model and records of a report, from a fitted model or detector."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vae_anomaly._types import Records
from vae_anomaly.data.arrays import as_records
from vae_anomaly.data.cell_texts import NO_TEXTS, CellTexts
from vae_anomaly.estimator import VAEDetector
from vae_anomaly.model.model import Model

__all__ = ["Subject", "fitted_model", "subject_of"]


class Subject(NamedTuple):
    """A fitted model, records as its encoder takes them, and texts of cells."""

    model: Model
    records: Records
    texts: CellTexts = NO_TEXTS


def fitted_model(model: Model | VAEDetector) -> Model:
    """Return the fitted model, that of a detector if it is one."""
    return model.model_ if isinstance(model, VAEDetector) else model


def subject_of(model: Model | VAEDetector, X: Records) -> Subject:
    """Return the model and its records; those of a detector are validated."""
    fitted = fitted_model(model)
    grid, given = fitted.encoder.shape, as_records(X)
    if isinstance(model, VAEDetector):
        rows = model._records(X)
    elif hasattr(given, "iloc"):
        rows = fitted.records(X)
    else:
        rows = np.asarray(given)
    if grid is None:
        return Subject(fitted, rows, fitted.encoder.texts(X, rows))
    # Data on a grid are shown in their own units.
    shown = np.asarray(given)
    return Subject(fitted, shown.reshape(-1, *grid) if shown.ndim == 2 else shown)

"""Data of an evaluation: labelled records to report on, and a model to compare with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from vae_anomaly.data.base import Records, Source
from vae_anomaly.estimator import VAEDetector
from vae_anomaly.model.model import Model
from vae_anomaly.pipeline.fit import Say, TrainingData, fit
from vae_anomaly.pipeline.progress import Progress, no_progress
from vae_anomaly.pipeline.reading import read_all

__all__ = ["EvaluationData", "fit_comparison", "read_evaluation_data"]


class EvaluationData(NamedTuple):
    """Records to report on, and what is known about them.

    Attributes
    ----------
    records : records
        The readable ones.
    keys : list of (str or None)
    labels : ndarray of bool or None
        True for anomalies.
    categories : sequence of str or None
        What each record shows, such as "good" or "scratch".
    masks : sequence of (ndarray of bool or None), or None
        Where each record is anomalous.
    skipped : sequence of (str, str)
        Records that were not readable, and the reasons.
    notes : sequence of str
        Lines to report.
    """

    records: Records
    keys: list[str | None]
    labels: NDArray[np.bool_] | None
    categories: Sequence[str] | None
    masks: Sequence[NDArray[np.bool_] | None] | None
    skipped: Sequence[tuple[str, str]]
    notes: Sequence[str]


def read_evaluation_data(source: Source, *, progress: Progress = no_progress) -> EvaluationData:
    """Read all records of a source, with their labels.

    Raises
    ------
    DataError
        If a record or a label cannot be used, or there is no record.
    """
    records, keys = read_all(source, progress)
    source.require(len(records), 1, "There is nothing to report.")
    masks = source.masks()
    return EvaluationData(
        records, keys, source.labels, source.categories, masks.values, source.skipped, masks.notes
    )


def fit_comparison(
    model: Model,
    data: TrainingData,
    beta: float,
    *,
    progress: Progress = no_progress,
    say: Say | None = None,
) -> Model:
    """Fit a model that differs from another one only in the weight of the KL divergence.

    Parameters
    ----------
    model : Model
    data : TrainingData
        The records that `model` was fitted to.
    beta : float
    progress : Progress, optional
    say : callable, optional
        See `fit`.

    Returns
    -------
    Model
    """
    detector = clone(VAEDetector.from_model(model)).set_params(beta=beta)
    work = f"training with beta {beta:g}"
    return fit(detector, data, progress=progress, work=work, say=say).model

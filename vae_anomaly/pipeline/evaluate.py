"""Data of an evaluation: labelled records to report on, and a model to compare with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from vae_anomaly._text import counted
from vae_anomaly.data.base import Records, Source
from vae_anomaly.data.cell_texts import NO_TEXTS, CellTexts
from vae_anomaly.estimator import VAEDetector
from vae_anomaly.exceptions import DataError
from vae_anomaly.model.model import Model
from vae_anomaly.model.seen import digests_of
from vae_anomaly.pipeline.fit import TrainingData, fit
from vae_anomaly.pipeline.progress import Progress, no_progress
from vae_anomaly.pipeline.reading import read_all
from vae_anomaly.pipeline.work import Say

__all__ = ["EvaluationData", "fit_comparison", "read_evaluation_data"]

BRING_OTHERS = "Bring others, or fit with some held out (--holdout 0.2)"


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
    n_left_out : int
        Records that were left out because the model was fitted on them.
    texts : CellTexts
        Of unseen levels and stray cells.
    """

    records: Records
    keys: list[str | None]
    labels: NDArray[np.bool_] | None
    categories: Sequence[str] | None
    masks: Sequence[NDArray[np.bool_] | None] | None
    skipped: Sequence[tuple[str, str]]
    notes: Sequence[str]
    n_left_out: int = 0
    texts: CellTexts = NO_TEXTS

    def name_after(self, name: str, unit: str) -> str:
        """Return the name of the data in a report, which says how many records were left out."""
        left_out = counted(self.n_left_out, unit)
        return f"{name}, without {left_out} of training" if self.n_left_out else name


def read_evaluation_data(
    source: Source,
    model: Model | None = None,
    *,
    keep_learned: bool = False,
    progress: Progress = no_progress,
) -> EvaluationData:
    """Read all records of a source, with their labels.

    Parameters
    ----------
    source : Source
    model : Model, optional
        Records that it was fitted on are left out; see `SeenRecords.repeats`.
    keep_learned : bool, default=False
        Keep them, and report how many they are.
    progress : Progress, optional

    Returns
    -------
    EvaluationData

    Raises
    ------
    DataError
        If a record or a label cannot be used, there is no record, or all are left out.
    """
    records, keys, texts = read_all(source, progress)
    source.require(len(records), 1, "There is nothing to report.")
    masks = source.masks()
    data = EvaluationData(
        records,
        keys,
        source.labels,
        source.categories,
        masks.values,
        source.skipped,
        masks.notes,
        texts=texts,
    )
    return data if model is None else _without_seen(data, model, source, keep=keep_learned)


def _without_seen(
    data: EvaluationData, model: Model, source: Source, *, keep: bool
) -> EvaluationData:
    """Leave out the records that a model was fitted on, or only report them."""
    normal = None if data.labels is None else ~data.labels
    repeats = model.seen.repeats(digests_of(model.encoder, data.records), normal=normal)
    notes = [*data.notes, *repeats.notes(source.unit, "was fitted on", keep=keep)]
    used = repeats.used
    if keep or used.all():
        return data._replace(notes=notes)
    if not used.any():
        raise DataError(
            f"{source.name}: the model was fitted on all {counted(len(used), source.unit)}, which "
            f"say nothing about others. {BRING_OTHERS}, or keep these with --keep-learned."
        )
    places = np.flatnonzero(used).tolist()
    if normal is not None and normal.any() and not normal[used].any():
        notes.append(f"warning: no normal {source.unit} is left. {BRING_OTHERS}.")
    return data._replace(
        records=data.records[used],
        keys=[data.keys[i] for i in places],
        labels=None if data.labels is None else data.labels[used],
        categories=None if data.categories is None else [data.categories[i] for i in places],
        masks=None if data.masks is None else [data.masks[i] for i in places],
        notes=notes,
        n_left_out=len(used) - len(places),
        texts=data.texts.only(np.flatnonzero(used)),
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

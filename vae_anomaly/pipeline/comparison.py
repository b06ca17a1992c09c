"""Data of a comparison: the records that two models can both score, aligned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._text import counted
from vae_anomaly._types import Parameter, Records
from vae_anomaly.data.registry import open_source
from vae_anomaly.exceptions import DataError
from vae_anomaly.model.model import Model
from vae_anomaly.model.seen import digests_of
from vae_anomaly.pipeline.evaluate import BRING_OTHERS, EvaluationData, read_evaluation_data
from vae_anomaly.pipeline.messages import skipped_records
from vae_anomaly.pipeline.progress import Progress, no_progress

__all__ = ["ComparedData", "read_compared"]


class ComparedData(NamedTuple):
    """Records that several models can score.

    Attributes
    ----------
    records : list of records
        One entry for each model, as its encoder takes them.
    keys : list of str
    labels : ndarray of bool of shape (n,) or None
        True for anomalies.
    notes : list of str
        Lines to report.
    n_skipped : int
        Records that were not readable.
    """

    records: list[Records]
    keys: list[str]
    labels: NDArray[np.bool_] | None
    notes: list[str]
    n_skipped: int


def read_compared(
    models: Sequence[Model],
    path: str,
    options: Mapping[str, Parameter],
    *,
    keep_learned: bool = False,
    progress: Progress = no_progress,
) -> ComparedData:
    """Read records for each of several models, and keep those that all of them can score.

    Parameters
    ----------
    models : sequence of Model
    path : str
    options : mapping
        Those that open the data, see `data.base.Modality.open`.
    keep_learned : bool, default=False
        Keep records that one of the models was fitted on.
    progress : Progress, optional

    Returns
    -------
    ComparedData

    Raises
    ------
    DataError
        If a record or a label cannot be used, the models read different records, or none is
        left.
    """
    found: list[EvaluationData] = []
    notes: list[str] = []
    for model in models:
        with open_source(path, model.encoder, labelled=True, **options) as source:
            found.append(read_evaluation_data(source, progress=progress))
            if len(found) == 1:
                notes += [*source.notes, *skipped_records(source)]
    first = found[0]
    for other in found[1:]:
        if other.keys != first.keys:
            raise DataError(
                f"{path}: the models read different records, {len(first.keys):,} and "
                f"{len(other.keys):,}. Compare models whose columns are all there, on records "
                f"that both can read."
            )
    used = np.ones(len(first.keys), dtype=bool)
    if not keep_learned:
        used = _unseen(models, found)
    if not used.any():
        raise DataError(
            f"{path}: the models were fitted on all of these records. {BRING_OTHERS}, or keep "
            f"these with --keep-learned."
        )
    unit = models[0].unit
    if not used.all():
        notes.append(
            f"note: left out {int((~used).sum()):,} of {counted(len(used), unit)}, which one of "
            f"the models was fitted on"
        )
    return ComparedData(
        [data.records[used] for data in found],
        [str(first.keys[i]) for i in np.flatnonzero(used)],
        None if first.labels is None else first.labels[used],
        notes,
        len(first.skipped),
    )


def _unseen(models: Sequence[Model], found: Sequence[EvaluationData]) -> NDArray[np.bool_]:
    """Return which records none of the models was fitted on."""
    used = np.ones(len(found[0].keys), dtype=bool)
    for model, data in zip(models, found, strict=True):
        normal = None if data.labels is None else ~data.labels
        digests = digests_of(model.encoder, data.records)
        used &= model.seen.repeats(digests, normal=normal).used
    return used

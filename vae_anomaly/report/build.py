"""Builder of reports: values from a fitted model and records, without markup or clock.

Besides the records, memory holds one score and one label for each: only histograms,
thinned curves, samples of points and the most anomalous records are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vae_anomaly._types import Records
from vae_anomaly.data.cell_texts import CellTexts
from vae_anomaly.displays import (
    CalibrationDisplay,
    ElboDisplay,
    LatentUseDisplay,
    PValueDisplay,
    ScoreDisplay,
    TrainingCurveDisplay,
)
from vae_anomaly.displays.data import by_label
from vae_anomaly.estimator import VAEDetector
from vae_anomaly.exceptions import DataError
from vae_anomaly.metrics.confusion import Confusion, confusion, score_groups
from vae_anomaly.metrics.curves import curves
from vae_anomaly.metrics.threshold_search import (
    Choice,
    Criteria,
    choose_thresholds,
    discovery,
    threshold_steps,
)
from vae_anomaly.model.drift import Drift, DriftWatch
from vae_anomaly.model.model import Model
from vae_anomaly.report.data import (
    UNKNOWN,
    Context,
    Options,
    Provenance,
    ReportData,
    ScoredRecords,
    Section,
    Threshold,
)
from vae_anomaly.report.latent import latent_codes
from vae_anomaly.report.ranking import listed_records, n_listed, ranking
from vae_anomaly.report.sections import section_for
from vae_anomaly.report.subject import subject_of
from vae_anomaly.report.summary import model_settings, summarize
from vae_anomaly.stats.floats import default_floats

__all__ = ["build_report"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

MAX_DRIFT_RECORDS = 20_000
"""Records from which the movement of features is estimated: the first ones."""


@default_floats()
def build_report(
    model: Model | VAEDetector,
    records: Records,
    labels: ArrayLike | None = None,
    *,
    keys: Sequence[object] | None = None,
    texts: CellTexts | None = None,
    title: str = "Anomaly report",
    model_name: str | None = None,
    data_name: str | None = None,
    top: int = 10,
    reasons: int = 5,
    created: str | None = None,
    criteria: Criteria | None = None,
    context: Context | None = None,
    provenance: Provenance | None = None,
) -> ReportData:
    """Evaluate a fitted model on records.

    Parameters
    ----------
    model : Model or VAEDetector
        Fitted.
    records : array-like of length n
        Records to score: as the encoder of a `Model` takes them, or X of a
        `VAEDetector`.
    labels : array-like of bool of shape (n,), optional
        True for anomalies.
    keys : sequence of shape (n,), optional
        Names of the records; by default the index of a DataFrame, or positions
        from 0.
    texts : CellTexts, optional
        Of unseen levels and stray cells; by default those of a DataFrame.
    title : str, default="Anomaly report"
    model_name, data_name : str, optional
        Shown unchanged; leave out private paths.
    top : int, default=10
        Number of most anomalous records to show, at most 100.
    reasons : int, default=5
        Number of contributions to show for each, at most 10.
    created : str, optional
        Time to show. Without it equal inputs give equal reports.
    criteria : Criteria, optional
        Criteria for other thresholds; needs labels.
    context : Context, optional
        Further facts about the records, of the class that the section of the
        modality defines, or `Context`.
    provenance : Provenance, optional
        Checksum of the model file, and the command.

    Returns
    -------
    ReportData

    Raises
    ------
    DataError
        If labels are not booleans, labels, keys or the context do not match the
        records, or criteria are given without labels of both classes.
    """
    index = list(records.index) if hasattr(records, "iloc") else None
    fitted, rows, own_texts = subject_of(model, records)
    section_type = section_for(fitted.encoder.modality)
    known = _checked_context(context, section_type, fitted, len(rows))
    if keys is None:
        keys = range(len(rows)) if index is None else index
    _check_length("keys", keys, len(rows), fitted.unit)
    truth = _checked_labels(labels, len(rows), fitted.unit)
    scored = replace(_score(fitted, rows, keys, truth), texts=own_texts if texts is None else texts)
    section = None
    if section_type is not None:
        options = Options(top, reasons, n_listed(scored))
        section = section_type.collect(scored, options, known)
    report = replace(
        _describe(scored, section, known, criteria),
        title=title,
        model_name=model_name,
        data_name=data_name,
        created=created,
        provenance=provenance or UNKNOWN,
    )
    parts = summarize(report)
    return replace(report, parts=parts, summary=parts.sentences)


def _score(
    model: Model, records: Records, keys: Sequence[object], labels: Flags | None
) -> ScoredRecords:
    """Score records, compare them with the threshold, and watch for drift."""
    scores = model.evaluate(records).scores
    flagged = model.calibration.flags(scores)
    threshold, drift = Threshold.of(model.calibration), _drift(model, records, scores, labels)
    return ScoredRecords(model, records, keys, scores, flagged, labels, threshold, drift)


def _drift(model: Model, records: Records, scores: Array, labels: Flags | None) -> Drift | None:
    """Compare the normal records, without labels all, with the calibration records."""
    if not len(model.calibration.scores):
        return None
    normal = slice(None) if labels is None or not (~labels).any() else ~labels
    sample = records[normal][:MAX_DRIFT_RECORDS]
    return DriftWatch(model).add_records(sample, scores[normal]).result()


def _describe(
    scored: ScoredRecords,
    section: Section | None,
    context: Context,
    criteria: Criteria | None,
) -> ReportData:
    """Return the common part of a report and its section, without names and summary."""
    model, threshold = scored.model, scored.threshold
    scores, flagged, labels = scored.scores, scored.flagged, scored.labels
    unit, calibration = model.unit, model.calibration.scores
    drawn = curves(scores, labels)
    sections = () if section is None else (section,)
    settings = (*model_settings(model), *(line for part in sections for line in part.settings))
    return ReportData(
        title="",
        model_name=None,
        data_name=None,
        created=None,
        summary=(),
        unit=unit,
        n_rows=len(scores),
        n_flagged=scored.n_flagged,
        threshold=threshold,
        groups=score_groups(scores, flagged, by_label(len(scores), labels, unit)),
        confusion=_confusion(flagged, labels),
        roc=None if drawn is None else drawn.roc,
        precision_recall=None if drawn is None else drawn.precision_recall,
        scores=ScoreDisplay.measure(scores, labels, threshold=threshold.value, unit=unit),
        latent=latent_codes(model, scored, context.categories),
        elbo=ElboDisplay.measure(model, scored.records, flagged, labels),
        most_anomalous=scored.ranked(int(ranking(scores)[0])),
        listed=listed_records(
            scored, () if section is None else section.listed, context.categories
        ),
        drift=scored.drift,
        training=TrainingCurveDisplay(model.history, unit=unit),
        latent_use=LatentUseDisplay(model.latent_kl),
        model=settings,
        sections=sections,
        steps=threshold_steps(scores, labels, threshold.value, calibration),
        choices=_choices(scores, labels, criteria),
        discovery=discovery(scores, calibration),
        calibration=CalibrationDisplay.measure(
            scores if labels is None else scores[~labels],
            calibration,
            rate=threshold.requested,
            unit=unit,
        ),
        p_values=PValueDisplay.measure(scores, calibration, labels, unit=unit),
    )


def _confusion(flagged: Flags, labels: Flags | None) -> Confusion | None:
    if labels is None:
        return None
    return confusion(
        found=int((flagged & labels).sum()),
        alarms=int((flagged & ~labels).sum()),
        n_anomalies=int(labels.sum()),
        n_normal=int((~labels).sum()),
    )


def _choices(scores: Array, labels: Flags | None, criteria: Criteria | None) -> tuple[Choice, ...]:
    if criteria is None or not criteria.given:
        return ()
    if labels is None:
        raise DataError(
            "A threshold by cost, recall, precision or F-beta needs labels. Give them, or leave "
            "the criteria out."
        )
    return choose_thresholds(scores, labels, criteria)


def _check_length(name: str, given: Sequence[object], n: int, unit: str) -> None:
    if len(given) != n:
        raise DataError(
            f"{name} must have one entry for each of the {n} {unit}s. Got {len(given)} instead."
        )


def _checked_labels(labels: ArrayLike | None, n: int, unit: str) -> Flags | None:
    if labels is None:
        return None
    masked = np.count_nonzero(np.ma.getmaskarray(np.ma.asarray(labels)))
    if masked:
        raise DataError(
            f"labels has {masked:,} masked entries: they say nothing. Leave their {unit}s out."
        )
    array = np.asarray(labels)
    if array.dtype != np.bool_:
        raise DataError(
            f"labels must be booleans, True for an anomaly. Got {array.dtype} instead. "
            f"Compare them with the label of anomalies, as in y == 1."
        )
    if array.shape != (n,):
        raise DataError(
            f"labels must have one entry for each of the {n} {unit}s. "
            f"Got shape {array.shape} instead."
        )
    return array


def _checked_context(
    context: Context | None, section: type[Section] | None, model: Model, n: int
) -> Context:
    """Return the context, of the class that the section takes."""
    expected = Context if section is None else section.context
    if context is None:
        return expected()
    if type(context) not in (Context, expected):
        raise DataError(
            f"context must be {expected.__name__} for a model of the modality "
            f"{model.encoder.modality!r}. Got {type(context).__name__} instead."
        )
    if type(context) is Context:
        context = expected(categories=context.categories)
    if context.categories is not None:
        _check_length("categories", context.categories, n, model.unit)
    return context

"""From a detector and a table to the values of a report: no markup here, and no clock.

Beyond the table itself, memory holds one score and one label a row: histograms,
thinned curves, samples of points and the strangest rows are all that is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

from vae_anomaly.displays import (
    CalibrationDisplay,
    LatentDisplay,
    LatentUseDisplay,
    PValueDisplay,
    ScoreDisplay,
    TrainingCurveDisplay,
)
from vae_anomaly.displays.data import by_label
from vae_anomaly.displays.drawing import take
from vae_anomaly.estimator import VAEDetector
from vae_anomaly.exceptions import DataError
from vae_anomaly.report.choices import (
    Criteria,
    choose_thresholds,
    confusion,
    discovery,
    measure_steps,
)
from vae_anomaly.report.data import Choice, Curve, Group, Reason, ReportData, Threshold, Top, TopRow
from vae_anomaly.report.intervals import areas
from vae_anomaly.report.wording import describe_model, summarize

__all__ = [
    "Scored",
    "build_report",
    "describe_scores",
    "described",
    "score_rows",
    "most_anomalous_first",
]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

CHUNK_CELLS = 2**22
CHUNK_ROWS = 256
MAX_CURVE_POINTS = 1000
MAX_TOP, MAX_REASONS = 100, 10

CODE = "latent code"
"""What the part of a score that belongs to no column is called."""


def build_report(
    detector: VAEDetector,
    X: Any,
    labels: ArrayLike | None = None,
    *,
    row_ids: Sequence[object] | None = None,
    title: str = "Anomaly report",
    model_name: str | None = None,
    data_name: str | None = None,
    top: int = 10,
    reasons: int = 5,
    created: str | None = None,
    criteria: Criteria | None = None,
) -> ReportData:
    """Find out how a detector does on a table.

    Parameters
    ----------
    detector : VAEDetector
        Fitted.
    X : array-like of shape (n_samples, n_features)
        Rows to score.
    labels : array-like of bool of shape (n_samples,), optional
        True for anomalies.
    row_ids : sequence of shape (n_samples,), optional
        What rows are called; by default the index of a DataFrame, or positions
        from 0.
    title : str, default="Anomaly report"
    model_name, data_name : str, optional
        Shown as they are; leave out paths that are nobody's business.
    top : int, default=10
        Strangest rows to show, 100 at most: the page stays small.
    reasons : int, default=5
        Columns to show for each, 10 at most.
    created : str, optional
        Time to show. Without it equal inputs give equal reports.
    criteria : Criteria, optional
        What other thresholds to choose by; needs labels.

    Returns
    -------
    ReportData

    Raises
    ------
    DataError
        If labels are not booleans, labels or ids do not match the rows, or other
        thresholds are asked for without labels of both kinds.
    """
    X = X if hasattr(X, "iloc") else np.asarray(X)
    scored = score_rows(detector, X, labels)
    ids = _checked_ids(row_ids, X, len(scored.scores))
    report = describe_scores(detector, X, scored, criteria=criteria)
    report = replace(
        report,
        title=title,
        model_name=model_name,
        data_name=data_name,
        created=created,
        top=_top_rows(detector, X, scored, ids, top, reasons),
    )
    return replace(report, summary=summarize(report))


class Scored(NamedTuple):
    """Rows with their scores and what they are known to be."""

    scores: Array
    flagged: Flags
    labels: Flags | None
    threshold: Threshold


def score_rows(detector: VAEDetector, X: Any, labels: ArrayLike | None) -> Scored:
    """Score rows and compare them with the threshold."""
    scores, threshold = anomaly_scores(detector, X), _threshold(detector)
    known = _checked_labels(labels, len(scores))
    return Scored(scores, scores > threshold.value, known, threshold)


def describe_scores(
    detector: VAEDetector,
    X: Any,
    scored: Scored,
    *,
    kinds: Sequence[str] | None = None,
    unit: str = "row",
    criteria: Criteria | None = None,
) -> ReportData:
    """Say what a report says whatever the rows are: no names, single rows or summary yet."""
    scores, flagged, known, threshold = scored
    calibration = detector.calibration_scores_
    roc, precision_recall = _curves(scores, known)
    return ReportData(
        title="",
        model_name=None,
        data_name=None,
        created=None,
        summary=(),
        n_rows=len(scores),
        n_columns=detector.n_features_in_,
        n_flagged=int(flagged.sum()),
        threshold=threshold,
        groups=_groups(scores, flagged, known, unit),
        confusion=None
        if known is None
        else confusion(
            *(int((flagged & known).sum()), int((flagged & ~known).sum())),
            *(int(known.sum()), int((~known).sum())),
        ),
        roc=roc,
        precision_recall=precision_recall,
        scores=ScoreDisplay.measure(scores, known, threshold=threshold.value, unit=unit),
        latent=LatentDisplay.measure(detector, X, known, categories=kinds, unit=unit),
        training=TrainingCurveDisplay(detector.history_, unit=unit),
        latent_use=LatentUseDisplay(detector.latent_kl_),
        top=(),
        model=describe_model(detector),
        steps=measure_steps(scores, known, threshold.value, calibration),
        choices=_choices(scores, known, criteria),
        discovery=discovery(scores, calibration),
        calibration=CalibrationDisplay.measure(
            scores if known is None else scores[~known],
            calibration,
            rate=threshold.asked,
            unit=unit,
        ),
        p_values=PValueDisplay.measure(scores, calibration, known, unit=unit),
    )


def _choices(scores: Array, labels: Flags | None, criteria: Criteria | None) -> tuple[Choice, ...]:
    if criteria is None or all(value is None for value in criteria):
        return ()
    if labels is None:
        raise DataError(
            "A threshold by cost, recall, precision or F-beta needs labels. Give them, or leave "
            "the criteria out."
        )
    return choose_thresholds(scores, labels, criteria)


def anomaly_scores(detector: VAEDetector, X: Any) -> Array:
    """Score rows a part at a time: wide ones need room while they are scored."""
    width = prod(X.shape[1:])
    step = max(CHUNK_ROWS, CHUNK_CELLS // max(width, 1) // CHUNK_ROWS * CHUNK_ROWS)
    # At least one part, so that the detector gets to refuse an empty table.
    starts = range(0, max(len(X), 1), step)
    parts = [detector.score_samples(take(X, slice(start, start + step))) for start in starts]
    return -np.concatenate(parts)


def _checked_labels(labels: ArrayLike | None, n: int) -> Flags | None:
    if labels is None:
        return None
    array = np.asarray(labels)
    if array.dtype != np.bool_:
        raise DataError(
            f"labels must be booleans, True for an anomaly. Got {array.dtype} instead. "
            f"Compare them with what an anomaly is called, as in y == 1."
        )
    if array.shape != (n,):
        raise DataError(
            f"labels must have one entry for each of the {n} rows. Got shape {array.shape} instead."
        )
    return array


def _checked_ids(row_ids: Sequence[object] | None, X: Any, n: int) -> Sequence[object]:
    if row_ids is None:
        return list(X.index) if hasattr(X, "iloc") else range(n)
    if len(row_ids) != n:
        raise DataError(
            f"row_ids must have one entry for each of the {n} rows. Got {len(row_ids)} instead."
        )
    return row_ids


def _threshold(detector: VAEDetector) -> Threshold:
    value = -float(detector.offset_)
    if detector.threshold is not None:
        return Threshold(value, "threshold", None)
    if detector.contamination is not None:
        return Threshold(value, "contamination", detector.contamination)
    rows = len(detector.calibration_scores_)
    return Threshold(value, "false_alarm_rate", detector.false_alarm_rate, rows)


def _groups(scores: Array, flagged: Flags, labels: Flags | None, unit: str) -> tuple[Group, ...]:
    return tuple(
        Group(
            name,
            int(mask.sum()),
            int(flagged[mask].sum()),
            *(float(q) for q in np.percentile(scores[mask], [0, 50, 95, 100])),
        )
        for name, mask in by_label(len(scores), labels, unit).items()
    )


def _curves(scores: Array, labels: Flags | None) -> tuple[Curve | None, Curve | None]:
    if labels is None or labels.all() or not labels.any():
        return None, None
    auroc, average_precision = areas(scores, labels)
    false_alarms, recall, _ = roc_curve(labels, scores)
    roc = Curve(*_thinned(false_alarms, recall), auroc)
    precision, recall, _ = precision_recall_curve(labels, scores, drop_intermediate=True)
    return roc, Curve(*_thinned(recall, precision), average_precision)


def _thinned(x: Array, y: Array) -> tuple[Array, Array]:
    """Keep points that are apart on the page: both ends, and every so much of the way."""
    way = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    wanted = np.linspace(0, way[-1], MAX_CURVE_POINTS)
    kept = np.unique([0, *np.searchsorted(way, wanted[:-1]), len(x) - 1])
    return x[kept], y[kept]


def most_anomalous_first(scored: Scored, top: int) -> NDArray[np.intp]:
    """Choose the strangest rows, not too many to show."""
    return np.argsort(-scored.scores, kind="stable")[: np.clip(top, 0, MAX_TOP)]


def described(scored: Scored, ids: Sequence[object], row: int) -> Top:
    """Say what one row is called and what was made of it."""
    return Top(
        row_id=str(ids[row]),
        score=float(scored.scores[row]),
        is_flagged=bool(scored.flagged[row]),
        is_anomaly=None if scored.labels is None else bool(scored.labels[row]),
    )


def _top_rows(
    detector: VAEDetector,
    X: Any,
    scored: Scored,
    ids: Sequence[object],
    top: int,
    reasons: int,
) -> tuple[TopRow, ...]:
    rows = most_anomalous_first(scored, top)
    if not len(rows):
        return ()
    shown = take(X, rows)
    explained = detector.explain(shown)
    names = [*map(str, explained.columns[:-1]), CODE]
    contributions = explained.to_numpy()
    # The latent code has no value of its own.
    nothing = np.full((len(rows), 1), np.nan)
    values = np.hstack([np.asarray(shown, dtype=np.float64), nothing])
    expected = np.hstack([np.asarray(detector.reconstruct(shown), dtype=np.float64), nothing])
    return tuple(
        TopRow(
            **vars(described(scored, ids, row)),
            reasons=_reasons(names, *parts, most=reasons),
        )
        for row, *parts in zip(rows, contributions, values, expected, strict=True)
    )


def _reasons(
    names: list[str], contributions: Array, values: Array, expected: Array, *, most: int
) -> tuple[Reason, ...]:
    """Name the greatest contributions of a row; what lowers its score is no reason."""
    order = np.argsort(-contributions, kind="stable")[: np.clip(most, 0, MAX_REASONS)]
    return tuple(
        Reason(names[i], float(contributions[i]))
        if i == len(names) - 1
        else Reason(names[i], float(contributions[i]), float(values[i]), float(expected[i]))
        for i in order
        if contributions[i] > 0
    )

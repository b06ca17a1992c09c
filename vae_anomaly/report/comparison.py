"""Comparison of two models on the same records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from math import isfinite
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from vae_anomaly._types import JsonObject, Parameter
from vae_anomaly.data.base import Records
from vae_anomaly.data.registry import check_options
from vae_anomaly.detectors import RECORDS, type_of
from vae_anomaly.displays.data import by_label
from vae_anomaly.exceptions import ParameterError
from vae_anomaly.metrics.confusion import confusion
from vae_anomaly.metrics.curves import curves
from vae_anomaly.metrics.paired import agreement, auroc_difference
from vae_anomaly.metrics.threshold_search import Criteria
from vae_anomaly.model.file import restored
from vae_anomaly.model.model import Model
from vae_anomaly.pipeline.comparison import ComparedData, read_compared
from vae_anomaly.pipeline.options import Options, given_options, refuse_foreign
from vae_anomaly.pipeline.paths import check_report_folder
from vae_anomaly.pipeline.work import Done, Work
from vae_anomaly.report.command import DEFAULT_TITLES, DEFAULT_TOP, command_line
from vae_anomaly.report.comparison_data import ComparedModel, ComparisonReport, Disputed
from vae_anomaly.report.comparison_page import comparison_summary, render_comparison
from vae_anomaly.report.data import UNKNOWN, Provenance, Threshold
from vae_anomaly.report.render import write_page
from vae_anomaly.report.summary import model_settings
from vae_anomaly.stats.floats import default_floats
from vae_anomaly.storage.container import open_container

__all__ = ["ComparisonReport", "build_comparison", "compare_files"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

MAX_LISTED = 200
"""Records that the models disagree about and that the page lists, at most."""

NAMES = ("A", "B")

TITLE = "Comparison of two models"

ONE_MODEL = (*Criteria._fields, "top", "labels", "training", "compare_beta")
"""Options of the evaluation of one model."""


def compare_files(
    models: Sequence[str],
    path: str,
    folder: str,
    options: Options,
    work: Work,
) -> Done:
    """Compare two models on the same data, and write one page.

    Parameters
    ----------
    models : sequence of str
        Two model files.
    path : str
    folder : str
        Directory of the page.
    options : mapping
        `title`, `keep_learned`, and those that open the data, see `data.base.Modality.open`.
    work : Work

    Returns
    -------
    Done

    Raises
    ------
    ParameterError
        If there are not two models of one modality, or an option is for one model.
    DataError
        If a record or a label cannot be used, or the models read different records.
    OutputError
        If the page cannot be written.
    """
    fitted, digests = _restored(models)
    given = _checked_options(fitted[0], models[0], options)
    for name in models:
        check_report_folder(folder, fitted[0].unit, name, path)
    title, kept = given.pop("title", TITLE), given.pop("keep_learned", False)
    command = command_line("evaluate", [*models, path], folder, options)
    if any(model.network.needs_tensorflow for model in fitted):
        work.start()
    data = read_compared(fitted, path, given, keep_learned=kept, progress=work.progress)
    work.say(*data.notes)
    report = build_comparison(
        fitted,
        data,
        files=[Path(name).name for name in models],
        digests=digests,
        data_name=Path(path).resolve().name,
        title=TITLE if title in DEFAULT_TITLES else title,
        provenance=Provenance(None, command),
    )
    page = write_comparison(report, folder)
    return Done(
        [*comparison_summary(report), f"report: {page}"],
        _facts(report, page, data.n_skipped),
        is_complete=not data.n_skipped,
    )


def _facts(report: ComparisonReport, page: Path, n_skipped: int) -> JsonObject:
    """Return what was found, in plain values."""
    every, difference = report.agreements[0], report.difference
    models = [
        {
            "model": one.file,
            "threshold": one.threshold.value,
            "n_flagged": one.n_flagged,
            **({} if one.confusion is None else asdict(one.confusion)),
            **({} if one.curves is None else {"auroc": asdict(one.curves.roc.area)}),
        }
        for one in report.models
    ]
    return {
        "report": str(page),
        "unit": report.unit,
        "n_records": report.n_rows,
        "n_skipped": n_skipped,
        "models": models,
        "n_flagged_by_both": every.both,
        "auroc_difference": None if difference is None else asdict(difference),
        "rank_correlation": report.correlation,
    }


def _restored(models: Sequence[str]) -> tuple[list[Model], list[str]]:
    """Return two models of one modality, and the checksums of their files."""
    if len(models) != 2:
        raise ParameterError(
            f"One model is evaluated, or two are compared. Got {len(models)}. Give two."
        )
    files = [open_container(name) for name in models]
    for file, found in zip(files, map(type_of, files), strict=True):
        if found is not RECORDS:
            raise ParameterError(
                f"{file.name} is a model of {found.contents}, of which two are not compared on one "
                f"page. Evaluate each of them."
            )
    fitted = [restored(file) for file in files]
    names = [model.encoder.modality for model in fitted]
    if names[0] != names[1]:
        raise ParameterError(
            f"Two models are compared on the same data. Got one of the modality {names[0]!r} and "
            f"one of {names[1]!r}."
        )
    return fitted, [file.sha256 for file in files]


def _checked_options(model: Model, name: str, options: Options) -> dict[str, Parameter]:
    """Return the options that have a value, all of which must be for two models."""
    given = given_options(options)
    if given.get("top") == DEFAULT_TOP:
        del given["top"]
    accepted = [one for one in given if one not in ONE_MODEL]
    refuse_foreign(given, accepted, "is for one model, and two are compared")
    check_options(given, model.encoder.modality, f"{name} was fitted on")
    return given


@default_floats()
def build_comparison(
    models: Sequence[Model],
    data: ComparedData,
    *,
    files: Sequence[str],
    digests: Sequence[str | None] = (None, None),
    data_name: str = "",
    title: str = TITLE,
    provenance: Provenance = UNKNOWN,
) -> ComparisonReport:
    """Score the same records with two models, and compare them.

    Parameters
    ----------
    models : sequence of Model
        Two.
    data : ComparedData
    files : sequence of str
        Names of their files.
    digests : sequence of str or None
        Checksums of the files.
    data_name, title : str
    provenance : Provenance, optional

    Returns
    -------
    ComparisonReport
    """
    labels, n = data.labels, len(data.keys)
    first, second = (
        _compared(*one, labels)
        for one in zip(NAMES, models, data.records, files, digests, strict=True)
    )
    unit, pair = models[0].unit, (first.flagged, second.flagged)
    groups = {} if labels is None else by_label(n, labels, unit)
    agreements = [agreement(f"all {unit}s", *pair)]
    agreements += [agreement(name, *(f[mask] for f in pair)) for name, mask in groups.items()]
    differ = np.flatnonzero(first.flagged != second.flagged)
    gap = np.abs(first.multiples - second.multiples)[differ]
    order = differ[np.argsort(-gap, kind="stable")]
    has_both = labels is not None and labels.any() and not labels.all()
    return ComparisonReport(
        title=title,
        data_name=data_name,
        unit=unit,
        n_rows=n,
        first=first,
        second=second,
        labels=labels,
        agreements=tuple(agreements),
        difference=(
            auroc_difference(first.scores, second.scores, labels)
            if labels is not None and has_both
            else None
        ),
        correlation=_correlation(first.scores, second.scores),
        disputed=tuple(
            Disputed(
                data.keys[i],
                first.name if first.flagged[i] else second.name,
                (float(first.multiples[i]), float(second.multiples[i])),
                None if labels is None else bool(labels[i]),
            )
            for i in order[:MAX_LISTED].tolist()
        ),
        n_disputed=len(order),
        provenance=provenance,
    )


def _compared(
    name: str,
    model: Model,
    records: Records,
    file: str,
    digest: str | None,
    labels: Flags | None,
) -> ComparedModel:
    """Score records with one of the models."""
    scores, calibration = model.anomaly_scores(records), model.calibration
    flagged, threshold = calibration.flags(scores), calibration.threshold
    counts = None
    if labels is not None:
        counts = confusion(
            found=int((flagged & labels).sum()),
            alarms=int((flagged & ~labels).sum()),
            n_anomalies=int(labels.sum()),
            n_normal=int((~labels).sum()),
        )
    return ComparedModel(
        name=name,
        file=file,
        threshold=Threshold.of(calibration),
        scores=scores,
        multiples=scores / threshold if threshold > 0 else scores,
        flagged=flagged,
        confusion=counts,
        curves=curves(scores, labels),
        settings=model_settings(model),
        digest=digest,
    )


def _correlation(first: Array, second: Array) -> float:
    """Return Spearman's rank correlation; 0 where one of them does not vary."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    found = float(spearmanr(first, second).statistic)
    return found if isfinite(found) else 0.0


def write_comparison(report: ComparisonReport, folder: str) -> Path:
    """Write ``report.html`` into a directory, whole or not at all.

    Raises
    ------
    OutputError
        If the page cannot be written.
    """
    return write_page(render_comparison(report), {}, folder)
